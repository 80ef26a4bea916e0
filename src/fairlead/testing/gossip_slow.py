"""Lifeguard's experiment (arXiv 1707.00788, section V): some members do not get at their messages now and then.

Slow members are *muffled* again and again, for ``MUFFLED_S`` each time, with ``BETWEEN_S`` of health in between: their
timers run, what they send and what is sent to them waits, as in the paper. Then all that they thought meanwhile comes
out at once. The network is sound, and nobody dies: whenever a sound member is called dead, by whomever, that is false.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from random import Random

from fairlead.gossip.contract import GossipSettings
from fairlead.testing.gossip_cluster import Cluster, Player
from fairlead.testing.gossip_crowd import crowd
from fairlead.testing.gossip_world import Faults

#: Seconds for which a slow member is muffled, and is not in between: the spans of the paper's D and I; each time a length
#: is drawn evenly by its logarithm.
MUFFLED_S, BETWEEN_S = (0.128, 32.768), (0.001, 16.384)
#: Links of a data centre.
LINKS = Faults(delay_s=0.0005, jitter_s=0.0005)


@dataclass(frozen=True, slots=True)
class FalseDeaths:
    """How often some node called one dead that lives. Of sound members, each time one of the others says so: by sound
    members (the paper's FP-), and by slow ones; how many sound ones were ever called so. And how often a slow one was, in
    which an accuser may be right."""

    by_sound: int
    by_slow: int
    victims: int
    of_slow: int

    @property
    def of_sound(self) -> int:
        """False deaths of sound members, whoever says so (the paper's FP)."""
        return self.by_sound + self.by_slow


def slow_members(
    seed: int,
    count: int,
    slow: int,
    duration_s: float,
    settings: GossipSettings,
    muffled_s: tuple[float, float] = MUFFLED_S,
) -> FalseDeaths:
    """Let so many of so many nodes be slow for a while."""
    cluster = crowd(seed, count, faults=replace(LINKS), settings=settings)
    chance = Random(f"slow {seed}")
    world = cluster.world
    world.run(2.0)
    cluster.downs.clear()
    afflicted = chance.sample(cluster.players, slow)
    for player in afflicted:
        _muffle(cluster, player, chance, muffled_s)
    world.run(duration_s)
    sick = {id(player) for player in afflicted}
    sound = [(by, about) for _, by, about in cluster.downs if id(about) not in sick]
    by_slow = sum(id(by) in sick for by, _ in sound)
    victims = len({id(about) for _, about in sound})
    return FalseDeaths(len(sound) - by_slow, by_slow, victims, len(cluster.downs) - len(sound))


def _muffle(cluster: Cluster, player: Player, chance: Random, muffled_s: tuple[float, float]) -> None:
    muffled, between = (_between(chance, *span) for span in (muffled_s, BETWEEN_S))
    cluster.world.muffle(player.node, muffled)
    again = cluster.world.now + muffled + between
    cluster.world.at(again, partial(_muffle, cluster, player, chance, muffled_s))


def _between(chance: Random, least: float, most: float) -> float:
    return float(least * (most / least) ** chance.random())
