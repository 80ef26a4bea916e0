"""Sandboxes: what must exist for one, which endpoint leads out, which ports it publishes, what its files say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fairlead.discovery import hosts, resolvconf
from fairlead.discovery.names import DNS_ADDRESS, DNS_LISTEN_PORT, DNS_PORT
from fairlead.discovery.resolver import View
from fairlead.engine import foreign, ports
from fairlead.engine.core import Core, Turn
from fairlead.engine.leaders import gateway, leaders
from fairlead.engine.outcome import AlignHosts, CloseResolver, EditHosts, OpenResolver, WriteFiles
from fairlead.model import options
from fairlead.model.addresses import bare, is_v6, parse_address
from fairlead.model.container import Container
from fairlead.model.endpoint import Endpoint, PortBinding, PortRequest
from fairlead.model.events import ResolverFileChanged
from fairlead.model.network import Network
from fairlead.model.sandbox import Sandbox
from fairlead.plan.objects import (
    LOOPBACK,
    NOTHING,
    Address,
    Announce,
    Chain,
    Element,
    Netns,
    Object,
    Plan,
    Route,
    Set,
    Sysctl,
    Table,
)

#: What programs without privileges may do in a sandbox of their own, as Docker sets it since 20.10: bind any port, ping.
_SANDBOX_SYSCTLS = (("net/ipv4/ip_unprivileged_port_start", "0"), ("net/ipv4/ping_group_range", "0 2147483647"))
#: Prefix lengths of link-local addresses of IPv4 (RFC 3927) and IPv6 (RFC 4291 section 2.5.6), as Docker sets them.
_LINK_LOCAL_LENGTH = {False: 16, True: 64}
_DEFAULT_ROUTE = {False: "0.0.0.0/0", True: "::/0"}


def plan(core: Core, sandbox: Sandbox) -> Plan:
    """What must exist for a sandbox beside its endpoints: the namespace, the way out, what leads to its resolver."""
    if not sandbox.netns:
        return NOTHING
    objects: list[Object] = []
    if sandbox.foreign:
        objects.append(foreign.namespace(sandbox, sandbox.foreign))
    else:
        objects.append(Netns(sandbox.netns, theirs=sandbox.administered))
        objects += [Sysctl(sandbox.netns, path, value) for path, value in _SANDBOX_SYSCTLS]
    leading = leaders(core, sandbox)
    for v6, leader in leading.items():
        if leader is not None:
            via = gateway(core, leader, v6=v6)
            if not foreign.led(sandbox, v6=v6):
                objects.append(Route(sandbox.netns, _DEFAULT_ROUTE[v6], leader.ifname, via))
            elif not foreign.keeps_its_way(sandbox, leader, v6=v6):
                objects += foreign.halves(sandbox.netns, leader.ifname, via, v6=v6)
    if any(core.state.endpoints[one].ifname for one in sandbox.endpoints) or not sandbox.endpoints:
        if sandbox.foreign:
            objects += foreign.resolver_rules(sandbox, sandbox.foreign)
            if leading[False] is None:
                objects += foreign.server_routes(sandbox, sandbox.foreign)
        else:
            objects += _resolver_rules(sandbox.netns, served=needs_resolver(core, sandbox))
    return Plan(objects)


def endpoint_plan(core: Core, endpoint: Endpoint) -> Plan:
    """What must exist for an endpoint in its sandbox. An owner of its own, so that a change of one endpoint costs the
    same however many its sandbox has."""
    sandbox = core.state.sandboxes.get(endpoint.sandbox_id)
    if sandbox is None or not (sandbox.netns or sandbox.own) or not core.works(endpoint):
        return NOTHING
    network = core.state.networks[endpoint.network_id]
    driver = core.driver(network)
    objects = [*driver.endpoint_plan(endpoint, network, sandbox.netns, core.node).values()]
    objects += _interface(endpoint, network, sandbox.netns)
    publisher = core.publishing(network)
    if endpoint.bindings and publisher is not None:
        masked = foreign.masked(sandbox, endpoint)
        objects += publisher.publish_plan(endpoint, network, endpoint.bindings, masked).values()
    return Plan(objects)


def _interface(endpoint: Endpoint, network: Network, netns: str) -> list[Object]:
    """What every interface has, whoever made it: link-local addresses that were asked for, and its announcement."""
    if not endpoint.ifname:
        return []
    found: list[Object] = [
        Address(netns, endpoint.ifname, f"{parse_address(address)}/{_LINK_LOCAL_LENGTH[is_v6(address)]}")
        for address in endpoint.settings.link_local
    ]
    messages, interval_ms = options.announcement(network.options)
    if messages and (endpoint.ipv4 or endpoint.ipv6):
        ipv4, ipv6 = bare(endpoint.ipv4), bare(endpoint.ipv6)
        found.append(Announce(netns, endpoint.ifname, endpoint.mac, ipv4, ipv6, messages, interval_ms))
    return found


def needs_resolver(core: Core, sandbox: Sandbox) -> bool:
    """Whether names are served inside: as soon as one of its networks has names, unless its user wants none."""
    if sandbox.settings.dns_mode == "off":
        return False
    return any(core.resolves(network) for network in _networks(core, sandbox))


def rebind(turn: Turn, sandbox: Sandbox, container: Container | None, carried: tuple[PortBinding, ...] = ()) -> None:
    """Let the endpoints that lead out hold the published ports of the container, or (None) of a sandbox without one,
    keeping the host ports it has; ``carried`` are those of an endpoint that has just left."""
    requests = port_requests(container) if container else turn.state.sandboxes[sandbox.id].settings.ports
    core = turn.core
    endpoints = turn.endpoints_of(turn.state.sandboxes[sandbox.id])
    leading = leaders(core, turn.state.sandboxes[sandbox.id])
    holding = {v6: leader if leader and not _opens(core, leader, v6=v6) else None for v6, leader in leading.items()}
    bound = [*carried, *(binding for endpoint in endpoints for binding in endpoint.bindings)]
    if not requests and not bound:
        return
    held = [binding for binding in bound if binding.host_port]
    bindings = {v6: tuple(b for b in held if is_v6(b.host_ip) == v6) for v6 in (False, True)}
    for missing, unbound in _unbound(requests, bindings, holding).items():
        leader = holding[False] if missing[0] else holding[True]
        for binding in _assign(turn, unbound, leader, held, missing):
            v6 = is_v6(binding.host_ip)
            bindings[v6] = (*bindings[v6], binding)
    for endpoint in endpoints:
        wanted = tuple(b for v6 in (False, True) if holding[v6] is endpoint for b in bindings[v6])
        wanted += _opened(core, endpoint, requests)
        if wanted != endpoint.bindings:
            turn.state.put(replace(endpoint, bindings=wanted))


def write_files(turn: Turn, sandbox: Sandbox, container: Container) -> None:
    """Have all three name files written, and names served if a network has them."""
    sandbox = turn.state.sandboxes[sandbox.id]
    endpoints = [endpoint for endpoint in turn.endpoints_of(sandbox) if endpoint.ipv4 or endpoint.ipv6]
    lines = tuple(line for endpoint in endpoints for line in _host_lines(sandbox, endpoint))
    extra = hosts.extra_lines(sandbox.extra_hosts, _host_gateways(turn.core))
    resolution = _resolution(turn.core, sandbox)
    files = {
        "hosts": hosts.compose(lines, extra),
        "resolv.conf": resolution.text,
        "hostname": f"{sandbox.hostname}\n",
    }
    turn.say(WriteFiles(container.id, files))
    open_resolver(turn, sandbox)


def open_resolver(turn: Turn, sandbox: Sandbox) -> None:
    """Serve names inside, or serve what the sandbox's networks now are."""
    sandbox = turn.state.sandboxes[sandbox.id]
    if needs_resolver(turn.core, sandbox):
        turn.say(OpenResolver(sandbox.id, _view(turn.core, sandbox)))


def follow_host(turn: Turn, message: ResolverFileChanged) -> None:
    """Let everything that runs ask the servers that the host now asks: resolvers at once, files unless edited."""
    core, host, direct = turn.core, resolvconf.parse(message.text), resolvconf.parse(message.direct)
    if (host, direct) == (core.resolver, core.direct_resolver):
        return
    core.resolver, core.direct_resolver = host, direct
    for sandbox in turn.state.sandboxes.values():
        follow(turn, sandbox)


def follow(turn: Turn, sandbox: Sandbox) -> None:
    """Bring a running sandbox's resolver and resolv.conf in line with the host's."""
    open_resolver(turn, sandbox)
    if sandbox.container_id in turn.state.containers:
        turn.say(WriteFiles(sandbox.container_id, {"resolv.conf": _resolution(turn.core, sandbox).text}))


def align_hosts(turn: Turn, sandbox: Sandbox) -> None:
    """After a restart: have the hosts file of a running container say the addresses that it has now."""
    if sandbox.container_id in turn.state.containers:
        names = hosts.endpoint_line("", sandbox.hostname, sandbox.domainname).names
        lines = tuple(line for endpoint in turn.endpoints_of(sandbox) for line in _host_lines(sandbox, endpoint))
        kept = hosts.extra_lines(sandbox.extra_hosts, _host_gateways(turn.core))
        turn.say(AlignHosts(sandbox.container_id, names, lines, kept))


def after_change(turn: Turn, sandbox_id: str, *, joined: Endpoint | None, left: Endpoint | None, had: bool) -> None:
    """Bring files and resolver in line after a running container was connected or disconnected; ``had`` says whether
    names were served before."""
    sandbox = turn.state.sandboxes[sandbox_id]
    add = _host_lines(sandbox, joined) if joined else ()
    remove = _host_lines(sandbox, left) if left else ()
    if sandbox.container_id:
        turn.say(EditHosts(sandbox.container_id, add=add, remove=remove))
    has = needs_resolver(turn.core, sandbox)
    if had != has and sandbox.container_id:
        turn.say(WriteFiles(sandbox.container_id, {"resolv.conf": _resolution(turn.core, sandbox).text}))
    if has:
        open_resolver(turn, sandbox)
    elif had:
        turn.say(CloseResolver(sandbox.id))


def _assign(
    turn: Turn,
    requests: list[PortRequest],
    leader: Endpoint | None,
    held: list[PortBinding],
    missing: tuple[bool, bool],
) -> tuple[PortBinding, ...]:
    if leader is None or not requests:
        return ()
    driver = turn.core.publishing(turn.network_of(leader))
    if driver is None:
        return ()
    known = {(binding.proto, binding.container_port): binding.host_port for binding in held}
    kept = tuple(
        replace(request, host_port=known.get((request.proto, request.container_port), request.host_port))
        for request in requests
    )
    default = driver.default_host_ip(turn.network_of(leader)) or turn.core.settings.publish_address
    return ports.assign(turn, kept, default, v4=missing[0], v6=missing[1], owner=leader.id)


def _opens(core: Core, endpoint: Endpoint, *, v6: bool) -> bool:
    """Whether publishing a port opens it on the endpoint itself."""
    network = core.state.networks[endpoint.network_id]
    driver = core.publishing(network)
    return driver is not None and driver.opens(network, v6=v6)


def _opened(core: Core, endpoint: Endpoint, requests: tuple[PortRequest, ...]) -> tuple[PortBinding, ...]:
    """What is open on an endpoint itself, whether or not it leads out."""
    network = core.state.networks[endpoint.network_id]
    driver = core.publishing(network)
    if driver is None or not requests:
        return ()
    v4 = bool(endpoint.ipv4) and driver.opens(network, v6=False)
    v6 = bool(endpoint.ipv6) and driver.opens(network, v6=True)
    return ports.opened(requests, driver.default_host_ip(network), v4=v4, v6=v6) if v4 or v6 else ()


def _unbound(
    requests: tuple[PortRequest, ...],
    bindings: dict[bool, tuple[PortBinding, ...]],
    leading: dict[bool, Endpoint | None],
) -> dict[tuple[bool, bool], list[PortRequest]]:
    """The requests that are not bound yet, by the families (IPv4, IPv6) in which they are not and could be."""
    bound = {v6: {(binding.proto, binding.container_port) for binding in bindings[v6]} for v6 in bindings}
    found: dict[tuple[bool, bool], list[PortRequest]] = {}
    for request in requests:
        port = (request.proto, request.container_port)
        missing = tuple(leading[v6] is not None and port not in bound[v6] for v6 in (False, True))
        if any(missing):
            found.setdefault((missing[0], missing[1]), []).append(request)
    return found


def port_requests(container: Container) -> tuple[PortRequest, ...]:
    """The ports to publish: those asked for, and with ``--publish-all`` every exposed one on any free port."""
    asked = container.config.ports
    if not container.config.publish_all:
        return asked
    covered = {(request.proto, request.container_port) for request in asked}
    exposed = []
    for text in container.config.exposed:
        port, _, proto = text.partition("/")
        if (proto or "tcp", int(port)) not in covered:
            exposed.append(PortRequest(proto or "tcp", int(port)))
    return (*asked, *exposed)


def _resolver_rules(netns: str, *, served: bool) -> list[Object]:
    """Port 53 of the resolver's address is rewritten to where it listens, without connection tracking, while names are
    served. On the loopback link alone, where it arrives: a hook on the way out would cost every packet of the container.
    The rules stay as long as the sandbox and only their set changes: taking a chain out makes the kernel wait."""
    family, table, name = "netdev", "fairlead-dns", "served"
    rules: list[str] = []
    for proto in ("udp", "tcp"):
        rules.append(f"ip daddr @{name} {proto} dport {DNS_PORT} {proto} dport set {DNS_LISTEN_PORT}")
        rules.append(f"ip saddr @{name} {proto} sport {DNS_LISTEN_PORT} {proto} sport set {DNS_PORT}")
    hook = f'type filter hook ingress device "{LOOPBACK}" priority -150'
    chain = Chain(netns, family, table, "loopback", tuple(rules), hook)
    objects: list[Object] = [Table(netns, family, table), Set(netns, family, table, name, "ipv4_addr"), chain]
    return [*objects, Element(netns, family, table, name, DNS_ADDRESS)] if served else objects


def _networks(core: Core, sandbox: Sandbox) -> Iterator[Network]:
    found = (core.state.endpoints.get(endpoint_id) for endpoint_id in sandbox.endpoints)
    return (core.state.networks[endpoint.network_id] for endpoint in found if endpoint is not None)


def _host_lines(sandbox: Sandbox, endpoint: Endpoint) -> tuple[hosts.HostLine, ...]:
    addresses = [bare(cidr) for cidr in (endpoint.ipv4, endpoint.ipv6) if cidr and not endpoint.leads_out]
    return tuple(hosts.endpoint_line(address, sandbox.hostname, sandbox.domainname) for address in addresses)


def _host_gateways(core: Core) -> tuple[str, ...]:
    """What ``host-gateway`` stands for: the default bridge's addresses."""
    network = core.state.network_named("bridge")
    return tuple(pool.gateway for pool in network.pools if pool.gateway) if network else ()


def _resolution(core: Core, sandbox: Sandbox) -> resolvconf.SandboxResolv:
    settings = core.settings
    dns, search = sandbox.dns or settings.dns, sandbox.dns_search or settings.dns_search
    words = sandbox.dns_options or settings.dns_options
    if needs_resolver(core, sandbox):
        return resolvconf.compose_internal(
            core.resolver, dns=dns, search=search, options=words, hostname=sandbox.hostname
        )
    if not sandbox.netns:
        # In the host's own namespace its servers on loopback answer too.
        servers = dns or core.resolver.servers
        return resolvconf.compose_plain(core.resolver, dns=servers, search=search, options=words, v6=True)
    v6 = any(core.state.endpoints[endpoint_id].ipv6 for endpoint_id in sandbox.endpoints)
    return resolvconf.compose_plain(core.direct_resolver, dns=dns, search=search, options=words, v6=v6)


def _served(core: Core, sandbox: Sandbox) -> tuple[tuple[str, ...], bool]:
    """The networks whose names are served inside, and whether one leads out; one more costs one more look."""
    known, networks, forward = core.served.get(sandbox.id, ((), (), False))
    ids = sandbox.endpoints
    if ids != known:
        fresh = ids[-1:] if known and ids[:-1] == known else ids
        if fresh is ids:
            networks, forward = (), False
        joined = [core.state.networks[core.state.endpoints[one].network_id] for one in fresh]
        networks = (*networks, *(network.id for network in joined if core.resolves(network)))
        forward = forward or any(not network.internal for network in joined if core.connects(network))
        core.served[sandbox.id] = ids, networks, forward
    return networks, forward


def _view(core: Core, sandbox: Sandbox) -> View:
    resolution = _resolution(core, sandbox)
    networks, forward = _served(core, sandbox)
    view = View(
        networks=networks,
        forward=forward,
        upstreams=resolution.upstreams,
        search=resolution.search,
        ndots=resolution.ndots,
        netns=sandbox.netns,
        domains=frozenset(core.state.networks[network].name.lower() for network in networks),
    )
    return foreign.view(view, sandbox, sandbox.foreign) if sandbox.foreign else view
