"""Datagrams of those who mean harm, made by chance out of a seed: strangers who have recorded what was sent, and insiders
who have the cluster's key and no identity of a member."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from fairlead.gossip.blocks import Event, draft_blocks, draft_head, sign
from fairlead.gossip.gossip import Gossip
from fairlead.gossip.holding import ORPHANS_BYTES_MAX, ORPHANS_MAX
from fairlead.gossip.identity import Address, Identity, NodeId
from fairlead.gossip.keyring import COUNTER_MAX, EPOCH_MAX, Keyring, Sealer, key_id, short
from fairlead.gossip.links import QUEUED_MAX, UNCONFIRMED_MAX
from fairlead.gossip.log import Version
from fairlead.gossip.members import LEVEL_MAX, Opinion, write_card
from fairlead.gossip.messages import (
    Ack,
    Back,
    Delta,
    Digest,
    Flood,
    Got,
    Have,
    Item,
    Message,
    Miss,
    Ping,
    Seek,
    Sought,
    Spread,
    Ticket,
    Vector,
    Want,
    Who,
)
from fairlead.gossip.outbox import REQUESTS_MAX
from fairlead.gossip.repair import ASKED_MAX
from fairlead.gossip.swim import NUMBERS_MAX
from fairlead.gossip.wire import encode

#: Bytes of the largest datagram that is sent.
_DATAGRAM_MAX = 1472


@dataclass
class Victims:
    """The cluster that is attacked: where its nodes are, who they are, in which epochs, and in which network."""

    addresses: Sequence[Address]
    ids: Sequence[NodeId]
    epochs: Sequence[int]
    network: str
    key: bytes
    #: What was recorded: to whom, and the packet.
    tape: Sequence[tuple[Address, bytes]] = field(default_factory=list)


class Attacker:
    """Makes one hostile datagram after the other; ``sent`` tells how many of each kind."""

    def __init__(self, victims: Victims, chance: Random, source: Callable[[Random], Address]) -> None:
        self._victims = victims
        self._chance = chance
        self._source = source
        self._forged = self._forgeries()
        self.sent: Counter[str] = Counter()
        self._kinds: tuple[Callable[[Address], bytes], ...] = (
            self.noise, self.dressed_noise, self.truncated, self.mutated, self.mutated, self.replayed, self.replayed,
            self.sealed_noise, self.sealed_mutation, self.forged_owner, self.huge_counts, self.lies, self.far_future,
            self.made_up_sender,
        )  # fmt: skip

    def datagram(self) -> tuple[Address, Address, bytes]:
        """Whence it seems to come, where it goes, and what it is. A third says that it comes from a member."""
        chance = self._chance
        to = chance.choice(self._victims.addresses)
        make = chance.choice(self._kinds)
        self.sent[make.__name__.replace("_", " ")] += 1
        source = chance.choice(self._victims.addresses) if not chance.randrange(3) else self._source(chance)
        return source, to, make(to)[:_DATAGRAM_MAX]

    # -- strangers

    def noise(self, _to: Address) -> bytes:
        """Bytes of chance."""
        return self._chance.randbytes(self._chance.randrange(_DATAGRAM_MAX))

    def dressed_noise(self, _to: Address) -> bytes:
        """Bytes of chance with a header as ours."""
        form = 0x10 | self._chance.choice((0, 8)) | self._chance.randrange(8)
        sender = short(self._chance.choice(self._victims.ids))
        head = bytes((form,)) + key_id(self._victims.key) + self._chance.randbytes(4) + sender
        return head + self._chance.randbytes(self._chance.randrange(200))

    def truncated(self, _to: Address) -> bytes:
        """The beginning of what a member sent."""
        data = self._chance.choice(self._victims.tape)[1]
        return data[: self._chance.randrange(len(data))]

    def mutated(self, _to: Address) -> bytes:
        """What a member sent, with some bytes changed."""
        data = bytearray(self._chance.choice(self._victims.tape)[1])
        for _ in range(self._chance.randint(1, 4)):
            data[self._chance.randrange(len(data))] ^= self._chance.randint(1, 255)
        return bytes(data)

    def replayed(self, _to: Address) -> bytes:
        """What a member sent, to whomever."""
        return self._chance.choice(self._victims.tape)[1]

    # -- insiders

    def sealed_noise(self, to: Address) -> bytes:
        """Bytes of chance, sealed in a member's name."""
        return self._seal(self._chance.randbytes(self._chance.randrange(300)), to)

    def sealed_mutation(self, to: Address) -> bytes:
        """A message with some bytes changed or cut off, sealed in a member's name."""
        data = bytearray(encode(self._message()))
        for _ in range(self._chance.randint(0, 3)):
            data[self._chance.randrange(len(data))] = self._chance.randrange(256)
        return self._seal(bytes(data[: self._chance.randint(1, len(data))]), to)

    def forged_owner(self, to: Address) -> bytes:
        """Records, heads and cards that their owner never signed; also of networks that there are not."""
        return self._seal(encode(Spread((self._chance.choice(self._forged),))), to, direct=False)

    def huge_counts(self, to: Address) -> bytes:
        """Claims of more than there is room for."""
        count = b"\xff" * self._chance.randint(1, 9) + b"\x01"
        kind = bytes((self._chance.randrange(26),))
        return self._seal(kind + self._chance.choice((b"", b"\0", b"\1\0")) + count * self._chance.randint(1, 8), to)

    def lies(self, to: Address) -> bytes:
        """Well made messages that are not true."""
        message = self._message()
        return self._seal(encode(message), to, direct=not isinstance(message, (Spread, Who)))

    def far_future(self, to: Address) -> bytes:
        """A member's name with an epoch or a counter that it has not come to."""
        epoch = self._chance.choice((None, EPOCH_MAX, 2**31))
        return self._seal(encode(Ping(1, 2)), to, epoch=epoch, counter=COUNTER_MAX - 1 - self._chance.randrange(2**40))

    def made_up_sender(self, to: Address) -> bytes:
        """Somebody whom there is not."""
        sealer = Sealer(
            NodeId(self._chance.randbytes(16)), self._chance.randrange(EPOCH_MAX), Keyring(self._victims.key)
        )
        return sealer.seal(encode(self._message()), self._short(to) if self._chance.randrange(2) else None)

    def _seal(
        self, payload: bytes, to: Address, *, direct: bool | None = None, epoch: int | None = None, counter: int = 0
    ) -> bytes:
        chance = self._chance
        place = chance.randrange(len(self._victims.ids))
        member_epoch = self._victims.epochs[place]
        sealer = Sealer(self._victims.ids[place], member_epoch if epoch is None else epoch, Keyring(self._victims.key))
        sealer._counter = counter or chance.randrange(2**24)
        direct = bool(chance.randrange(2)) if direct is None else direct
        return sealer.seal(payload, self._short(to) if direct else None)

    def _short(self, to: Address) -> bytes:
        return short(self._victims.ids[list(self._victims.addresses).index(to)])

    def _message(self) -> Message:
        chance = self._chance
        someone = chance.choice((*self._victims.ids, NodeId(chance.randbytes(16))))
        version = Version(chance.choice((1, EPOCH_MAX)), chance.randrange(2**48), chance.randrange(2**50))
        scope = chance.choice(("", self._victims.network, "elsewhere", str(chance.random())))
        opinion = Opinion(
            someone,
            chance.choice((*self._victims.epochs, EPOCH_MAX)),
            chance.randrange(4),
            chance.choice((1, 2, 3, LEVEL_MAX)),
        )
        number = chance.randrange(2**32)
        return chance.choice(
            (
                Ping(number, number),
                Ping(number, number, opinion),
                Ack(number, number),
                Seek(number, someone),
                Sought(number, bool(number & 1)),
                Spread((opinion,), lossy=bool(number & 1), seen=bool(number & 2)),
                Delta((opinion,)),
                Have({scope: {someone: version}}, ask=bool(number & 1)),
                Want((someone,), {scope: {someone: Version()}}),
                Miss(someone, scope, 1, ((1, 2**40),)),
                Digest(number, {scope: number}),
                Vector((opinion,), {scope: {someone: version}}, members=bool(number & 1), ask=bool(number & 2)),
                Ticket(number),
                Back(number % 100),
                Got((chance.randbytes(13),)),
                Flood((chance.randbytes(50),) * 10),
                Who(),
            )
        )

    def _forgeries(self) -> list[Item]:
        found: list[Item] = []
        for number, identifier in enumerate((*self._victims.ids, *(NodeId(bytes([n]) * 16) for n in range(60)))):
            forger = Identity(f"forger {number:025}".encode())
            for scope in ("", self._victims.network, "elsewhere"):
                events = [Event(2**50, "t", "k", bytes(self._chance.randrange(900)))]
                found += sign(forger, draft_blocks(identifier, scope, EPOCH_MAX - number % 3, 1, events))
                found += sign(forger, [draft_head(identifier, scope, EPOCH_MAX, 9, [(9, 9)], complete=True)])
        for number in range(len(self._victims.ids)):
            forger = Identity(f"nobody {number:025}".encode())
            card = write_card(forger, EPOCH_MAX, 9, self._victims.addresses[0], left=True)
            found.append(replace(card, signature=bytes(64)))
        return found


def buffers_of(core: Gossip) -> dict[str, int]:
    """The size of everything that others could make grow."""
    guard, holding, swim, links, repair = core._guard, core._holding, core._swim, core._links, core._repair
    return {
        **{f"guard {name}": size for name, size in guard.sizes().items()},
        "ciphers": core._outbox.keyring.ready,
        "orphans": holding.orphaned,
        "orphan bytes": holding.orphaned_bytes,
        "members": len(core.members),
        "claims": len(core.tables.views._claims),
        "logs": sum(len(logs) for logs in core.tables._logs.values()),
        "roots checked": len(holding._checked._roots),
        "probes": len(swim._probes),
        "ping numbers": len(swim._numbers),
        "queued packets": links.queued,
        "unconfirmed packets": len(links._unconfirmed),
        "questions asked": len(repair._asked),
        "differences": len(repair._differences),
        "gaps": len(core._gaps._gaps),
        "confirmations": sum(map(len, core._confirmations._inquiry._reached.values())),
        "followers": sum(map(len, core.following._reached.values())),
        "requests": len(core._outbox._waiting),
        "trees": len(core._tree._children),
    }


def overgrown(buffers: Mapping[str, int], members: int) -> list[str]:
    """Which buffers of a node are larger than they may be in a cluster of so many members and one network."""
    limits = {
        "guard windows": members, "guard strangers": 1024, "guard sources": 1024, "ciphers": 2 * members,
        "orphans": ORPHANS_MAX, "orphan bytes": ORPHANS_BYTES_MAX, "members": members, "logs": 2 * members,
        "roots checked": 4096, "probes": members, "ping numbers": NUMBERS_MAX, "queued packets": QUEUED_MAX,
        "unconfirmed packets": UNCONFIRMED_MAX, "questions asked": ASKED_MAX + 24, "differences": members,
        "gaps": 2 * members, "confirmations": 2 * members, "requests": REQUESTS_MAX, "trees": 8192,
    }  # fmt: skip
    return [f"{name}: {buffers[name]}, at most {limit}" for name, limit in limits.items() if buffers[name] > limit]
