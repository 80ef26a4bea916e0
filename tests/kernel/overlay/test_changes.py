"""Addresses that move, daemons that are killed, and the way out."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from collections.abc import Iterator

import pytest
from tests.kernel.one_host.programs import echo
from tests.kernel.one_host.waiting import until
from tests.kernel.overlay.bed import Bed, Box
from tests.kernel.overlay.conftest import MakeBed

from fairlead.model.commands import ConnectNetwork, DisconnectNetwork
from fairlead.model.endpoint import PortRequest
from fairlead.model.events import LeasesRevoked
from fairlead.model.network import Network


@pytest.fixture(scope="module")
def bed(make_bed: MakeBed) -> Bed:
    """Three nodes."""
    return make_bed(3)


def test_an_address_that_moves_to_another_node_is_found_there(bed: Bed) -> None:
    one, two, three = bed.members
    network = bed.network("move", "10.0.7.0/24", "fd00:7::/64", vni=4700)
    ann = bed.connect(one, network, "ann", 10)
    bed.connect(two, network, "bob", 11)
    assert ann.reaches("10.0.7.11")
    # the new holder is told of before the end of the old one, as gossip may have it
    cat = bed.connect(three, network, "cat", 11)
    assert ann.reaches("10.0.7.11") and ann.resolve("cat") == ["10.0.7.11"]
    bed.disconnect(two, network, "bob")
    assert ann.reaches("10.0.7.11") and cat.reaches("10.0.7.10") and ann.reaches("fd00:7::b")
    # and from another node to this very one
    bed.disconnect(three, network, "cat")
    dan = bed.connect(one, network, "dan", 11)
    assert ann.reaches("10.0.7.11") and dan.reaches("fd00:7::a")
    for name in ("ann", "dan"):
        bed.disconnect(one, network, name)
    assert [member.overlays() for member in bed.members] == [[], [], []]


def test_a_killed_daemon_leaves_traffic_alone_and_mends_what_was_broken_meanwhile(bed: Bed) -> None:
    one, two, _ = bed.members
    network = bed.network("hard", "10.0.8.0/24", "fd00:8::/64", vni=4800)
    ann, bob = bed.connect(one, network, "ann", 10), bed.connect(two, network, "bob", 11)
    one.stop(signal.SIGKILL)
    assert ann.reaches("10.0.8.11") and bob.reaches("fd00:8::a")
    one.start()
    # nobody has told who is where yet: what stood is left as it is
    assert ann.reaches("10.0.8.11") and bob.reaches("10.0.8.10")
    # while it was away, one peer has gone, and strangers have done damage
    one.stop(signal.SIGKILL)
    bed.disconnect(two, network, "bob")
    cat = bed.connect(two, network, "cat", 12)
    with contextlib.closing(one.overlay_ns()) as ns:
        tunnel = json.loads(ns.ip("-j", "link", "show", "type", "vxlan"))[0]["ifname"]
        ns.ip("link", "set", tunnel, "down")
        port = json.loads(ns.ip("-j", "link", "show", "type", "veth"))[0]["ifname"]
        ns.ip("link", "set", port, "nomaster")
    one.start()
    bed.tell_all(one, network.id)
    assert ann.reaches("10.0.8.12") and cat.reaches("fd00:8::a")
    with contextlib.closing(one.overlay_ns()) as ns:
        assert "10.0.8.11" not in ns.ip("neighbour")
    # the whole namespace is gone
    one.stop(signal.SIGKILL)
    (name,) = one.overlays()
    subprocess.run(["umount", str(one.folder / "run" / "netns" / name)], check=True)
    one.start()
    bed.tell_all(one, network.id)
    until(lambda: ann.ns.pings("10.0.8.12", expect=False), "ann reaches cat again")
    assert cat.reaches("10.0.8.10")
    bed.disconnect(one, network, "ann")
    bed.disconnect(two, network, "cat")
    assert [member.overlays() for member in bed.members] == [[], [], []]


def test_leftovers_of_a_forgotten_network_make_room(bed: Bed) -> None:
    """The records are lost, the namespace with its tunnel stands: its number is needed again."""
    one, two, _ = bed.members
    network = bed.network("lost", "10.0.9.0/24", vni=4900)
    bed.connect(one, network, "ann", 10)
    one.stop(signal.SIGKILL)
    (one.folder / "state" / "node.db").unlink()
    for more in ("-wal", "-shm"):
        (one.folder / "state" / f"node.db{more}").unlink(missing_ok=True)
    one.start()
    assert not one.overlays()
    for known in bed.networks.values():
        bed.install(known)
    ann = bed.connect(one, network, "eve", 12)
    bed.connect(two, network, "bob", 11)
    assert ann.reaches("10.0.9.11")
    bed.disconnect(one, network, "eve")
    bed.disconnect(two, network, "bob")


def test_out_of_an_overlay_leads_the_gateway_bridge_and_ports_come_in_by_it(bed: Bed) -> None:
    one, two, _ = bed.members
    network = bed.network("open", "10.0.6.0/24", vni=4600)
    web = bed.connect(one, network, "web", 10, ports=(PortRequest("tcp", 80, host_port=8080),))
    bob = bed.connect(two, network, "bob", 11)
    with _echo(web, "web", "tcp:80"), _echo(bob, "bob", "tcp:80"):
        until(lambda: web.ns.reaches("127.0.0.1", 80), "web listens")
        until(lambda: bob.ns.reaches("127.0.0.1", 80), "bob listens")
        assert two.ns.tcp("198.18.0.1", 8080)[:2] == ["web", "198.18.0.2"]
        assert web.reaches("198.18.0.2")
        assert web.ns.tcp("10.0.6.11", 80)[:2] == ["bob", "10.0.6.10"]
        # names of the gateway bridge are nobody's, and its neighbours out of reach
        other = bed.connect(one, network, "other", 12)
        gateway = next(e for e in one.ask("endpoints") if e.leads_out and e.sandbox_id == _sandbox(bed, "web", network))
        assert not other.ns.pings(gateway.ipv4.partition("/")[0], expect=False)
        assert other.resolve("web") == ["10.0.6.10"]
        # a network that leads out takes its place, and gives it back
        one.ask("submit", ConnectNetwork("bridge", web.target))
        assert not [e for e in one.ask("endpoints") if e.leads_out and e.sandbox_id == gateway.sandbox_id]
        assert two.ns.tcp("198.18.0.1", 8080)[0] == "web"
    for member, name in ((one, "web"), (one, "other"), (two, "bob")):
        bed.disconnect(member, network, name)
    one.ask("submit", DisconnectNetwork("bridge", web.target))


def test_a_lease_that_is_taken_away_takes_its_endpoint_along(bed: Bed) -> None:
    one, two, _ = bed.members
    network = bed.network("taken", "10.0.5.0/24", vni=4500)
    ann, bob = bed.connect(one, network, "ann", 10), bed.connect(two, network, "bob", 11)
    assert ann.reaches("10.0.5.11")
    one.ask("feed", LeasesRevoked((f"{network.id}/10.0.5.10",)))
    bed.spread()
    assert not bob.ns.pings("10.0.5.10", expect=False)
    assert not one.overlays()
    bed.disconnect(two, network, "bob")


@contextlib.contextmanager
def _echo(box: Box, tag: str, *ports: str) -> Iterator[None]:
    process = subprocess.Popen(box.ns.command(*echo(tag, *ports)))
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _sandbox(bed: Bed, name: str, network: Network) -> str:
    return bed.endpoint(bed.members[0], name, network).sandbox_id
