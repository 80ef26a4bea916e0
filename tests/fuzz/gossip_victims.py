"""A small gossip cluster that is attacked, in a process of its own: ``python -m tests.fuzz.gossip_victims``.

Reads commands from standard input, a line of JSON each, and answers each with one. So what it holds in memory, what it
logs and whom it calls dead are its own, whatever the attacker does.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import threading
import time
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.hostile import buffers_of

from fairlead.gossip.aio import GossipServer, Loop, listen
from fairlead.gossip.contract import Datagram, Event, GossipSettings, Joined, MemberDown, RecordChanged, Wish
from fairlead.gossip.gossip import Gossip
from fairlead.gossip.identity import Address, Identity
from fairlead.gossip.keyring import Keyring

PORT = 7946
KEY = bytes(range(32))
NETWORK = "x4f0qk2v9m7c1zt3h8s6w5bnd"
#: Packets that are recorded for the attacker at most.
_TAPE_MAX = 4000


def host(number: int) -> str:
    """Where a node is."""
    return f"127.77.0.{number + 1}"


class Recorded(Gossip):
    """A node whose datagrams are recorded."""

    tape: list[tuple[Address, bytes]]

    def outgoing(self, now: float) -> list[Wish]:
        wishes = super().outgoing(now)
        if len(self.tape) < _TAPE_MAX:
            self.tape += [(wish.to, wish.data) for wish in wishes if isinstance(wish, Datagram)]
        return wishes


class Victims:
    """The nodes. Every public method is a command."""

    def __init__(self) -> None:
        self._loop = Loop()
        self._nodes: list[GossipServer[Recorded]] = []
        self._tape: list[tuple[Address, bytes]] = []
        self._downs = self._gone = self._joined = 0
        self._faults: list[str] = []
        logging.getLogger("fairlead.gossip").addHandler(_Catcher(self._faults))
        threading.Thread(target=self._loop.run, daemon=True).start()

    def open(self, count: int) -> dict[str, Any]:
        """So many nodes more, which join the first; who and where they are."""
        for number in range(len(self._nodes), len(self._nodes) + count):
            address = Address(host(number), PORT)
            core = Recorded(
                Identity(bytes([number]) * 32),
                7,
                address,
                Keyring(KEY),
                GossipSettings(),
                Random(number),
                time.monotonic(),
            )
            core.tape = self._tape
            core.join([Address(host(0), PORT)], time.monotonic())
            core.attach(NETWORK, time.monotonic())
            server = GossipServer(self._loop, core, listen(address), self._told)
            self._nodes.append(server)
            self._loop.post(server.start)
        return {"ids": [server.core.members.own.hex() for server in self._nodes]}

    def put(self, node: int, key: str) -> bool:
        """A node says something."""
        self._nodes[node].do(lambda core, now: core.put(NETWORK, "t", key, b"v" * 100, now)).result(10)
        return True

    def have(self, key: str) -> int:
        """How many nodes have it."""
        return sum(self._ask(node, lambda core: core.tables.get(NETWORK, "t", key) is not None) for node in self._nodes)

    def tape(self) -> list[tuple[str, str]]:
        """What was sent so far: to whom, and the packets."""
        return [(to.host, data.hex()) for to, data in list(self._tape)]

    def stand(self) -> dict[str, Any]:
        """How they are."""
        gc.collect()
        states = {
            self._ask(
                node, lambda core: (core.members.sums.total, core.tables.digest(["", NETWORK]), len(core.members.ring))
            )
            for node in self._nodes
        }
        buffers: dict[str, int] = {}
        for node in self._nodes:
            for name, size in self._ask(node, buffers_of).items():
                buffers[name] = max(size, buffers.get(name, 0))
            for name in ("half_read", "turned_away", "unsent"):
                buffers[f"traffic {name}"] = max(getattr(node.traffic, name), buffers.get(f"traffic {name}", 0))
        counters: dict[str, int] = {}
        for node in self._nodes:
            for name, count in self._ask(node, lambda core: dict(core.counters)).items():
                counters[name] = counters.get(name, 0) + count
        return {
            "agree": len(states) == 1,
            "members": min(ring for _, _, ring in states),
            "rss": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
            "descriptors": len(list(Path("/proc/self/fd").iterdir())),
            "received": sum(node.traffic.datagrams_received for node in self._nodes),
            "downs": self._downs,
            "gone": self._gone,
            "joined": self._joined,
            "faults": self._faults[:5],
            "buffers": buffers,
            "counters": counters,
            "forgers": max(self._ask(node, lambda core: len(core.snapshot().forgers)) for node in self._nodes),
        }

    def received(self) -> int:
        """Datagrams that have come to all nodes."""
        return sum(node.traffic.datagrams_received for node in self._nodes)

    def _told(self, event: Event) -> None:
        self._downs += isinstance(event, MemberDown)
        self._gone += isinstance(event, RecordChanged) and event.after is None
        self._joined += isinstance(event, Joined)

    @staticmethod
    def _ask(node: GossipServer[Recorded], question: Any) -> Any:
        return node.do(lambda core, _now: question(core)).result(30)


class _Catcher(logging.Handler):
    def __init__(self, faults: list[str]) -> None:
        super().__init__()
        self._faults = faults

    def emit(self, record: logging.LogRecord) -> None:
        self._faults.append(logging.Formatter().format(record))


def main() -> None:
    victims = Victims()
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(getattr(victims, name)(**arguments)), flush=True)


if __name__ == "__main__":
    main()
