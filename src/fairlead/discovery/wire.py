"""DNS messages as bytes: a strict look at queries, and the assembly of answers (RFC 1035 section 4).

Only what nearly every packet needs is done by hand: one question in, records that point back at it out. Everything
else (EDNS, signatures, odd sections) is read by dnspython, which also checks this file in the tests. Measured reason:
dnspython needs 240 us for a query and its answer, this file and the resolver 10 us, and every change of a network makes all
its answers anew. All functions are total: arbitrary bytes never raise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

import dns.exception
import dns.message
import dns.name

#: Octets of a message header (RFC 1035 section 4.1.1).
HEADER_SIZE = 12
#: Longest UDP message without EDNS, in octets (RFC 1035 section 4.2.1).
UDP_SIZE = 512
#: Longest UDP answer that we give to EDNS clients, in octets; the customary server size (RFC 6891 section 6.2.5),
#: and loopback carries it unfragmented.
EDNS_SIZE_MAX = 4096
#: Longest message over TCP, in octets: the length prefix has 16 bits (RFC 1035 section 4.2.2).
TCP_SIZE = 65535
#: Scanned queries that are kept, of at most ``UDP_SIZE`` octets: some 5 MB at most; programs ask the same again.
SCANS_MAX = 4096
#: Seconds that clients may keep an answer (Docker's respTTL).
TTL_S = 600
#: Seconds that clients may keep that a name of ours does not exist, or has no such record: a container that starts is found
#: as soon after as one of the cluster that moves (``engine.hearsay``).
NEGATIVE_TTL_S = 2

#: Response codes (RFC 1035 section 4.1.1, BADVERS RFC 6891 section 9).
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16
#: Record types and classes (RFC 1035 section 3.2, AAAA RFC 3596, SRV RFC 2782, OPT RFC 6891, transfers RFC 5936 and 1995).
A, SOA, PTR, AAAA, SRV, OPT, IXFR, AXFR, ANY = 1, 6, 12, 28, 33, 41, 251, 252, 255
IN = 1
#: Stands for the type of a question of another class than the Internet's: no record of ours has it (type 0 is reserved,
#: RFC 6895 section 3.1).
OTHER_CLASS = 0

_QR, _OPCODE, _TC, _RD, _RA, _CD, _DO = 0x8000, 0x7800, 0x0200, 0x0100, 0x0080, 0x0010, 0x8000
#: Longest name on the wire, in octets, and longest label (RFC 1035 section 2.3.4).
_NAME_SIZE = 255
_LABEL_SIZE = 63
#: Compression pointer to the question's name, which always follows the header (RFC 1035 section 4.1.4).
_TO_QUESTION = b"\xc0\x0c"
#: First octet of a compression pointer (RFC 1035 section 4.1.4); a time to live from 2^31 on counts as none (RFC 2181
#: section 8).
_POINTER, _TTL_SIGN = 0xC0, 1 << 31

_BODY_HEADER = Struct("!HHHHH")
_TYPE_CLASS = Struct("!HH")
_RECORD = Struct("!HHIH")
_NUMBER = Struct("!I")
_OPT_RECORD = Struct("!BHHBBHH")
#: Of a zone that exists in no other server's sight, so that there is nobody to ask and no mailbox (as RFC 6303 section
#: 3): server ``localhost``, mailbox ``nobody.invalid``, then serial, refresh, retry, expire, and the time to live of
#: negative answers (RFC 2308 section 4).
_SOA_DATA = b"\x09localhost\0\x06nobody\x07invalid\0" + Struct("!IIIII").pack(1, 3600, 600, 86400, NEGATIVE_TTL_S)
#: The root, which is the zone of single labels, and the zone of names whose network is not told.
_ROOT = b"\0"


class Question(NamedTuple):
    r"""The one question of a query. ``name`` is lower case without the final dot (a dot inside a label is shown as
    ``\.``), ``type`` is ``OTHER_CLASS`` for what is not asked of the Internet, ``end`` where the question ends in the message. ``size`` is the longest UDP answer that the client
    takes, ``edns`` whether an OPT record is due, ``dnssec_ok`` its DO bit."""

    name: str
    labels: int
    type: int
    end: int
    edns: bool = False
    size: int = UDP_SIZE
    dnssec_ok: bool = False


@dataclass(frozen=True, slots=True)
class BadQuery:
    """Not a question that we can treat: answer with ``rcode``, or with silence if None."""

    rcode: int | None


def scan(query: bytes) -> Question | BadQuery:
    """Read a query; the codes follow RFC 1035 section 4.1.1, RFC 9619 (one question), RFC 6891 section 6.1.3."""
    if len(query) < HEADER_SIZE:
        return BadQuery(None)
    # Whatever the id, the rest reads the same; its first two octets are not looked at.
    return _scan_kept(b"\0\0" + query[2:]) if len(query) <= UDP_SIZE else _scan(query)


def _scan(query: bytes) -> Question | BadQuery:
    flags, questions, answers, authorities, additional = _BODY_HEADER.unpack_from(query, 2)
    if flags & _QR:
        return BadQuery(None)
    if flags & _OPCODE:
        return BadQuery(NOTIMP)
    if questions != 1 or answers or authorities:
        return BadQuery(FORMERR)
    labels, at = _labels(query)
    if labels is None or at + 4 > len(query):
        return BadQuery(FORMERR)
    kind, class_ = _TYPE_CLASS.unpack_from(query, at)
    if kind in (AXFR, IXFR):
        return BadQuery(REFUSED)
    if class_ not in (IN, ANY):
        kind = OTHER_CLASS
    name = b".".join(labels).lower().decode("latin-1")
    if additional or at + 4 != len(query):
        return _extended(query, name, len(labels), kind, at + 4)
    return Question(name, len(labels), kind, at + 4)


_scan_kept = lru_cache(SCANS_MAX)(_scan)


def _labels(query: bytes) -> tuple[list[bytes] | None, int]:
    """The labels of the question's name and where it ends; None if it is malformed, compressed or too long."""
    labels: list[bytes] = []
    at = HEADER_SIZE
    end = min(len(query), HEADER_SIZE + _NAME_SIZE)
    while at < end:
        size = query[at]
        if not size:
            return labels, at + 1
        if size > _LABEL_SIZE:
            break
        label = query[at + 1 : at + 1 + size]
        labels.append(label.replace(b".", rb"\.") if b"." in label else label)
        at += 1 + size
    return None, at


def _extended(query: bytes, name: str, labels: int, kind: int, end: int) -> Question | BadQuery:
    """A query with more than a question: whatever dnspython refuses is malformed."""
    try:
        message = dns.message.from_wire(query)
    except (dns.exception.DNSException, ValueError):
        return BadQuery(FORMERR)
    if message.edns > 0:
        return BadQuery(BADVERS)
    if message.edns < 0:
        return Question(name, labels, kind, end)
    size = min(max(message.payload, UDP_SIZE), EDNS_SIZE_MAX)
    return Question(name, labels, kind, end, edns=True, size=size, dnssec_ok=bool(message.ednsflags & _DO))


def record(kind: int, rdata: bytes, ttl_s: int = TTL_S, owner: bytes = _TO_QUESTION) -> bytes:
    """A resource record owned by the question's name, or by another, which clients may keep for ``ttl_s`` seconds."""
    return owner + _RECORD.pack(kind, IN, ttl_s, len(rdata)) + rdata


#: Goes with an answer that says no, so that it is kept for ``NEGATIVE_TTL_S`` and not for as long as a program likes.
NEGATIVE = record(SOA, _SOA_DATA, NEGATIVE_TTL_S, _ROOT)


def name_data(text: str) -> bytes | None:
    """An uncompressed name for a record's data; None if it does not fit into DNS (RFC 1035 section 2.3.4)."""
    try:
        return dns.name.from_text(text).to_wire() or None
    except dns.exception.DNSException:
        return None


def body(
    query: bytes,
    question: Question,
    rcode: int,
    records: Sequence[bytes],
    limit: int,
    additional: Sequence[bytes] = (),
) -> bytes:
    """An answer without its first two octets (the id, which is the client's). Records that do not fit into ``limit``
    octets are left out and TC is set (RFC 2181 section 9); ``additional`` ones, which save a client questions, go without.
    What says no (NXDOMAIN, or no records) says for how long."""
    opt = b""
    if question.edns:
        do = _DO if question.dnssec_ok else 0
        opt = _OPT_RECORD.pack(0, OPT, EDNS_SIZE_MAX, rcode >> 4, 0, do, 0)
    room = limit - question.end - len(opt)
    kept = b"".join(records)
    count, cut = len(records), 0
    if len(kept) > room:
        cut, count, used = _TC, 0, 0
        while used + len(records[count]) <= room:
            used += len(records[count])
            count += 1
        kept = kept[:used]
    says_no = not records and rcode in (NOERROR, NXDOMAIN) and len(NEGATIVE) <= room
    extra, extras = (NEGATIVE, 0) if says_no else (b"", 0)
    for item in () if cut else additional:
        if len(kept) + len(extra) + len(item) > room:
            break
        extra, extras = extra + item, extras + 1
    flags = _QR | _RA | cut | (_flags(query) & (_RD | _CD)) | (rcode & 0xF)
    header = _BODY_HEADER.pack(flags, 1, count, int(says_no), extras + bool(opt))
    return header + query[HEADER_SIZE : question.end] + kept + extra + opt


class Life(NamedTuple):
    """How long a reply may be kept, in seconds, and where the times to live stand in it without its id."""

    seconds: int
    places: tuple[int, ...]


def life(reply: bytes, end: int) -> Life | None:
    """The life of a reply whose question ends at ``end``: the shortest of its records', for a name or type that does
    not exist also the last number of the SOA record (RFC 2308 section 5). None if it must not be kept: an error, cut
    off, malformed, or with no time to live."""
    flags, _, answers, authorities, additional = _BODY_HEADER.unpack_from(reply, 2)
    if flags & _TC or flags & 0xF not in (NOERROR, NXDOMAIN):
        return None
    seconds, places, at = [], [], end
    negative = not answers or flags & 0xF == NXDOMAIN
    for number in range(answers + authorities + additional):
        at = _after_name(reply, at)
        if at + _RECORD.size > len(reply):
            return None
        kind, _, ttl, size = _RECORD.unpack_from(reply, at)
        data = at + _RECORD.size
        if data + size > len(reply):
            return None
        if kind != OPT:
            places.append(at + 2)
            seconds.append(ttl if ttl < _TTL_SIGN else 0)
        if kind == SOA and size >= _NUMBER.size and answers <= number < answers + authorities:
            seconds.append(_NUMBER.unpack_from(reply, data + size - _NUMBER.size)[0])
            negative = False
        at = data + size
    if negative or at != len(reply) or not seconds or not min(seconds):
        return None
    return Life(min(seconds), tuple(places))


def aged(body: bytes, life: Life, seconds: int) -> bytes:
    """A reply without its id, that many seconds later; not later than its life."""
    older = bytearray(body)
    for place in life.places:
        (ttl,) = _NUMBER.unpack_from(older, place)
        _NUMBER.pack_into(older, place, ttl - seconds)
    return bytes(older)


def _after_name(message: bytes, at: int) -> int:
    """Where a name ends; beyond the message if it is malformed."""
    while at < len(message):
        size = message[at]
        if size >= _POINTER:
            return at + 2
        if not size:
            return at + 1
        at += 1 + size
    return at


def refusal(query: bytes, rcode: int) -> bytes:
    """The answer to a query that could not be read, id included: a header alone, with an OPT record for BADVERS
    (RFC 6891 section 6.1.3)."""
    opt = _OPT_RECORD.pack(0, OPT, EDNS_SIZE_MAX, rcode >> 4, 0, 0, 0) if rcode > 0xF else b""
    flags = _QR | _RA | (_flags(query) & (_OPCODE | _RD)) | (rcode & 0xF)
    return query[:2] + _BODY_HEADER.pack(flags, 0, 0, 0, 1 if opt else 0) + opt


def failure(query: bytes, end: int, rcode: int) -> bytes:
    """An answer without records to a well-formed query whose question ends at ``end``, id included."""
    return query[:2] + body(query, Question("", 0, 0, end), rcode, (), TCP_SIZE)


def cut(reply: bytes, end: int) -> bytes:
    """A reply without its records, so that the client asks again over TCP."""
    return reply[:2] + _BODY_HEADER.pack(_flags(reply) | _TC, 1, 0, 0, 0) + reply[HEADER_SIZE:end]


def _flags(message: bytes) -> int:
    return (message[2] << 8) | message[3]
