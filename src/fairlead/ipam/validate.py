"""What users ask of subnets and addresses, checked before anything is given out; every fault is told, one a line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from fairlead.ipam.prefixes import Prefix, prefix, senseless
from fairlead.model import codes
from fairlead.model.addresses import AnyAddress
from fairlead.model.endpoint import EndpointSettings
from fairlead.model.errors import Invalid
from fairlead.model.network import Network, PoolRequest
from fairlead.model.options import ENDPOINT_SYSCTLS

#: A setting of an interface; its words become a path, so nothing but words is let through (SEC-22).
_SYSCTL = re.compile(r"net\.(ipv4|ipv6|mpls)\.[a-z0-9_]+\.(IFNAME|ifname)\.[a-z0-9_]+=[a-zA-Z0-9_ .:-]*\Z")


def check_pools(requests: Sequence[PoolRequest], *, ipv6: bool) -> None:
    """Raise ``Invalid`` when a subnet, ip-range, gateway or auxiliary address is malformed or does not fit the others.
    IPv6 entries are skipped when IPv6 is off (moby 47202). Texts are Docker's (cnm 5.7)."""
    faults = [fault for request in requests for fault in _pool_faults(request, ipv6)]
    _raise_all(
        "invalid network config:",
        faults,
        "subnet and ip-range are prefixes without host bits, such as 10.10.0.0/24 and 10.10.0.128/25; gateway and "
        "auxiliary addresses are plain addresses inside the subnet",
    )


def check_endpoint(network: Network, settings: EndpointSettings) -> None:
    """Raise ``Invalid`` when the addresses, aliases or sysctls asked of an endpoint cannot be in ``network``. Texts are
    Docker's (cnm 5.8)."""
    faults: list[str] = []
    if network.predefined:
        if settings.ipv4 or settings.ipv6:
            faults.append("user-specified IP address is supported on user-defined networks only")
        if settings.aliases:
            faults.append("network-scoped aliases are only supported for user-defined networks")
    ipv4, ipv6 = _address(settings.ipv4), _address(settings.ipv6)
    if settings.ipv4 and (not isinstance(ipv4, IPv4Address) or ipv4.is_unspecified):
        faults.append(f"invalid IPv4 address: {settings.ipv4}")
        ipv4 = None
    if settings.ipv6 and (not isinstance(ipv6, IPv6Address) or ipv6.is_unspecified or ipv6.ipv4_mapped):
        faults.append(f"invalid IPv6 address: {settings.ipv6}")
        ipv6 = None
    faults.extend(
        f"invalid link-local IP address: {text}" for text in settings.link_local if not _is_link_local(_address(text))
    )
    if not network.predefined:
        faults.extend(
            f"no configured subnet contains IP address {address}"
            for address in (ipv4, ipv6)
            if address is not None and not any(_holds(prefix(pool.subnet), address) for pool in network.pools)
        )
    faults.extend(_sysctl_faults(settings.driver_opts.get(ENDPOINT_SYSCTLS, "")))
    subnets = ", ".join(pool.subnet for pool in network.pools)
    _raise_all(
        "invalid endpoint settings:",
        faults,
        f"network {network.name} has {subnets}" if subnets else f"network {network.name} has no subnet",
    )


def _raise_all(title: str, faults: Sequence[str], hint: str) -> None:
    if faults:
        raise Invalid("\n".join((title, *faults)), hint=hint, code=codes.SUBNET_INVALID)


def _pool_faults(request: PoolRequest, ipv6: bool) -> Iterable[str]:
    try:
        subnet, should_be = _lenient(request.subnet) if request.subnet else (Prefix(False, 0, 0), "")
    except Invalid:
        yield f"invalid subnet {request.subnet}: invalid CIDR block notation"
        return
    if subnet.v6 and not ipv6:
        return
    if subnet.base == 0 and not should_be:
        yield from _homeless_faults(request)
        return
    if should_be:
        yield f"invalid subnet {request.subnet}: it should be {should_be}"
    why = senseless(subnet)
    if why:
        yield f"invalid subnet {request.subnet}: {why}"
    if request.ip_range:
        yield from _range_faults(request.ip_range, subnet, request.subnet)
    if request.gateway:
        fault = _address_fault(request.gateway, subnet, request.subnet)
        if fault:
            yield f"invalid gateway {request.gateway}: {fault}"
    for name, address in request.aux.items():
        fault = _address_fault(address, subnet, request.subnet)
        if fault:
            yield f"invalid auxiliary address {name}: {fault}"


def _homeless_faults(request: PoolRequest) -> Iterable[str]:
    """Faults of a request that leaves the subnet to us: nothing can be said about parts of it."""
    unknown = "the subnet that it belongs to must be given too"
    if request.ip_range:
        yield f"invalid ip-range {request.ip_range}: {unknown}"
    if request.gateway:
        yield f"invalid gateway {request.gateway}: {unknown}"
    for name in request.aux:
        yield f"invalid auxiliary address {name}: {unknown}"


def _range_faults(text: str, subnet: Prefix, subnet_text: str) -> Iterable[str]:
    try:
        part, should_be = _lenient(text)
    except Invalid:
        yield f"invalid ip-range {text}: invalid CIDR block notation"
        return
    if part.v6 != subnet.v6:
        yield f"invalid ip-range {text}: parent subnet is an {_family(subnet)} block"
        return
    if part.length < subnet.length:
        yield f"invalid ip-range {text}: CIDR block is bigger than its parent subnet {subnet_text}"
    if should_be:
        yield f"invalid ip-range {text}: it should be {should_be}"
    if not subnet.overlaps(part):
        yield f"invalid ip-range {text}: parent subnet {subnet_text} doesn't contain ip-range"


def _address_fault(text: str, subnet: Prefix, subnet_text: str) -> str:
    address = _address(text)
    if address is None:
        return "invalid address"
    if (address.version == 6) != subnet.v6:
        return f"parent subnet is an {_family(subnet)} block"
    if not _holds(subnet, address):
        return f"parent subnet {subnet_text} doesn't contain this address"
    return ""


def _sysctl_faults(text: str) -> Iterable[str]:
    for item in filter(None, text.split(",")):
        if not _SYSCTL.match(item):
            yield (
                f"unrecognised network interface sysctl '{item}'; represent 'net.X.Y.ethN.Z=V' as "
                "'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
            )


def _lenient(text: str) -> tuple[Prefix, str]:
    """The prefix that contains the address written in ``text``, and how it should have been written (empty: as it
    is); raises ``Invalid`` when it is no prefix at all."""
    address, slash, length = text.partition("/")
    parsed = _address(address)
    if parsed is None or not slash or not length.isascii() or not length.isdigit():
        raise Invalid(f"invalid subnet {text!r}", code=codes.SUBNET_INVALID)
    bits, number = (128 if parsed.version == 6 else 32), int(length)
    if number > bits:
        raise Invalid(f"invalid subnet {text!r}", code=codes.SUBNET_INVALID)
    found = Prefix(parsed.version == 6, int(parsed) >> (bits - number) << (bits - number), number)
    return found, "" if int(parsed) == found.base else str(found)


def _address(text: str) -> AnyAddress | None:
    """An address without zone, or None."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return None if isinstance(address, IPv6Address) and address.scope_id is not None else address


def _is_link_local(address: AnyAddress | None) -> bool:
    return address is not None and address.is_link_local


def _holds(subnet: Prefix, address: AnyAddress) -> bool:
    return subnet.v6 == (address.version == 6) and subnet.base <= int(address) < subnet.end


def _family(subnet: Prefix) -> str:
    return "IPv6" if subnet.v6 else "IPv4"
