"""Usage: how full a network is, and until when it lasts."""

from __future__ import annotations

from dataclasses import dataclass

from fairlead.manager.core import Core, Turn
from fairlead.model.cluster import ClusterNetwork


@dataclass(frozen=True, slots=True)
class SubnetUsage:
    """Addresses of one subnet: ``used`` ones (gateway and reserved ones too), and those ``left`` to be chosen."""

    subnet: str
    used: int
    left: int


@dataclass(frozen=True, slots=True)
class Usage:
    """How full a network is. ``in_use`` addresses have a holder, ``reserved`` lie ready at nodes, ``resting`` wait for being
    forgotten. ``exhausted_at`` is when none is left if it goes on as over the last day (epoch seconds; None: not in
    sight)."""

    subnets: tuple[SubnetUsage, ...]
    in_use: int
    reserved: int
    resting: int
    exhausted_at: float | None

    @property
    def left(self) -> int:
        """IPv4 addresses that can still be given; these are the fewer ones."""
        return sum(one.left for one in self.subnets if ":" not in one.subnet)


def usage(core: Core, network: ClusterNetwork, at: float) -> Usage:
    """How full a network is now."""
    held = [lease for lease in core.state.places.within(network.id) if not _is_orphan(core, lease.node_id)]
    orphans = sum(1 for lease in core.state.places.within(network.id) if _is_orphan(core, lease.node_id))
    in_use = sum(1 for lease in held if lease.holder)
    subnets = tuple(SubnetUsage(pool.subnet, *core.ipam.usage(pool.id)) for pool in network.network.pools)
    used, left = _v4(core, network)
    return Usage(
        subnets=subnets,
        in_use=in_use,
        reserved=len(held) - in_use,
        resting=len(core.state.places.resting(network.id)) + orphans,
        exhausted_at=core.samples.exhausted_at(network.id, at, used, left),
    )


def sample(turn: Turn, network_ids: set[str]) -> None:
    """Note how full networks are, if that was not done lately."""
    core = turn.core
    for network_id in network_ids:
        network = core.state.networks.get(network_id)
        if network is not None and core.samples.due(network_id, turn.at):
            core.samples.note(network_id, turn.at, _v4(core, network)[0])


def _v4(core: Core, network: ClusterNetwork) -> tuple[int, int]:
    """IPv4 addresses used and left."""
    pairs = [core.ipam.usage(pool.id) for pool in network.network.pools if not pool.v6]
    return sum(used for used, _ in pairs), sum(left for _, left in pairs)


def _is_orphan(core: Core, node_id: str) -> bool:
    return bool(node_id) and node_id not in core.state.nodes
