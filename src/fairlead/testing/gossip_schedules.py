"""Random schedules of everything that can happen to a few nodes; each must end with all agreeing with the truth."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

from fairlead.testing.gossip_cluster import CLUSTER, Cluster, Player
from fairlead.testing.gossip_world import Faults

#: Nodes of a schedule, things that happen in it, seconds over which they do.
NODES_MAX, ACTS, SPAN_S = 6, 22, 6.0
#: Seconds of calm before packets are lost less, and after all have agreed.
CALM_S, AFTER_S = 2.0, 2.0
#: Seconds of each step of a key rotation: within them all that can be reached get the keys; those that are late get them
#: so much later.
KEY_STEP_S, KEY_LATE_S = 0.8, 4.0
#: Seconds in which all must agree after the last fault is over: the longest probe of a lost node, then repair.
SETTLE_S = 60.0
NETWORKS = ("net-a", "net-b")
TABLES = ("endpoints", "names")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a schedule went: a checksum over everything that was carried, steps, datagrams, virtual seconds until all
    agreed, and how often somebody alive was called down."""

    digest: int
    steps: int
    datagrams: int
    settled_s: float
    false_downs: int


class Schedule:
    """One of them, made of a seed."""

    def __init__(self, seed: int) -> None:
        self._chance = chance = Random(f"schedule {seed}")
        self._loss = chance.choice((0.0, 0.0, 0.05, 0.25))
        faults = Faults(
            delay_s=chance.choice((0.0001, 0.0001, 0.002, 0.02)),
            jitter_s=chance.choice((0.0, 0.0005, 0.01)),
            loss=self._loss,
            duplication=chance.choice((0.0, 0.0, 0.1)),
            reordering=chance.choice((0.0, 0.0, 0.2)),
        )
        self.cluster = Cluster(seed, faults)
        self._cuts: list[int] = []
        self._words = 0
        self._calmed = False

    def run(self) -> Outcome:
        """Live through it; raises ``AssertionError`` with the seed and the story when something does not hold."""
        cluster, chance = self.cluster, self._chance
        with cluster.world.telling():
            for _ in range(chance.randint(2, NODES_MAX)):
                player = cluster.add()
                player.node.skew_s, player.node.drift = chance.uniform(0, 1e6), chance.uniform(-1e-3, 1e-3)
                self._at(chance.choice((0.0, chance.random())), self._begin(player))
            for _ in range(ACTS):
                self._at(chance.random() * SPAN_S, self._act)
            cluster.world.run(SPAN_S)
            self._calm()
            settled_s = cluster.settle(SETTLE_S, every=8)
            # nothing comes after: what agreed once agrees still, and no late word undoes it
            cluster.world.run(AFTER_S)
            fault = cluster.disagreement()
            assert fault is None, f"agreed, and then: {fault}"
            cluster.check_views()
        world = cluster.world
        return Outcome(world.digest, world.steps, world.traffic.datagrams, settled_s, cluster.false_downs)

    def _begin(self, player: Player) -> Callable[[], None]:
        return lambda: self.cluster.start(player, self.cluster.players)

    def _at(self, time: float, act: Callable[[], object]) -> None:
        self.cluster.world.at(time, act)

    def _later(self, act: Callable[[], object], least: float, most: float) -> None:
        self._at(self.cluster.world.now + self._chance.uniform(least, most), act)

    def _act(self) -> None:
        acts = (
            (self._put, 10),
            (self._delete, 5),
            (self._burst, 2),
            (self._attach, 4),
            (self._detach, 2),
            (self._crash, 3),
            (self._pause, 2),
            (self._cut, 3),
            (self._slow, 1),
            (self._leave, 1),
            (self._rotate, 1),
        )
        act = self._chance.choices([act for act, _ in acts], [weight for _, weight in acts])[0]
        act()

    def _player(self) -> Player | None:
        running = [player for player in self.cluster.players if player.running and not player.node.paused]
        return self._chance.choice(running) if running else None

    def _name(self, player: Player) -> tuple[str, str, str]:
        scope = self._chance.choice((CLUSTER, *sorted(player.networks)))
        # one key in five is claimed by several owners
        owner = "all" if self._chance.random() < 0.2 else str(player.node.index)
        return scope, self._chance.choice(TABLES), f"{owner}-{self._chance.randrange(6)}"

    def _value(self) -> bytes:
        self._words += 1
        size = self._chance.choice((0, 10, 115, 115, 5000))
        return b"%d " % self._words + bytes(size)

    def _put(self) -> None:
        player = self._player()
        if player:
            self.cluster.put(player, *self._name(player), self._value())

    def _delete(self) -> None:
        player = self._player()
        if player and player.kept:
            self.cluster.delete(player, *self._chance.choice(sorted(player.kept)))

    def _burst(self) -> None:
        player = self._player()
        if player:
            scope = self._chance.choice((CLUSTER, *sorted(player.networks)))
            names = [(scope, "burst", f"{player.node.index}-{number}") for number in range(60)]
            self.cluster.put_many(player, [(name, self._value()) for name in names])

    def _attach(self) -> None:
        player = self._player()
        if player:
            self.cluster.attach(player, self._chance.choice(NETWORKS))

    def _detach(self) -> None:
        player = self._player()
        if player and player.networks:
            self.cluster.detach(player, self._chance.choice(sorted(player.networks)))

    def _crash(self) -> None:
        player = self._player()
        if player:
            self.cluster.crash(player)
            if self._chance.random() < 0.8:
                self._later(lambda: self._restart(player), 0.01, 4.0)

    def _restart(self, player: Player) -> None:
        if player.node.core is None:
            self.cluster.start(player, self.cluster.players, records=self._chance.random() < 0.6)

    def _pause(self) -> None:
        player = self._player()
        if player:
            self.cluster.pause(player, self._chance.choice((0.1, 0.5, 3.0)))

    def _cut(self) -> None:
        cluster, chance = self.cluster, self._chance
        some = [player for player in cluster.players if chance.random() < 0.5]
        cut = cluster.cut(some, one_way=chance.random() < 0.2)
        self._cuts.append(cut)
        self._later(lambda: self._heal(cut), 0.2, 6.0)

    def _heal(self, cut: int) -> None:
        if cut in self._cuts:
            self._cuts.remove(cut)
            self.cluster.heal(cut)
            for player in self.cluster.players:
                # a question that was asked during the cut may end after it
                self.cluster.trouble(player)

    def _slow(self) -> None:
        player = self._player()
        if player:
            player.node.service_s = self._chance.choice((0.005, 0.05))
            self.cluster.trouble(player, 2.0)
            self._later(lambda: setattr(player.node, "service_s", 0.0), 0.5, 2.0)

    def _leave(self) -> None:
        player = self._player()
        if player:
            self.cluster.leave(player)
            if self._chance.random() < 0.6:
                self._later(lambda: self._restart(player), 1.5, 4.0)

    def _rotate(self) -> None:
        """A new key is handed out, becomes primary, and the old ones go: three steps, each of which may come late to some,
        who may have missed all by then."""
        old = [key for key in self.cluster.keys if len(self.cluster.keys) == 1]
        if not old:
            return  # one at a time
        self._words += 1
        new = hashlib.sha256(b"key %d" % self._words).digest()
        for step, keys in enumerate(([*old, new], [new, *old], [new])):
            self._at(self.cluster.world.now + step * KEY_STEP_S, partial(self._hand_out, keys))

    def _hand_out(self, keys: list[bytes]) -> None:
        self.cluster.keys = keys
        for player in self.cluster.players:
            if player.running:
                late = not self._calmed and self._chance.random() < 0.15
                wait = (
                    self._chance.uniform(KEY_STEP_S, KEY_LATE_S) if late else self._chance.random() * KEY_STEP_S * 0.9
                )
                if late:
                    self.cluster.trouble(player, wait)
                self._at(self.cluster.world.now + wait, partial(self._rekey, player, player.epoch))

    def _rekey(self, player: Player, epoch: int) -> None:
        if not player.running or player.epoch != epoch:
            return
        if player.node.paused:
            self.cluster.trouble(player, KEY_STEP_S)
            self._later(partial(self._rekey, player, epoch), KEY_STEP_S / 8, KEY_STEP_S / 4)
        else:
            self.cluster.rekey(player)

    def _calm(self) -> None:
        """All faults end; of those that died some stay dead."""
        cluster, world = self.cluster, self.cluster.world
        self._calmed = True
        for player in cluster.players:
            self._rekey(player, player.epoch)
        for cut in list(self._cuts):
            self._heal(cut)
        world.run(CALM_S)
        # whoever stands still has no say in what is agreed on
        world.run_until(lambda: not any(player.node.paused for player in cluster.players), SPAN_S)
        world.faults.loss = min(self._loss, 0.1)
        for player in cluster.players:
            player.node.service_s = 0.0
            if player.node.core is None and self._chance.random() < 0.5:
                self._restart(player)
