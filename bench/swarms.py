"""Several hosts on one underlay: clusters of ours and of Docker's, and the same made by hand."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.api import Api, ApiFailure
from bench.by_hand import Namespace
from bench.engines import Docker, Engine, Fairlead
from bench.hosts import Host, NotMeasured
from bench.programs import Programs

#: The underlay: a part of RFC 2544's range for benchmarks that no host's own neighbour has.
_UNDERLAY, _LENGTH = "198.18.2", 24
_SWITCH = "switch"
#: A host's link to the underlay.
UNDERLAY_LINK = "under"
_MANAGEMENT_PORT = 2377
#: Seconds until all nodes of a cluster are ready, and between two looks.
_READY_S, _LOOK_S = 60.0, 0.005
#: The overlay that is made by hand: its subnet, and what identifies it on the wire.
_SUBNET, _VNI, _DATA_PORT = "10.200.0", 4096, 4789
#: Bytes that VXLAN over IPv4 takes from a packet (RFC 7348: 20 + 8 + 8 + 14).
_OVERHEAD_BYTES = 50
_MTU = 1500


class SwarmDocker(Docker):
    """Docker as a node of a swarm, which does not go together with live-restore."""

    def _command(self) -> list[str]:
        return [word for word in super()._command() if word != "--live-restore"]


def underlay(stack: ExitStack, name: str, programs: Programs, hosts: Sequence[Host]) -> list[str]:
    """Join hosts by a bridge on a host of its own; the address of each."""
    switch = Host(f"{name}-switch", programs)
    stack.callback(switch.close)
    switch.run("ip", "link", "add", _SWITCH, "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
    switch.run("ip", "link", "set", _SWITCH, "up")
    switch.run("sysctl", "-qwe", "net.bridge.bridge-nf-call-iptables=0", "net.bridge.bridge-nf-call-ip6tables=0")
    addresses = []
    for number, host in enumerate(hosts, 1):
        link, address = f"port{number}", f"{_UNDERLAY}.{number}"
        far = ("peer", "name", UNDERLAY_LINK, "netns", str(host.init))
        switch.run("ip", "link", "add", link, "master", _SWITCH, "up", "type", "veth", *far)
        host.run("ip", "address", "add", f"{address}/{_LENGTH}", "dev", UNDERLAY_LINK)
        host.run("ip", "link", "set", UNDERLAY_LINK, "up")
        addresses.append(address)
    return addresses


class Swarm:
    """Engines of one kind that form a cluster; the first is its manager."""

    def __init__(self, stack: ExitStack, kind: type[Engine], folder: Path, programs: Programs, count: int) -> None:
        self.title = kind.title
        self.engines: list[Engine] = []
        for number in range(count):
            engine = kind(folder / f"{kind.title}-{number}", programs)
            stack.callback(engine.close)
            self.engines.append(engine)
        hosts = [engine.host for engine in self.engines]
        self.addresses = underlay(stack, kind.title, programs, hosts)

    def form(self) -> float:
        """Make the cluster; seconds until its manager sees all nodes ready."""
        start = time.perf_counter()
        first, *others = (engine.api for engine in self.engines)
        leader, *addresses = self.addresses
        first.call("POST", "/swarm/init", {"ListenAddr": f"0.0.0.0:{_MANAGEMENT_PORT}", "AdvertiseAddr": leader})
        found: Any = first.call("GET", "/swarm")
        for api, address in zip(others, addresses, strict=True):
            wish = {
                "ListenAddr": f"0.0.0.0:{_MANAGEMENT_PORT}",
                "AdvertiseAddr": address,
                "RemoteAddrs": [f"{leader}:{_MANAGEMENT_PORT}"],
                "JoinToken": found["JoinTokens"]["Worker"],
            }
            api.call("POST", "/swarm/join", wish)
        deadline = time.perf_counter() + _READY_S
        while time.perf_counter() < deadline:
            nodes: Any = first.call("GET", "/nodes")
            if [node["Status"]["State"] for node in nodes] == ["ready"] * len(self.engines):
                return time.perf_counter() - start
            time.sleep(_LOOK_S)
        raise NotMeasured(f"{self.title}: not all nodes of the cluster became ready")

    def overlay(self, name: str) -> None:
        """Make an attachable overlay, and wait until the last node knows it if it must."""
        body = {"Name": name, "Driver": "overlay", "Attachable": True, "CheckDuplicate": True}
        self.engines[0].api.call("POST", "/networks/create", body)

    def reachable(self, number: int) -> Api:
        """A connection of one's own to a node's API."""
        return Api(self.engines[number].socket)


def by_hand(stack: ExitStack, programs: Programs) -> tuple[Namespace, Namespace]:
    """Two namespaces on two hosts in one overlay made by hand: a bridge and a VXLAN link on each, all entries fixed."""
    hosts = [Host(f"overlay-{number}", programs) for number in (1, 2)]
    for host in hosts:
        stack.callback(host.close)
    addresses = underlay(stack, "overlay", programs, hosts)
    ends = [Namespace(host, programs["pause"]) for host in hosts]
    for number, (host, end) in enumerate(zip(hosts, ends, strict=True)):
        other = 1 - number
        vxlan = ("type", "vxlan", "id", str(_VNI), "dstport", str(_DATA_PORT), "local", addresses[number], "nolearning")
        mtu = ("mtu", str(_MTU - _OVERHEAD_BYTES))
        host.run("sysctl", "-qwe", "net.bridge.bridge-nf-call-iptables=0", "net.bridge.bridge-nf-call-ip6tables=0")
        host.run("ip", "link", "add", "br0", "type", "bridge")
        host.run("ip", "link", "add", "vx0", *mtu, *vxlan)
        host.run("ip", "link", "set", "vx0", "master", "br0", "up")
        far = ("peer", "name", "eth0", "address", _mac(number), *mtu, "netns", str(end.process.pid))
        host.run("ip", "link", "add", "v0", *mtu, "master", "br0", "up", "type", "veth", *far)
        host.run("ip", "link", "set", "br0", "up")
        host.run("bridge", "fdb", "append", _mac(other), "dev", "vx0", "dst", addresses[other], "self", "permanent")
        enter = ("nsenter", f"--net={end.netns}", "ip")
        end.address = f"{_SUBNET}.{number + 1}"
        host.run(*enter, "address", "add", f"{end.address}/24", "dev", "eth0")
        host.run(*enter, "link", "set", "eth0", "up")
        there = ("lladdr", _mac(other), "nud", "permanent")
        host.run(*enter, "neighbour", "add", f"{_SUBNET}.{other + 1}", *there, "dev", "eth0")
    return ends[0], ends[1]


def _mac(number: int) -> str:
    return f"02:42:0a:c8:00:{number + 1:02x}"


__all__ = ["ApiFailure", "Fairlead", "Swarm", "SwarmDocker", "by_hand", "underlay"]
