"""Joining a sandbox to a network and leaving it (cnm: endpoint create, join, leave, delete)."""

from __future__ import annotations

from dataclasses import replace

from fairlead.engine import leases, presence
from fairlead.engine.checks import check_settings
from fairlead.engine.core import Turn
from fairlead.engine.outcome import Unregister
from fairlead.ipam.validate import check_endpoint
from fairlead.model import codes, options
from fairlead.model.addresses import bare, parse_address, parse_mac, parse_subnet
from fairlead.model.cluster import ENTRY
from fairlead.model.container import Container
from fairlead.model.endpoint import Endpoint, EndpointSettings
from fairlead.model.errors import Conflict, Exhausted, Forbidden, Invalid, Unavailable
from fairlead.model.ids import derived_mac, new_id, new_mac, short
from fairlead.model.network import SWARM, Network, Pool
from fairlead.model.sandbox import Sandbox

#: First part of interface names inside a sandbox (Docker).
_IFNAME_PREFIX = "eth"
#: Hexadecimal digits after ``veth`` in the host's end of a pair (Docker).
_VETH_DIGITS = 7


def join(
    turn: Turn,
    sandbox: Sandbox,
    container: Container | None,
    network: Network,
    asked: EndpointSettings,
    *,
    leads_out: bool = False,
) -> Endpoint:
    """Make an endpoint of ``network`` in a container's sandbox, or (``container`` None) in one without: addresses, MAC,
    interface name, DNS names. One that only ``leads_out`` is made by us and for nobody else.

    Raises ``Invalid``, ``Forbidden`` (the container is there already, the address is in use), ``Exhausted``, ``Unavailable``
    (a network of the cluster on a node that is in none), and ``Wanting`` when its address must be asked for.
    """
    task_id = container.task_id if container else ENTRY if network.ingress and sandbox.own else ""
    _check_network(turn, network, serves=bool(task_id) or sandbox.own)
    name = container.name if container else sandbox.name
    if leads_out:
        name = f"gateway_{short(sandbox.id)}"
    if (sandbox.id, network.id) in turn.state.places:
        raise Forbidden(
            f"endpoint with name {name} already exists in network {network.name}",
            hint=f"`fairlead network disconnect {network.name} {name}` comes first",
            code=codes.ALREADY_CONNECTED,
        )
    check_endpoint(network, asked)
    check_settings(asked)
    spans = turn.core.spanning(network) is not None
    if spans:
        presence.joining(turn, network)
    endpoint = Endpoint(
        id=new_id(turn.core.chance),
        name=name,
        network_id=network.id,
        sandbox_id=sandbox.id,
        container_id=sandbox.container_id,
        settings=asked,
        leads_out=leads_out,
    )
    if turn.core.connects(network):
        endpoint = _dress(turn, endpoint, sandbox, network, task_id)
        if turn.core.resolves(network):
            names = dns_names(container, asked.aliases) if container else _bare_names(sandbox, asked.aliases)
            endpoint = replace(endpoint, dns_names=names)
    turn.state.put(endpoint)
    turn.state.put(replace(sandbox, endpoints=(*sandbox.endpoints, endpoint.id)))
    turn.touch_sandbox(sandbox)
    if spans:
        presence.joined(turn, endpoint, network)
    turn.tell_network("connect", network, _teller(sandbox))
    return endpoint


def _check_network(turn: Turn, network: Network, *, serves: bool) -> None:
    """Raise for a network that nobody can join now, or only who serves there: tasks of services and the node itself."""
    if network.config_only:
        raise Forbidden(
            f"cannot create endpoint on configuration-only network {network.name}",
            hint=f"`fairlead network create --config-from {network.name} NAME` makes a network of these settings",
            code=codes.CONFIG_ONLY,
        )
    if network.id in turn.core.unusable:
        raise Conflict(
            f"network {network.name} is unusable: {turn.core.unusable[network.id]}",
            hint=f"`fairlead network rm {network.name}`, and make it anew",
            code=codes.OPTION_INVALID,
        )
    if turn.core.spanning(network) is None:
        return
    if not turn.core.node.vtep:
        raise Unavailable(
            f"network {network.name} spans a cluster, and this node is in none",
            hint="`fairlead swarm join` makes it part of one",
            code=codes.NOT_A_MANAGER,
        )
    if not network.attachable and not serves:
        raise Forbidden(
            f"Could not attach to network {network.name}: rpc error: code = PermissionDenied desc = network {network.name} "
            "not manually attachable",
            hint="networks made with --attachable take single containers",
            code=codes.NOT_ATTACHABLE,
        )


def leave(turn: Turn, endpoint: Endpoint) -> None:
    """Take an endpoint away: its names, its addresses, its interface."""
    network = turn.network_of(endpoint)
    if turn.core.resolves(network):
        turn.say(Unregister(network.id, endpoint.id))
    forget(turn, endpoint)
    if turn.core.spanning(network) is not None:
        presence.left(turn, endpoint, network)
    sandbox = turn.state.sandboxes.get(endpoint.sandbox_id)
    if sandbox is not None:
        rest = tuple(other for other in sandbox.endpoints if other != endpoint.id)
        turn.state.put(replace(sandbox, endpoints=rest))
        turn.touch_sandbox(sandbox)
    turn.tell_network("disconnect", network, _teller(sandbox) if sandbox else endpoint.container_id)


def forget(turn: Turn, endpoint: Endpoint) -> None:
    """Give the addresses back (they rest a while) and drop the record."""
    ipam = turn.core.ipam
    for pool_id, cidr in _leased(turn, endpoint):
        ipam = ipam.release_address(pool_id, bare(cidr), now=turn.now)
    turn.core.ipam = ipam
    turn.state.drop(endpoint)


def hold(turn: Turn, endpoint: Endpoint) -> None:
    """Lease again, at a restart or an undone removal, exactly what a stored endpoint holds."""
    ipam = turn.core.ipam
    for pool_id, cidr in _leased(turn, endpoint):
        ipam, _ = ipam.request_address(pool_id, bare(cidr), now=turn.now)
    turn.core.ipam = ipam


def _leased(turn: Turn, endpoint: Endpoint) -> list[tuple[str, str]]:
    """(pool, address/length) of what an endpoint holds."""
    if not turn.core.works(endpoint) or turn.network_of(endpoint).scope == SWARM:
        return []
    both = ((endpoint.pool_v4, endpoint.ipv4), (endpoint.pool_v6, endpoint.ipv6))
    return [(pool_id, cidr) for pool_id, cidr in both if cidr]


def dns_names(container: Container, aliases: tuple[str, ...]) -> tuple[str, ...]:
    """Container name, aliases, short id, host name, each once; the first answers reverse look-ups (Docker)."""
    names = (container.name, *aliases, short(container.id), container.config.hostname)
    return tuple(dict.fromkeys(name for name in names if name))


def _bare_names(sandbox: Sandbox, aliases: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((sandbox.name, *aliases, short(sandbox.id))))


def _teller(sandbox: Sandbox) -> str:
    """Whom an event is about: the container, the target as the user wrote it, or the sandbox's name."""
    return sandbox.container_id or (sandbox.foreign.target if sandbox.foreign else sandbox.name)


def _dress(turn: Turn, endpoint: Endpoint, sandbox: Sandbox, network: Network, task_id: str) -> Endpoint:
    asked = endpoint.settings
    pool_v6, ipv6 = "", ""
    if turn.core.spanning(network) is not None:
        lease = leases.take(turn, network, asked, endpoint.id, task_id)
        pool_v4, ipv4 = leases.cidr(network, lease.address)
        if not _without_v6(asked):
            pool_v6, ipv6 = leases.cidr(network, lease.ipv6)
    else:
        pool_v4, ipv4 = _lease(turn, network, asked.ipv4, v6=False)
        if not _without_v6(asked):
            pool_v6, ipv6 = _lease(turn, network, asked.ipv6, v6=True)
    return replace(
        endpoint,
        mac=parse_mac(asked.mac) if asked.mac else _mac(turn, network, ipv4 or ipv6),
        pool_v4=pool_v4,
        ipv4=ipv4,
        pool_v6=pool_v6,
        ipv6=ipv6,
        ifname=_interface_name(turn, sandbox, network, asked),
        host_ifname=f"veth{endpoint.id[:_VETH_DIGITS]}",
    )


def _without_v6(asked: EndpointSettings) -> bool:
    """Whether the user switched IPv6 off on the interface; then it gets no such address (Docker releases it again)."""
    off = ("net/ipv6/conf/IFNAME/disable_ipv6", "1") in options.interface_sysctls(asked.driver_opts, "IFNAME")
    if off and asked.ipv6:
        raise Invalid(
            f"IPv6 address {asked.ipv6} is asked for on an interface without IPv6",
            hint=f"leave disable_ipv6=1 out of {options.ENDPOINT_SYSCTLS}, or the address",
        )
    return off


def _mac(turn: Turn, network: Network, address: str) -> str:
    """A locally administered unicast MAC, always the same for an address of a network: whoever still remembers the
    address's last holder (Linux believes a confirmed neighbour for up to 45 s) then reaches the new one at once."""
    if not address:
        return new_mac(turn.core.chance)
    return derived_mac(f"{network.id} {bare(address)}")


def _lease(turn: Turn, network: Network, wanted: str, *, v6: bool) -> tuple[str, str]:
    """(pool id, address/length) from the first pool that can give it; empty when the network lacks the family."""
    pools = [pool for pool in network.pools if pool.v6 == v6]
    for pool in pools:
        if wanted and parse_address(wanted) not in parse_subnet(pool.subnet):
            continue
        try:
            cidr = wanted or _unclaimed(turn, network, pool)
        except Exhausted:
            continue
        turn.core.ipam, cidr = turn.core.ipam.request_address(pool.id, bare(cidr), now=turn.now)
        return pool.id, cidr
    if wanted:
        raise Invalid(
            f"invalid address {wanted}: It does not belong to any of this network's subnets", code=codes.ADDRESS_OUTSIDE
        )
    if not pools:
        return "", ""
    family = "IPv6" if v6 else "IPv4"
    raise Exhausted(
        f"no available {family} addresses on this network's address pools: {network.name} ({network.id})",
        hint=f"{_consumers(turn, network, pools)}: remove containers from {network.name} (`fairlead container prune` those "
        "that ended), or use a network with a larger subnet",
        code=codes.ADDRESSES_EXHAUSTED,
    )


def _unclaimed(turn: Turn, network: Network, pool: Pool) -> str:
    """The address that automatic choice takes: the lowest free one that no container asks for, whether it runs or not
    (moby 26284). Raises ``Exhausted``."""
    claims, ipam = turn.state.asked_addresses.members, turn.core.ipam
    while True:
        ipam, cidr = ipam.request_address(pool.id, "", now=turn.now)
        address = bare(cidr)
        if not any((ref, address) in claims for ref in (network.name, network.id, short(network.id))):
            return cidr


def _consumers(turn: Turn, network: Network, pools: list[Pool]) -> str:
    """Who has the addresses of a full network."""
    held = len(turn.state.endpoints_of_network(network.id))
    refs = (network.name, network.id, short(network.id))
    asked = sum(ref in refs for ref, _ in turn.state.asked_addresses.members)
    subnets = ", ".join(pool.ip_range or pool.subnet for pool in pools)
    return f"{subnets} is used up by {held} endpoints, gateways and {asked} addresses that containers ask for by number"


def _interface_name(turn: Turn, sandbox: Sandbox, network: Network, asked: EndpointSettings) -> str:
    used = {other.ifname for other in turn.endpoints_of(sandbox)}
    if sandbox.foreign:
        used |= set(sandbox.foreign.links)
    exact = asked.driver_opts.get(options.ENDPOINT_IFNAME, "")
    if exact:
        if exact in used:
            raise Forbidden(f"interface name {exact} is already in use in this container", code=codes.INTERFACE_TAKEN)
        return exact
    container = turn.state.containers.get(sandbox.container_id)
    if container is not None:  # names that other networks of the container ask for by name
        used |= {wish.driver_opts.get(options.ENDPOINT_IFNAME, "") for wish in container.config.endpoints.values()}
    prefix = network.options.get(options.IFNAME_PREFIX, "") or _IFNAME_PREFIX
    return next(name for index in range(len(used) + 1) if (name := f"{prefix}{index}") not in used)
