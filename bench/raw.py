"""Network objects made by hand: the least work with which the kernel can be asked for them. The floor of many rows."""

from __future__ import annotations

import errno
import os
import socket
import struct

from bench.hosts import inside

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")

_NEWLINK, _DELLINK, _NEWADDR, _NEWROUTE = 16, 17, 20, 24
_REQUEST, _ACK, _EXCL, _CREATE = 0x1, 0x4, 0x200, 0x400
_ERROR = 2
_UP = 1
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 4, 10, 18
_IFLA_GROUP, _IFLA_NET_NS_FD = 27, 28
_INFO_KIND, _INFO_DATA, _PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_OIF, _RTA_GATEWAY = 4, 5
_TABLE_MAIN, _STATIC, _UNICAST = 254, 4, 1
_SOL_NETLINK, _CAP_ACK = 270, 10
_BUFFER_BYTES = 8 << 20
#: Index of the loopback link in every namespace.
_LO = 1

#: Type, flags, body.
Message = tuple[int, int, bytes]


class Raw:
    """A netlink socket in a namespace."""

    def __init__(self, netns: str) -> None:
        with inside(netns):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._socket.bind((0, 0))

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, *messages: Message) -> None:
        """Send all at once and wait until the kernel has done them; raises ``OSError``."""
        data = b"".join(
            _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | _ACK | flags, number, 0) + body
            for number, (kind, flags, body) in enumerate(messages)
        )
        self._socket.send(data)
        waiting = len(messages)
        while waiting:
            answer = self._socket.recv(1 << 16)
            offset = 0
            while offset < len(answer):
                length, kind, _, _, _ = _HEADER.unpack_from(answer, offset)
                code = -int.from_bytes(answer[offset + 16 : offset + 20], "little", signed=True)
                if kind == _ERROR:
                    waiting -= 1
                    if code:
                        raise OSError(code, errno.errorcode.get(code, "?"))
                offset += (length + 3) & ~3


def bridge(name: str, index: int, cidr: str) -> list[Message]:
    """A bridge, up, with an address."""
    info = _attribute(_IFLA_LINKINFO, _attribute(_INFO_KIND, b"bridge"))
    link = _LINK.pack(0, 0, index, _UP, _UP) + _attribute(_IFLA_IFNAME, name.encode() + b"\0") + info
    return [(_NEWLINK, _CREATE | _EXCL, link), address(index, cidr)]


def veth(name: str, index: int, master: int, peer_index: int, peer_netns: int, group: int = 0) -> Message:
    """A pair: one end up in a bridge, the other as eth0 in the namespace of a descriptor."""
    far = _LINK.pack(0, 0, peer_index, 0, 0) + _attribute(_IFLA_IFNAME, b"eth0\0") + _attribute(_IFLA_MTU, _u32(1500))
    far += _attribute(_IFLA_ADDRESS, b"\x02" + os.urandom(5)) + _attribute(_IFLA_NET_NS_FD, _u32(peer_netns))
    data = _attribute(_INFO_DATA, _attribute(_PEER, far))
    link = _LINK.pack(0, 0, index, _UP, _UP) + _attribute(_IFLA_IFNAME, name.encode() + b"\0")
    link += _attribute(_IFLA_MTU, _u32(1500)) + _attribute(_IFLA_MASTER, _u32(master))
    link += _attribute(_IFLA_GROUP, _u32(group))
    link += _attribute(_IFLA_LINKINFO, _attribute(_INFO_KIND, b"veth") + data)
    return _NEWLINK, _CREATE | _EXCL, link


def container_side(index: int, cidr: str, gateway: str) -> list[Message]:
    """Loopback up, the link up, its address, the way out."""
    route = _ROUTE.pack(socket.AF_INET, 0, 0, 0, _TABLE_MAIN, _STATIC, 0, _UNICAST, 0)
    route += _attribute(_RTA_OIF, _u32(index)) + _attribute(_RTA_GATEWAY, socket.inet_aton(gateway))
    return [_up(_LO), _up(index), address(index, cidr), (_NEWROUTE, _CREATE | _EXCL, route)]


def address(index: int, cidr: str) -> Message:
    text, _, length = cidr.partition("/")
    raw = socket.inet_aton(text)
    body = _ADDRESS.pack(socket.AF_INET, int(length), 0, 0, index)
    return _NEWADDR, _CREATE | _EXCL, body + _attribute(_IFA_LOCAL, raw) + _attribute(_IFA_ADDRESS, raw)


def delete(index: int) -> Message:
    return _DELLINK, 0, _LINK.pack(0, 0, index, 0, 0)


def delete_group(group: int) -> Message:
    return _DELLINK, 0, _LINK.pack(0, 0, 0, 0, 0) + _attribute(_IFLA_GROUP, _u32(group))


def _up(index: int) -> Message:
    return _NEWLINK, 0, _LINK.pack(0, 0, index, _UP, _UP)


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _u32(value: int) -> bytes:
    return struct.pack("=I", value)
