"""Which endpoints of a sandbox lead out: Docker's order, found in the same time however many there are."""

from __future__ import annotations

from collections.abc import Iterable

from fairlead.engine.core import Core
from fairlead.model.endpoint import Endpoint
from fairlead.model.sandbox import Sandbox


def leaders(core: Core, sandbox: Sandbox) -> dict[bool, Endpoint | None]:
    """For IPv4 (False) and IPv6 (True) the endpoint that leads out: higher priority, then not internal, then more
    families with a gateway, then network name.

    What decides about an endpoint never changes while it lives, so the last answer holds for the same endpoints; one
    that has come must only be compared with those that led, and one that has gone matters only if it led.
    """
    known, led = core.leading.get(sandbox.id, ((), {}))
    ids = sandbox.endpoints
    if ids != known or not led:
        if ids[:-1] == known and led:
            candidates: Iterable[str] = (*filter(None, led.values()), *ids[-1:])
        elif led and len(ids) < len(known) and all(leader in ids for leader in led.values()) and set(ids) <= set(known):
            candidates = filter(None, led.values())
        else:
            candidates = ids
        led = _chosen(core, candidates)
        core.leading[sandbox.id] = ids, led
    return {v6: core.state.endpoints[leader] if leader else None for v6, leader in led.items()}


def gateway(core: Core, endpoint: Endpoint, *, v6: bool) -> str:
    """The address through which an endpoint leads out; empty when it does not in this family."""
    network = core.state.networks[endpoint.network_id]
    driver = core.connecting(network)
    if driver is None or not core.works(endpoint) or not (endpoint.ipv6 if v6 else endpoint.ipv4):
        return ""
    return driver.gateway(network, v6=v6)


def _chosen(core: Core, candidates: Iterable[str]) -> dict[bool, str]:
    chosen = {False: "", True: ""}
    best: dict[bool, tuple[int, bool, int, str]] = {}
    for endpoint in map(core.state.endpoints.__getitem__, dict.fromkeys(candidates)):
        ways = {v6: gateway(core, endpoint, v6=v6) for v6 in (False, True)}
        network = core.state.networks[endpoint.network_id]
        families = sum(map(bool, ways.values()))
        order = (-endpoint.settings.gw_priority, network.internal, -families, network.name)
        for v6, way in ways.items():
            if way and (v6 not in best or order < best[v6]):
                chosen[v6], best[v6] = endpoint.id, order
    return chosen
