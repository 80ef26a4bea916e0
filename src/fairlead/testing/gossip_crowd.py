"""Crowds: clusters whose nodes know each other from the beginning.

A thousand nodes that join one after the other check a million signatures, ten thousand hold a hundred million members,
which says nothing about what comes after. Here each core is given what it would hold after it has joined; the cards and
opinions are common to all, and with ``shared`` the tables of them too, which serves as long as nobody's opinion changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from fairlead.gossip.contract import GossipSettings
from fairlead.gossip.gossip import Gossip
from fairlead.testing.gossip_cluster import Cluster, Player
from fairlead.testing.gossip_world import Faults


def crowd(
    seed: int,
    count: int,
    *,
    shared: bool = False,
    faults: Faults | None = None,
    settings: GossipSettings | None = None,
) -> Cluster:
    """A cluster of so many nodes, all joined."""
    cluster = Cluster(seed, faults, settings, strict=False)
    players = [cluster.add() for _ in range(count)]
    # each in its first life: there is nothing from before that a word of completeness would end
    cores = [cluster.make(player, complete=False) for player in players]
    acquaint(cores, shared=shared)
    for player, core in zip(players, cores, strict=True):
        cluster.world.start(player.node, core)
    return cluster


def acquaint(cores: Sequence[Gossip], *, shared: bool) -> None:
    """Let all know all."""
    first = cores[0].members
    for core in cores[1:]:
        own = core.members.get(core.members.own)
        assert own is not None
        first.meet(own.card)
    for core in cores[1:]:
        members = core.members
        for name, table in vars(first).items():
            if isinstance(table, dict | set | list):
                setattr(members, name, table if shared else table.copy())
        members.sums = first.sums if shared else first.sums.copy()
        members.changes += 1


def converge(cluster: Cluster, origin: Player, key: str, limit_s: float = 5.0) -> tuple[int, float]:
    """Put one entry; rounds (one-way delays) until the last node has it, and datagrams per node by then."""
    world, before = cluster.world, cluster.world.traffic.datagrams
    missing = {player.node.index for player in cluster.players if player.running}
    began = world.now
    name = ("", "endpoints", key)
    cluster.put(origin, *name, Random(key).randbytes(115))

    def all_have() -> bool:
        missing.difference_update([index for index in missing if name in cluster.players[index].seen])
        return not missing

    # the rounds are exact: all that is sent at one time arrives at one time
    while not all_have():
        assert world.now < began + limit_s, f"{len(missing)} nodes lack {key}"
        world.run(world.faults.delay_s / 2)
    rounds = round((world.now - began) / world.faults.delay_s)
    return rounds, (world.traffic.datagrams - before) / len(cluster.players)
