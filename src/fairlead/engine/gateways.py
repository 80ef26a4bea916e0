"""The way out of sandboxes that are in networks of the cluster only (Docker: docker_gwbridge)."""

from __future__ import annotations

from fairlead.engine import endpoints, networks
from fairlead.engine.core import Core, Turn
from fairlead.engine.leaders import gateway
from fairlead.model import options
from fairlead.model.commands import CreateNetwork
from fairlead.model.container import Container
from fairlead.model.endpoint import Endpoint, EndpointSettings, PortBinding
from fairlead.model.network import GATEWAY_BRIDGE, Network

#: The device (Docker calls device and network the same; this network's name is longer than a device's may be).
DEVICE = "fairlead_gw"


def settle(turn: Turn, sandbox_id: str, container: Container | None) -> tuple[PortBinding, ...]:
    """Give the sandbox an endpoint in the gateway bridge if it needs one and has none, take it away if it is needless;
    the ports that one taken away has published. Raises as ``endpoints.join`` does."""
    sandbox = turn.state.sandboxes[sandbox_id]
    joined = turn.endpoints_of(sandbox)
    present = next((endpoint for endpoint in joined if endpoint.leads_out), None)
    needed = _is_needed(turn.core, [endpoint for endpoint in joined if endpoint is not present])
    if needed and present is None:
        network = turn.state.network_named(GATEWAY_BRIDGE) or _make(turn)
        endpoints.join(turn, sandbox, container, network, EndpointSettings(), leads_out=True)
    elif present is not None and not needed:
        endpoints.leave(turn, present)
        return present.bindings
    return ()


def _is_needed(core: Core, joined: list[Endpoint]) -> bool:
    """Whether a network of the cluster should lead out, and nothing does."""
    outward = [endpoint for endpoint in joined if not core.state.networks[endpoint.network_id].internal]
    if not any(core.spanning(core.state.networks[endpoint.network_id]) for endpoint in outward):
        return False
    return not any(gateway(core, endpoint, v6=v6) for endpoint in outward for v6 in (False, True))


def _make(turn: Turn) -> Network:
    """As Docker makes its own: containers do not reach each other through it, and its addresses stay inside."""
    given = {
        options.BRIDGE_NAME: DEVICE,
        options.BRIDGE_ICC: "false",
        options.BRIDGE_MASQUERADE: "true",
    }
    return networks.add(turn, CreateNetwork(GATEWAY_BRIDGE, "bridge", options=given))
