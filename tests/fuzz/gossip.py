"""A small gossip cluster on real sockets under hostile datagrams and streams: a million, and as many as one likes.

    python -m tests.fuzz.gossip --datagrams 1000000 --seed 1

Strangers who have recorded what was sent, insiders who have the cluster's key and nobody's identity, from addresses that
are not theirs; and connections that never end what they began. Held against it all the time: what is written meanwhile
arrives at all nodes, nobody is called dead, no record goes, nothing is raised, and neither memory nor any buffer grows.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import product
from random import Random
from typing import Any

from tests.fuzz.gossip_victims import KEY, NETWORK, PORT, host
from tests.fuzz.hostile import Attacker, Victims, overgrown

from fairlead.gossip.frames import HALF_READ_BYTES_MAX
from fairlead.gossip.identity import Address, NodeId

NODES = 4
#: Datagrams that may be on their way at a time: what socket buffers hold, so that none is lost there unseen.
_FLIGHT = 1000
#: Datagrams between two writes that must arrive.
_WRITE_EVERY = 20_000
#: Seconds for anything to come true on a busy machine.
_WAIT_S = 60.0
#: Writes of a run that is long enough to tell full buffers from a leak.
MARKS_MIN = 40
#: Growth of memory (bytes) of all nodes together that is no leak: what is remembered of sources, senders, orphans (4 MiB a
#: node) and forged roots has a limit, and the allocator keeps what was in use.
GROWTH_BYTES_MAX = 64 * 1024 * 1024
#: Growth in the second half of a long run, when all that has a limit is full.
CREEP_BYTES_MAX = 8 * 1024 * 1024
#: The same for connections alone (SEC-26).
STREAM_GROWTH_BYTES_MAX = 20 * 1024 * 1024


class Cluster:
    """The process with the cluster."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.gossip_victims"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def call(self, name: str, **arguments: Any) -> Any:
        """A command."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, arguments]) + "\n")
        self._process.stdin.flush()
        assert select.select([self._process.stdout], [], [], 2 * _WAIT_S)[0], "the cluster does not answer"
        return json.loads(self._process.stdout.readline())

    def until(self, what: str, true: Callable[[], object]) -> None:
        """Wait until something is so."""
        end = time.monotonic() + _WAIT_S
        while not true():
            assert time.monotonic() < end, f"{what}: not so after {_WAIT_S:g} s; {self.call('stand')}"
            time.sleep(0.05)

    def settle(self, members: int) -> dict[str, Any]:
        """Wait until all agree; how they stand then."""
        stands: list[dict[str, Any]] = []

        def agree() -> bool:
            stands.append(self.call("stand"))
            return bool(stands[-1]["agree"]) and stands[-1]["members"] == members

        self.until("all agree", agree)
        return stands[-1]

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


@dataclass
class Tally:
    """What was sent, and how the cluster stood before and after."""

    sent: Counter[str] = field(default_factory=Counter)
    writes: int = 0
    seconds: float = 0.0
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    #: Resident memory at each write.
    marks: list[int] = field(default_factory=list)

    def hold(self, growth_max: int) -> None:
        """What must be so in the end."""
        after, before = self.after, self.before
        if after["rss"] - before["rss"] > growth_max:
            self.faults.append(f"memory: {before['rss'] >> 20} -> {after['rss'] >> 20} MiB")
        if len(self.marks) >= MARKS_MIN and self.marks[-1] - self.marks[len(self.marks) // 2] > CREEP_BYTES_MAX:
            self.faults.append("memory creeps: " + ", ".join(f"{mark >> 20}" for mark in self.marks))
        self.faults += overgrown(after["buffers"], NODES + 2)
        if after["buffers"]["traffic half_read"] > HALF_READ_BYTES_MAX:
            self.faults.append("messages that are half read")
        for name in ("downs", "gone"):
            if after[name] != before[name]:
                self.faults.append(f"{name}: {after[name] - before[name]}")
        self.faults += after["faults"]
        if after["forgers"] > 256:
            self.faults.append("forgers without a limit")


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A cluster that has said something already."""
    one = Cluster()
    try:
        one.call("open", count=NODES)
        one.settle(NODES)
        for number in range(100):
            one.call("put", node=number % NODES, key=f"before{number}")
        one.until("records are everywhere", lambda: one.call("have", key="before99") == NODES)
        time.sleep(1.5)  # a round of probes, to be recorded
        one.settle(NODES)
        yield one
    finally:
        one.close()


def datagrams(one: Cluster, count: int, seed: int) -> Tally:
    """So many hostile datagrams. Needs the right to write others' addresses on packets."""
    tally = Tally(before=one.call("stand"))
    victims = Victims(
        addresses=[Address(host(number), PORT) for number in range(NODES)],
        ids=[NodeId(bytes.fromhex(identifier)) for identifier in one.call("open", count=0)["ids"]],
        epochs=[7] * NODES,
        network=NETWORK,
        key=KEY,
        tape=[(Address(to, PORT), bytes.fromhex(data)) for to, data in one.call("tape")],
    )
    attacker = Attacker(victims, Random(seed), _anywhere)
    began, sent, base = time.monotonic(), 0, one.call("received")
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        while sent < count:
            for _ in range(min(_FLIGHT // 2, count - sent)):
                source, to, data = attacker.datagram()
                raw.sendto(_packet(source, to, data), (to.host, 0))
                sent += 1
            floor = base + sent - _FLIGHT
            one.until("datagrams are read", lambda: one.call("received") >= floor)  # noqa: B023 - called at once
            if sent % _WRITE_EVERY < _FLIGHT // 2:
                key = f"meanwhile{sent}"
                one.call("put", node=tally.writes % NODES, key=key)
                one.until(f"{key} is everywhere", lambda: one.call("have", key=key) == NODES)  # noqa: B023
                tally.writes += 1
                tally.marks.append(one.call("stand")["rss"])
    tally.seconds = time.monotonic() - began
    tally.sent = attacker.sent
    tally.after = one.settle(NODES)
    tally.hold(GROWTH_BYTES_MAX)
    return tally


def unreachable(one: Cluster, seconds: float) -> Tally:
    """A stranger says all the time, in every node's name and to every node, that nobody listens there (ICMP)."""
    tally = Tally(before=one.call("stand"))
    began = time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        while time.monotonic() < began + seconds:
            for at, of in product(range(NODES), repeat=2):
                asked = _packet(Address(host(at), PORT), Address(host(of), PORT), b"ping")
                raw.sendto(_port_unreachable(host(of), host(at), asked), (host(at), 0))
                tally.sent["unreachable"] += at != of
            time.sleep(0.0005)
    tally.seconds = time.monotonic() - began
    tally.after = one.settle(NODES)
    tally.hold(GROWTH_BYTES_MAX)
    return tally


def streams(one: Cluster, count: int, seed: int) -> Tally:
    """Crowds that stay and say nothing, or a byte now and then; ``count`` that come and go with all sorts of halves; and a
    node that joins in between."""
    tally = Tally(before=one.call("stand"))
    began, chance = time.monotonic(), Random(seed)
    members = tally.before["members"]
    with ExitStack() as stack:
        crowd = []
        for number in range(300 * NODES):
            crowd.append(stack.enter_context(_connect(chance, host(number % NODES))))
            if number % 2:
                crowd[-1].sendall(struct.pack(">I", 60_000)[: 1 + number % 4])
        tally.sent["stay"] = len(crowd)
        for number in range(count):
            kind = _KINDS[number % len(_KINDS)]
            with _connect(chance, host(number % NODES)) as stream:
                kind(stream, chance)
            tally.sent[kind.__name__.strip("_").replace("_", " ")] += 1
            if number % 50 == 0:
                for loris in chance.sample(crowd, 20):
                    _drip(loris)
            if number == count // 2:
                one.call("open", count=1)
                one.until("a node joins among them", lambda: one.call("stand")["members"] == members + 1)
                one.call("put", node=members, key="newcomer")
                one.until("its word is everywhere", lambda: one.call("have", key="newcomer") == members + 1)
                tally.writes += 1
        during = one.call("stand")
        tally.after = during
        tally.hold(STREAM_GROWTH_BYTES_MAX)
    tally.seconds = time.monotonic() - began
    one.until("all are closed", lambda: one.call("stand")["descriptors"] < tally.before["descriptors"] + 40)
    tally.after = one.settle(members + 1)
    tally.hold(STREAM_GROWTH_BYTES_MAX)
    return tally


def _anywhere(chance: Random) -> Address:
    return Address(
        f"127.{chance.randrange(100, 255)}.{chance.randrange(256)}.{chance.randrange(1, 255)}",
        1 + chance.randrange(65535),
    )


def _packet(source: Address, to: Address, data: bytes) -> bytes:
    """An IP packet with a UDP datagram. The checksums are left to the kernel (IP), or out (UDP, RFC 768)."""
    udp = struct.pack(">HHHH", source.port, to.port, 8 + len(data), 0) + data
    hosts = socket.inet_aton(source.host) + socket.inet_aton(to.host)
    return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0) + hosts + udp


def _port_unreachable(source: str, to: str, quoted: bytes) -> bytes:
    """RFC 792: type 3, code 3, with the IP header and eight bytes of what is said not to have arrived."""
    message = struct.pack(">BBHI", 3, 3, 0, 0) + quoted[:28]
    total = sum(struct.unpack(f">{len(message) // 2}H", message))
    total = (total >> 16) + (total & 0xFFFF)
    message = message[:2] + struct.pack(">H", ~(total + (total >> 16)) & 0xFFFF) + message[4:]
    hosts = socket.inet_aton(source) + socket.inet_aton(to)
    return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(message), 0, 0, 64, socket.IPPROTO_ICMP, 0) + hosts + message


def _connect(chance: Random, to: str) -> socket.socket:
    stream = socket.socket()
    stream.bind((f"127.{chance.randrange(100, 255)}.{chance.randrange(256)}.{chance.randrange(1, 255)}", 0))
    stream.settimeout(_WAIT_S)
    stream.connect((to, PORT))
    return stream


def _drip(stream: socket.socket) -> None:
    """One byte more; whoever was turned away finds that out."""
    with suppress(OSError):
        stream.send(b"\0", socket.MSG_DONTWAIT)


def _oversize(stream: socket.socket, chance: Random) -> None:
    _say(stream, struct.pack(">I", chance.choice((2**32 - 1, 4 * 2**20 + 1, 64 * 1024 + 1))) + chance.randbytes(2000))


def _half_close(stream: socket.socket, chance: Random) -> None:
    _say(stream, struct.pack(">I", 100) + chance.randbytes(50))
    with suppress(OSError):
        stream.shutdown(socket.SHUT_WR)
        stream.recv(10)


def _frame_of_noise(stream: socket.socket, chance: Random) -> None:
    data = chance.randbytes(chance.randrange(1, 3000))
    _say(stream, struct.pack(">I", len(data)) + data)


def _reset(stream: socket.socket, _chance: Random) -> None:
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _come_and_go(_stream: socket.socket, _chance: Random) -> None:
    pass


def _say(stream: socket.socket, data: bytes) -> None:
    with suppress(OSError):
        stream.sendall(data)


_KINDS = (_oversize, _half_close, _frame_of_noise, _reset, _come_and_go)


def main() -> None:
    parser = argparse.ArgumentParser(prog="./run fuzz gossip", description=__doc__)
    parser.add_argument("--datagrams", type=int, default=1_000_000)
    parser.add_argument("--connections", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with cluster() as one:
        tallies = [
            datagrams(one, options.datagrams, options.seed),
            unreachable(one, 10.0),
            streams(one, options.connections, options.seed),
        ]
    for tally in tallies:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(tally.sent.items()))
        print(f"{tally.sent.total()} in {tally.seconds:.0f} s: {kinds}")
        print(
            f"  memory of {NODES} nodes {tally.before['rss'] >> 20} -> {tally.after['rss'] >> 20} MiB;"
            f" {tally.writes} writes meanwhile, all everywhere; {tally.after['downs']} called dead"
        )
        if tally.marks:
            print("  memory at each write, MiB: " + " ".join(f"{mark >> 20}" for mark in tally.marks))
        print(
            "  buffers: " + ", ".join(f"{name} {size}" for name, size in sorted(tally.after["buffers"].items()) if size)
        )
        print("  counters: " + ", ".join(f"{name} {count}" for name, count in sorted(tally.after["counters"].items())))
    faults = [fault for tally in tallies for fault in tally.faults]
    for fault in faults:
        print(f"FAULT: {fault}", file=sys.stderr)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
