"""Host ports held for published ports: bound sockets that never listen and never receive.

A TCP port may be bound over connections of a server that has ended (TIME_WAIT), so ``SO_REUSEADDR`` is on while binding;
it is switched off afterwards, since two sockets that both have it on may share a port as long as neither listens.
"""

from __future__ import annotations

import errno
import ipaddress
import resource
import socket

from fairlead.kernel import messages as m
from fairlead.kernel import requests, sysctl
from fairlead.kernel.errno import from_bind
from fairlead.kernel.netlink import Netlink
from fairlead.plan.objects import Key, PortHold

_KINDS = {
    "tcp": (socket.SOCK_STREAM, socket.IPPROTO_TCP),
    "udp": (socket.SOCK_DGRAM, socket.IPPROTO_UDP),
    "sctp": (socket.SOCK_STREAM, 132),
}
#: A kernel that has no such protocol cannot have another holder of the port either.
_ABSENT = frozenset({errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT})
#: Every address of the host.
_ANYWHERE = ("0.0.0.0", "::")
#: Whether programs may bind addresses that the host has not, for IPv4 and IPv6.
_NONLOCAL = ("net/ipv4/ip_nonlocal_bind", "net/ipv6/ip_nonlocal_bind")
#: Attributes of addresses, <linux/if_addr.h>, and where they begin: struct nlmsghdr (16), struct ifaddrmsg (8).
_IFA_ADDRESS, _IFA_LOCAL, _ADDRESS_BODY = 1, 2, 24


def raise_file_limit() -> None:
    """Let this process open as many files as it is allowed to: every held port is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Holds:
    """The ports that this process holds."""

    def __init__(self) -> None:
        self._sockets: dict[Key, tuple[PortHold, socket.socket | None]] = {}

    @property
    def held(self) -> list[PortHold]:
        """What is held now."""
        return [hold for hold, _ in self._sockets.values()]

    def take(self, hold: PortHold) -> None:
        """Hold a port; holding it already is nothing. Raises ``HostPortInUse``, ``Refused``."""
        if hold.key in self._sockets:
            return
        try:
            self._sockets[hold.key] = (hold, _bind(hold))
        except OSError as error:
            raise from_bind(hold, error) from error

    def release(self, hold: PortHold) -> None:
        """Let a port go; not holding it is nothing."""
        _, held = self._sockets.pop(hold.key, (hold, None))
        if held is not None:
            held.close()

    def release_all(self) -> None:
        """Let all go."""
        for hold in self.held:
            self.release(hold)


def _check_ours(hold: PortHold) -> None:
    """Raise ``OSError`` unless the address is one of this host. Binding alone does not tell where the host lets programs
    bind what it has not (``ip_nonlocal_bind``), or has no sockets of the protocol (SEC-16)."""
    address = ipaddress.ip_address(hold.address)
    if hold.address in _ANYWHERE or (address.version == 4 and address.is_loopback):
        return
    with Netlink() as netlink:
        for data in netlink.dump(requests.list_addresses()):
            parts = m.raw_attributes(data, _ADDRESS_BODY)
            if (parts.get(_IFA_LOCAL) or parts.get(_IFA_ADDRESS)) == address.packed:
                return
    raise OSError(errno.EADDRNOTAVAIL, "not an address of this host")


def _bind(hold: PortHold) -> socket.socket | None:
    if hold.address not in _ANYWHERE and sysctl.read(_NONLOCAL[":" in hold.address]) == "1":
        _check_ours(hold)
    family = socket.AF_INET6 if ":" in hold.address else socket.AF_INET
    kind, proto = _KINDS[hold.proto]
    try:
        holder = socket.socket(family, kind | socket.SOCK_CLOEXEC, proto)
    except OSError as error:
        if error.errno in _ABSENT:
            _check_ours(hold)
            return None
        raise
    try:
        if family == socket.AF_INET6:
            holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((hold.address, hold.port))
        if kind == socket.SOCK_STREAM:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except OSError:
        holder.close()
        raise
    return holder
