"""``network connect`` and ``network disconnect``: at once when the container runs, else for its next start."""

from __future__ import annotations

from dataclasses import replace

from fairlead.engine import attachments, endpoints, gateways, presence, sandboxes
from fairlead.engine.checks import check_settings
from fairlead.engine.containers import SHARED
from fairlead.engine.core import Turn
from fairlead.engine.holds import Starting
from fairlead.ipam.validate import check_endpoint
from fairlead.model import codes
from fairlead.model.commands import ConnectNetwork, DisconnectNetwork
from fairlead.model.container import Container
from fairlead.model.endpoint import Endpoint
from fairlead.model.errors import Ambiguous, Internal, Invalid, NotFound
from fairlead.model.network import Network
from fairlead.model.sandbox import SandboxSettings
from fairlead.model.state import bare_sandbox
from fairlead.model.target import parse


def connect(turn: Turn, command: ConnectNetwork) -> None:
    """Attach a container, or a sandbox without one; raises as ``endpoints.join`` does, ``Invalid`` for modes that cannot
    be mixed."""
    if _is_sandbox(turn, command):
        attachments.connect(turn, command)
        return
    if command.sandbox != SandboxSettings():
        raise Invalid(
            f"container {command.container} has its name, ports and name servers already",
            hint="these options are for pid:, netns:, docker: and podman: targets",
            code=codes.MODES_CONFLICT,
        )
    container = turn.state.container(command.container)
    network = turn.state.network(command.network)
    _check_mixing(container, network)
    if container.state.status == "starting":
        raise Starting(container.id, container.name)
    key = _key_of(container, network)
    if not container.running:
        check_endpoint(network, command.settings)
        check_settings(command.settings)
        if key is None:
            wanted = {**container.config.endpoints, network.name: command.settings}
            turn.state.put(replace(container, config=replace(container.config, endpoints=wanted)))
        return
    sandbox = turn.state.sandbox_of(container.id)
    if sandbox is None:
        raise Internal(f"container {container.name} runs without a sandbox of its own", code=codes.MODES_CONFLICT)
    had = sandboxes.needs_resolver(turn.core, sandbox)
    endpoint = endpoints.join(turn, sandbox, container, network, command.settings)
    sandboxes.rebind(turn, sandbox, container, carried=gateways.settle(turn, sandbox.id, container))
    wanted = {**container.config.endpoints, key or network.name: command.settings}
    turn.state.put(replace(container, config=replace(container.config, endpoints=wanted)))
    presence.register(turn, endpoint)
    sandboxes.after_change(turn, sandbox.id, joined=endpoint, left=None, had=had)


def disconnect(turn: Turn, command: DisconnectNetwork) -> None:
    """Detach a container; a running one that is not attached gives Docker's 500."""
    network = turn.state.network(command.network)
    if _is_sandbox(turn, command):
        attachments.disconnect(turn, command)
        return
    try:
        container = turn.state.container(command.container)
    except NotFound:
        if not command.force:
            raise
        _disconnect_by_name(turn, network, command.container)
        return
    if container.config.network_mode == "host" and network.name == "host":
        raise Invalid(
            "container cannot be disconnected from host network or connected to host network", code=codes.MODES_CONFLICT
        )
    attached = [e for e in turn.state.endpoints_of_container(container.id) if e.network_id == network.id]
    key = _key_of(container, network)
    if (container.running and not attached) or key is None:
        raise Internal(
            f"container {container.id} is not connected to network {network.name}",
            hint=f"`fairlead inspect {container.name}` shows its networks",
            code=codes.NOT_CONNECTED,
        )
    rest = {ref: value for ref, value in container.config.endpoints.items() if ref != key}
    turn.state.put(replace(container, config=replace(container.config, endpoints=rest)))
    for endpoint in attached:
        expel(turn, endpoint)


def expel(turn: Turn, endpoint: Endpoint) -> None:
    """Take an endpoint out of its network; what its container or sandbox asks for at the next start stays."""
    container, sandbox = turn.state.containers.get(endpoint.container_id), turn.state.sandboxes[endpoint.sandbox_id]
    if container is None:
        attachments.expel(turn, sandbox, endpoint)
        return
    had = sandboxes.needs_resolver(turn.core, sandbox)
    held = endpoint.bindings
    endpoints.leave(turn, endpoint)
    held += gateways.settle(turn, sandbox.id, container)
    sandboxes.rebind(turn, sandbox, container, carried=held)
    sandboxes.after_change(turn, sandbox.id, joined=None, left=endpoint, had=had)


def _is_sandbox(turn: Turn, command: ConnectNetwork | DisconnectNetwork) -> bool:
    """Whether a target is named, or a sandbox without a container whose name no container has."""
    ref = command.container
    if command.foreign is not None or parse(ref) is not None:
        return True
    try:
        turn.state.container(ref)
    except Ambiguous:
        return False
    except NotFound:
        return _names_sandbox(turn, ref)
    return False


def _names_sandbox(turn: Turn, ref: str) -> bool:
    try:
        bare_sandbox(turn.state, ref)
    except (NotFound, Ambiguous):
        return False
    return True


def _disconnect_by_name(turn: Turn, network: Network, name: str) -> None:
    for endpoint in turn.state.endpoints_of_network(network.id):
        if endpoint.name == name:
            endpoints.leave(turn, endpoint)
            return
    raise NotFound(
        f"endpoint {name} not found",
        hint=f"`fairlead network inspect {network.name}` lists endpoints",
        code=codes.NOT_CONNECTED,
    )


def _key_of(container: Container, network: Network) -> str | None:
    """The reference under which the container's settings name this network."""
    for ref in container.config.endpoints:
        if ref in (network.name, network.id) or (len(ref) >= 12 and network.id.startswith(ref)):
            return ref
    return None


def _check_mixing(container: Container, network: Network) -> None:
    mode = container.config.network_mode
    if mode == "host" or mode.startswith(SHARED):
        raise Invalid(
            "container sharing network namespace with another container or host cannot be connected to any other network",
            code=codes.MODES_CONFLICT,
        )
    if network.name == "host":
        raise Invalid(
            "cannot connect container to host network - container must be created in host network mode",
            code=codes.MODES_CONFLICT,
        )
    nowhere = "none" in container.config.endpoints
    if nowhere or (network.name == "none" and container.config.endpoints):
        raise Invalid(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode",
            hint=f"`fairlead network disconnect none {container.name}` first" if nowhere else "",
            code=codes.MODES_CONFLICT,
        )
