"""The node's part in the gossip of its cluster: what the engine wants said is said, what is heard is told to the engine.

What is to be said is kept as a wish: the networks that this node takes part in, and its endpoints and names there. As
long as the node is in no cluster nothing comes of it; when the gossip begins (also after a restart, when the engine says
again what stands) all of it is said at once, and then that it is all (``complete``), which ends what former lives said.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from ipaddress import ip_address

from fairlead.daemon.cluster import keepsake, records
from fairlead.daemon.cluster.contract import Place
from fairlead.daemon.cluster.hearsay import Hearsay, Metadata
from fairlead.daemon.cluster.records import NAMES, PEERS, Fact
from fairlead.daemon.cluster.seen import record_row, status
from fairlead.daemon.cluster.voicebox import Core, Start, Voicebox
from fairlead.daemon.contract import Scoped
from fairlead.engine.outcome import JoinScope, LeaveScope, Publish, PublishNames, Retract, RetractNames
from fairlead.gossip.contract import (
    EpochTaken,
    FollowAsked,
    GossipSettings,
    MemberChanged,
    MemberLeft,
    MemberUp,
    Settled,
    Written,
)
from fairlead.gossip.contract import Event as Heard
from fairlead.gossip.identity import Address, Identity, NodeId, node_id
from fairlead.gossip.keyring import EPOCH_MAX, Keyring, key_id, next_epoch
from fairlead.gossip.log import Record
from fairlead.gossip.tables import ATTACHMENTS
from fairlead.gossip.veil import Veil
from fairlead.gossip.views import CLUSTER, EVERYTHING, VERDICTS, Verdict, encode_verdict
from fairlead.model import codes
from fairlead.model.balance import Follower
from fairlead.model.cluster import Ring, Station
from fairlead.model.errors import Invalid, NetError, NotFound, Unavailable
from fairlead.model.events import AddressForgotten, DataPath, Event, NamesSeen, PeersComplete, PeersSeen, StationsSeen
from fairlead.model.gossip import GossipRecord, GossipStatus
from fairlead.model.session import FORGET_NODE, Forget, HeldKeys

log = logging.getLogger(__name__)

#: UDP and TCP port of gossip (Docker's).
GOSSIP_PORT = 7946
#: Seconds between two notes of where the members are.
NOTE_PEERS_S = 5.0
#: Seconds until the engine is told again what it could not follow.
AGAIN_S = 1.0
#: Seconds that other nodes have to say whether they do what this one said, when somebody wants to see it.
FOLLOW_S = 1.0


@dataclass(slots=True)
class _Network:
    """What this node wants said in a network. ``joined``: it takes part; ``ring``: what the values are sealed with."""

    joined: bool = False
    ring: Ring | None = None
    facts: dict[tuple[str, str], Fact] = field(default_factory=dict)


@dataclass(slots=True)
class _Speaking:
    """While the node is in a cluster."""

    place: Place
    mtu: int
    ring: Ring
    identity: Identity
    keyring: Keyring
    box: Voicebox
    hearsay: Hearsay
    nonce: str = ""

    @property
    def described(self) -> Metadata:
        """What its card says of this node."""
        return Metadata(self.place.node_id, self.place.data_path, self.mtu, self.nonce)


class Gossiping:
    """There is one in a daemon. ``feed`` tells the engine."""

    def __init__(self, feed: Callable[[Event], Awaitable[None]]) -> None:
        self._feed = feed
        self._networks: dict[str, _Network] = {}
        self._retracting: dict[tuple[str, int], Retract] = {}
        self._authorities: frozenset[NodeId] = frozenset()
        self._verdicts: frozenset[NodeId] = frozenset()
        self._removed: frozenset[str] = frozenset()
        self._now: _Speaking | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()
        self._settled: list[str] = []
        #: Who wants to know when this node does what he said: his scope -> the last that was asked.
        self._asked: dict[tuple[NodeId, str], FollowAsked] = {}
        self._awaiting: list[tuple[Callable[[Hearsay], bool], asyncio.Future[None]]] = []
        self._noting = False
        self._nonce = ""
        self.warnings: tuple[str, ...] = ()
        #: Whether the node is in a cluster.
        self.speaks = False

    def tell(self, message: Scoped | DataPath | Station) -> None:
        """What the engine wants said or said no more; what the data path is found to carry, and what this node drew for its
        present life as an end of encrypted tunnels: the node's card says so."""
        if isinstance(message, DataPath):
            self._describe(message.mtu)
            return
        if isinstance(message, Station):
            self._nonce = message.nonce
            if self._now is not None:
                self._describe(self._now.mtu)
            return
        network = self._networks.setdefault(message.network_id, _Network())
        match message:
            case JoinScope():
                self._join(message.network_id, network)
            case LeaveScope():
                self._leave(message.network_id, network)
            case Publish(peer=fact) | PublishNames(names=fact):
                network.facts[records.table_of(fact), fact.endpoint_id] = fact
                self._say(network, fact)
            case RetractNames():
                network.facts.pop((NAMES, message.endpoint_id), None)
                self._unsay(message.network_id, NAMES, message.endpoint_id)
            case Retract():
                self._retract(network, message)

    async def start(self, place: Place, mtu: int, ring: Ring, seeds: Iterable[Address] = ()) -> None:
        """Begin to speak, as a member at ``place`` whose data path carries ``mtu`` bytes, with the cluster's key ring.
        ``seeds`` are asked beside those members that were there last time. Raises ``Unavailable`` when it cannot
        listen, ``Invalid`` for a ring that is none."""
        await self._end(leave=False)
        number = next_epoch(await asyncio.to_thread(keepsake.epoch, place.folder), int(time.time()))
        await self._begin(place, mtu, ring, seeds, number)

    async def stop(self, *, leave: bool = False) -> None:
        """Speak no more; with ``leave`` after a farewell, and nothing that was wanted is said in the next cluster."""
        await self._end(leave=leave)
        if leave:
            self._networks.clear()
            self._retracting.clear()
            self._verdicts = self._authorities = frozenset()
            self._removed = frozenset()

    async def apply_keys(self, ring: Ring) -> HeldKeys:
        """Hold and use the keys of this ring and no others; what is held then. New ones open before the primary changes,
        old ones as long as they are in the ring: nothing is lost, however many changes were missed. Raises ``Invalid``."""
        speaking, wanted = self._speaking(), _keys(ring)
        await speaking.box.do(lambda _core, _now: _change_keys(speaking.keyring, wanted, ring.primary))
        speaking.ring = ring
        return self.held()

    def held(self) -> HeldKeys:
        """The keys of the cluster's ring that are in use; none on a node in no cluster."""
        ring = self._now.ring if self._now is not None else Ring()
        return HeldKeys(tuple(sorted(key.tag for key in ring.keys)), ring.primary)

    def set_ring(self, network_id: str, ring: Ring | None) -> None:
        """What the values of a network are sealed with from now on; None: this node has no part in it any more. Raises
        ``Invalid``."""
        network = self._networks.setdefault(network_id, _Network())
        former, network.ring = network.ring, ring if ring is None else _checked(network_id, ring)
        if ring is None:
            if not network.joined:
                del self._networks[network_id]
        elif network.joined and ring != former:
            self._join(network_id, network, again=former is None or former.primary != ring.primary)

    def trust(self, managers: Collection[str], removed: Collection[str], removed_keys: Collection[str]) -> None:
        """The managers' public keys of gossip (hexadecimal): their verdicts are believed. Of the nodes ``removed`` (ids in the
        cluster) nothing is; a manager passes verdict on them (``removed_keys``), which reaches those too that no manager
        reaches."""
        self._authorities = _member_ids(managers)
        self._verdicts = _member_ids(removed_keys)
        self._removed = frozenset(removed)
        speaking, authorities = self._now, self._authorities
        if speaking is not None:
            speaking.hearsay.remove_nodes(self._removed)
            speaking.box.post(lambda core, now: core.trust(authorities, now))
            self._pass_verdicts(speaking)
            self._news.set()

    async def followed(self, networks: Collection[str]) -> None:
        """Return when every living member of these networks does what this node said there until now: its tables in Linux
        are so."""
        speaking = self._now
        if speaking is None:
            return
        every = await speaking.box.do(lambda core, _: [core.said_so_far(network) for network in networks])
        await asyncio.gather(*(speaking.box.converged(written, followed=True) for written in every))

    async def followers(self, network_id: str) -> tuple[Follower, ...]:
        """The other members of a network, and whether each does what this node has said there; those that do not say so
        within ``FOLLOW_S`` do not. None where this node takes no part."""
        speaking = self._now
        if speaking is None or network_id not in speaking.hearsay.networks():
            return ()
        written = await speaking.box.do(lambda core, _: core.said_so_far(network_id))
        with suppress(TimeoutError):
            await asyncio.wait_for(speaking.box.converged(written, followed=True), FOLLOW_S)
        known = await speaking.box.do(lambda core, _: core.following.members(written))
        cards = {node: speaking.hearsay.members.get(node, Metadata()) for node in known}
        found = [Follower(cards[node].node_id, cards[node].data_path, in_step) for node, in_step in known.items()]
        return tuple(sorted(found, key=lambda one: one.node_id))

    async def forgotten(self, wish: Forget) -> None:
        """Return when nothing of what a manager wants forgotten is believed here any more, nor stands in Linux."""
        if wish.what == FORGET_NODE:
            self._removed |= {wish.subject}
            if self._now is not None:
                self._now.hearsay.remove_nodes(self._removed)
            await self._await(lambda hearsay: not hearsay.told(wish.subject))
        else:
            network_id, _, address = wish.subject.partition("/")
            await self._await(lambda hearsay: not hearsay.claimed(network_id, address, wish.generation))

    async def status(self) -> GossipStatus:
        """How this node takes part; raises ``Unavailable`` when it is in no cluster."""
        speaking = self._speaking()
        snapshot, waiting = await speaking.box.do(lambda core, _: (core.snapshot(), core.waiting))
        hearsay, place = speaking.hearsay, speaking.place
        return status(
            snapshot,
            hearsay,
            own=speaking.described,
            address=str(Address(place.advertise, GOSSIP_PORT)),
            traffic=asdict(speaking.box.server.traffic),
            waiting=waiting,
            warnings=self.warnings,
        )

    async def table(self, network_id: str = CLUSTER) -> tuple[GossipRecord, ...]:
        """What is said in a network, or (empty) in the cluster's own scope. Raises ``Unavailable``, or ``NotFound`` for a
        network that this node takes no part in."""
        speaking = self._speaking()
        if network_id != CLUSTER and network_id not in speaking.hearsay.networks():
            raise NotFound(f"this node takes no part in network {network_id}", code=codes.NETWORK_NOT_FOUND)
        tables = (ATTACHMENTS, VERDICTS) if network_id == CLUSTER else (PEERS, NAMES)
        found = await speaking.box.do(
            lambda core, _: [record for table in tables for record in core.tables.items(network_id, table)]
        )
        rows = [record_row(record, speaking.hearsay, speaking.described) for record in found]
        return tuple(sorted(rows, key=lambda row: (row.table, row.key)))

    def _describe(self, mtu: int) -> None:
        speaking = self._now
        if speaking is not None and (mtu, self._nonce) != (speaking.mtu, speaking.nonce):
            speaking.mtu, speaking.nonce = mtu, self._nonce
            metadata = speaking.described.encode()
            speaking.box.post(lambda core, now: core.describe(metadata, now))

    async def _begin(self, place: Place, mtu: int, ring: Ring, seeds: Iterable[Address], number: int) -> None:
        folder, wanted = place.folder, _keys(ring)
        identity = place.gossip
        await asyncio.to_thread(keepsake.keep_epoch, folder, number)
        known = [*seeds, *await asyncio.to_thread(keepsake.peers, folder)]
        keyring = Keyring(wanted[ring.primary])
        _change_keys(keyring, wanted, ring.primary)
        metadata = Metadata(place.node_id, place.data_path, mtu, self._nonce).encode()
        start = Start(
            identity,
            number,
            Address(_listen_host(place), GOSSIP_PORT),
            Address(str(ip_address(place.advertise)), GOSSIP_PORT),
            keyring,
            GossipSettings(authorities=self._authorities, metadata=metadata),
            tuple(dict.fromkeys(known)),
        )
        box = Voicebox(start, self._heard)
        self.speaks = True
        self._now = speaking = _Speaking(place, mtu, ring, identity, keyring, box, Hearsay(identity.id), self._nonce)
        speaking.hearsay.remove_nodes(self._removed)
        for network_id, network in list(self._networks.items()):
            if network.joined:
                self._join(network_id, network)
        for message in self._retracting.values():
            self._forget(speaking, message)
        self._pass_verdicts(speaking)
        box.post(lambda core, now: core.complete(now))
        box.begin()
        self._spawn(self._relay(speaking.hearsay))
        log.info("gossip: member %s in epoch %d at %s", identity.id.hex(), number, start.advertise)

    async def _end(self, *, leave: bool) -> None:
        """Speak no more; what is wanted stays wanted."""
        speaking, self._now, self.speaks = self._now, None, False
        own = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not own]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _, waiter in self._awaiting:
            waiter.cancel()
        self._awaiting.clear()
        if speaking is not None:
            await speaking.box.close(leave=leave)
            await asyncio.to_thread(keepsake.keep_peers, speaking.place.folder, [*speaking.hearsay.addresses.values()])

    def _join(self, network_id: str, network: _Network, *, again: bool = True) -> None:
        """Take part, as soon as there is what the values are sealed with; also with another ring. With ``again`` all is
        said again."""
        network.joined = True
        if self._now is None or network.ring is None:
            return
        speaking = self._now
        speaking.hearsay.enter(network_id, Veil(network_id, network.ring))
        speaking.box.post(lambda core, now: core.attach(network_id, now))
        for fact in network.facts.values() if again else ():
            self._say(network, fact)
        self._spawn(self._hear_again([network_id]))

    def _leave(self, network_id: str, network: _Network) -> None:
        network.joined = False
        network.facts.clear()
        if network.ring is None:
            del self._networks[network_id]
        if self._now is not None:
            self._now.hearsay.leave(network_id)
            self._now.box.post(lambda core, now: core.detach(network_id, now))

    def _say(self, network: _Network, fact: Fact) -> None:
        speaking = self._now
        if speaking is None or network.ring is None or not network.joined:
            return
        own = speaking.identity.id
        value = records.write(fact, own, Veil(fact.network_id, network.ring))
        table, key = records.table_of(fact), records.key_of(fact.endpoint_id, own)
        speaking.box.post(lambda core, now: core.put(fact.network_id, table, key, value, now))

    def _unsay(self, network_id: str, table: str, endpoint_id: str) -> None:
        speaking = self._now
        if speaking is not None:
            key = records.key_of(endpoint_id, speaking.identity.id)
            speaking.box.post(lambda core, now: _withdraw(core, network_id, table, key, now))

    def _retract(self, network: _Network, message: Retract) -> None:
        network.facts.pop((NAMES, message.endpoint_id), None)
        network.facts.pop((PEERS, message.endpoint_id), None)
        self._unsay(message.network_id, NAMES, message.endpoint_id)
        key = (message.lease_id, message.generation)
        if key not in self._retracting:
            self._retracting[key] = message
            if self._now is not None:
                self._forget(self._now, message)

    def _forget(self, speaking: _Speaking, message: Retract) -> None:
        """Take an endpoint back, wait until nobody has it any more, and tell the engine."""
        network_id, key = message.network_id, records.key_of(message.endpoint_id, speaking.identity.id)
        said = speaking.box.post(lambda core, now: _say_gone(core, network_id, key, now))

        async def finish() -> None:
            await speaking.box.converged(await asyncio.wrap_future(said))
            await self._tell(AddressForgotten(message.lease_id, message.generation))
            self._retracting.pop((message.lease_id, message.generation), None)
            if (PEERS, message.endpoint_id) not in self._networks.get(network_id, _Network()).facts:
                self._unsay(network_id, PEERS, message.endpoint_id)

        self._spawn(finish())

    def _pass_verdicts(self, speaking: _Speaking) -> None:
        if speaking.identity.id in self._authorities:
            verdicts = self._verdicts
            speaking.box.post(lambda core, now: _judge(core, verdicts, now))

    def _heard(self, events: list[Heard]) -> None:
        """In the event loop: what has happened since the last time."""
        speaking = self._now
        if speaking is None:
            return
        moved = False
        for event in events:
            if isinstance(event, Settled):
                self._settled.append(event.network)
            elif isinstance(event, FollowAsked):
                self._asked[event.by, event.scope] = event
            elif isinstance(event, EpochTaken):
                log.warning(
                    "another life of this node is known to others (epoch %d): this one begins anew", event.epoch
                )
                self._spawn(self._begin_anew(speaking, event.epoch))
            else:
                moved = speaking.hearsay.hear(event) or moved
                if isinstance(event, MemberUp | MemberLeft | MemberChanged) and not self._noting:
                    self._noting = True
                    self._spawn(self._note_peers(speaking))
        if moved:
            self._spawn(self._hear_again(list(speaking.hearsay.networks())))
        self._news.set()

    async def _hear_again(self, networks: list[str]) -> None:
        """Look again at what stands: keys or addresses have come that make it believable."""
        speaking = self._now
        if speaking is not None and networks:
            speaking.hearsay.hear_again(await speaking.box.do(lambda core, _: _standing(core, networks)))
            self._news.set()

    async def _begin_anew(self, speaking: _Speaking, taken: int) -> None:
        if self._now is not speaking:
            return
        await self._end(leave=False)
        number = next_epoch(taken, int(time.time()))
        try:
            await self._begin(speaking.place, speaking.mtu, speaking.ring, (), number)
        except NetError as error:
            log.error("gossip cannot begin anew: %s", error)

    async def _note_peers(self, speaking: _Speaking) -> None:
        """Remember where the members are, for a start when no manager answers."""
        try:
            await asyncio.sleep(NOTE_PEERS_S)
            await asyncio.to_thread(keepsake.keep_peers, speaking.place.folder, [*speaking.hearsay.addresses.values()])
        finally:
            self._noting = False

    async def _relay(self, hearsay: Hearsay) -> None:
        """Tell the engine what is heard, all that has gathered in one turn of it."""
        while True:
            await self._news.wait()
            self._news.clear()
            asked, self._asked = self._asked, {}
            failed: list[StationsSeen | PeersSeen | NamesSeen] = []
            while hearsay.waiting():
                failed += [event for event in hearsay.take() if not await self._tell(event)]
            for event in failed:
                hearsay.put_back(event)
            if not failed:
                self._answer(list(asked.values()))
            settled, self._settled = self._settled, []
            for network_id in settled:
                if network_id in hearsay.networks():
                    await self._tell(PeersComplete(network_id))
            for entry in [entry for entry in self._awaiting if entry[0](hearsay)]:
                self._awaiting.remove(entry)
                if not entry[1].done():
                    entry[1].set_result(None)
            if failed:
                asyncio.get_running_loop().call_later(AGAIN_S, self._news.set)
            elif hearsay.waiting():
                self._news.set()

    def _answer(self, asked: Collection[FollowAsked]) -> None:
        """Tell those who asked that what they said stands in Linux; those who get no answer ask again."""

        def answer(core: Core, _now: float) -> None:
            for one in asked:
                core.following.answer(one)

        if asked and self._now is not None:
            self._now.box.post(answer)

    async def _tell(self, event: Event) -> bool:
        """Whether the engine could follow."""
        try:
            await self._feed(event)
        except NetError as error:
            log.error("what other nodes said could not be followed: %s", error)
        except Exception:  # a supervisor: what they say next must be followed all the same
            log.exception("what other nodes said met a fault")
        else:
            return True
        return False

    async def _await(self, holds: Callable[[Hearsay], bool]) -> None:
        if self._now is None:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaiting.append((holds, waiter))
        self._news.set()
        await waiter

    def _speaking(self) -> _Speaking:
        if self._now is None:
            raise not_a_member()
        return self._now

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # called off before its first turn, it would never be awaited

    async def _guarded(self, work: Coroutine[object, object, None]) -> None:
        try:
            await work
        except Exception:  # a supervisor: what else is heard must be followed all the same
            log.exception("a turn of the gossip failed")


def not_a_member() -> Unavailable:
    """What who asks is told on a node that is in no cluster (Docker's words)."""
    return Unavailable(
        "This node is not part of a swarm",
        hint="`fairlead swarm init` or `fairlead swarm join` makes it a member",
        code=codes.NOT_IN_SWARM,
    )


def _standing(core: Core, networks: Iterable[str]) -> list[Record]:
    return [record for network in networks for table in (PEERS, NAMES) for record in core.tables.items(network, table)]


def _say_gone(core: Core, network_id: str, key: str, now: float) -> Written:
    """Say that an endpoint is no more. An empty value, for a deletion is no news where nothing was said in this life, and
    would leave alone what a former life said. Where this node is not in the network any more, what it said there goes
    with its part in it, which is said in the same way."""
    if core.takes_part(network_id):
        return core.put(network_id, PEERS, key, b"", now)
    core.attach(network_id, now)
    core.detach(network_id, now)
    return core.said_so_far()


def _withdraw(core: Core, network_id: str, table: str, key: str, now: float) -> None:
    if core.takes_part(network_id):
        core.delete(network_id, table, key, now)


def _judge(core: Core, removed: Collection[NodeId], now: float) -> None:
    """Pass verdict on nodes that were removed, and take back those that are over."""
    own = core.tables.own(CLUSTER)
    wanted = {node.hex(): encode_verdict(Verdict(node, EPOCH_MAX, EVERYTHING)) for node in removed}
    for record in [record for record in own.records() if record.table == VERDICTS and record.key not in wanted]:
        core.delete(CLUSTER, VERDICTS, record.key, now)
    for key, verdict in wanted.items():
        if own.record(VERDICTS, key) is None:
            core.put(CLUSTER, VERDICTS, key, verdict, now)


def _keys(ring: Ring) -> dict[int, bytes]:
    """Keys by tag; raises ``Invalid``."""
    try:
        found = {key.tag: bytes.fromhex(key.secret) for key in ring.keys}
    except ValueError as error:
        raise Invalid("a key of the cluster's gossip is not hexadecimal") from error
    if ring.primary not in found:
        raise Invalid("the cluster's gossip has no primary key")
    return found


def _change_keys(keyring: Keyring, wanted: Mapping[int, bytes], primary: int) -> None:
    ids = {key_id(key) for key in wanted.values()}
    for old in keyring.ids:  # first, or a ring that missed many changes would be full
        if old not in ids and old != keyring.primary:
            keyring.remove(old)
    for key in wanted.values():
        keyring.install(key)
    keyring.use(key_id(wanted[primary]))
    for old in keyring.ids:
        if old not in ids:
            keyring.remove(old)


def _checked(network_id: str, ring: Ring) -> Ring:
    Veil(network_id, ring)
    return ring


def _member_ids(public_keys: Iterable[str]) -> frozenset[NodeId]:
    """Members by their public keys in hexadecimal; what is none is left out."""
    found = set()
    for text in public_keys:
        with suppress(ValueError):
            found.add(node_id(bytes.fromhex(text)))
    return frozenset(found)


def _listen_host(place: Place) -> str:
    """Where to listen: where told to; if that is everywhere, at the advertised address when this host has it, so that
    what it sends comes from there whatever routes say."""
    host = ip_address(place.listen)
    if not host.is_unspecified:
        return str(host)
    advertised = ip_address(place.advertise)
    with socket.socket(socket.AF_INET6 if advertised.version == 6 else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(advertised), 0))
        except OSError:
            return "::" if advertised.version == 6 else str(host)
    return str(advertised)
