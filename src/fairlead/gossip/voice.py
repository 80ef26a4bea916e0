"""What a node's own daemon tells it to do: come, go, write, change keys. The other half of the core is ``gossip.py``."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from random import Random

from fairlead.gossip.blocks import NAME_BYTES_MAX, VALUE_BYTES_MAX, Said
from fairlead.gossip.confirm import Confirmations
from fairlead.gossip.contract import GossipSettings, Joined, Written
from fairlead.gossip.following import Following
from fairlead.gossip.gaps import Gaps
from fairlead.gossip.guard import Guard
from fairlead.gossip.holding import Holding
from fairlead.gossip.identity import Address, Identity, NodeId
from fairlead.gossip.keyring import Keyring
from fairlead.gossip.lifelines import Lifelines
from fairlead.gossip.links import Links
from fairlead.gossip.log import Version
from fairlead.gossip.members import Member, Members, Opinion, write_card
from fairlead.gossip.messages import Delta, Join, Message, Ping, State, Who
from fairlead.gossip.outbox import Outbox
from fairlead.gossip.plain import PlainSwim
from fairlead.gossip.repair import Repair
from fairlead.gossip.settling import Settling
from fairlead.gossip.spread import Spreading
from fairlead.gossip.swim import Swim
from fairlead.gossip.tables import Tables
from fairlead.gossip.tree import Tree
from fairlead.gossip.views import CLUSTER
from fairlead.model.errors import Invalid

#: Seconds until the next seed is asked when one does not answer; doubled each round, up to the second number.
JOIN_AGAIN_S, JOIN_AGAIN_S_MAX = 0.1, 5.0
#: Seconds until seeds where nobody was met are asked again after the join; doubled each time, up to the second number.
GREET_S, GREET_S_MAX = 2.0, 30.0
#: Seconds for a seed to answer until the next is asked, too; and until it is not listened to any more: where a whole
#: cluster starts at one time, seeds have much to answer.
JOIN_S, JOIN_S_MAX = 2.0, 8.0
#: Bytes of what a node says of its own when it joins; what does not fit is pushed afterwards.
JOIN_BYTES = 64 * 1024
#: Packets that are kept until the cluster's state has come.
EARLY_MAX = 256
#: Other members with which a node that has joined compares what it got.
CONTACTS = 2
#: Seconds of quiet after which a log is summed up.
SUM_UP_S = 0.2
#: Seconds after which a node compares what it pulled: by then what was under way meanwhile has come.
SETTLE_S = 0.1
#: Round trip assumed before any was measured, seconds.
_RTT_S = 0.002


class Voice:
    """A node's part in the gossip, with all that it consists of. Use ``Gossip``."""

    def __init__(
        self,
        identity: Identity,
        epoch: int,
        address: Address,
        keyring: Keyring,
        settings: GossipSettings,
        chance: Random,
        now: float,
    ) -> None:
        self._identity = identity
        self._epoch = epoch
        self._address = address
        self._settings = settings
        self._metadata = settings.metadata
        self._chance = chance
        self.counters: Counter[str] = Counter()
        self._card = write_card(identity, epoch, 0, address, settings.metadata)
        self.members = Members(self._card)
        self.tables = Tables(identity, epoch, settings.authorities)
        self._holding = Holding(identity, self.members, self.tables, self.counters)
        self._outbox = Outbox(identity.id, epoch, keyring, self.counters)
        self._tree = Tree(self.members, self.tables)
        self._links = Links(self.members, self._outbox, self.counters, self._rtt, self._loss)
        self._spreading = Spreading(self._holding, self._outbox, self._tree, self._links, self.counters)
        self._gaps = Gaps(
            self._holding, self._outbox, self._spreading, self._tree, chance, self.counters, self._rumours
        )
        self._repair = Repair(
            self._holding, self._outbox, self._spreading, self._gaps, self.counters,
            lambda scope: self._say_signed(self._summed_up([scope], anyhow=True)), self._rtt,
        )  # fmt: skip
        self._settling = Settling(self._holding, self._tree)
        self._confirmations = Confirmations(epoch, self.members, self.tables, self._tree, self._outbox)
        self.following = Following(epoch, self.members, self.tables, self._tree, self._outbox)
        self._swim = (Swim if settings.lifeguard else PlainSwim)(
            self.members, self._outbox, settings, chance, self.counters, now,
            ping=self._ping, turned=self._turned, tell=self._spreading.tell,
            lossy=self._spreading.lossy,
        )  # fmt: skip
        self._lifelines = Lifelines(self.members, self._outbox, self._swim, settings.lifelines)
        self._guard = Guard()
        self._joined = False
        self._left = False
        self._complete = False
        self._seeds: tuple[Address, ...] = ()
        self._seed = 0
        self._join_due: float | None = None
        #: What was pushed here, and from where, before it was known who there is.
        self._early: deque[tuple[bytes, Address]] = deque(maxlen=EARLY_MAX)
        self._quiet: dict[str, float] = {CLUSTER: now + SUM_UP_S}

    def join(self, seeds: Sequence[Address], now: float) -> None:
        """Belong to the cluster of any of these nodes; they are asked one after the other until one answers, for ever."""
        self._seeds = tuple(seed for seed in seeds if seed != self._address)
        self._seed = 0
        if self._seeds:
            self._join_due = now
            return
        self._joined = True
        for network in self._holding.networks:
            self._settling.begin(network, now)

    def leave(self, now: float) -> None:
        """Say farewell. Nobody looks for this node any more; after the next ``outgoing`` it may end."""
        self._flush(now)
        self._spreading.flush(now)
        self._left = True
        self._spreading.loss(now)
        self._introduce(now, left=True)
        self._join_due = None

    def attach(self, network: str, now: float) -> None:
        """Take part in a network: hold what is said there."""
        _check_name("network", network)
        if not network:
            raise Invalid("a network's id is not empty")
        if network in self._holding.networks:
            return
        self._holding.networks.add(network)
        self.tables.attach(network)
        self._quiet[network] = now + SUM_UP_S
        if self.tables.own(network).seq:
            self._say_signed(self._summed_up([network], anyhow=True))
        self._pull(network, now)
        self._settling.begin(network, now)

    def detach(self, network: str, now: float) -> None:
        """Take no part in a network any more: what was said there by this node is taken back, the rest forgotten."""
        if network not in self._holding.networks:
            return
        for record in list(self.tables.own(network).records()):
            self.tables.put(network, record.table, record.key, None)
        self._say_signed(self._written([network], now))
        self.tables.attach(network, there=False)
        self._say_signed(self._written([CLUSTER], now))
        self._holding.networks.discard(network)
        self._settling.end(network)
        self._quiet.pop(network, None)
        self._holding.seen(self.tables.forget_scope(network))

    def put(self, scope: str, table: str, key: str, value: bytes, now: float) -> Written:
        """Say that a record stands; raises ``Invalid``. It is sent with the next ``outgoing``."""
        if len(value) > VALUE_BYTES_MAX:
            raise Invalid(f"a value of {len(value)} bytes; at most {VALUE_BYTES_MAX}")
        return self._say(scope, table, key, value)

    def delete(self, scope: str, table: str, key: str, now: float) -> Written:
        """Say that a record of this node stands no more."""
        return self._say(scope, table, key, None)

    def complete(self, now: float) -> None:
        """All records that this node has are put: what stood by its former lives stands no more."""
        self._complete = True
        scopes = (CLUSTER, *sorted(self._holding.networks))
        self._say_signed([*self._written(scopes, now), *self._summed_up(scopes)])

    def trust(self, authorities: Iterable[NodeId], now: float) -> None:
        """Believe verdicts of these from now on, and of nobody else."""
        self._holding.seen(self.tables.trust(authorities))

    def converged(self, written: Written) -> bool:
        """Whether every living member has confirmed a write. Asking has those asked who have not: ask again later."""
        return self._confirmations.converged(written)

    def install_key(self, key: bytes) -> bytes:
        """Be able to open what is sealed with a key; its id. Raises ``Invalid`` or ``Conflict``."""
        return self._outbox.keyring.install(key)

    def use_key(self, identifier: bytes) -> None:
        """Seal with a key from now on; raises ``NotFound``."""
        self._outbox.keyring.use(identifier)

    def remove_key(self, identifier: bytes) -> None:
        """Forget a key; raises ``Conflict`` for the one that is sealed with."""
        self._outbox.keyring.remove(identifier)

    def _say(self, scope: str, table: str, key: str, value: bytes | None) -> Written:
        for what, name in (("scope", scope), ("table", table), ("key", key)):
            _check_name(what, name)
        if scope != CLUSTER and scope not in self._holding.networks:
            raise Invalid(f"this node takes no part in network {scope}", hint="attach it first")
        self.tables.put(scope, table, key, value)
        log = self.tables.own(scope)
        return Written(scope, self._epoch, log.seq + log.unsaid)

    def _flush(self, now: float) -> None:
        """Sign what was put, and have it sent."""
        self._say_signed(self._written(self.tables.unsaid(), now))

    def _written(self, scopes: Iterable[str], now: float) -> list[Said]:
        """What was put in some scopes, to be signed."""
        drafts: list[Said] = []
        for scope in scopes:
            blocks, changes = self.tables.flush(scope)
            self._holding.seen(changes)
            if blocks:
                drafts += blocks
                self._confirmations.said(scope, now)
                self._quiet[scope] = now + SUM_UP_S
        return drafts

    def _summed_up(self, scopes: Iterable[str], *, anyhow: bool = False) -> list[Said]:
        """Heads of some scopes that tell anybody anything, to be signed."""
        drafts: list[Said] = []
        for scope in scopes:
            self._quiet.pop(scope, None)
            head, changes = self.tables.sum_up(scope, complete=self._complete, anyhow=anyhow)
            self._holding.seen(changes)
            if head is not None:
                drafts.append(head)
        return drafts

    def _say_signed(self, drafts: Sequence[Said]) -> None:
        """Have what was written sent, under one signature: others check it once."""
        if drafts:
            self._spreading.tell(self.tables.sign(drafts))

    def _introduce(self, now: float, *, left: bool = False) -> None:
        """Say that one is there, above all that others say of it; or that one is not any more."""
        self._card = write_card(
            self._identity, self._epoch, self._card.incarnation + 1, self._address, self._metadata, left=left
        )
        self.members.meet(self._card)
        self._spreading.tell([self._card])
        self._spreading.flush(now)

    def _ask_seed(self, now: float) -> None:
        if self._joined:
            self._greet(now)
            return
        # whoever has spoken to us meanwhile is there for certain, and a seed may be gone for good
        met = [member.card.address for name in self._tree.reachable(CLUSTER) if (member := self.members.get(name))]
        asked = (*self._seeds, *(address for address in met if address not in self._seeds))
        seed = asked[self._seed % len(asked)]
        self._seed += 1
        rounds = self._seed // len(asked)
        again = min(JOIN_AGAIN_S * 2**rounds, JOIN_AGAIN_S_MAX)
        self._join_due = now + JOIN_S + again

        self._flush(now)
        items, told = self._introduction()

        def then(answer: Message | None, then_now: float) -> None:
            if self._joined or self._left:
                return
            if isinstance(answer, State):
                self._come(seed, answer, told, then_now)
            else:
                self._holding.known_before(answer.items if isinstance(answer, Delta) else ())
                self._join_due = then_now + again

        self._outbox.ask(seed, self._outbox.seal(Join(self._card, items)), then, JOIN_S_MAX)

    def _introduction(self) -> tuple[tuple[Said, ...], dict[str, Version]]:
        """What this node has said so far, as far as it is little, and up to where that is."""
        items: list[Said] = []
        told: dict[str, Version] = {}
        size = 0
        for scope in (CLUSTER, *sorted(self._holding.networks)):
            said = _said_since(self.tables, scope, Version())
            size += sum(len(item.body) for item in said)
            if size > JOIN_BYTES:
                break
            items += said
            told[scope] = self.tables.own(scope).version
        return tuple(items), told

    def _greet(self, now: float) -> None:
        """Ask seeds where no member is who is there: they may have been beyond a cut, with a cluster of their own, when
        this node joined by another."""
        strangers = [seed for seed in self._seeds if self.members.at(seed) is None]
        for seed in strangers:
            self._outbox.send(seed, self._outbox.seal(Who()))
        self._seed += 1
        self._join_due = now + min(GREET_S * 2**self._seed, GREET_S_MAX) if strangers else None

    def _come(self, seed: Address, state: State, told: dict[str, Version], now: float) -> None:
        """The cluster's state has come from a seed, which was ``told`` what this node had said, and has passed it on."""
        taken = self._holding.take(state.items, str(seed))
        self._gaps.took(taken, None, now)
        self._joined, self._join_due, self._seed = True, now + GREET_S, 0
        self._holding.events.append(Joined(seed))
        member = self.members.at(seed)
        shared = self._holding.shared(member.id) if member else []
        if member is not None and state.more:
            self._repair.sync(member, shared, members=True)
        for scope in (CLUSTER, *sorted(self._holding.networks)):
            known = told.get(scope, Version()) if scope in shared else Version()
            self._spreading.tell(_said_since(self.tables, scope, known))
            if scope not in shared:
                self._pull(scope, now)
            if scope != CLUSTER:
                self._settling.begin(scope, now)
        others = self._tree.reachable(CLUSTER)
        for peer in self._chance.sample(others, min(CONTACTS, len(others))):
            self._repair.contact(peer, now, SETTLE_S)

    def _pull(self, network: str, now: float) -> None:
        """Get what is said in a network from one node that is in it, and compare it with others."""
        others = self._tree.reachable(network)
        chosen = self._chance.sample(others, min(1 + CONTACTS, len(others)))
        for place, peer in enumerate(chosen):
            member = self.members.get(peer)
            if member is not None and not place:
                self._repair.sync(member, [network], members=False, ask=False)
            self._repair.contact(peer, now, SETTLE_S)

    def _ping(self, member: Member, number: int, accused: Opinion | None) -> Ping:
        self._confirmations.pinged(number)
        return Ping(number, self._repair.sum(member.id), accused)

    def _turned(self, before: Member, after: Member, now: float) -> None:
        """A node has been found dead, or alive, by one's own eyes."""
        self._holding.stands(before, after)
        if after.reachable:
            self._repair.contact(after.id, now)
        else:
            self._links.drop(after.id)
            self._confirmations.forget(after.id)
            self.following.forget(after.id)

    def _rumours(self, rumours: Iterable[Opinion], now: float) -> None:
        for opinion in rumours:
            if opinion.id != self._identity.id:
                self._swim.rumour(opinion, now)
            elif not self._left and opinion.order == self._card.order:
                self._swim.doubted()
                self._contradict(opinion, now)

    def _contradict(self, opinion: Opinion, now: float) -> None:
        """Others think this node dead, or ask it whether it lives. What is said to all is outranked by a word that costs them
        nothing to check; halves of a cluster that meet again say it of everybody."""
        own = self.members.get(opinion.id)
        if own is not None and own.level > opinion.level:
            return  # that was said already
        alive = self.members.see(opinion.id, opinion.level) if opinion.dead else None
        if alive is None:
            self._introduce(now)
        else:
            self._spreading.tell([alive.opinion])

    def _loss(self, now: float) -> None:
        self._spreading.loss(now)

    def _rtt(self, node: NodeId) -> float:
        return max(self._swim.rtt.get(node, _RTT_S), self._swim.pace)


def _check_name(what: str, name: str) -> None:
    if len(name.encode()) > NAME_BYTES_MAX:
        raise Invalid(f"a {what} of {len(name.encode())} bytes; at most {NAME_BYTES_MAX}")


def _said_since(tables: Tables, scope: str, known: Version) -> list[Said]:
    head, blocks = tables.own(scope).since(known)
    return [*((head,) if head else ()), *blocks]
