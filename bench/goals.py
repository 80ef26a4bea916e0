"""What each row of a benchmark must reach. One table; the ratio that is shown and "met" are derived from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

#: What a bound compares our value with: nothing (it is absolute), the floor or the peer of the same run, or the value
#: of another row of the run (seen against the floors of both, where both have one).
Anchor = str
ABSOLUTE, FLOOR, PEER = "absolute", "floor", "peer"


@dataclass(frozen=True, slots=True)
class Bound:
    """Our value, divided by its anchor, is at most (or at least) the limit."""

    anchor: Anchor
    sign: Literal["≤", "≥"]
    limit: float

    def holds(self, value: float, anchor: float) -> bool:
        """Whether it does."""
        share = value if self.anchor == ABSOLUTE else value / anchor
        return share <= self.limit if self.sign == "≤" else share >= self.limit

    def words(self, unit: str) -> str:
        """For people."""
        if self.anchor == ABSOLUTE:
            return f"{self.sign} {self.limit:g} {unit}"
        return f"{self.sign} {self.limit:.3g}x {self.anchor}"


def _at_most(limit: float, anchor: Anchor = ABSOLUTE) -> Bound:
    return Bound(anchor, "≤", limit)


def _at_least(limit: float, anchor: Anchor = ABSOLUTE) -> Bound:
    return Bound(anchor, "≥", limit)


@dataclass(frozen=True, slots=True)
class Goal:
    """A row: its unit, what it means, and the bounds that all must hold. Without bounds it is only told."""

    unit: str
    meaning: str
    bounds: tuple[Bound, ...] = ()


#: A value that must not grow: what it may be, compared with the small case, before noise is growth.
_FLAT = 1.2

ONE_HOST: dict[str, Goal] = {
    "network.create": Goal("ms", "a bridge network, through the API; p50", (_at_most(0.2, PEER),)),
    "network.create.at500": Goal(
        "ms", "the same beside 500 networks; p50", (_at_most(0.2, PEER), _at_most(_FLAT, "network.create"))
    ),
    "network.delete": Goal("ms", "out of service and persisted; p50", (_at_most(5),)),
    "endpoint.connect.p50": Goal("ms", "a running container to a network", (_at_most(4), _at_most(0.2, PEER))),
    "endpoint.connect.p99": Goal("ms", "the same; 99th percentile", (_at_most(10),)),
    "endpoint.connect.at1000": Goal(
        "ms", "the same beside 1,000 endpoints; p50", (_at_most(4), _at_most(_FLAT, "endpoint.connect.p50"))
    ),
    "endpoint.disconnect": Goal("ms", "p50", (_at_most(5),)),
    "attach.parallel": Goal("/s", "200 endpoints, 8 at a time", (_at_least(150),)),
    "container.start": Goal("ms", "the network's share of a start: with a network minus without; p50", (_at_most(8),)),
    "publish.1000.start": Goal("ms", "the share of 1,000 ports in a container's start", (_at_most(200),)),
    "publish.1000.remove": Goal("ms", "the share of 1,000 ports in its removal", (_at_most(200),)),
    "bridge.c2c.throughput": Goal("Gbit/s", "between two containers, one TCP stream", (_at_least(0.97, FLOOR),)),
    "bridge.c2c.rtt": Goal("us", "one byte there and back; p50", (_at_most(1.05, FLOOR),)),
    "bridge.c2c.connections": Goal("/s", "short connections, one after the other", (_at_least(0.95, FLOOR),)),
    "port.ext.1": Goal("/s", "short connections from a neighbour to a published port", (_at_least(0.95, FLOOR),)),
    "port.ext.1000": Goal("/s", "the same beside 1,000 other published ports", (_at_least(0.95, FLOOR),)),
    "port.loopback": Goal("us", "one byte to 127.0.0.1 and back; p50", (_at_most(1.15, FLOOR),)),
    "dns.qps.10": Goal("/s", "names of the network, 10 of them; dnsperf, 4 clients", (_at_least(0.8, FLOOR),)),
    "dns.qps.1000": Goal(
        "/s", "the same with 1,000 names", (_at_least(0.8, FLOOR), _at_least(1 / _FLAT, "dns.qps.10"))
    ),
    "dns.qps.10000": Goal("/s", "the same with 10,000 names", (_at_least(1 / _FLAT, "dns.qps.10"),)),
    "dns.p50": Goal("us", "one query at a time", (_at_most(0.5, PEER),)),
    "dns.forward": Goal("/s", "names of the outside, each once; floor: asked directly", (_at_least(0.6, PEER),)),
    "dns.forward.again": Goal("/s", "1,000 names of the outside, again and again", (_at_least(0.6, PEER),)),
    "daemon.rss.idle": Goal("MB", "resident memory; Docker: dockerd and containerd", (_at_most(80),)),
    "daemon.rss.endpoint": Goal("KB", "its growth for each endpoint", (_at_most(30),)),
    "daemon.start": Goal("ms", "from exec until the API answers; p50", (_at_most(600),)),
    "daemon.restart": Goal("ms", "the same with containers in many networks", (_at_most(2000),)),
    "daemon.restart.lost": Goal("packets", "lost between two containers meanwhile", (_at_most(0),)),
    "cli.start.network_ls": Goal("ms", "floor: a bare Python; p50", (_at_most(120),)),
    "cli.start.help": Goal("ms", "the same for --help; p50", (_at_most(60),)),
}

#: Nodes of the gossip rows.
_NODES = (3, 10, 30, 60, 100)
#: Per row: unit, meaning, and what it may be at most for each number of nodes (one number: at any).
_GOSSIP: dict[str, tuple[str, str, float | tuple[float, ...] | None]] = {
    "gossip.converge.last_node.p50_ms": ("ms", "one entry, until the last node has it; p50", None),
    "gossip.converge.last_node.p95_ms": ("ms", "the same; p95", (10, 10, 20, 35, 50)),
    "gossip.converge.loss10.p50_ms": ("ms", "with 10 % of all packets lost; p50", None),
    "gossip.converge.loss10.p95_ms": ("ms", "the same; p95", 150),
    "gossip.converge.loss25.p50_ms": ("ms", "with 25 % of all packets lost; p50", None),
    "gossip.converge.loss25.p95_ms": ("ms", "the same; p95", 500),
    "gossip.converge.namespaces.p50_ms": ("ms", "a process and a namespace for each node; p50", None),
    "gossip.converge.namespaces.p95_ms": ("ms", "the same; p95", (10, 10, 20, 35, 50)),
    "gossip.burst1000.all_nodes.s": ("s", "1,000 entries at once from one node", (0.3, 0.6, 1.5, 2.5, 4)),
    "gossip.burst1000.namespaces.s": ("s", "the same with a process for each node", (0.3, 0.6, 1.5, 2.5, 4)),
    "gossip.bytes_per_entry_delivered": ("B", "on the wire in that burst", 500),
    "gossip.rate200.p95_ms": ("ms", "200 creates a second, until the last node has each; p95", 100),
    "gossip.join1000.cold_s": ("s", "a new node has 1,000 entries; p50", 0.15),
    "gossip.join1000.warm_s": ("s", "a member that joins the network has them; p50", 0.03),
    "gossip.join1000.tables": ("tables", "bytes of all nodes during the cold join", 1.3),
    "gossip.mass_start.p50_s": ("s", "all join at once, until all know all; p50", None),
    "gossip.mass_start.worst_s": ("s", "the worst of them", 2),
    "gossip.fail.host.first_s": ("s", "host gone, until the first survivor knows; p50", 2.0),
    "gossip.fail.host.last_s": ("s", "until the last knows; p50", 2.2),
    "gossip.fail.host.last.worst_s": ("s", "the worst of them", None),
    "gossip.fail.process.first_s": ("s", "process dead on a living host; p50", 0.3),
    "gossip.fail.process.last_s": ("s", "until the last knows; p50", 0.3),
    "gossip.fail.process.last.worst_s": ("s", "the worst of them", None),
    "gossip.fail.host.namespaces.last_s": ("s", "a process and a namespace for each node; link down", 2.2),
    "gossip.fail.process.namespaces.last_s": ("s", "the same; process killed", 0.3),
    "gossip.false_deaths.loss25": ("/120s", "living nodes called dead, 25 % of all packets lost", 2.1),
    "gossip.idle.bytes_per_s.0": ("B/s", "of each node with no entries, TCP included", 300),
    "gossip.idle.cpu_s_per_min.0": ("s/min", "processor time of each node", 0.2),
    "gossip.idle.bytes_per_s.1000": ("B/s", "of each node with 1,000 entries", 400),
    "gossip.idle.cpu_s_per_min.1000": ("s/min", "processor time of each node", 0.2),
    "gossip.partition.heal.s": ("s", "200 entries and more, halves apart, until all agree", 1),
    "gossip.partition.reachable_hidden": ("records", "of owners that could be reached, hidden meanwhile", 0),
    "gossip.partition.removed_after_heal": ("records", "hidden after the halves were one again", 0),
}


def _gossip() -> dict[str, Goal]:
    found: dict[str, Goal] = {}
    for place, nodes in enumerate(_NODES):
        for name, (unit, meaning, limit) in _GOSSIP.items():
            most = limit[place] if isinstance(limit, tuple) else limit
            found[f"{name}.n{nodes}"] = Goal(unit, meaning, () if most is None else (_at_most(most),))
    return found


GOSSIP = _gossip()


def _gossip_sim() -> dict[str, Goal]:
    found: dict[str, Goal] = {}
    for nodes in (10, 30, 100, 300, 1000, 3000, 10000):
        # a tree of four children has log4(3 N) levels; one more for a hop that is not a tree's
        depth = math.ceil(math.log(1 + 3 * (nodes - 1), 4)) + 1
        found[f"gossip-sim.rounds.n{nodes}"] = Goal("", "one-way delays until the last node has it", (_at_most(depth),))
        found[f"gossip-sim.messages.n{nodes}"] = Goal("", "datagrams of each node for it", (_at_most(depth),))
    found["gossip-sim.memory.member_bytes"] = Goal("B", "a node's memory for each other member")
    for count in (10_000, 100_000):
        found[f"gossip-sim.memory.record_bytes.n{count}"] = Goal("B", "a node's memory for each of so many records")
    for slow in (4, 16):
        found[f"gossip-sim.slow{slow}.lifeguard"] = Goal(
            "deaths", "sound nodes called dead by anybody, so many others slow"
        )
        found[f"gossip-sim.slow{slow}.plain"] = Goal("deaths", "the same in SWIM as published")
        # Lifeguard's authors found 50 to 100 times fewer
        found[f"gossip-sim.slow{slow}.fewer"] = Goal("times", "the second by the first", (_at_least(50),))
        found[f"gossip-sim.slow{slow}.believed"] = Goal("deaths", "of the first, said by sound nodes", (_at_most(0),))
    found["gossip-sim.schedules.failed"] = Goal("", "random schedules that did not end converged", (_at_most(0),))
    return found


GOSSIP_SIM = _gossip_sim()

CLUSTER: dict[str, Goal] = {
    "cluster.form": Goal("s", "three hosts from nothing until their manager sees all ready", (_at_most(5),)),
    "cluster.name_visible.p50": Goal(
        "ms",
        "from when a container's process listens until it is reached by name from another host; p50",
        (_at_most(60), _at_most(0.2, PEER)),
    ),
    "cluster.name_visible.p99": Goal("ms", "the same; 99th percentile", (_at_most(250),)),
    "cluster.name_visible.start": Goal("ms", "the same from when its start is asked for; p50"),
    "cluster.name_gone": Goal(
        "s", "a worker's host is gone, until a container's name there is gone from another's DNS; p50", (_at_most(2.2),)
    ),
    "cluster.name_gone.worst": Goal("s", "the worst of them"),
    "cluster.service_create": Goal(
        "s",
        "30 replicas on 3 hosts, until all are reached by name; floor: 30 containers by runc alone",
        (_at_most(1.5, FLOOR),),
    ),
    "cluster.alloc.at0": Goal("/s", "addresses allocated by the manager's brain, none held", (_at_least(5000),)),
    "cluster.alloc.at100000": Goal(
        "/s", "the same with 100,000 held", (_at_least(5000), _at_least(1 / _FLAT, "cluster.alloc.at0"))
    ),
}

BALANCING: dict[str, Goal] = {
    "vip.connect": Goal("/s", "short connections to a virtual address, 10 tasks behind it", (_at_least(0.9, FLOOR),)),
    "vip.connect.many": Goal(
        "/s",
        "the same to the last of 1,000 such services",
        (_at_least(0.9, FLOOR), _at_least(1 / _FLAT, "vip.connect")),
    ),
    "vip.rtt": Goal("us", "one byte there and back through it; p50", (_at_most(1.05, FLOOR),)),
    "vip.update.few": Goal("ms", "a task of 10 services comes or goes: from its record to Linux; p50"),
    "vip.update": Goal("ms", "the same with 1,000 services", (_at_most(2), _at_most(_FLAT, "vip.update.few"))),
    "vip.fill": Goal("ms", "a sandbox joins a network of 1,000 services"),
    "vip.memory": Goal("MB", "100 sandboxes in a network of 1,000 services"),
    "vip.service.connect": Goal("/s", "short connections to a service of a cluster of two hosts"),
}

HTTP_MESH: dict[str, Goal] = {
    "http.mesh": Goal("/s", "requests through a node's proxy", (_at_least(0.95, FLOOR),)),
    "http.mesh.changes": Goal("requests", "failed while services came, went and were scaled", (_at_most(0),)),
    "http.mesh.live": Goal(
        "ms", "a changed label of one of 200 services with 5 tasks is answered; p99", (_at_most(300),)
    ),
    "http.mesh.cluster": Goal("ms", "a changed label is followed by all of three hosts; p99", (_at_most(300),)),
}

OVERLAY: dict[str, Goal] = {
    "overlay.throughput": Goal("Gbit/s", "one TCP stream between containers of two hosts", (_at_least(0.97, FLOOR),)),
    "overlay.rtt": Goal("us", "one byte there and back; p50", (_at_most(1.05, FLOOR),)),
    "overlay.connections": Goal("/s", "short connections, one after the other", (_at_least(0.95, FLOOR),)),
    "overlay.peers.10000": Goal("ms", "10,000 peers learned on one node", (_at_most(5, FLOOR),)),
    "overlay.peers.change": Goal("ms", "one of them moves to another node; p50", (_at_most(2),)),
}
