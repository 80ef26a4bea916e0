"""An encrypted network lets nothing out and nothing in that is not encrypted, on any kernel: here nodes have no keys yet, so
nothing can be encrypted at all. What can be, is tested on a kernel that has ESP (tests/vm)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kernel.one_host.namespace import Namespace
from tests.kernel.one_host.waiting import until
from tests.kernel.overlay.bed import Bed, Box, Member
from tests.kernel.overlay.underlay import PORT, capturing, frame, inject, inject_in_pieces

from fairlead.kernel import executor
from fairlead.model import options
from fairlead.model.cluster import Ring, Station
from fairlead.model.commands import ConnectNetwork, DisconnectNetwork
from fairlead.model.endpoint import EndpointSettings
from fairlead.model.events import StationsSeen, TunnelSecrets
from fairlead.model.network import Network
from fairlead.model.sandbox import SandboxSettings

RED, BLUE, GREEN = 4200, 4300, 4400
HEARD = 5000
#: Before each of these changes the daemon dies, while an endpoint comes and while it goes: all that a network consists of.
STAGES = ("withdraw", "discard", "firewall", "ipsec", "links", "addressing", "forget-ipsec", "drop-namespaces")
assert set(STAGES) <= set(executor.STAGES)


@pytest.fixture(scope="module")
def members(bed: Bed) -> tuple[Member, Member]:
    """Two nodes that could encrypt, know each other, and have no key."""
    stations = [Station(f"n{one.number}", one.vtep, f"{one.number:032x}") for one in bed.members]
    for member, own, other in zip(bed.members, stations, stations[::-1], strict=True):
        member.ask("feed", TunnelSecrets(own, Ring(), ""))
        member.ask("feed", StationsSeen(((other.vtep, other),)))
    one, two = bed.members
    return one, two


@pytest.fixture(scope="module")
def red(bed: Bed) -> Network:
    return bed.network("red", "10.0.2.0/24", vni=RED, **{options.ENCRYPTED: ""})


@pytest.fixture(scope="module")
def blue(bed: Bed) -> Network:
    return bed.network("blue", "10.0.3.0/24", vni=BLUE)


@pytest.fixture(scope="module")
def alone(bed: Bed, members: tuple[Member, Member], red: Network, blue: Network) -> Box:
    """The only box of the encrypted network, as it is before any other; and in one that is not."""
    bob = bed.connect(members[1], red, "bob", 11)
    return bed.connect(members[1], blue, "bob", 11) and bob


@pytest.fixture(scope="module")
def boxes(bed: Bed, members: tuple[Member, Member], red: Network, blue: Network, alone: Box) -> tuple[Box, Box]:
    """And one more, on the other node."""
    ann = bed.connect(members[0], red, "ann", 10)
    bed.connect(members[0], blue, "ann", 10)
    return ann, alone


@pytest.fixture(scope="module")
def stranger(bed: Bed) -> Iterator[Namespace]:
    """A host on the same wire that is no node."""
    found = Namespace.new()
    bed._underlay.ip("link", "add", "p9", "type", "veth", "peer", "name", "eth0", "netns", found.path)
    bed._underlay.ip("link", "set", "p9", "master", "br0", "up")
    found.ip("link", "set", "eth0", "up")
    found.ip("address", "add", "198.18.0.99/24", "dev", "eth0")
    yield found
    found.close()


def dropped(member: Member) -> dict[str, int]:
    """Packets that each chain has dropped."""
    found: dict[str, int] = {}
    for entry in json.loads(member.ns.run("nft", "-j", "list", "table", "ip", "fairlead-tunnels").stdout)["nftables"]:
        rule = entry.get("rule", {})
        counts = [part["counter"]["packets"] for part in rule.get("expr", ()) if "counter" in part]
        if counts:
            found[rule["chain"]] = found.get(rule["chain"], 0) + counts[0]
    return found


@contextlib.contextmanager
def listening(box: Box) -> Iterator[socket.socket]:
    """A socket in a box that hears what comes."""
    with box.ns.socket(kind=socket.SOCK_DGRAM) as ears:
        ears.bind(("0.0.0.0", HEARD))
        ears.settimeout(0)
        yield ears


def forged(bed: Bed, member: Member, network: Network, vni: int, said: bytes) -> bytes:
    """A frame for bob in a network, in a tunnel of a number."""
    endpoint = bed.endpoint(member, "bob", network)
    address = endpoint.ipv4.partition("/")[0]
    return frame(vni, endpoint.mac, address.rpartition(".")[0] + ".99", address, HEARD, said)


def test_sec_02_and_03_nothing_is_let_in_before_there_is_another_node(
    bed: Bed, members: tuple[Member, Member], stranger: Namespace, red: Network, blue: Network, alone: Box
) -> None:
    """From a member and from a stranger, whole and in pieces, and although the administrator accepts it; the same frames
    are heard in the clear network beside it, or this would prove nothing."""
    one, two = members
    two.ns.run("nft", "add table ip admin; add chain ip admin in { type filter hook input priority -400; }")
    two.ns.run("nft", f"add rule ip admin in udp dport {PORT} accept")
    try:
        with listening(alone) as ears:
            senders = [(inject, one.ns), (inject, stranger), (inject_in_pieces, one.ns)]
            for count, (send, source) in enumerate(senders, 1):
                send(source, two.vtep, forged(bed, two, red, RED, b"forged"))
                until(lambda wanted=count: dropped(two)["encrypted-in"] == wanted, "a clear packet is counted")
                send(source, two.vtep, forged(bed, two, blue, BLUE, b"heard %d" % count))
                assert until(lambda: _next(ears), "the clear network's is heard") == b"heard %d" % count
            assert _next(ears) == b""
    finally:
        two.ns.run("nft", "delete table ip admin")


def _next(ears: socket.socket) -> bytes:
    try:
        return ears.recv(100)
    except BlockingIOError:
        return b""


def test_sec_01_what_cannot_be_encrypted_does_not_leave(members: tuple[Member, Member], boxes: tuple[Box, Box]) -> None:
    ann, bob = boxes
    with capturing(members[0].ns) as seen:
        assert not ann.ns.pings("10.0.2.11", expect=False)
        assert not bob.ns.pings("10.0.2.10", expect=False)
        assert ann.ns.pings("10.0.3.11")
    assert not seen.missed
    assert seen.clear[BLUE] >= 2
    assert seen.clear[RED] == 0
    assert seen.encrypted == 0
    assert set(seen.clear) == {BLUE}


def test_sec_06_nothing_leaves_for_a_node_that_nobody_told_of(
    members: tuple[Member, Member], boxes: tuple[Box, Box]
) -> None:
    """Not even when somebody with all rights on the node leads an address there by hand."""
    ann, _ = boxes
    one, nobody, mac = members[0], "198.18.0.77", "02:00:00:00:00:77"
    overlay, link = _tunnel(one, RED)
    one.ns.ip("neighbour", "replace", nobody, "lladdr", "02:00:00:00:07:77", "dev", "eth0")
    ann.ns.ip("neighbour", "replace", "10.0.2.77", "lladdr", mac, "dev", "eth0", "nud", "permanent")
    with capturing(one.ns) as seen:
        assert not ann.ns.pings("10.0.2.77", expect=False)
        before = blocked(one)
        overlay.run("bridge", "fdb", "append", mac, "dev", link, "dst", nobody, "self", "permanent")
        overlay.run("bridge", "fdb", "replace", mac, "dev", link, "master", "static")
        assert not ann.ns.pings("10.0.2.77", expect=False)
        assert blocked(one) > before
    overlay.close()
    assert seen.clear[RED] == 0 and not seen.missed


def _tunnel(member: Member, vni: int) -> tuple[Namespace, str]:
    """The namespace of a network, and the name of the tunnel of this number there."""
    for name in member.overlays():
        ns = Namespace(os.open(member.folder / "run" / "netns" / name, os.O_RDONLY | os.O_CLOEXEC))
        for row in json.loads(ns.ip("-json", "link")):
            if row["ifname"].startswith(f"vx-{vni:06x}"):
                return ns, row["ifname"]
        ns.close()
    raise AssertionError(f"node {member.number} has no tunnel {vni}")


def blocked(member: Member) -> int:
    """Packets that the kernel's policy has dropped on their way out."""
    lines = member.ns.call(lambda: Path("/proc/thread-self/net/xfrm_stat").read_text()).splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("XfrmOutPolBlock"))


def test_sec_04_the_end_of_one_network_leaves_another_s_guard(
    bed: Bed, members: tuple[Member, Member], boxes: tuple[Box, Box]
) -> None:
    def guarded() -> str:
        return members[1].ns.run("nft", "list", "set", "ip", "fairlead-tunnels", "encrypted").stdout

    green = bed.network("green", "10.0.4.0/24", vni=GREEN, **{options.ENCRYPTED: ""})
    bed.connect(members[1], green, "bob", 11)
    assert f"{RED:#x}" in guarded() and f"{GREEN:#x}" in guarded()
    bed.disconnect(members[1], green, "bob")
    assert f"{RED:#x}" in guarded() and f"{GREEN:#x}" not in guarded()
    assert "dir out action block" in members[1].ns.ip("xfrm", "policy")


def test_sec_03_a_daemon_that_dies_leaves_no_door_open(
    bed: Bed, members: tuple[Member, Member], stranger: Namespace, red: Network, boxes: tuple[Box, Box]
) -> None:
    _, two = members
    _, bob = boxes
    letter = forged(bed, two, red, RED, b"forged")
    two.stop(signal.SIGKILL)
    before = dropped(two)["encrypted-in"]
    with listening(bob) as ears:
        inject(stranger, two.vtep, letter)
        until(lambda: dropped(two)["encrypted-in"] == before + 1, "it is dropped all the same")
        two.start()
        inject(stranger, two.vtep, letter)
        until(lambda: dropped(two)["encrypted-in"], "and by the next daemon")
        assert _next(ears) == b""
    with capturing(two.ns) as seen:
        assert not bob.ns.pings("10.0.2.10", expect=False)
    assert seen.clear[RED] == 0 and not seen.missed


@pytest.mark.parametrize("stage", STAGES)
def test_sec_03_a_daemon_that_dies_between_two_changes_leaves_no_door_open(
    bed: Bed, members: tuple[Member, Member], stranger: Namespace, red: Network, boxes: tuple[Box, Box], stage: str
) -> None:
    """While the last endpoint goes, and while the first one comes."""
    _, two = members
    _, bob = boxes
    comes = ConnectNetwork(red.id, bob.target, EndpointSettings(ipv4="10.0.2.11"), SandboxSettings("bob"))
    goes = DisconnectNetwork(red.id, bob.target)

    def is_in() -> bool:
        return any(one.name == "bob" and one.network_id == red.id for one in two.ask("endpoints"))

    if not is_in():
        bed.lease(two, red, 11)
        two.ask("submit", comes)
    letter = forged(bed, two, red, RED, b"forged")
    with capturing(two.ns) as seen, listening(bob) as ears:
        for message in (goes, comes):
            if is_in() and message is comes:
                two.ask("submit", goes)
            bed.lease(two, red, 11)
            bed.tell_all(two, red.id)
            two.die_at(f"apply.{stage}", "submit", message)
            inject(stranger, two.vtep, letter)
            bob.ns.pings("10.0.2.10", expect=False)
            two.start()
            two.ask("feed", TunnelSecrets(Station("n2", two.vtep, f"{2:032x}"), Ring(), ""))
        assert _next(ears) == b""
    assert seen.clear[RED] == 2 and seen.sent[RED] == 0 and not seen.missed
