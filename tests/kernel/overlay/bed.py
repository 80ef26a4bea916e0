"""Nodes for overlay tests: namespaces joined by a bridge, a node's assembly in each, and boxes that are not containers.

The bed plays managers and gossip: it leases addresses, and carries what one node publishes to the others that are in the
network.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any

from tests.kernel.one_host.namespace import PROGRAM_S, Namespace
from tests.kernel.one_host.waiting import until

from fairlead.engine.outcome import JoinScope, LeaveScope, Publish, PublishNames, Retract, RetractNames
from fairlead.kernel import netns
from fairlead.model import options
from fairlead.model.cluster import Lease, Peer, PeerNames
from fairlead.model.commands import ConnectNetwork, DisconnectNetwork, InstallNetwork
from fairlead.model.endpoint import Endpoint, EndpointSettings, PortRequest
from fairlead.model.events import AddressForgotten, LeasesGranted, NamesSeen, PeersComplete, PeersSeen
from fairlead.model.network import SWARM, Network, Pool
from fairlead.model.sandbox import SandboxSettings

#: The underlay's prefixes; node n has the address n.
UNDERLAY = {False: ("198.18.0.", 24), True: ("fd98:18::", 64)}
#: Bytes of the underlay's packets.
UNDERLAY_MTU = 1500


class Refusal(Exception):
    """A node said no: the class of its error, and its words."""

    def __init__(self, kind: str, message: str, hint: str) -> None:
        super().__init__(f"{kind}: {message} ({hint})")
        self.kind, self.message, self.hint = kind, message, hint


class Box:
    """A namespace that is not Fairlead's, connected to networks of one node."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path
        netns.create(str(path))
        self.ns = Namespace(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    @property
    def target(self) -> str:
        """How a user names it."""
        return f"netns:{self.path}"

    def resolve(self, name: str, kind: str = "A") -> list[str]:
        """What the name server inside answers."""
        words = ["dig", "@127.0.0.11", "+short", "+timeout=3", "+tries=10"]
        words += ["-x", name] if kind == "PTR" else [name, kind]
        return self.ns.run(*words).stdout.split()

    def reaches(self, *addresses: str) -> bool:
        """Whether each of these answers a ping, the second one at the latest: a port that has just come up needs a moment
        (the kernel looks at new carriers once a second)."""
        return all(self.ns.pings(address, expect=False) or self.ns.pings(address) for address in addresses)

    def close(self) -> None:
        """Let go of it."""
        self.ns.close()
        netns.delete(str(self.path))


class Member:
    """One node. ``v6`` says whether its tunnels begin at an IPv6 address."""

    def __init__(self, folder: Path, number: int, *, v6: bool) -> None:
        self.folder, self.number = folder, number
        folder.mkdir()
        self.ns = Namespace.new()
        self.vtep = UNDERLAY[v6][0] + str(number)
        self.boxes: dict[str, Box] = {}
        self.networks: set[str] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self._door: Connection | None = None

    def start(self) -> None:
        """Start its process and wait until it answers."""
        door = self.folder / "door"
        door.unlink(missing_ok=True)
        program = [sys.executable, "-m", "tests.kernel.overlay.member", str(self.folder), self.vtep]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self.ns.command(*program), stdout=log, stderr=log)

        def open_door() -> Connection | None:
            assert self._process is not None
            assert self._process.poll() is None, (self.folder / "log").read_text()
            with contextlib.suppress(OSError):
                return Client(str(door))
            return None

        self._door = until(open_door, f"node {self.number} answers")

    def ask(self, what: str, subject: object = None) -> Any:
        """What the node answers; raises ``Refusal``."""
        assert self._door is not None
        self._door.send((what, subject))
        kind, reply, hint = self._door.recv()
        if kind:
            raise Refusal(kind, reply, hint)
        return reply

    def die_at(self, point: str, what: str, subject: object) -> None:
        """Ask something, and have the process end itself by SIGKILL when it comes by a fault point on the way."""
        assert self._process is not None and self._door is not None
        self.ask("fault", point)
        with contextlib.suppress(EOFError, OSError):
            self.ask(what, subject)
        assert self._process.wait(PROGRAM_S) == -signal.SIGKILL, (self.folder / "log").read_text()
        self._door.close()
        self._process = self._door = None

    @property
    def runs(self) -> bool:
        """Whether its process was not stopped."""
        return self._process is not None

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End its process; what stands in Linux stays."""
        assert self._process is not None and self._door is not None
        if how == signal.SIGKILL:
            self._process.kill()
        self._door.close()
        self._process.wait(PROGRAM_S)
        self._process = self._door = None

    def box(self, name: str) -> Box:
        """A fresh namespace beside this node."""
        self.boxes[name] = Box(name, self.folder / f"box-{name}")
        return self.boxes[name]

    def overlays(self) -> list[str]:
        """Names of the namespaces of networks that stand here."""
        folder = self.folder / "run" / "netns"
        return sorted(path.name for path in folder.glob("ov-*"))

    def overlay_ns(self) -> Namespace:
        """A way into the only one."""
        (name,) = self.overlays()
        path = self.folder / "run" / "netns" / name
        return Namespace(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    def close(self) -> None:
        """End everything."""
        if self._process is not None:
            self.stop()
        for box in self.boxes.values():
            box.close()
        self.ns.close()


class Bed:
    """Some nodes on one underlay."""

    def __init__(self, folder: Path, count: int = 2, *, v6: bool = False) -> None:
        self.members = [Member(folder / f"n{number}", number, v6=v6) for number in range(1, count + 1)]
        self.networks: dict[str, Network] = {}
        self.peers: dict[tuple[str, str], tuple[Member, Peer]] = {}
        self.names: dict[tuple[str, str], tuple[Member, PeerNames]] = {}
        self._generation = 0
        self._underlay = Namespace.new()
        self._underlay.ip("link", "add", "br0", "type", "bridge")
        self._underlay.ip("link", "set", "br0", "mtu", str(UNDERLAY_MTU), "up")
        for member in self.members:
            port = f"p{member.number}"
            self._underlay.ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", member.ns.path)
            self._underlay.ip("link", "set", port, "master", "br0", "up")
            member.ns.ip("link", "set", "eth0", "up")
            for prefix, length in UNDERLAY.values():
                more = ["nodad"] if ":" in prefix else []
                member.ns.ip("address", "add", f"{prefix}{member.number}/{length}", "dev", "eth0", *more)
            member.ns.write("net/ipv4/ip_forward", "1")
            member.start()

    @property
    def running(self) -> list[Member]:
        """Nodes whose process was not stopped."""
        return [member for member in self.members if member.runs]

    def network(self, name: str, *subnets: str, vni: int = 4096, internal: bool = False, **given: str) -> Network:
        """A network that every node knows; the first address of each subnet is its gateway."""
        pools = tuple(Pool(prefix, prefix, gateway=_host(prefix, 1)) for prefix in subnets)
        count = max(sum(pool.v6 == v6 for pool in pools) for v6 in (False, True))
        network = Network(
            id=f"{len(self.networks) + 0xA1:02x}" * 32,
            name=name,
            driver="overlay",
            created=0.0,
            scope=SWARM,
            ipv6=any(pool.v6 for pool in pools),
            internal=internal,
            attachable=True,
            pools=pools,
            options={options.VXLAN_IDS: ",".join(str(vni + i) for i in range(count)), **given},
        )
        self.install(network)
        return network

    def install(self, network: Network) -> None:
        """Every node is told of a network."""
        self.networks[network.id] = network
        for member in self.members:
            member.ask("submit", InstallNetwork(network))

    def lease(self, member: Member, network: Network, number: int, segment: int = 0) -> Lease:
        """Let a node use the address of this number in a segment."""
        four = [pool for pool in network.pools if not pool.v6][segment]
        six = [pool for pool in network.pools if pool.v6][segment : segment + 1]
        self._generation += 1
        ipv6 = _host(six[0].subnet, number) if six else ""
        lease = Lease(network.id, _host(four.subnet, number), f"n{member.number}", self._generation, ipv6=ipv6)
        member.ask("feed", LeasesGranted((lease,)))
        return lease

    def connect(
        self,
        member: Member,
        network: Network,
        name: str,
        number: int,
        *,
        segment: int = 0,
        ports: tuple[PortRequest, ...] = (),
        aliases: tuple[str, ...] = (),
    ) -> Box:
        """A box in a network, with an address of its own; all nodes are told."""
        lease = self.lease(member, network, number, segment)
        box = member.boxes.get(name) or member.box(name)
        asked = EndpointSettings(ipv4=lease.address, aliases=aliases)
        member.ask("submit", ConnectNetwork(network.id, box.target, asked, SandboxSettings(name, ports)))
        self.spread()
        return box

    def disconnect(self, member: Member, network: Network, name: str) -> None:
        """A box leaves a network; the others forget it at once, and its address is free."""
        member.ask("submit", DisconnectNetwork(network.id, member.boxes[name].target))
        self.spread()

    def endpoint(self, member: Member, name: str, network: Network) -> Endpoint:
        """A box's endpoint."""
        found: list[Endpoint] = member.ask("endpoints")
        return next(one for one in found if one.name == name and one.network_id == network.id)

    def spread(self) -> None:
        """Carry what the nodes have to say."""
        for member in self.running:
            for message in member.ask("told"):
                match message:
                    case JoinScope():
                        member.networks.add(message.network_id)
                        self.tell_all(member, message.network_id)
                    case LeaveScope():
                        member.networks.discard(message.network_id)
                    case Publish():
                        key = (message.network_id, message.peer.endpoint_id)
                        self.peers[key] = (member, message.peer)
                        self._others(member, PeersSeen(message.network_id, ((key[1], message.peer),)))
                    case PublishNames():
                        key = (message.network_id, message.names.endpoint_id)
                        self.names[key] = (member, message.names)
                        self._others(member, NamesSeen(message.network_id, ((key[1], message.names),)))
                    case RetractNames():
                        self.names.pop((message.network_id, message.endpoint_id), None)
                        self._others(member, NamesSeen(message.network_id, ((message.endpoint_id, None),)))
                    case Retract():
                        self.peers.pop((message.network_id, message.endpoint_id), None)
                        self._others(member, PeersSeen(message.network_id, ((message.endpoint_id, None),)))
                        member.ask("feed", AddressForgotten(message.lease_id, message.generation))

    def tell_all(self, member: Member, network_id: str) -> None:
        """Tell a node all that the others know of a network."""
        peers = [(key[1], peer) for key, (of, peer) in self.peers.items() if key[0] == network_id and of is not member]
        names = [(key[1], one) for key, (of, one) in self.names.items() if key[0] == network_id and of is not member]
        member.ask("feed", PeersSeen(network_id, tuple(peers)))
        member.ask("feed", NamesSeen(network_id, tuple(names)))
        member.ask("feed", PeersComplete(network_id))

    def grow(self, network: Network, *subnets: str, vni: int) -> Network:
        """The network gets further subnets, together one segment more."""
        pools = tuple(Pool(prefix, prefix, gateway=_host(prefix, 1)) for prefix in subnets)
        given = dict(network.options)
        given[options.VXLAN_IDS] += f",{vni}"
        grown = replace(network, pools=(*network.pools, *pools), options=given)
        self.install(grown)
        return grown

    def close(self) -> list[str]:
        """Take every box out and end everything; what is left, in words."""
        left: list[str] = []
        try:
            for member in self.members:
                for endpoint in member.ask("endpoints"):
                    box = next((one for one in member.boxes.values() if one.name == endpoint.name), None)
                    if box is not None:
                        member.ask("submit", DisconnectNetwork(endpoint.network_id, box.target))
                left += [f"node {member.number}: {name}" for name in member.overlays()]
                left += [f"box {box.name}: {link}" for box in member.boxes.values() for link in _links(box.ns)]
        finally:
            for member in self.members:
                member.close()
            self._underlay.close()
        return left

    def _others(self, member: Member, event: PeersSeen | NamesSeen) -> None:
        for other in self.running:
            if other is not member and event.network_id in other.networks:
                other.ask("feed", event)


def _links(ns: Namespace) -> Iterator[str]:
    """Links of Fairlead's that were not made harmless."""
    for line in ns.ip("-o", "link").splitlines():
        name = line.split()[1].rstrip(":").partition("@")[0]
        if "fairlead:" in line and not name.startswith("fx-"):
            yield name


def _host(prefix: str, number: int) -> str:
    base = prefix.partition("/")[0]
    return f"{base}{number:x}" if ":" in base else f"{base.rpartition('.')[0]}.{number}"
