"""pyroute2's message classes, with types, and without the rest of it.

Importing the package the normal way runs its ``__init__``, which loads 336 modules (190 ms, 25 MB resident, measured);
the message classes alone are 73 modules (40 ms, 5 MB). So the package's initialisation is left out while they load.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import struct
import sys
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

#: struct nlmsghdr: length, type, flags, sequence number, port (RFC 3549 section 2.2).
HEADER = struct.Struct("=IHHII")
#: struct nlattr: length including itself, type; the next one begins at a multiple of 4.
_ATTRIBUTE = struct.Struct("=HH")
#: Bits of an attribute's type that are flags: nested, network byte order (<linux/netlink.h>).
_TYPE_MASK = 0x3FFF
_NESTED = 0x8000

#: Request flags, <linux/netlink.h>.
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x001, 0x004, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800

#: Message types, <linux/rtnetlink.h>.
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWRULE, RTM_DELRULE = 32, 33

#: An attribute list as pyroute2 takes it.
Attributes = list[tuple[str, object]]


def _load(name: str) -> ModuleType:
    stub = None
    if "pyroute2" not in sys.modules:
        spec = importlib.util.find_spec("pyroute2")
        if spec is None or spec.submodule_search_locations is None:
            raise ImportError("pyroute2 is not installed")
        stub = ModuleType("pyroute2")
        stub.__path__ = list(spec.submodule_search_locations)
        sys.modules["pyroute2"] = stub
    try:
        return importlib.import_module(name)
    finally:
        if stub is not None:
            del sys.modules["pyroute2"]


#: ``Any`` because pyroute2 has no types; nothing of it leaves this file but through the functions below.
_Class = Callable[..., Any]
LINK: _Class = _load("pyroute2.netlink.rtnl.ifinfmsg").ifinfmsg
ADDRESS: _Class = _load("pyroute2.netlink.rtnl.ifaddrmsg").ifaddrmsg
NEIGHBOUR: _Class = _load("pyroute2.netlink.rtnl.ndmsg").ndmsg
ROUTE: _Class = _load("pyroute2.netlink.rtnl.rtmsg").rtmsg
RULE: _Class = _load("pyroute2.netlink.rtnl.fibmsg").fibmsg


@functools.cache
def connection() -> _Class:
    """The class of connection tracking messages. Its module brings pyroute2's socket core along (33 ms, 3 MB), so it
    is loaded when the first such message is needed."""
    found: _Class = _load("pyroute2.netlink.nfnetlink.nfctsocket").nfct_msg
    return found


def encode(
    kind: _Class, type_: int, flags: int, fields: Mapping[str, object], attributes: Iterable[tuple[str, object]] = ()
) -> bytearray:
    """A request as bytes, its sequence number still 0."""
    message = kind()
    message["header"]["type"] = type_
    message["header"]["flags"] = flags | NLM_F_REQUEST
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = list(attributes)
    message.encode()
    return bytearray(message.data)


class Template:
    """A request that pyroute2 encoded once with a stand-in for each value that varies, in which the values are then
    replaced. Encoding anew takes 70-320 us, filling in 2 us (measured). A stand-in has as many bytes as its values, and
    must not occur by chance: ``ValueError`` when one is not found."""

    __slots__ = ("_base", "_places")

    def __init__(self, encoded: bytearray, **stand_ins: bytes) -> None:
        self._base = bytes(encoded)
        self._places: dict[str, tuple[int, tuple[int, ...]]] = {}
        for name, mark in stand_ins.items():
            found = tuple(i for i in range(len(encoded)) if encoded.startswith(mark, i))
            if not found:
                raise ValueError(f"the encoded message does not hold the stand-in for {name}")
            self._places[name] = (len(mark), found)

    def fill(self, **values: bytes) -> bytearray:
        """The request with these values. Raises ``ValueError`` for one of the wrong size."""
        request = bytearray(self._base)
        for name, value in values.items():
            size, offsets = self._places[name]
            if len(value) != size:
                raise ValueError(f"{name} has {len(value)} bytes instead of {size}")
            for offset in offsets:
                request[offset : offset + size] = value
        return request


def raw_attributes(data: bytes, offset: int) -> dict[int, bytes]:
    """The attributes of a message from ``offset`` on as bytes by type, for where decoding all would take too long.
    What is cut short is left out."""
    found: dict[int, bytes] = {}
    end = len(data)
    while offset + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size or offset + length > end:
            break
        found[kind & _TYPE_MASK] = data[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
    return found


def raw_attribute(kind: int, value: bytes, *, nested: bool = False) -> bytes:
    """One attribute as bytes, padded."""
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind | (_NESTED if nested else 0)) + value + bytes(-length % 4)
