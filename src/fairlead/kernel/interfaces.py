"""The host's interfaces with their addresses, as people name them."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from fairlead.kernel import messages as m
from fairlead.kernel import requests
from fairlead.kernel.netlink import Netlink
from fairlead.model.errors import Internal
from fairlead.plan.objects import ALIAS_MARK

_IFLA_IFNAME, _IFLA_LINKINFO, _IFLA_INFO_KIND = 3, 18, 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
#: <linux/if.h>: IFF_UP, IFF_LOOPBACK.
_UP, _LOOPBACK = 0x1, 0x8


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface. ``kind`` is the kernel's word for what it is made of, empty for a real device; ``addresses`` are bare,
    without those that hold for the link only; ``ours`` says that Fairlead made it."""

    name: str
    kind: str
    up: bool
    loopback: bool
    ours: bool
    addresses: tuple[str, ...]


def interfaces() -> tuple[Interface, ...]:
    """Every interface of this thread's namespace, in the kernel's order. Raises ``Internal``."""
    try:
        netlink = Netlink()
        try:
            links = netlink.dump(requests.list_links())
            found = netlink.dump(requests.list_addresses())
        finally:
            netlink.close()
    except OSError as error:
        raise Internal(f"cannot list the host's interfaces: {error.strerror}") from error
    addresses: dict[int, list[str]] = {}
    for data in found:
        parts = m.raw_attributes(data, 24)
        address = ipaddress.ip_address(parts.get(_IFA_LOCAL) or parts.get(_IFA_ADDRESS) or b"")
        if not address.is_link_local:
            addresses.setdefault(_index(data), []).append(str(address))
    return tuple(_interface(data, addresses.get(_index(data), [])) for data in links)


def _interface(data: bytes, addresses: list[str]) -> Interface:
    parts = m.raw_attributes(data, 32)  # struct nlmsghdr and struct ifinfomsg are 16 bytes each
    kind = m.raw_attributes(parts.get(_IFLA_LINKINFO, b""), 0).get(_IFLA_INFO_KIND, b"")
    flags = int.from_bytes(data[24:28], "little")
    return Interface(
        parts.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace"),
        kind.rstrip(b"\0").decode(errors="replace"),
        bool(flags & _UP),
        bool(flags & _LOOPBACK),
        ALIAS_MARK.encode() in data,
        tuple(addresses),
    )


def _index(data: bytes) -> int:
    """The link of a link or address message: the same place in both, by luck of their layout."""
    return int.from_bytes(data[20:24], "little")
