"""What one endpoint may do to its neighbours on a bridge: nothing that they did not ask for."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from tests.kernel.one_host.conftest import MakeHost
from tests.kernel.one_host.containers import Container
from tests.kernel.one_host.host import HOST_V4, HOST_V6, NEIGHBOUR_V4, Host
from tests.kernel.one_host.namespace import ANSWER_S, Namespace
from tests.kernel.one_host.programs import echo
from tests.kernel.one_host.test_bridge_modes import PREFIX, network
from tests.kernel.one_host.waiting import until

ICC_OFF = {f"{PREFIX}bridge.enable_icc": "false"}
PINNED = {"fairlead.anti_spoof": "true"}
ALL_NODES, ALL_NODES_MAC = "ff02::1", "33:33:00:00:00:01"
BROADCAST_MAC = "ff:ff:ff:ff:ff:ff"
ETH_IP, ETH_ARP, ETH_IP6 = 0x0800, 0x0806, 0x86DD


@pytest.fixture(scope="module", params=[False, True], ids=["alone", "beside-a-bridge"])
def host(request: pytest.FixtureRequest, make_host: MakeHost) -> Host:
    made = make_host(foreign_bridge=request.param)
    made.start()
    made.neighbour.ip("-6", "route", "replace", "default", "via", HOST_V6)
    return made


# Frames, written by hand: the kernel would not send most of them.


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data if len(data) % 2 == 0 else data + b"\0"))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(source: str, target: str, kind: int, payload: bytes) -> bytes:
    """A frame."""
    return (
        bytes.fromhex(target.replace(":", ""))
        + bytes.fromhex(source.replace(":", ""))
        + struct.pack("!H", kind)
        + payload
    )


def ipv6(source: str, target: str, header: int, payload: bytes, at: int) -> bytes:
    """A packet whose upper layer's checksum lies ``at`` bytes into the payload."""
    addresses = ip_address(source).packed + ip_address(target).packed
    total = checksum(addresses + struct.pack("!II", len(payload), header) + payload)
    payload = payload[:at] + struct.pack("!H", total) + payload[at + 2 :]
    return struct.pack("!IHBB", 6 << 28, len(payload), header, 255) + addresses + payload


def icmpv6(source: str, target: str, body: bytes) -> bytes:
    """An ICMPv6 packet."""
    return ipv6(source, target, 58, body, 2)


def router_advertisement() -> bytes:
    """With a prefix that hosts would take an address from (RFC 4861 sections 4.2 and 4.6.2)."""
    head = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
    prefix = struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 86400, 86400, 0) + ip_address("2001:db8:bad::").packed
    return head + prefix


def neighbour_advertisement(target: str, mac: str) -> bytes:
    """Overriding what neighbours know (RFC 4861 section 4.4)."""
    head = struct.pack("!BBHI", 136, 0, 0, 0x20000000) + ip_address(target).packed
    return head + struct.pack("!BB", 2, 1) + bytes.fromhex(mac.replace(":", ""))


def arp(kind: int, mac: str, sender: str, target: str) -> bytes:
    """A request (1) or reply (2) (RFC 826)."""
    hardware = bytes.fromhex(mac.replace(":", ""))
    sent, asked = ip_address(sender).packed, ip_address(target).packed
    return struct.pack("!HHBBH", 1, ETH_IP, 6, 4, kind) + hardware + sent + bytes(6) + asked


def datagram(source: str, target: str, port: int) -> bytes:
    """An IPv4 UDP packet with one byte in it; UDP without a checksum."""
    udp = struct.pack("!HHHH", 4000, port, 9, 0) + b"x"
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 7, 0, 64, 17, 0)
    head += ip_address(source).packed + ip_address(target).packed
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + udp


@contextlib.contextmanager
def wire(ns: Namespace, link: str = "eth0") -> Iterator[socket.socket]:
    """Raw frames of a link, in and out."""
    with ns.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as raw:  # ETH_P_ALL
        raw.bind((link, 0))
        raw.settimeout(ANSWER_S)
        yield raw


def heard(ear: socket.socket, frame: bytes) -> list[bytes]:
    """What comes in until this frame does, with it; nothing when it does not come at all."""
    found: list[bytes] = []
    with contextlib.suppress(TimeoutError):
        while True:
            found.append(ear.recv(2048))
            if found[-1] == frame:
                return found
    return []


def hears(ear: socket.socket, frame: bytes) -> bool:
    """Whether a frame comes in."""
    return bool(heard(ear, frame))


def mac(ns: Namespace, link: str = "eth0") -> str:
    """A link's MAC."""
    return str(json.loads(ns.ip("-j", "link", "show", link))[0]["address"])


def state(ns: Namespace, link: str) -> tuple[str, str]:
    """IPv6 routes and addresses of a link, whether or not they have been found to be nobody else's yet."""
    addresses = ns.ip("-6", "-o", "address", "show", "dev", link)
    return ns.ip("-6", "route", "show", "dev", link), addresses.replace(" tentative", "")


def test_sec_08_advertisements_of_an_endpoint_reach_nobody(host: Host) -> None:
    """Neither router advertisements and redirects nor answers of a DHCPv6 server, not even on the wire; not after a hot
    connect, and although the peer would believe them."""
    asked = {"DriverOpts": {f"{PREFIX}endpoint.sysctls": "net.ipv6.conf.IFNAME.accept_ra=2"}}
    with (
        network(host, "v6", {}, subnet="10.70.0.0/24", v6="fd00:70::/64") as bridge,
        host.run("evil", network="bridge") as evil,
        host.run("peer", network="v6", endpoint=asked) as peer,
    ):
        host.connect("v6", "evil")
        assert peer.ns.read("net/ipv6/conf/eth0/accept_ra") == "2"  # the user's own word counts
        ports = [name for name, row in host.links().items() if row.get("master") == bridge]
        assert len(ports) == 2
        for ns, link in ((host.ns, bridge), *((host.ns, port) for port in ports), (evil.ns, "eth1")):
            for name in ("accept_ra", "accept_redirects", "autoconf"):
                assert ns.read(f"net/ipv6/conf/{link}/{name}") == "0"
        before = state(host.ns, bridge), state(peer.ns, "eth0")
        own, source = mac(evil.ns, "eth1"), link_local(evil.ns, "eth1")
        bodies = [router_advertisement(), struct.pack("!BBHI", 137, 0, 0, 0) + bytes(32)]
        packets = [icmpv6(source, ALL_NODES, body) for body in bodies]
        answer = struct.pack("!HHHH", 547, 546, 12, 0) + b"\x07abc"
        packets.append(ipv6(source, ALL_NODES, 17, answer, 6))
        harmless = ipv6(source, ALL_NODES, 17, struct.pack("!HHHH", 547, 5460, 12, 0) + b"\x07abc", 6)
        frames = [ethernet(own, ALL_NODES_MAC, ETH_IP6, packet) for packet in (*packets, harmless)]
        with wire(peer.ns) as ear, wire(host.ns, bridge) as host_ear, wire(evil.ns, "eth1") as mouth:
            for frame in frames:
                mouth.send(frame)
            for listener in (ear, host_ear):
                came = heard(listener, frames[-1])
                assert came
                assert not any(frame in came for frame in frames[:-1])
        assert (state(host.ns, bridge), state(peer.ns, "eth0")) == before
    assert "fairlead-ra" not in host.ruleset()


def link_local(ns: Namespace, link: str) -> str:
    """A link's own fe80:: address."""
    rows = json.loads(ns.ip("-j", "-6", "address", "show", "dev", link))
    return str(next(item["local"] for item in rows[0]["addr_info"] if item["scope"] == "link"))


def test_sec_09_no_ipv6_where_the_network_has_none(host: Host) -> None:
    """Nothing is said and nothing heard, in the first network and in one that is connected later."""
    with network(host, "four", {}), network(host, "more", {}), host.run("c", network="four") as one:
        host.connect("more", "c")
        bridge = f"br-{host.get('/networks/more')['Id'][:12]}"
        assert host.ns.read(f"net/ipv6/conf/{bridge}/disable_ipv6") == "1"
        for link in ("eth0", "eth1"):
            assert one.ns.read(f"net/ipv6/conf/{link}/disable_ipv6") == "1"
            assert one.ns.ip("-6", "address", "show", "dev", link) == ""
        packet = icmpv6("fe80::1", ALL_NODES, router_advertisement())
        with wire(host.ns, bridge) as mouth:
            mouth.send(ethernet(mac(host.ns, bridge), ALL_NODES_MAC, ETH_IP6, packet))
        seen = dict(line.split() for line in Path(f"/proc/{one.pid}/net/snmp6").read_text().splitlines())
        assert seen["Icmp6InRouterAdvertisements"] == "0"
        assert one.ns.ip("-6", "route", "show") == ""


Cast = tuple[Container, Container, Container, str]


@pytest.fixture(scope="module")
def pinned(host: Host) -> Iterator[Cast]:
    """A network whose ports are pinned: a server, a client, a liar, and the bridge."""
    with (
        network(host, "p", PINNED, subnet="10.71.0.0/24", v6="fd00:71::/64") as bridge,
        host.run("server", echo("server", "tcp:80", "udp:80"), network="p", publish={"80/tcp": ["8080"]}) as server,
        host.run("client", network="p") as client,
        host.run("liar", network="p") as liar,
    ):
        yield server, client, liar, bridge


def test_sec_28_honest_endpoints_notice_nothing(host: Host, pinned: Cast) -> None:
    server, client, _, _ = pinned
    for address in (server.ip(), server.ip6()):
        assert client.ns.pings(address)
        assert client.ns.tcp(address, 80)[0] == client.ns.udp(address, 80)[0] == "server"
    own = link_local(server.ns, "eth0")
    assert client.ns.run("ping", "-n", "-c1", "-W30", f"{own}%eth0", check=False).returncode == 0
    assert client.ns.tcp(HOST_V4, 8080)[0] == host.neighbour.tcp(HOST_V6, 8080)[0] == "server"
    with host.server(host.neighbour, "outside", "tcp:7000"):
        assert client.ns.tcp(NEIGHBOUR_V4, 7000)[1] == HOST_V4


def test_sec_28_an_endpoint_speaks_for_nobody_else(host: Host, pinned: Cast) -> None:
    server, client, liar, _ = pinned
    own, theirs, gateway = mac(liar.ns), mac(server.ns), "10.71.0.1"
    honest = [
        ethernet(own, mac(client.ns), ETH_IP, datagram(liar.ip(), client.ip(), 9)),
        ethernet(own, BROADCAST_MAC, ETH_ARP, arp(1, own, liar.ip(), client.ip())),
        ethernet(own, ALL_NODES_MAC, ETH_IP6, icmpv6(liar.ip6(), ALL_NODES, neighbour_advertisement(liar.ip6(), own))),
    ]
    forged = {
        "another's MAC": ethernet(theirs, mac(client.ns), ETH_IP, datagram(liar.ip(), client.ip(), 9)),
        "another's IPv4 address": ethernet(own, mac(client.ns), ETH_IP, datagram(server.ip(), client.ip(), 9)),
        "an address of the host": ethernet(own, mac(client.ns), ETH_IP, datagram(HOST_V4, client.ip(), 9)),
        "another's IPv6 address": ethernet(
            own, mac(client.ns), ETH_IP6, icmpv6(server.ip6(), client.ip6(), struct.pack("!BBHI", 128, 0, 0, 1))
        ),
        "gratuitous ARP for the gateway": ethernet(own, BROADCAST_MAC, ETH_ARP, arp(2, own, gateway, gateway)),
        "ARP with another's MAC inside": ethernet(own, BROADCAST_MAC, ETH_ARP, arp(2, theirs, liar.ip(), gateway)),
        "advertisement for a neighbour": ethernet(
            own, ALL_NODES_MAC, ETH_IP6, icmpv6(liar.ip6(), ALL_NODES, neighbour_advertisement(server.ip6(), own))
        ),
        "advertisement for the gateway": ethernet(
            own, ALL_NODES_MAC, ETH_IP6, icmpv6(liar.ip6(), ALL_NODES, neighbour_advertisement("fd00:71::1", own))
        ),
        "another protocol": ethernet(own, mac(client.ns), 0x88B5, b"local experiment" * 4),
    }
    assert client.ns.pings(server.ip())
    assert client.ns.pings(gateway)
    known = client.ns.ip("neigh", "show", gateway).split()[4]
    with wire(client.ns) as ear, wire(liar.ns) as mouth:
        for frame in (*forged.values(), *honest):
            mouth.send(frame)
        came = [frame for awaited in honest for frame in heard(ear, awaited)]
        assert len(came) >= len(honest)
        assert [what for what, frame in forged.items() if frame in came] == []
    assert client.ns.ip("neigh", "show", gateway).split()[4] == known
    assert client.ns.tcp(server.ip(), 80)[0] == "server"


def test_sec_28_a_network_that_does_not_ask_is_not_pinned(host: Host, pinned: Cast) -> None:
    with (
        network(host, "free", {}, subnet="10.72.0.0/24"),
        host.run("a", network="free") as one,
        host.run("b", network="free") as other,
        wire(other.ns) as ear,
        wire(one.ns) as mouth,
    ):
        frame = ethernet(
            "02:00:00:00:00:99", BROADCAST_MAC, ETH_ARP, arp(1, "02:00:00:00:00:99", "10.72.0.77", other.ip())
        )
        mouth.send(frame)
        assert hears(ear, frame)


@pytest.fixture
def siblings(host: Host) -> Iterator[tuple[Container, Container, str]]:
    """Two containers that are kept apart, one with published ports."""
    ports = {"80/tcp": ["8081"], "80/udp": ["8081"]}
    with (
        network(host, "apart", ICC_OFF, subnet="10.73.0.0/24", v6="fd00:73::/64") as bridge,
        host.run("s", echo("s", "tcp:80", "udp:80", "tcp:81"), network="apart", publish=ports) as server,
        host.run("c", network="apart") as client,
    ):
        yield server, client, bridge


def test_siblings_that_are_kept_apart_reach_each_others_published_ports(
    host: Host, siblings: tuple[Container, Container, str]
) -> None:
    server, client, _ = siblings
    for address in (HOST_V4, HOST_V6, "10.73.0.1", "fd00:73::1"):
        assert client.ns.tcp(address, 8081)[0] == client.ns.udp(address, 8081)[0] == "s"
        assert server.ns.tcp(address, 8081)[0] == "s"
    for address in (server.ip(), server.ip6()):
        assert not client.ns.reaches(address, 80)
        assert not client.ns.reaches(address, 81)
        assert not client.ns.reaches(address, 80, "udp")
        assert not client.ns.pings(address, expect=False)
    assert host.ns.pings(server.ip())
    assert host.ns.tcp(server.ip(), 81)[0] == "s"


def test_sec_28_siblings_that_are_kept_apart_hear_no_frame_of_each_other(
    siblings: tuple[Container, Container, str],
) -> None:
    server, client, _ = siblings
    own, theirs = mac(client.ns), mac(server.ns)
    frames = [
        ethernet(own, theirs, ETH_IP, datagram(client.ip(), server.ip(), 80)),
        ethernet(own, theirs, 0x88B5, b"local experiment" * 4),
        ethernet(own, BROADCAST_MAC, ETH_ARP, arp(1, own, client.ip(), server.ip())),
        ethernet(
            own, ALL_NODES_MAC, ETH_IP6, icmpv6(client.ip6(), ALL_NODES, neighbour_advertisement(client.ip6(), own))
        ),
    ]
    with wire(server.ns) as ear, wire(client.ns) as mouth:
        for frame in frames:
            mouth.send(frame)
        assert client.ns.tcp(HOST_V4, 8081)[0] == "s"  # what may come does come, and is the last to be sent
        ear.setblocking(False)
        came = []
        with contextlib.suppress(BlockingIOError):
            while True:
                came.append(ear.recv(2048))
        assert came
        assert not any(frame in came for frame in frames)


def test_guards_are_there_only_while_a_network_asks(host: Host, pinned: Cast) -> None:
    def tables() -> set[str]:
        rows = json.loads(host.ns.run("nft", "-j", "list", "tables").stdout)["nftables"]
        return {row["table"]["name"] for row in rows if row.get("table", {}).get("family") == "bridge"}

    filtered = host.ns.read("net/bridge/bridge-nf-call-iptables") == "1"
    assert tables() == {"fairlead-ra", "fairlead-pin"}
    with network(host, "apart", ICC_OFF, subnet="10.74.0.0/24"):
        assert ("fairlead-apart" in tables()) is filtered
    until(lambda: tables() == {"fairlead-ra", "fairlead-pin"}, "the table goes")
