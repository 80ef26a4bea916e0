"""The subnets of ``network create``: which range, gateway and reserved address belongs to which subnet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network

from fairlead.model import codes
from fairlead.model.addresses import parse_address, parse_subnet
from fairlead.model.errors import Invalid

_Network = IPv4Network | IPv6Network


def pool_configs(
    subnets: Sequence[str], ranges: Sequence[str], gateways: Sequence[str], aux: Iterable[tuple[str, str]]
) -> list[dict[str, object]]:
    """``IPAM.Config`` of the request; raises ``Invalid`` with Docker's words for what does not fit together."""
    if len(subnets) < len(ranges) or len(subnets) < len(gateways):
        raise Invalid(
            "every ip-range or gateway must have a corresponding subnet", hint="add --subnet", code=codes.SUBNET_INVALID
        )
    parsed = [_loose(subnet) for subnet in subnets]
    for at, subnet in enumerate(parsed):
        if any(subnet.version == other.version and subnet.overlaps(other) for other in parsed[:at]):
            raise Invalid("multiple overlapping subnet configuration is not supported", code=codes.SUBNET_INVALID)
    configs: list[dict[str, object]] = [{"Subnet": subnet} for subnet in subnets]
    for ip_range in ranges:
        _place(configs, parsed, _loose(ip_range, "ip-range"), ip_range, "IPRange", "range")
    for gateway in gateways:
        _place(configs, parsed, _host(gateway, "gateway"), gateway, "Gateway", "gateway")
    for name, address in aux:
        config = configs[_find(parsed, _host(address, "auxiliary address"), address, "aux-address")]
        known = config.setdefault("AuxiliaryAddresses", {})
        if isinstance(known, dict):
            known[name] = address
    return configs


def _place(
    configs: list[dict[str, object]], parsed: Sequence[_Network], value: _Network, text: str, key: str, what: str
) -> None:
    at = _find(parsed, value, text, what)
    if key in configs[at]:
        raise Invalid(
            f"cannot configure multiple {what}s ({text}, {configs[at][key]}) on the same subnet ({configs[at]['Subnet']})",
            code=codes.SUBNET_INVALID,
        )
    configs[at][key] = text


def _find(parsed: Sequence[_Network], value: _Network, text: str, what: str) -> int:
    for at, subnet in enumerate(parsed):
        if subnet.version == value.version and subnet.overlaps(value):
            return at
    raise Invalid(
        f"no matching subnet for {what} {text}", hint="add the --subnet that it lies in", code=codes.SUBNET_INVALID
    )


def _loose(text: str, what: str = "subnet") -> _Network:
    """A prefix; set host bits are left for the daemon, which tells all faults at once."""
    bare, slash, length = text.partition("/")
    if not slash:
        parse_subnet(text, what)
    return _network(f"{parse_address(bare, what)}/{length}", what)


def _host(text: str, what: str) -> _Network:
    address = parse_address(text, what)
    return _network(f"{address}/{address.max_prefixlen}", what)


def _network(text: str, what: str) -> _Network:
    try:
        return IPv6Network(text, strict=False) if ":" in text else IPv4Network(text, strict=False)
    except ValueError as error:
        raise Invalid(
            f"invalid {what} {text!r}", hint="write it like 10.0.0.0/24 or fd00::/64", code=codes.SUBNET_INVALID
        ) from error
