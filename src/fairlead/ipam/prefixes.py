"""Prefixes as whole numbers: what the allocators count with."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import NamedTuple

from fairlead.model import codes
from fairlead.model.addresses import parse_subnet
from fairlead.model.errors import Invalid

#: Prefix texts whose parsing is remembered: more than the subnets and ranges of the 1,000 networks that one node is
#: meant for, and some 200 bytes each.
_REMEMBERED = 4096

#: Prefixes in which no container can live, each with its reason (IANA special-purpose registries, RFC 6890).
_SENSELESS = (
    ("0.0.0.0/8", "means this host on this network (RFC 791)"),
    ("127.0.0.0/8", "is the loopback of every host (RFC 1122)"),
    ("224.0.0.0/4", "is for multicast (RFC 5771)"),
    ("240.0.0.0/4", "is reserved (RFC 1112 section 4)"),
    ("::1/128", "is the loopback of every host (RFC 4291)"),
    ("::ffff:0:0/96", "stands for IPv4 addresses (RFC 4291)"),
    ("fe80::/10", "is link-local (RFC 4291), of which only fe80::/64 is used"),
    ("ff00::/8", "is for multicast (RFC 4291)"),
)
_LINK_LOCAL = "fe80::/64"


class Prefix(NamedTuple):
    """A prefix as numbers: family, lowest address, prefix length."""

    v6: bool
    base: int
    length: int

    @property
    def bits(self) -> int:
        """Bits of an address of this family."""
        return 128 if self.v6 else 32

    @property
    def size(self) -> int:
        """How many addresses it has."""
        return int(1 << (self.bits - self.length))

    @property
    def end(self) -> int:
        """The number after its highest address."""
        return self.base + self.size

    def overlaps(self, other: Prefix) -> bool:
        """Whether an address is in both."""
        return self.v6 == other.v6 and self.base < other.end and other.base < self.end

    def holds(self, other: Prefix) -> bool:
        """Whether every address of ``other`` is in it."""
        return self.v6 == other.v6 and self.base <= other.base and other.end <= self.end

    def __str__(self) -> str:
        return f"{address_text(self.base, v6=self.v6)}/{self.length}"


@lru_cache(maxsize=_REMEMBERED)
def prefix(text: str, what: str = "subnet") -> Prefix:
    """Parse a prefix without host bits; raises ``Invalid`` naming ``what``."""
    length = text.partition("/")[2]
    if length and not (length.isascii() and length.isdigit()):
        raise Invalid(
            f"invalid {what} {text!r}", hint="write it like 10.0.0.0/24 or fd00::/64", code=codes.SUBNET_INVALID
        )
    network = parse_subnet(text, what)
    return Prefix(isinstance(network, IPv6Network), int(network.network_address), network.prefixlen)


def address_text(number: int, *, v6: bool) -> str:
    """Canonical text of an address number."""
    return str(IPv6Address(number) if v6 else IPv4Address(number))


def senseless(subnet: Prefix) -> str:
    """Why no container can live in ``subnet``, as ``<prefix> <reason>``, or empty text."""
    if str(subnet) == _LINK_LOCAL:
        return ""
    return next((f"{text} {why}" for text, why in _SENSELESS if prefix(text).overlaps(subnet)), "")


def check_sense(subnet: Prefix) -> None:
    """Raise ``Invalid`` for a subnet in which no container can live (multicast, loopback, reserved, ...)."""
    why = senseless(subnet)
    if why:
        raise Invalid(
            f"invalid subnet {subnet}: {why}",
            hint="choose a private subnet, such as 10.10.0.0/24 or fd00:10::/64, or none to have one chosen",
            code=codes.SUBNET_INVALID,
        )
