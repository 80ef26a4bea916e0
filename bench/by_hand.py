"""A host on which everything is made by hand: what no engine can beat."""

from __future__ import annotations

import itertools
import os
import time

from bench import raw
from bench.hosts import Host, NotMeasured, Process
from bench.programs import Programs

GATEWAY, SUBNET, LENGTH = "172.31.0.1", "172.31", 16
_BRIDGE, _BRIDGE_INDEX = "br0", 10
_FIRST_INDEX = 100
_PATIENCE_S = 5.0


class Namespace:
    """A network namespace, kept by a process; empty until it is attached."""

    def __init__(self, host: Host, program: str) -> None:
        self.process: Process = host.start("unshare", "--net", program)
        self.address = ""
        deadline, here = time.monotonic() + _PATIENCE_S, os.stat(host.netns).st_ino
        while time.monotonic() < deadline:
            pid = self.process.pid
            self.netns = f"/proc/{pid}/ns/net"
            try:
                if os.readlink(f"/proc/{pid}/exe") == program and os.stat(self.netns).st_ino != here:
                    return
            except OSError:
                pass
            time.sleep(0.002)
        raise NotMeasured("a namespace could not be made by hand")


class ByHand:
    """A bridge without a firewall, and what is attached to it."""

    def __init__(self, programs: Programs) -> None:
        self._program = programs["pause"]
        self.host = Host("by-hand", programs)
        try:
            self.host.neighbour()
            self.host.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
            self.host.run(
                "sysctl", "-qwe", "net.bridge.bridge-nf-call-iptables=0", "net.bridge.bridge-nf-call-ip6tables=0"
            )
            self.netlink = raw.Raw(self.host.netns)
            self.netlink.send(*raw.bridge(_BRIDGE, _BRIDGE_INDEX, f"{GATEWAY}/{LENGTH}"))
        except BaseException:
            self.close()
            raise
        self._indices = itertools.count(_FIRST_INDEX)
        self._addresses = (f"{SUBNET}.{number // 250}.{number % 250 + 2}" for number in itertools.count())

    def __enter__(self) -> ByHand:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def namespace(self) -> Namespace:
        """An empty one."""
        return Namespace(self.host, self._program)

    def container(self) -> Namespace:
        """A namespace that is attached to the bridge."""
        namespace = self.namespace()
        self.attach(namespace)
        return namespace

    def attach(self, namespace: Namespace, group: int = 0) -> float:
        """Give it a link, an address and a way out; seconds."""
        index, peer_index, address = next(self._indices), next(self._indices), next(self._addresses)
        start = time.perf_counter()
        target = os.open(namespace.netns, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.netlink.send(raw.veth(f"v{index}", index, _BRIDGE_INDEX, peer_index, target, group))
        finally:
            os.close(target)
        with raw.Raw(namespace.netns) as netlink:
            netlink.send(*raw.container_side(peer_index, f"{address}/{LENGTH}", GATEWAY))
        namespace.address = address
        return time.perf_counter() - start

    def network(self, number: int) -> float:
        """Make a bridge; seconds."""
        start = time.perf_counter()
        index = _network_index(number)
        self.netlink.send(*raw.bridge(f"n{number}", index, f"10.{number // 250}.{number % 250}.1/24"))
        return time.perf_counter() - start

    def delete_network(self, number: int) -> float:
        """Delete a bridge and wait for the kernel; seconds."""
        start = time.perf_counter()
        self.netlink.send(raw.delete(_network_index(number)))
        return time.perf_counter() - start

    def delete_group(self, group: int) -> float:
        """Delete all links of a group and wait for the kernel; seconds."""
        start = time.perf_counter()
        self.netlink.send(raw.delete_group(group))
        return time.perf_counter() - start

    def close(self) -> None:
        if isinstance(netlink := getattr(self, "netlink", None), raw.Raw):
            netlink.close()
        self.host.close()


def _network_index(number: int) -> int:
    return 1_000_000 + number
