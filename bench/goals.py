"""What each row of a benchmark must reach. One table; the ratio that is shown and "met" are derived from it."""

from __future__ import annotations

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
