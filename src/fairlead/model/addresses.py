"""Parsing of addresses and prefixes into canonical text, with errors that name the fault."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from fairlead.model import codes
from fairlead.model.errors import Invalid

AnyAddress = IPv4Address | IPv6Address
AnyNetwork = IPv4Network | IPv6Network

_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}\Z")


def parse_address(text: str, what: str = "IP address") -> AnyAddress:
    """An IPv4 or IPv6 address without prefix or zone; raises ``Invalid`` naming ``what``."""
    try:
        address = ip_address(text)
    except ValueError as error:
        raise Invalid(
            f"invalid {what} {text!r}", hint="write it like 10.0.0.2 or fd00::2", code=codes.ADDRESS_INVALID
        ) from error
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise Invalid(f"invalid {what} {text!r}: a zone is not allowed", code=codes.ADDRESS_INVALID)
    return address


def parse_subnet(text: str, what: str = "subnet") -> AnyNetwork:
    """A prefix without host bits; raises ``Invalid`` with Docker's wording for set host bits."""
    try:
        network = ip_network(text, strict=False)
    except ValueError as error:
        raise Invalid(
            f"invalid {what} {text!r}", hint="write it like 10.0.0.0/24 or fd00::/64", code=codes.ADDRESS_INVALID
        ) from error
    if "." in text.partition("/")[2]:
        raise Invalid(
            f"invalid {what} {text!r}: a netmask is not allowed",
            hint=f"write it like {network}",
            code=codes.SUBNET_INVALID,
        )
    if "/" not in text:
        usual = "/64" if network.version == 6 else "/24"
        raise Invalid(
            f"invalid {what} {text!r}: the prefix length is missing",
            hint=f"write it like {text}{usual}",
            code=codes.SUBNET_INVALID,
        )
    if str(network.network_address) != str(ip_address(text.partition("/")[0])):
        raise Invalid(f"invalid {what} {text}: it should be {network}", code=codes.SUBNET_INVALID)
    return network


def parse_mac(text: str) -> str:
    """A unicast Ethernet address in canonical lower-case colon form; raises ``Invalid``."""
    mac = text.lower().replace("-", ":")
    if not _MAC.match(mac) or int(mac[:2], 16) & 1:
        raise Invalid(
            f"invalid MAC address {text!r}", hint="write six octets like 02:42:ac:11:00:02", code=codes.ADDRESS_INVALID
        )
    return mac


def link_local(mac: str) -> str:
    """The link-local IPv6 address that Linux derives from a MAC (RFC 4291 appendix A)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    identifier = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return str(IPv6Address(b"\xfe\x80" + bytes(6) + identifier))


def is_v6(text: str) -> bool:
    """Whether canonical address or prefix text is IPv6."""
    return ":" in text


def bare(cidr: str) -> str:
    """The address part of ``address/length``."""
    return cidr.partition("/")[0]


def prefix_length(cidr: str) -> int:
    """The length part of ``address/length``."""
    return int(cidr.partition("/")[2])
