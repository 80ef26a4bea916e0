"""SEC-19: whatever arrives, over UDP, over TCP and from servers outside, nothing raises, loops or grows.

``FAIRLEAD_FUZZ_CASES`` and ``FAIRLEAD_FUZZ_SEED`` make a longer run, or the same again; a failure names its case.
"""

import os
import random

import dns.flags
import dns.message

from fairlead.discovery import wire
from fairlead.discovery.names import Tables
from fairlead.discovery.resolver import Answer, Forward, Silence, Upstream, View, resolve
from fairlead.discovery.stream import QUERY_SIZE_MAX, Stream, frame
from fairlead.discovery.upstream import Close, Forwarder, Reply, Send

CASES = int(os.environ.get("FAIRLEAD_FUZZ_CASES", "100000"))
SEED = int(os.environ.get("FAIRLEAD_FUZZ_SEED", "19"))
#: One answer in so many is read back by dnspython, which takes forty times as long as making it.
READ_BACK = 25

UP = (Upstream("192.0.2.1", True), Upstream("2001:db8::1", False))
VIEWS = (
    View(("n", "gone"), True, UP, ("corp.example",), 1),
    View(("n",), False, UP),
    View((), True),
)
PLAIN = [
    dns.message.make_query(name, kind, use_edns=edns, id=7).to_wire()
    for name in ("web", "all.net", "www.example.org", "2.0.0.10.in-addr.arpa", "a." * 120 + "b")
    for kind in ("A", "AAAA", "PTR", "ANY", "TXT")
    for edns in (False, 0)
]
#: What broke other servers: compression that leads nowhere, to itself or in a ring, labels without end, counts without
#: records, options longer than the message.
CORPUS = [
    b"",
    b"\0",
    bytes(11),
    bytes(12),
    bytes(65535),
    b"\xff" * 4096,
    PLAIN[0][:12] + b"\xc0\x0c\0\1\0\1",
    PLAIN[0][:12] + b"\xc0\x0e\xc0\x0c\0\1\0\1",
    PLAIN[0][:12] + b"\x3f" + b"a" * 65000,
    PLAIN[0][:12] + b"\1a" * 32000,
    PLAIN[0][:12] + b"\x40" + b"a" * 64 + b"\0\0\1\0\1",
    PLAIN[0][:4] + b"\xff" * 8 + PLAIN[0][12:],
    PLAIN[1][:-2] + b"\xff\xff",
    PLAIN[1] + b"\0\0\x29\x10\0\0\0\0\0\0\0",
    PLAIN[1][:-2] + b"\0\4\0\x0f\xff\xff",
]


def tables():
    made = Tables()
    made.register("n", "net", "e", ("web", "x" * 70), "10.0.0.2", "fd00::2")
    for number in range(40):
        made.register("n", "net", f"a{number}", ("all",), f"10.0.1.{number}", "")
    return made


def bent(chance, data):
    """A message with a few octets changed, lost, doubled or cut off."""
    octets = bytearray(data)
    for _ in range(chance.randrange(1, 5)):
        at = chance.randrange(len(octets) + 1)
        match chance.randrange(5):
            case 0 if at < len(octets):
                octets[at] = chance.choice((0, 1, 0x3F, 0x40, 0x80, 0xC0, 0xFF, chance.randrange(256)))
            case 1:
                del octets[at : at + chance.randrange(8)]
            case 2:
                octets[at:at] = chance.randbytes(chance.randrange(8))
            case 3:
                octets[at:at] = octets[at : at + chance.randrange(40)]
            case _:
                del octets[at:]
    return bytes(octets)


def hostile(chance):
    kind = chance.randrange(20)
    if kind == 0:
        return chance.choice(CORPUS)
    if kind == 1:
        return chance.randbytes(chance.randrange(600))
    if kind == 2:
        return chance.choice(PLAIN)[:12] + chance.randbytes(chance.randrange(300))
    return bent(chance, chance.choice(PLAIN))


def test_sec_19_queries():
    chance, names = random.Random(SEED), tables()
    for case in range(CASES):
        query, view, tcp = hostile(chance), VIEWS[case % 3], case % 7 == 0
        try:
            outcome = resolve(names, view, query, chance, tcp=tcp)
            assert isinstance(outcome, Answer | Forward | Silence)
            if isinstance(outcome, Answer):
                reply = query[:2] + outcome.bodies[0]
                assert len(reply) <= (wire.TCP_SIZE if tcp else wire.EDNS_SIZE_MAX)
                if case % READ_BACK == 0:
                    assert dns.message.from_wire(reply).flags & dns.flags.QR
            elif isinstance(outcome, Forward):
                assert view.forward and wire.scan(query).labels != 1 and outcome.end <= len(query)
        except Exception as error:
            raise AssertionError(f"seed {SEED}, case {case}: {query!r}") from error


def test_sec_19_streams():
    chance = random.Random(SEED + 1)
    for case in range(CASES // 5):
        stream, fed, got, now = Stream(0.0), 0, 0, 0.0
        data = b"".join(
            chance.choice((frame, lambda octets: chance.randbytes(2) + octets))(hostile(chance)[:60_000])
            for _ in range(chance.randrange(1, 4))
        )
        for _ in range(chance.randrange(1, 12)):
            size = chance.choice((0, 1, 2, 3, 100, 5000, 70_000))
            piece, now = data[fed : fed + size], now + chance.random() / 10
            fed += len(piece)
            closed = stream.closed
            messages = stream.receive(piece, now)
            got += sum(len(message) + 2 for message in messages)
            # A read takes something or ends: silence, and what nobody may send, close for good.
            assert stream.closed or piece, f"seed {SEED}, case {case}"
            assert not (closed and messages) and got <= fed, f"seed {SEED}, case {case}"
            assert stream.closed or fed - got < QUERY_SIZE_MAX + 2, f"seed {SEED}, case {case}"
            assert stream.deadline <= 10.0


def test_sec_19_replies():
    chance = random.Random(SEED + 2)
    forwarder, total = Forwarder(chance), CASES // 2
    answer = dns.message.make_response(dns.message.make_query("some.example.org", "A", use_edns=False))
    answer.answer += dns.message.from_text("id 1\n;ANSWER\nsome.example.org. 60 IN A 192.0.2.1").answer
    tail = answer.to_wire()[34:]
    query = dns.message.make_query("some.example.org", "A", use_edns=False, id=9).to_wire()
    open_sends = {}
    for case in range(total):
        if not open_sends:
            acts = forwarder.ask("s", "c", Forward(query, UP, len(query)), case % 2 == 0, float(case))
        else:
            send = chance.choice(list(open_sends.values()))
            good = send.data[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + send.data[12:] + tail
            data = bent(chance, good) if chance.randrange(10) else chance.choice(CORPUS)
            acts = forwarder.receive(send.token, data, float(case))
            for act in acts:
                if isinstance(act, Reply):
                    life = wire.life(act.data, len(query))
                    assert act.data[:2] == query[:2] and act.data[12 : len(query)] == query[12:], f"case {case}"
                    assert life is None or len(wire.aged(act.data[2:], life, life.seconds)) == len(act.data) - 2
        for act in acts:
            if isinstance(act, Send):
                open_sends[act.token] = act
            elif isinstance(act, Close):
                del open_sends[act.token]
        assert len(open_sends) <= 1
        if case % 50 == 0:
            for act in forwarder.tick(float(case) + 100):
                if isinstance(act, Send):
                    open_sends[act.token] = act
                elif isinstance(act, Close):
                    del open_sends[act.token]
