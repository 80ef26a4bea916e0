"""Some of the nodes of a measured cluster, in a process of their own: ``python -m bench.gossip_worker``.

Reads commands from standard input and answers each, a line of JSON either way. Clocks of all processes are one
(CLOCK_MONOTONIC). What is waited for is watched for where events are told, so nobody polls while time is taken.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

from fairlead.gossip.aio import GossipServer, Loop, listen
from fairlead.gossip.contract import Event, GossipSettings, MemberDown, MemberLeft, MemberUp, RecordChanged
from fairlead.gossip.gossip import Gossip
from fairlead.gossip.identity import Address, Identity
from fairlead.gossip.keyring import Keyring

PORT = 7946
KEY = hashlib.sha256(b"the key of the measured cluster").digest()
#: A network's id as swarm makes them, and Docker's table.
NETWORK, TABLE = "x4f0qk2v9m7c1zt3h8s6w5bnd", "endpoint_table"
VALUE_BYTES = 115


def entry(word: str, number: int) -> tuple[str, bytes]:
    """A key of 64 hex digits and a value of 115 bytes, as the anchors had them."""
    key = hashlib.sha256(f"{word} {number}".encode()).hexdigest()
    return key, hashlib.shake_128(key.encode()).digest(VALUE_BYTES)


@dataclass(eq=False)
class Seat:
    """One node: which others it takes to be up, which records it sees."""

    index: int
    address: Address
    server: GossipServer[Gossip]
    up: set[bytes] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)
    ready: bool = False


class Worker:
    """The nodes of this process. Every public method is a command."""

    def __init__(self) -> None:
        self._loop = Loop()
        self._thread = threading.Thread(target=self._loop.run, daemon=True)
        self._thread.start()
        self._seats: dict[int, Seat] = {}
        self._epoch = int(time.time())
        self._change = threading.Condition()
        self._wanted: tuple[int, int] = (-1, -1)
        self._ready = 0
        self._ready_at = 0.0
        #: Key -> how many nodes have seen it, and when the last did; while recording.
        self._arrivals: dict[str, tuple[int, float]] | None = None
        #: (time, node that says so, id of the node that is down), and records that went.
        self._downs: list[tuple[float, int, str]] = []
        self._hidden: list[tuple[float, int, str]] = []

    # -- nodes

    def open(
        self, nodes: dict[str, str], seeds: list[str], settings: dict[str, Any], *, greet: bool = False
    ) -> dict[str, Any]:
        """Start nodes (index -> host) that join the cluster by the seeds, and the network, and with ``greet`` put a
        record each; when that began, and their ids."""
        self._epoch += 1
        made = [self._make(int(index), host, settings) for index, host in nodes.items()]

        def start() -> float:
            began = time.monotonic()
            for seat in made:
                core = seat.server.core
                core.join([Address(seed, PORT) for seed in seeds if seed != seat.address.host], time.monotonic())
                core.attach(NETWORK, time.monotonic())
                if greet:
                    core.put(NETWORK, TABLE, *entry("greeting", seat.index), time.monotonic())
                core.complete(time.monotonic())
                seat.server.start()
            return began

        began = self._in_loop(start)
        return {"began": began, "ids": {seat.index: seat.server.core.members.own.hex() for seat in made}}

    def attach(self, node: int) -> float:
        """A node takes part in the network; when it began to."""
        return self._command(node, lambda core, now: core.attach(NETWORK, now))

    def detach(self, node: int) -> float:
        """A node takes part no more, and sees none of it."""
        began = self._command(node, lambda core, now: core.detach(NETWORK, now))
        self._seats[node].seen.clear()
        return began

    def close(self, nodes: list[int]) -> float:
        """Nodes die as processes do, sockets closed; when."""
        seats = [self._seats.pop(node) for node in nodes]

        def act() -> float:
            began = time.monotonic()
            for seat in seats:
                seat.server.close()
            return began

        return self._in_loop(act)

    # -- records

    def put(self, node: int, word: str, first: int, count: int) -> float:
        """Put so many records at once; when that began."""
        entries = [entry(word, number) for number in range(first, first + count)]

        def act(core: Gossip, now: float) -> None:
            for key, value in entries:
                core.put(NETWORK, TABLE, key, value, now)

        return self._command(node, act)

    def rate(self, nodes: list[int], word: str, per_s: float, duration_s: float) -> dict[str, float]:
        """Put a record every so often, at these nodes in turn; key -> when."""
        times: dict[str, float] = {}
        begin = time.monotonic()
        for number in range(int(per_s * duration_s)):
            wait = begin + number / per_s - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            key, value = entry(f"{word}{nodes[0]}", number)

            def act(core: Gossip, now: float, key: str = key, value: bytes = value) -> None:
                times[key] = now
                core.put(NETWORK, TABLE, key, value, now)

            last = self._seats[nodes[number % len(nodes)]].server.do(act)
        last.result(30)
        return times

    # -- waiting

    def want(self, up: int, seen: int) -> bool:
        """From now on wait until every node takes ``up`` others to be there and sees ``seen`` records (-1: whatever)."""

        def act() -> None:
            self._wanted = (up, seen)
            self._ready = 0
            for seat in self._seats.values():
                seat.ready = False
            for seat in self._seats.values():
                self._check(seat)

        self._in_loop(act)
        return True

    def wait(self, limit_s: float) -> float | None:
        """Until it is so; when the last node came to it. None: not in time."""
        with self._change:
            if self._change.wait_for(lambda: self._ready == len(self._seats), limit_s):
                return self._ready_at
        return None

    def record(self, *, on: bool) -> dict[str, tuple[int, float]]:
        """Begin or end to note when what was seen; what was noted."""
        found, self._arrivals = self._arrivals, {} if on else None
        return found or {}

    def news(self) -> dict[str, list[tuple[float, int, str]]]:
        """Who called whom down, and which records went, since the last time."""
        downs, hidden = self._downs, self._hidden
        self._downs, self._hidden = [], []
        return {"downs": downs, "hidden": hidden}

    def stand(self) -> dict[str, Any]:
        """What was carried so far, processor seconds, and how the nodes stand."""
        totals: dict[str, int] = {}
        for seat in self._seats.values():
            for name, value in asdict(seat.server.traffic).items():
                totals[name] = totals.get(name, 0) + value
        state = {seat.index: (len(seat.up), len(seat.seen)) for seat in self._seats.values()}
        return {"traffic": totals, "cpu_s": time.process_time(), "state": state, "at": time.monotonic()}

    def traffic(self, node: int) -> dict[str, int]:
        """What one node carried."""
        return asdict(self._seats[node].server.traffic)

    def counters(self) -> dict[str, int]:
        """The cores' counters, summed."""
        totals: dict[str, int] = {}
        for seat in self._seats.values():
            for name, value in seat.server.do(lambda core, _now: dict(core.snapshot().counters)).result(10).items():
                totals[name] = totals.get(name, 0) + value
        return totals

    def exit(self) -> None:
        """End at once, as a killed process does."""
        os._exit(0)

    # -- inside

    def _make(self, index: int, host: str, settings: dict[str, Any]) -> Seat:
        address = Address(host, PORT)
        core = Gossip(
            Identity(hashlib.sha256(b"bench %d" % index).digest()),
            self._epoch,
            address,
            Keyring(KEY),
            GossipSettings(**settings),
            Random(f"{index} {self._epoch}"),
            time.monotonic(),
        )
        seat = Seat(index, address, None)  # type: ignore[arg-type]
        seat.server = GossipServer(self._loop, core, listen(address), lambda event: self._told(seat, event))
        self._seats[index] = seat
        return seat

    def _command(self, node: int, act: Any) -> float:
        def timed(core: Gossip, _now: float) -> float:
            began = time.monotonic()
            act(core, began)
            return began

        began: float = self._seats[node].server.do(timed).result(30)
        return began

    def _in_loop(self, act: Any) -> Any:
        done: list[Any] = []
        event = threading.Event()

        def run() -> None:
            done.append(act())
            event.set()

        self._loop.post(run)
        assert event.wait(60), "the loop does not turn"
        return done[0]

    def _told(self, seat: Seat, event: Event) -> None:
        now = time.monotonic()
        if isinstance(event, RecordChanged):
            if event.scope != NETWORK:
                return
            if event.after is not None:
                seat.seen.add(event.key)
                if self._arrivals is not None:
                    self._arrivals[event.key] = (self._arrivals.get(event.key, (0, 0.0))[0] + 1, now)
            else:
                seat.seen.discard(event.key)
                self._hidden.append((now, seat.index, event.owner.hex()))
        elif isinstance(event, MemberUp):
            seat.up.add(event.id)
        elif isinstance(event, MemberDown | MemberLeft):
            seat.up.discard(event.id)
            if isinstance(event, MemberDown):
                self._downs.append((now, seat.index, event.id.hex()))
        self._check(seat, now)

    def _check(self, seat: Seat, now: float = 0.0) -> None:
        up, seen = self._wanted
        ready = (up < 0 or len(seat.up) == up) and (seen < 0 or len(seat.seen) == seen)
        if ready == seat.ready:
            return
        seat.ready = ready
        self._ready += 1 if ready else -1
        if ready and self._ready == len(self._seats):
            with self._change:
                self._ready_at = now
                self._change.notify_all()


def main() -> None:
    worker = Worker()
    gc.freeze()
    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            answer = {"ok": getattr(worker, name)(**arguments)}
        except Exception as fault:  # noqa: BLE001 - it is told to who asked
            answer = {"fault": f"{type(fault).__name__}: {fault}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
