"""Sandboxes without a container: made, connected, disconnected, removed, and released when their namespace goes."""

from __future__ import annotations

from dataclasses import replace

from fairlead.discovery import resolvconf
from fairlead.engine import endpoints, gateways, presence, sandboxes
from fairlead.engine.core import Turn
from fairlead.engine.outcome import CloseResolver, ForgetNamespace, WatchNamespace
from fairlead.model import codes
from fairlead.model.addresses import parse_address
from fairlead.model.commands import ConnectNetwork, CreateSandbox, DisconnectNetwork, RemoveSandbox
from fairlead.model.endpoint import Endpoint
from fairlead.model.errors import Conflict, Forbidden, Internal, Invalid, NotFound
from fairlead.model.events import NamespaceGone
from fairlead.model.ids import check_name, new_id, short
from fairlead.model.network import Network
from fairlead.model.sandbox import DNS_MODES, Sandbox, SandboxSettings
from fairlead.model.state import bare_sandbox
from fairlead.model.target import Foreign, parse
from fairlead.plan.objects import FOREIGN_MARK


def create(turn: Turn, command: CreateSandbox) -> Sandbox:
    """Make a sandbox; raises ``Invalid``, and ``Conflict`` when its name or its namespace has one."""
    if command.foreign and sandbox_in(turn, command.foreign) is not None:
        raise Conflict(
            f"{command.foreign.target} is a sandbox already",
            hint="`fairlead sandbox ls` lists them",
            code=codes.ALREADY_CONNECTED,
        )
    return _make(turn, command.settings, command.foreign, passing=False, own=command.own)


def connect(turn: Turn, command: ConnectNetwork) -> Endpoint:
    """Attach the sandbox that a command names, or the one of its namespace, which is made if it is missing; raises as
    ``endpoints.join`` does."""
    network = turn.state.network(command.network)
    if network.name in ("host", "none"):
        raise Invalid(
            f"only containers can be connected to network {network.name}",
            hint="choose a bridge network",
            code=codes.TARGET_REFUSED,
        )
    if command.foreign is None:
        sandbox = bare_sandbox(turn.state, command.container)
        _check_owner(sandbox, own=command.own)
    else:
        known = sandbox_in(turn, command.foreign)
        sandbox = known or _make(turn, command.sandbox, command.foreign, passing=True)
        if known:
            sandbox = _refresh(turn, known, command.foreign)
    if sandbox.endpoints or not sandbox.passing:
        sandbox = _ask_more(turn, sandbox, command.sandbox)
    _check_free(turn, sandbox, network)
    had = sandboxes.needs_resolver(turn.core, sandbox)
    endpoint = endpoints.join(turn, sandbox, None, network, command.settings)
    sandboxes.rebind(turn, sandbox, None, carried=gateways.settle(turn, sandbox.id, None))
    presence.register(turn, turn.state.endpoints[endpoint.id])
    sandboxes.after_change(turn, sandbox.id, joined=endpoint, left=None, had=had)
    return turn.state.endpoints[endpoint.id]


def disconnect(turn: Turn, command: DisconnectNetwork) -> None:
    """Detach a sandbox; one that was made by a connect goes with its last endpoint."""
    network = turn.state.network(command.network)
    sandbox = find(turn, command.container, command.foreign)
    _check_owner(sandbox, own=command.own)
    attached = next((e for e in turn.endpoints_of(sandbox) if e.network_id == network.id), None)
    if attached is None:
        raise Internal(
            f"container {command.container} is not connected to network {network.name}",
            hint=f"`fairlead sandbox inspect {sandbox.name}` shows its networks",
            code=codes.NOT_CONNECTED,
        )
    expel(turn, sandbox, attached)


def expel(turn: Turn, sandbox: Sandbox, attached: Endpoint) -> None:
    """Take an endpoint of a sandbox out of its network."""
    if sandbox.passing and all(one is attached or one.leads_out for one in turn.endpoints_of(sandbox)):
        _drop(turn, sandbox)
        return
    had, held = sandboxes.needs_resolver(turn.core, sandbox), attached.bindings
    endpoints.leave(turn, attached)
    held += gateways.settle(turn, sandbox.id, None)
    sandboxes.rebind(turn, sandbox, None, carried=held)
    sandboxes.after_change(turn, sandbox.id, joined=None, left=attached, had=had)


def remove(turn: Turn, command: RemoveSandbox) -> None:
    """Take a sandbox out of all its networks and forget it."""
    sandbox = bare_sandbox(turn.state, command.sandbox)
    _check_owner(sandbox, own=command.own)
    _drop(turn, sandbox)


def gone(turn: Turn, event: NamespaceGone) -> None:
    """Its namespace is gone: so is everything that it had."""
    sandbox = turn.state.bare_sandboxes.get(event.sandbox_id)
    if sandbox is not None:
        _drop(turn, sandbox)


def sandbox_in(turn: Turn, foreign: Foreign) -> Sandbox | None:
    """The sandbox of a namespace, however it was named when it was made."""
    for sandbox in turn.state.bare_sandboxes.values():
        held = sandbox.foreign
        if held is not None and (held.inode, held.boot) == (foreign.inode, foreign.boot):
            return sandbox
    return None


def find(turn: Turn, ref: str, foreign: Foreign | None) -> Sandbox:
    """The sandbox of a namespace, or that ``ref`` means; raises ``NotFound``."""
    found = sandbox_in(turn, foreign) if foreign else None
    if found is not None:
        return found
    if foreign is None and parse(ref) is not None:
        # The target itself is gone: then the text tells which sandbox was made for it.
        for sandbox in turn.state.bare_sandboxes.values():
            if sandbox.foreign is not None and sandbox.foreign.target == ref:
                return sandbox
    if parse(ref) is not None:
        raise NotFound(
            f"{ref} is connected to no network", hint="`fairlead sandbox ls` lists what is", code=codes.NOT_CONNECTED
        )
    return bare_sandbox(turn.state, ref)


def watch(turn: Turn, sandbox: Sandbox) -> None:
    """Learn when the namespace goes, if others made it."""
    if sandbox.foreign is not None:
        turn.say(WatchNamespace(sandbox.id, sandbox.foreign))


def _check_not_ours(turn: Turn, foreign: Foreign) -> None:
    """Raise ``Invalid`` for a namespace that we made."""
    if not foreign.holder or foreign.holder.startswith(FOREIGN_MARK):
        return
    for sandbox in turn.state.sandboxes.values():
        if sandbox.netns == foreign.holder:
            container = turn.state.containers.get(sandbox.container_id)
            name = container.name if container else sandbox.name
            raise Invalid(
                f"{foreign.target} is in the network namespace of {name}",
                hint=f"write {name} instead",
                code=codes.TARGET_REFUSED,
            )


def _make(turn: Turn, asked: SandboxSettings, foreign: Foreign | None, *, passing: bool, own: bool = False) -> Sandbox:
    if foreign:
        _check_not_ours(turn, foreign)
        foreign = replace(foreign, holder="")
    identifier = new_id(turn.core.chance)
    settings = replace(
        asked, dns_mode=asked.dns_mode or DNS_MODES[0], name=asked.name or _default_name(foreign, identifier)
    )
    _check(turn, settings)
    sandbox = Sandbox(
        id=identifier,
        container_id="",
        netns=f"{FOREIGN_MARK if foreign else ''}{short(identifier)}",
        dns=settings.dns,
        settings=settings,
        foreign=foreign,
        passing=passing,
        own=own,
    )
    turn.state.put(sandbox)
    turn.touch_sandbox(sandbox)
    watch(turn, sandbox)
    return sandbox


def _default_name(foreign: Foreign | None, identifier: str) -> str:
    target = parse(foreign.target) if foreign else None
    return target.default_name if target else short(identifier)


def _check(turn: Turn, settings: SandboxSettings) -> None:
    check_name("sandbox", settings.name)
    if any(other.name == settings.name for other in turn.state.bare_sandboxes.values()):
        raise Conflict(
            f"sandbox name {settings.name} is already in use",
            hint="give another one, with network connect by --name",
            code=codes.ALREADY_CONNECTED,
        )
    _check_asked(settings)


def _check_asked(settings: SandboxSettings) -> None:
    if settings.dns_mode not in (*DNS_MODES, ""):
        raise Invalid(
            f"invalid DNS mode {settings.dns_mode!r}", hint=f"one of {', '.join(DNS_MODES)}", code=codes.DNS_INVALID
        )
    resolvconf.check_servers(settings.dns)
    for request in settings.ports:
        if request.host_ip:
            parse_address(request.host_ip, "host address of a published port")


def _refresh(turn: Turn, sandbox: Sandbox, found: Foreign) -> Sandbox:
    """What was found there now counts; the target as it was named first stays, and whatever else is known to hold it."""
    held = sandbox.foreign
    if held is None:
        return sandbox
    named = replace(
        found,
        target=held.target,
        holder="",
        pid=found.pid or held.pid,
        started=found.started or held.started,
        path=found.path or held.path,
    )
    changed = replace(sandbox, foreign=named)
    turn.state.put(changed)
    turn.touch_sandbox(changed)
    watch(turn, changed)
    return changed


def _ask_more(turn: Turn, sandbox: Sandbox, asked: SandboxSettings) -> Sandbox:
    """Settings of a later connect: ports add up, name servers and mode are replaced, the name must not change."""
    _check_asked(asked)
    held = sandbox.settings
    if asked.name and asked.name != held.name:
        raise Conflict(
            f"this sandbox is called {held.name} already",
            hint="leave --name out, or remove it first",
            code=codes.ALREADY_CONNECTED,
        )
    settings = replace(
        held,
        ports=tuple(dict.fromkeys((*held.ports, *asked.ports))),
        dns=asked.dns or held.dns,
        dns_mode=asked.dns_mode or held.dns_mode,
    )
    if settings == held:
        return sandbox
    changed = replace(sandbox, settings=settings, dns=settings.dns)
    turn.state.put(changed)
    turn.touch_sandbox(changed)
    return changed


def _check_owner(sandbox: Sandbox, *, own: bool) -> None:
    """Raise when somebody else wants to connect or take away what the node made for itself."""
    if sandbox.own and not own:
        raise Forbidden(
            f"sandbox {sandbox.name} is the node's own",
            hint="it goes when the node needs it no more; that of the HTTP mesh with `fairlead http-mesh disable`",
            code=codes.TARGET_REFUSED,
        )


def _check_free(turn: Turn, sandbox: Sandbox, network: Network) -> None:
    for other in turn.state.endpoints_of_network(network.id):
        if other.name == sandbox.name and other.sandbox_id != sandbox.id:
            raise Forbidden(
                f"endpoint with name {sandbox.name} already exists in network {network.name}",
                hint="choose another name with --name",
                code=codes.ALREADY_CONNECTED,
            )


def _drop(turn: Turn, sandbox: Sandbox) -> None:
    if sandboxes.needs_resolver(turn.core, sandbox):
        turn.say(CloseResolver(sandbox.id))
    if sandbox.foreign is not None:
        turn.say(ForgetNamespace(sandbox.id))
    for endpoint in turn.endpoints_of(sandbox):
        endpoints.leave(turn, endpoint)
    turn.state.drop(turn.state.sandboxes[sandbox.id])
    turn.touch_sandbox(sandbox)
