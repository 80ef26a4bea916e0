"""A measured gossip cluster: worker processes that hold its nodes, and faults in the kernel between them.

Each node has an address of its own in 127.0.0.0/8, so hosts can be taken off the net, halves be parted and packets be
lost by rules of nftables in this network namespace: nothing in the code that is measured knows of it. Or each node has
a process and a network namespace of its own, on a bridge.
"""

from __future__ import annotations

import json
import math
import select
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from bench.hosts import NotMeasured

#: Seconds for a worker to answer.
ANSWER_S = 150.0
_TABLE = "inet bench_gossip"
SEEDS = 2


class Fleet:
    """``size`` nodes; ``settings`` are those of every core."""

    def __init__(self, size: int, *, own_namespaces: bool = False, settings: dict[str, Any] | None = None) -> None:
        self.size = size
        self.ids: dict[str, int] = {}
        self._settings = settings or {}
        self._own_namespaces = own_namespaces
        self._workers: list[subprocess.Popen[str]] = []
        self._namespaces: list[str] = []

    def __enter__(self) -> Fleet:
        try:
            if self._own_namespaces:
                _run("ip link add gossipbr type bridge")
                _run("ip link set gossipbr up")
            for place in range(self.size if self._own_namespaces else min(2, self.size)):
                command = [sys.executable, "-m", "bench.gossip_worker"]
                if self._own_namespaces:
                    command = ["ip", "netns", "exec", self._namespace(place), *command]
                self._workers.append(
                    subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
                )
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.kill()
            worker.communicate()
        for name in self._namespaces:
            subprocess.run(["ip", "netns", "delete", name], check=False)
        if self._own_namespaces:
            subprocess.run(["ip", "link", "delete", "gossipbr"], check=False)

    # -- nodes

    def host(self, node: int) -> str:
        """A node's address."""
        return f"10.99.0.{node + 1}" if self._own_namespaces else f"127.9.{node // 250}.{node % 250 + 1}"

    def open(self, nodes: Iterable[int] | None = None, *, greet: bool = False) -> float:
        """Start nodes, all of them by default; when the first was."""
        wanted = list(range(self.size) if nodes is None else nodes)
        seeds = [self.host(node) for node in range(SEEDS)]
        calls = {}
        for place in range(len(self._workers)):
            mine = {str(node): self.host(node) for node in wanted if node % len(self._workers) == place}
            if mine:
                calls[place] = {"nodes": mine, "seeds": seeds, "settings": self._settings, "greet": greet}
        answers = self._call("open", calls)
        for answer in answers:
            self.ids |= {identifier: int(node) for node, identifier in answer["ids"].items()}
        return min(float(answer["began"]) for answer in answers)

    def close(self, nodes: Iterable[int] | None = None) -> float:
        """Nodes die, all of them by default; when the first did."""
        wanted = list(range(self.size) if nodes is None else nodes)
        calls = {}
        for place in range(len(self._workers)):
            mine = [node for node in wanted if node % len(self._workers) == place]
            if mine:
                calls[place] = {"nodes": mine}
        return min(self._call("close", calls))

    def again(self) -> None:
        """All nodes anew, with nothing in their tables."""
        self.close()
        began = self.open()
        self.want(self.size - 1, 0)
        self.until(began, 60)
        time.sleep(1.0)
        self.news()

    def at(self, node: int, name: str, **arguments: Any) -> Any:
        """A command to the worker that has a node."""
        return self._call(name, {node % len(self._workers): {"node": node, **arguments}})[0]

    def all(self, name: str, **arguments: Any) -> list[Any]:
        """A command to all workers at once."""
        return self._call(name, dict.fromkeys(range(len(self._workers)), arguments))

    def split(self, name: str, key: str, **arguments: Any) -> list[Any]:
        """The same, each told which nodes are its own."""
        count = len(self._workers)
        return self._call(
            name, {place: {key: list(range(place, self.size, count)), **arguments} for place in range(count)}
        )

    # -- waiting

    def want(self, up: int, seen: int) -> None:
        """What every node shall come to: others up, records seen; -1: whatever."""
        self.all("want", up=up, seen=seen)

    def until(self, began: float, limit_s: float) -> float:
        """Seconds until the last node came to it."""
        ends = self.all("wait", limit_s=limit_s)
        if None in ends:
            raise NotMeasured(f"not within {limit_s:g} s: {self.standing()}")
        return max(0.0, max(ends) - began)

    def news(self) -> tuple[list[tuple[float, int, int]], list[tuple[float, int, int]]]:
        """Who called whom down since the last time, and whose records went: (when, at, about)."""
        answers = self.all("news")
        return tuple(
            sorted((when, at, self.ids[about]) for answer in answers for when, at, about in answer[kind])
            for kind in ("downs", "hidden")
        )  # type: ignore[return-value]

    def standing(self) -> str:
        """How many nodes stand how."""
        found: dict[str, int] = {}
        for answer in self.all("stand"):
            for up, seen in answer["state"].values():
                words = f"{up} up, {seen} seen"
                found[words] = found.get(words, 0) + 1
        return "; ".join(f"{count} nodes: {words}" for words, count in sorted(found.items())[:4])

    def cost(self) -> tuple[int, float]:
        """Bytes on the wire so far, as the anchors count them, and processor seconds."""
        answers = self.all("stand")
        carried = [answer["traffic"] for answer in answers]
        bytes_sent = sum(
            each.get("datagram_bytes_sent", 0) + 28 * each.get("datagrams_sent", 0) + each.get("stream_bytes_sent", 0)
            for each in carried
        )
        return bytes_sent, sum(answer["cpu_s"] for answer in answers)

    # -- faults

    @contextmanager
    def lossy(self, share: float) -> Iterator[None]:
        """This share of the packets that arrive anywhere is lost, TCP's among them."""
        with self._rules([f"numgen random mod 1000 < {round(share * 1000)} drop"]):
            yield

    @contextmanager
    def dark(self, nodes: Iterable[int]) -> Iterator[None]:
        """Hosts are off the net."""
        hosts = ", ".join(self.host(node) for node in nodes)
        with self._rules([f"ip saddr {{ {hosts} }} drop", f"ip daddr {{ {hosts} }} drop"]):
            yield

    @contextmanager
    def parted(self, nodes: Iterable[int]) -> Iterator[None]:
        """Nothing passes between these hosts and the others."""
        hosts = ", ".join(self.host(node) for node in nodes)
        with self._rules(
            [
                f"ip saddr {{ {hosts} }} ip daddr != {{ {hosts} }} drop",
                f"ip saddr != {{ {hosts} }} ip daddr {{ {hosts} }} drop",
            ]
        ):
            yield

    @contextmanager
    def unplugged(self, node: int) -> Iterator[float]:
        """A node in a namespace of its own loses its link; when."""
        began = time.monotonic()
        _run(f"ip link set gossip{node} down")
        try:
            yield began
        finally:
            _run(f"ip link set gossip{node} up")

    def kill(self, node: int) -> float:
        """A node's process, if it has one of its own, is killed; when."""
        began = time.monotonic()
        self._workers[node].kill()
        self._workers[node].wait()
        del self._workers[node]
        return began

    @contextmanager
    def _rules(self, rules: list[str]) -> Iterator[None]:
        lines = "\n".join(f"    {rule}" for rule in rules)
        text = f"table {_TABLE} {{\n  chain input {{\n    type filter hook input priority -300;\n{lines}\n  }}\n}}\n"
        done = subprocess.run(["nft", "-f", "-"], input=text, text=True, check=False, capture_output=True)
        if done.returncode:
            raise NotMeasured(done.stderr.strip())
        try:
            yield
        finally:
            _run(f"nft delete table {_TABLE}")

    def _namespace(self, node: int) -> str:
        name = f"gossip{node}"
        self._namespaces.append(name)
        for command in (
            f"ip netns add {name}",
            f"ip link add {name} type veth peer name eth0 netns {name}",
            f"ip link set {name} master gossipbr up",
            f"ip -n {name} link set lo up",
            f"ip -n {name} address add {self.host(node)}/16 dev eth0",
            f"ip -n {name} link set eth0 up",
        ):
            _run(command)
        return name

    def _call(self, name: str, calls: dict[int, dict[str, Any]]) -> list[Any]:
        for place, arguments in calls.items():
            stdin = self._workers[place].stdin
            assert stdin is not None
            stdin.write(json.dumps([name, arguments]) + "\n")
        return [self._answer(place) for place in calls]

    def _answer(self, place: int) -> Any:
        stdout = self._workers[place].stdout
        assert stdout is not None
        if not select.select([stdout], [], [], ANSWER_S)[0]:
            raise NotMeasured("a worker does not answer")
        line = stdout.readline()
        answer = json.loads(line) if line else {"fault": "a worker has died"}
        if "fault" in answer:
            raise NotMeasured(answer["fault"])
        return answer["ok"]


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which this share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def _run(command: str) -> None:
    done = subprocess.run(command.split(), check=False, capture_output=True, text=True)
    if done.returncode:
        raise NotMeasured(f"{command}: {done.stderr.strip()}")
