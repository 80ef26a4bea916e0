"""Bridges of strangers that networks of ours use: taken as they are, given back as they were.

An address that we add to one carries our number in ``IFA_PROTO`` (Linux 5.18), so that after a restart, too, it can be
told from those that were there before, which stay.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from dataclasses import dataclass, field

from fairlead.kernel import messages as m
from fairlead.kernel import requests
from fairlead.kernel.errno import LinkInTheWay
from fairlead.kernel.netlink import Netlink
from fairlead.plan.objects import ALIAS_MARK, Bridge

#: Attributes of links and their kind, <linux/if_link.h>; of addresses, <linux/if_addr.h>.
_IFLA_LINKINFO, _IFLA_IFALIAS, _INFO_KIND = 18, 20, 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
#: Where attributes begin: after struct nlmsghdr (16) and struct ifinfomsg (16) or ifaddrmsg (8).
_LINK_BODY, _ADDRESS_BODY = 32, 24


@dataclass(slots=True)
class Adopted:
    """A stranger's bridge: what was planned, its own addresses, and which of those a network of ours wants too."""

    bridge: Bridge
    addresses: frozenset[str]
    shared: set[str] = field(default_factory=set)


class Adoptions:
    """The bridges of the node's own namespace that were adopted, by name."""

    def __init__(self) -> None:
        self._adopted: dict[str, Adopted] = {}

    def take(self, netlink: Netlink, item: Bridge) -> bool:
        """Whether a stranger's bridge of that name is there, and now serves; raises ``LinkInTheWay`` when it is a link of
        another kind, and ``OSError``. A link of ours is not adopted."""
        try:
            index = socket.if_nametoindex(item.name)
        except OSError:
            return False
        links = netlink.dump(requests.list_links())
        found = (data for data in links if int.from_bytes(data[20:24], sys.byteorder) == index)
        parts = m.raw_attributes(next(found, bytes(_LINK_BODY)), _LINK_BODY)
        if parts.get(_IFLA_IFALIAS, b"").startswith(ALIAS_MARK.encode()):
            return False
        kind = m.raw_attributes(parts.get(_IFLA_LINKINFO, b""), 0).get(_INFO_KIND, b"")
        if kind.rstrip(b"\0") != b"bridge":
            raise LinkInTheWay(f"existing interface {item.name} is not a bridge", item=item)
        self._adopted[item.name] = Adopted(item, frozenset(_addresses(netlink, index)))
        return True

    def give_back(self, name: str) -> bool:
        """Whether it was adopted; it is no more."""
        return self._adopted.pop(name, None) is not None

    def __contains__(self, name: str) -> bool:
        return name in self._adopted

    def shares(self, name: str, cidr: str) -> bool:
        """Whether an address that is wanted on an adopted bridge is its owner's already."""
        found = self._adopted.get(name)
        if found is None or cidr not in found.addresses:
            return False
        found.shared.add(cidr)
        return True

    def standing(self) -> dict[int, Adopted]:
        """Those that still are there, by index."""
        found = {}
        for name, adopted in self._adopted.items():
            try:
                found[socket.if_nametoindex(name)] = adopted
            except OSError:
                continue
        return found


def _addresses(netlink: Netlink, index: int) -> list[str]:
    """Addresses of a link that are not ours, as ``address/length``."""
    found = []
    for data in netlink.dump(requests.list_addresses()):
        parts = m.raw_attributes(data, _ADDRESS_BODY)
        ours = parts.get(requests.IFA_PROTO, b"\0")[0] == requests.ROUTE_PROTOCOL
        if int.from_bytes(data[20:24], sys.byteorder) == index and not ours:
            packed = parts.get(_IFA_LOCAL) or parts.get(_IFA_ADDRESS) or b""
            found.append(f"{ipaddress.ip_address(packed)}/{data[17]}")
    return found
