"""A cluster of real gossip cores in the simulated network, beside the truth: what each node's application holds.

Every event of every core is checked as it comes: what a watcher is told has changed must be what it was told before;
nobody may be called down who is there and can be reached. ``disagreement`` compares what all see with the truth.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random
from typing import TypeVar

from fairlead.gossip.contract import Event, GossipSettings, MemberDown, RecordChanged, Written
from fairlead.gossip.gossip import Gossip
from fairlead.gossip.identity import Identity, NodeId, verified
from fairlead.gossip.keyring import Keyring, key_id
from fairlead.gossip.log import Record
from fairlead.gossip.members import Standing
from fairlead.testing.gossip_world import Faults, Node, World

#: Seconds within which what happened to a node may still make others call it down.
AFTERMATH_S = 6.0
#: The scope of the cluster.
CLUSTER = ""
#: Tables of the cluster's scope that the core keeps for itself.
OWN_TABLES = frozenset({"attachments", "verdicts"})
KEY = hashlib.sha256(b"the key of the simulated cluster").digest()

#: What the nodes of all simulated clusters have found out about signatures: real ones, each checked once for all.
_found_out = lru_cache(maxsize=65536)(verified)

Name = tuple[str, str, str]
T = TypeVar("T")


class SimulatedIdentity(Identity):
    """A node's key pair; whether a signature is good it knows from others in the simulation, if one has checked it."""

    def verified(self, public_key: bytes, signature: bytes, message: bytes) -> bool:
        """Whether the owner of the key signed these bytes."""
        return _found_out(public_key, signature, message)


@dataclass(eq=False)
class Player:
    """A node and its application. ``kept`` is what the application holds: (scope, table, key) -> value; ``seen`` is what
    it was told that others hold."""

    node: Node
    identity: Identity
    epoch: int = 0
    left: bool = False
    networks: set[str] = field(default_factory=set)
    kept: dict[Name, bytes] = field(default_factory=dict)
    seen: dict[Name, Record] = field(default_factory=dict)
    #: Until when others may doubt it, and it others, for good reason.
    troubled_until: float = 0.0
    settings: GossipSettings = field(default_factory=GossipSettings)

    @property
    def id(self) -> NodeId:
        """Its id."""
        return self.identity.id

    @property
    def core(self) -> Gossip:
        """Its core, while it runs."""
        assert isinstance(self.node.core, Gossip), "it does not run"
        return self.node.core

    @property
    def running(self) -> bool:
        """Whether there is a process that has not said farewell."""
        return self.node.core is not None and not self.left


class Hosts:
    """Players that come and go, and what happens to them."""

    def __init__(self, world: World, settings: GossipSettings) -> None:
        self.world = world
        self.players: list[Player] = []
        #: Keys that the managers hand out, the primary one first.
        self.keys: list[bytes] = [KEY]
        self._settings = settings
        self._by_id: dict[NodeId, Player] = {}

    def add(self) -> Player:
        """A node that does not run yet."""
        node = self.world.add()
        identity = SimulatedIdentity(hashlib.sha256(b"node %d" % node.index).digest())
        player = Player(node, identity, settings=self._settings)
        self.players.append(player)
        self._by_id[identity.id] = player
        return player

    def grow(self, count: int, seeds: int = 3) -> list[Player]:
        """So many more nodes, started now, that join by the first ones."""
        new = [self.add() for _ in range(count)]
        for player in new:
            self.start(player, self.players[:seeds])
        return new

    def start(self, player: Player, seeds: Iterable[Player] = (), *, records: bool = True) -> None:
        """Start a node's process in its next life; its application says again what it holds, or (not ``records``) has
        forgotten it."""
        self.world.start(player.node, self.make(player, seeds, records=records))

    def make(
        self, player: Player, seeds: Iterable[Player] = (), *, records: bool = True, complete: bool = True
    ) -> Gossip:
        """The core of a node's next life, not started yet; ``complete``: it will say that it has said all."""
        player.epoch += 1
        player.left = False
        player.seen.clear()
        if not records:
            player.kept.clear()
            player.networks.clear()
        node, now = player.node, player.node.clock(self.world.now)
        keyring = Keyring(self.keys[0])
        for secret in self.keys:
            keyring.install(secret)
        core = Gossip(
            player.identity,
            player.epoch,
            node.address,
            keyring,
            player.settings,
            Random(f"{self.world.seed} {node.index} {player.epoch}"),
            now,
        )
        others = [other.node.address for other in seeds if other is not player]
        if others:
            core.join(others, now)
        for network in sorted(player.networks):
            core.attach(network, now)
        for (scope, table, key), value in player.kept.items():
            core.put(scope, table, key, value, now)
        if complete:
            core.complete(now)
        self.trouble(player)
        return core

    def rekey(self, player: Player) -> None:
        """It gets the keys as they are, however many rotations it has missed."""
        core = player.core
        for key in self.keys:
            core.install_key(key)
        core.use_key(key_id(self.keys[0]))
        for known in core.snapshot().keys:
            if known not in map(key_id, self.keys):
                core.remove_key(known)

    def crash(self, player: Player) -> None:
        """Its process dies."""
        self.trouble(player)
        self.world.crash(player.node)

    def pause(self, player: Player, duration_s: float) -> None:
        """Its process stands still."""
        self.trouble(player, duration_s)
        self.world.pause(player.node, duration_s)

    def cut(self, some: Sequence[Player], others: Sequence[Player] | None = None, *, one_way: bool = False) -> int:
        """As ``World.cut``."""
        rest = None if others is None else [player.node for player in others]
        return self.world.cut([player.node for player in some], rest, one_way=one_way)

    def heal(self, cut: int | None = None) -> None:
        """As ``World.heal``."""
        self.world.heal(cut)

    def trouble(self, player: Player, duration_s: float = 0.0) -> None:
        """Something happens to a node for a while: others may take it for dead, and it them."""
        player.troubled_until = max(player.troubled_until, self.world.now + duration_s + AFTERMATH_S)


class Cluster(Hosts):
    """All players. ``told`` hears every event after it was checked."""

    def __init__(
        self,
        seed: int,
        faults: Faults | None = None,
        settings: GossipSettings | None = None,
        told: Callable[[Player, Event], None] | None = None,
        *,
        strict: bool = True,
    ) -> None:
        super().__init__(World(seed, faults, self._hear), settings or GossipSettings())
        #: Who called whom down, and when.
        self.downs: list[tuple[float, Player, Player]] = []
        self.false_downs = 0
        self._strict = strict
        self._told = told

    def leave(self, player: Player) -> None:
        """It says farewell; its process stays for a second to have it heard."""
        player.left = True
        self._do(player, lambda core, now: core.leave(now))
        life = player.node.life

        def end() -> None:
            if player.node.life == life:
                self.crash(player)

        self.world.at(self.world.now + 1.0, end)

    def attach(self, player: Player, network: str) -> None:
        """It takes part in a network."""
        player.networks.add(network)
        self._do(player, lambda core, now: core.attach(network, now))

    def detach(self, player: Player, network: str) -> None:
        """It takes no part any more; what it held there is gone."""
        player.networks.discard(network)
        for name in [name for name in player.kept if name[0] == network]:
            del player.kept[name]
        self._do(player, lambda core, now: core.detach(network, now))
        for name in [name for name in player.seen if name[0] == network]:
            del player.seen[name]

    def put(self, player: Player, scope: str, table: str, key: str, value: bytes) -> Written:
        """Its application holds something from now on."""
        player.kept[scope, table, key] = value
        return self._do(player, lambda core, now: core.put(scope, table, key, value, now))

    def delete(self, player: Player, scope: str, table: str, key: str) -> Written:
        """Its application holds something no more."""
        del player.kept[scope, table, key]
        return self._do(player, lambda core, now: core.delete(scope, table, key, now))

    def put_many(self, player: Player, records: Iterable[tuple[Name, bytes]]) -> None:
        """Much at once, in one turn of its process."""
        core, now = player.core, player.node.clock(self.world.now)
        for name, value in records:
            player.kept[name] = value
            core.put(*name, value, now)
        self.world.settle(player.node)

    # -- what must hold

    def settle(self, limit_s: float, *, every: int = 64) -> float:
        """Let time pass until all agree with the truth; how long it took. Raises ``AssertionError``."""
        began = self.world.now
        if not self.world.run_until(lambda: self.disagreement() is None, limit_s, every=every):
            raise AssertionError(f"after {limit_s} s still: {self.disagreement()}")
        return self.world.now - began

    def disagreement(self) -> str | None:
        """What some node sees otherwise than it is; None when all see the truth."""
        running = [player for player in self.players if player.running and not player.node.paused]
        return self._members_differ(running) or self._records_differ(running)

    def check_views(self) -> None:
        """What each watcher was told is what a reader finds."""
        for player in self.players:
            if player.running:
                found = {
                    (record.scope, record.table, record.key): record
                    for name in {(name[0], name[1]) for name in player.seen}
                    for record in player.core.tables.items(*name)
                }
                told = {name: (record.owner, record.value) for name, record in player.seen.items()}
                assert told == {name: (record.owner, record.value) for name, record in found.items()}, player.node

    def _members_differ(self, running: list[Player]) -> str | None:
        lives = {player.id: player.running for player in self.players if player.epoch}
        last_lives: dict[NodeId, int] = {}
        for player in running:
            met = {member.id for member in player.core.members}
            for identifier, lives_on in lives.items():
                if lives_on and identifier not in met:
                    return f"node {player.node.index} has not met node {self._by_id[identifier].node.index}"
            for member in player.core.members:
                # a suspicion is a question that is open: nothing is hidden for it
                wanted = member.reachable if lives[member.id] else member.standing >= Standing.DEAD
                epoch = self._by_id[member.id].epoch
                if not wanted or (lives[member.id] and member.card.epoch != epoch):
                    other = self._by_id[member.id].node.index
                    return f"node {player.node.index} takes node {other} for {member.standing.name}, epoch {member.card.epoch}"
                # who has not heard yet of a dead node's last life will take it for alive for a moment when it does
                if last_lives.setdefault(member.id, member.card.epoch) != member.card.epoch:
                    return f"node {player.node.index} knows another life of node {self._by_id[member.id].node.index}"
        return None

    def _records_differ(self, running: list[Player]) -> str | None:
        claims: dict[str, dict[Name, set[tuple[NodeId, bytes]]]] = {}
        for player in running:
            for name, value in player.kept.items():
                claims.setdefault(name[0], {}).setdefault(name, set()).add((player.id, value))
        first: dict[str, dict[Name, tuple[NodeId, bytes]]] = {}
        for player in running:
            views: dict[str, dict[Name, tuple[NodeId, bytes]]] = {scope: {} for scope in (CLUSTER, *player.networks)}
            for name, record in player.seen.items():
                if name[0] not in views:
                    return f"node {player.node.index} sees {name} of a network that it has no part in"
                views[name[0]][name] = (record.owner, record.value)
            for scope, view in views.items():
                if first.setdefault(scope, view) is view or first[scope] != view:
                    fault = self._compare(view, claims.get(scope, {}), first[scope])
                    if fault:
                        return f"node {player.node.index}: {fault}"
        return None

    def _compare(
        self,
        view: dict[Name, tuple[NodeId, bytes]],
        claims: dict[Name, set[tuple[NodeId, bytes]]],
        others: dict[Name, tuple[NodeId, bytes]],
    ) -> str | None:
        for name in claims.keys() - view.keys():
            return f"{name} is lost"
        for name, (owner, value) in view.items():
            index = self._by_id[owner].node.index
            if name not in claims:
                return f"{name} of node {index} is there, which nobody holds"
            if (owner, value) not in claims[name]:
                return f"{name} of node {index} is {value!r}"
            if others.get(name) != (owner, value):
                return f"{name} is another one elsewhere"
        return None

    def _hear(self, node: Node, event: Event) -> None:
        player = self.players[node.index]
        if isinstance(event, RecordChanged):
            self._changed(player, event)
        elif isinstance(event, MemberDown):
            self._down(player, self._by_id[event.id])
        if self._told is not None:
            self._told(player, event)

    def _changed(self, player: Player, event: RecordChanged) -> None:
        name = (event.scope, event.table, event.key)
        if event.table in OWN_TABLES:
            return
        if event.scope != CLUSTER and event.scope not in player.networks:
            player.seen.pop(name, None)
            return
        before = player.seen.get(name)
        assert _said(before) == _said(event.before), f"node {player.node.index} was told {before} before: {event}"
        if event.after is None:
            player.seen.pop(name, None)
        else:
            player.seen[name] = event.after

    def _down(self, player: Player, other: Player) -> None:
        now = self.world.now
        self.downs.append((now, player, other))
        if not other.running or other is player:
            return
        self.false_downs += 1
        excused = max(player.troubled_until, other.troubled_until) >= now
        if self._strict and not excused and self.world.joined(player.node, other.node):
            raise AssertionError(f"node {player.node.index} calls node {other.node.index} down, which it can reach")

    def _do(self, player: Player, act: Callable[[Gossip, float], T]) -> T:
        result = act(player.core, player.node.clock(self.world.now))
        self.world.settle(player.node)
        return result


def _said(record: Record | None) -> tuple[NodeId, bytes] | None:
    return (record.owner, record.value) if record else None
