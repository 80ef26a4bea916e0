"""Encryption between this node and each that shares an encrypted network with it."""

from __future__ import annotations

from collections.abc import Iterable

from fairlead.drivers.contract import Encrypts
from fairlead.engine.core import PAIRS, Core, Turn, pair_owner
from fairlead.engine.hearsay import Hearsay
from fairlead.model import codes
from fairlead.model.errors import Unavailable
from fairlead.model.events import StationsSeen, TunnelSecrets
from fairlead.model.network import Network
from fairlead.plan.objects import NOTHING, Plan
from fairlead.plan.xfrm import ExactXfrm


def secrets(turn: Turn, event: TunnelSecrets) -> None:
    """Other keys are to be held, or this node has begun another life."""
    if event != turn.core.secrets:
        turn.core.secrets = event
        _touch(turn, turn.core.stations)


def seen(turn: Turn, event: StationsSeen) -> None:
    """Other nodes have begun another life, have come or have gone."""
    stations = turn.core.stations
    for vtep, station in event.changes:
        if station is None:
            stations.pop(vtep, None)
        else:
            stations[vtep] = station
    _touch(turn, (vtep for vtep, _ in event.changes))


def touch(turn: Turn, network_id: str, vteps: Iterable[str]) -> None:
    """These nodes share a network with this one now, or do not any more."""
    network = turn.state.networks.get(network_id)
    if network is not None and turn.core.encrypting(network) is not None:
        _touch(turn, vteps)


def check(turn: Turn, network: Network) -> None:
    """Raise ``Unavailable`` when this node cannot be in a network that is encrypted."""
    fault = turn.core.secrets.fault
    if fault and turn.core.encrypting(network) is not None:
        raise Unavailable(
            f"this node cannot be in the encrypted network {network.name}: {fault}",
            hint="load what is missing (`modprobe esp4`, `modprobe esp6`), or run the container on another node",
            code=codes.NO_ENCRYPTION,
        )


def plan(core: Core, vtep: str) -> Plan:
    """What must exist to encrypt between this node and the one whose tunnels end there."""
    station = core.stations.get(vtep)
    if station is not None:
        for network_id, told in core.hearsay.items():
            driver = _encrypting(core, network_id, told)
            if driver is not None and vtep in told.places:
                return driver.pair_plan(station, core.node, core.secrets)
    return NOTHING


def exact(core: Core) -> Plan:
    """That nothing else is to exist, as soon as all who share an encrypted network are known."""
    waits = any(
        core.encrypting(network) is not None and core.inhabited(network.id) and not _is_complete(core, network.id)
        for network in core.state.networks.values()
    )
    return NOTHING if waits else Plan([ExactXfrm()])


def plans(core: Core) -> dict[str, Plan]:
    """All of it, by owner."""
    return {PAIRS: exact(core), **{pair_owner(vtep): plan(core, vtep) for vtep in core.stations}}


def _touch(turn: Turn, vteps: Iterable[str]) -> None:
    turn.owners |= {pair_owner(vtep): None for vtep in vteps} | {PAIRS: None}


def _is_complete(core: Core, network_id: str) -> bool:
    told = core.hearsay.get(network_id)
    return told is not None and told.complete


def _encrypting(core: Core, network_id: str, told: Hearsay) -> Encrypts | None:
    network = core.state.networks.get(network_id)
    if network is None or not told.places or not core.inhabited(network_id):
        return None
    return core.encrypting(network)
