"""Lifeguard's experiment (arXiv 1707.00788, section 5): members that stand still again and again, on a sound network.

A slow member runs for a moment, then stands still for a while, over and over: a busy host, a paused virtual machine.
When it runs it works through what came meanwhile, finds its own questions unanswered, and may call sound members dead:
these are the false deaths that count. That it is called dead itself, while it stands still, is just.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from random import Random

from fairlead.gossip.contract import GossipSettings
from fairlead.testing.gossip_cluster import Cluster, Player
from fairlead.testing.gossip_crowd import crowd
from fairlead.testing.gossip_world import Faults

#: Seconds for which a slow member stands still, and runs in between (Lifeguard's durations D and intervals I).
STILL_S, RUNS_S = (0.5, 8.0), (0.001, 0.05)
#: Links on which an answer takes longer than a slow member's shortest run.
LINKS = Faults(delay_s=0.005, jitter_s=0.005)


@dataclass(frozen=True, slots=True)
class FalseDeaths:
    """How often some node called one dead that lives: sound ones, and slow ones while they stood still; and by how many
    accusers sound ones were first called so."""

    of_healthy: int
    of_slow: int
    victims: int


def slow_members(
    seed: int, count: int, slow: int, duration_s: float, settings: GossipSettings | None = None
) -> FalseDeaths:
    """Let so many of so many nodes be slow for a while."""
    cluster = crowd(seed, count, faults=replace(LINKS), settings=settings)
    chance = Random(f"slow {seed}")
    world = cluster.world
    world.run(2.0)
    cluster.downs.clear()
    afflicted = chance.sample(cluster.players, slow)
    for player in afflicted:
        _stand_still(cluster, player, chance)
    world.run(duration_s)
    healthy = [about for _, _, about in cluster.downs if about not in afflicted]
    return FalseDeaths(len(healthy), len(cluster.downs) - len(healthy), len({about.node.index for about in healthy}))


def _stand_still(cluster: Cluster, player: Player, chance: Random) -> None:
    still = chance.uniform(*STILL_S)
    cluster.pause(player, still)
    again = cluster.world.now + still + chance.uniform(*RUNS_S)
    cluster.world.at(again, partial(_stand_still, cluster, player, chance))
