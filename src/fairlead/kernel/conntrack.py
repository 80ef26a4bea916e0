"""Connection tracking entries of published ports, made to be forgotten.

The kernel filters by protocol (and by port, when only one is asked for), so a table full of other connections is not
copied out. Entries are matched on their bytes: decoding each would take a thousand times as long.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from fairlead.kernel import messages as m
from fairlead.kernel.netlink import NETFILTER, Netlink
from fairlead.plan.objects import Flow

#: Message types: subsystem 1 (conntrack) << 8 | get 1, delete 2, <linux/netfilter/nfnetlink_conntrack.h>.
_GET, _DELETE = 0x101, 0x102
#: Attributes of an entry, of its tuples and of their parts, same header.
_TUPLE_ORIG, _TUPLE_REPLY, _ID = 1, 2, 12
_TUPLE_IP, _TUPLE_PROTO = 1, 2
#: Source and destination of a tuple: IPv4, IPv6.
_SOURCES, _TARGETS = (1, 3), (2, 4)
_PROTO_NUM, _SRC_PORT, _DST_PORT = 1, 2, 3
#: Which parts of a tuple the kernel shall compare: source address, protocol, destination port.
_FILTER_SOURCE, _FILTER_PROTO, _FILTER_DST_PORT = 1 << 0, 1 << 3, 1 << 5
#: Addresses for which the kernel is asked one by one; for more, one dump of everything takes less time.
_FILTERED_MAX = 4
#: struct nlmsghdr and struct nfgenmsg.
_BODY = m.HEADER.size + 4
#: Numbers of protocols, <netinet/in.h>.
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
#: How many entries there are in a namespace; dumps of none still walk the table of all namespaces (13 ms, measured).
COUNT = "net/netfilter/nf_conntrack_count"
#: An entry that ended by itself meanwhile.
_GONE = frozenset({errno.ENOENT})


class Entry(NamedTuple):
    """Whom a connection is to (address as bytes, protocol number, port), and whose address answers: another one where
    the target is translated."""

    target: bytes
    proto: int
    port: int
    answering: bytes


def forget(appeared: Sequence[Flow], vanished: Sequence[Flow]) -> None:
    """Delete, in the namespace that the thread is in, the entries that ``Flow`` describes. A kernel without connection
    tracking has none. Raises ``OSError``."""
    if not appeared and not vanished:
        return
    untranslated = {(PROTOCOLS[flow.proto], flow.host_port) for flow in appeared}
    dead = {(PROTOCOLS[flow.proto], _packed(flow.address), flow.port) for flow in vanished}
    with Netlink(NETFILTER) as netlink:
        for family in (socket.AF_INET, socket.AF_INET6):
            doomed: dict[bytes, bytearray] = {}
            for query in _queries(appeared, vanished, family):
                for entry in _list(netlink, query):
                    parts = m.raw_attributes(entry, _BODY)
                    if _original(parts) in untranslated or _reply(parts) in dead:
                        doomed[parts[_TUPLE_ORIG]] = _deletion(entry, parts)
            _delete(netlink, doomed)


def forget_parties(addresses: Collection[str], doomed: Callable[[Entry], bool] | None = None) -> None:
    """Delete, in the namespace that the thread is in, the entries in which one of the addresses takes part, as who began
    or as who answers, and those that are ``doomed``. Raises ``OSError``."""
    parties = {_packed(address) for address in addresses}
    with Netlink(NETFILTER) as netlink:
        for family, length in ((socket.AF_INET, 4), (socket.AF_INET6, 16)):
            mine = sorted(party for party in parties if len(party) == length)
            if doomed is None and len(mine) <= _FILTERED_MAX:
                queries = [_party_query(party, side) for party in mine for side in ("ORIG", "REPLY")]
            else:
                queries = [m.encode(m.connection(), _GET, m.NLM_F_DUMP, {"nfgen_family": family})]
            found: dict[bytes, bytearray] = {}
            for query in queries:
                for data in _list(netlink, query):
                    parts = m.raw_attributes(data, _BODY)
                    answering = _end(parts, _TUPLE_REPLY, _SOURCES)
                    ours = not parties.isdisjoint((_end(parts, _TUPLE_ORIG, _SOURCES), answering))
                    entry = Entry(_end(parts, _TUPLE_ORIG, _TARGETS), *_original(parts), answering)
                    if ours or (doomed is not None and doomed(entry)):
                        found[parts[_TUPLE_ORIG]] = _deletion(data, parts)
            _delete(netlink, found)


def forget_balanced(pairs: Collection[tuple[str, str]]) -> None:
    """Delete, in the namespace that the thread is in, the UDP entries that begin to one address and are answered by
    another, for each (first, other). Raises ``OSError``."""
    doomed = {(_packed(address), _packed(target)) for address, target in pairs}
    with Netlink(NETFILTER) as netlink:
        for family, length in ((socket.AF_INET, 4), (socket.AF_INET6, 16)):
            if not any(len(address) == length for address, _ in doomed):
                continue
            found: dict[bytes, bytearray] = {}
            for data in _list(netlink, _datagrams_query(family)):
                parts = m.raw_attributes(data, _BODY)
                ends = _end(parts, _TUPLE_ORIG, _TARGETS), _end(parts, _TUPLE_REPLY, _SOURCES)
                if ends in doomed:
                    found[parts[_TUPLE_ORIG]] = _deletion(data, parts)
            _delete(netlink, found)


def _datagrams_query(family: int) -> bytearray:
    """A dump of what is UDP; the kernel compares."""
    proto = {"attrs": [("CTA_TUPLE_PROTO", {"attrs": [("CTA_PROTO_NUM", PROTOCOLS["udp"])]})]}
    only = {"attrs": [("CTA_FILTER_ORIG_FLAGS", _FILTER_PROTO)]}
    attributes: m.Attributes = [("CTA_TUPLE_ORIG", proto), ("CTA_FILTER", only)]
    return m.encode(m.connection(), _GET, m.NLM_F_DUMP, {"nfgen_family": family}, attributes)


def _delete(netlink: Netlink, doomed: Mapping[bytes, bytearray]) -> None:
    for fault in netlink.request(list(doomed.values())):
        if fault is not None and fault.code not in _GONE:
            raise OSError(fault.code, fault.text or os.strerror(fault.code))


def _party_query(party: bytes, side: str) -> bytearray:
    """A dump of the entries whose packets of one direction come from an address; the kernel compares."""
    v6 = len(party) == 16
    family = socket.AF_INET6 if v6 else socket.AF_INET
    source = ("CTA_IP_V6_SRC" if v6 else "CTA_IP_V4_SRC", socket.inet_ntop(family, party))
    attributes: m.Attributes = [
        (f"CTA_TUPLE_{side}", {"attrs": [("CTA_TUPLE_IP", {"attrs": [source]})]}),
        ("CTA_FILTER", {"attrs": [(f"CTA_FILTER_{side}_FLAGS", _FILTER_SOURCE)]}),
    ]
    return m.encode(m.connection(), _GET, m.NLM_F_DUMP, {"nfgen_family": family}, attributes)


def _end(parts: dict[int, bytes], which: int, kinds: tuple[int, int]) -> bytes:
    """An address of a tuple, of either family."""
    addresses = m.raw_attributes(m.raw_attributes(parts.get(which, b""), 0).get(_TUPLE_IP, b""), 0)
    return addresses.get(kinds[0]) or addresses.get(kinds[1]) or b""


def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def _list(netlink: Netlink, query: bytearray) -> list[bytes]:
    try:
        return netlink.dump(bytes(query))
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EINVAL):
            return []  # no connection tracking of this family in this kernel
        raise


def _queries(appeared: Iterable[Flow], vanished: Iterable[Flow], family: int) -> Iterator[bytearray]:
    """One dump for each protocol; for one port when there is only that."""
    wanted: dict[str, set[int]] = {}
    for flow in (*appeared, *vanished):
        wanted.setdefault(flow.proto, set()).add(flow.host_port)
    for proto, ports in wanted.items():
        attributes: m.Attributes = [("CTA_PROTO_NUM", PROTOCOLS[proto])]
        flags = _FILTER_PROTO
        if len(ports) == 1:
            attributes.append(("CTA_PROTO_DST_PORT", next(iter(ports))))
            flags |= _FILTER_DST_PORT
        tuple_ = {"attrs": [("CTA_TUPLE_PROTO", {"attrs": attributes})]}
        filter_ = {"attrs": [("CTA_FILTER_ORIG_FLAGS", flags)]}
        yield m.encode(
            m.connection(),
            _GET,
            m.NLM_F_DUMP,
            {"nfgen_family": family},
            [("CTA_TUPLE_ORIG", tuple_), ("CTA_FILTER", filter_)],
        )


def _number(raw: bytes | None) -> int:
    return int.from_bytes(raw or b"", "big")


def _original(parts: dict[int, bytes]) -> tuple[int, int]:
    proto = m.raw_attributes(m.raw_attributes(parts.get(_TUPLE_ORIG, b""), 0).get(_TUPLE_PROTO, b""), 0)
    return _number(proto.get(_PROTO_NUM)), _number(proto.get(_DST_PORT))


def _reply(parts: dict[int, bytes]) -> tuple[int, bytes, int]:
    reply = m.raw_attributes(parts.get(_TUPLE_REPLY, b""), 0)
    proto = m.raw_attributes(reply.get(_TUPLE_PROTO, b""), 0)
    return _number(proto.get(_PROTO_NUM)), _end(parts, _TUPLE_REPLY, _SOURCES), _number(proto.get(_SRC_PORT))


def _deletion(entry: bytes, parts: dict[int, bytes]) -> bytearray:
    """A request to delete an entry: its own original tuple and id, sent back as they came."""
    body = bytearray(entry[m.HEADER.size : _BODY])
    body += m.raw_attribute(_TUPLE_ORIG, parts[_TUPLE_ORIG], nested=True)
    if _ID in parts:
        body += m.raw_attribute(_ID, parts[_ID])
    return bytearray(m.HEADER.pack(m.HEADER.size + len(body), _DELETE, m.NLM_F_REQUEST, 0, 0)) + body
