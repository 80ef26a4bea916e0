"""Two hosts whose kernel has ESP: an encrypted network under everything that happens to one, and what its wire shows of it.

One network and one look at the wire for all of these tests: not one clear packet of it in all that time is what is claimed.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from tests.kernel.cluster.bed import PROGRAM_S, Cluster
from tests.kernel.one_host.namespace import Namespace
from tests.kernel.one_host.streams import Pings, pinging
from tests.kernel.one_host.waiting import until
from tests.kernel.overlay.underlay import Capture, capturing, frame, inject

VAULT, SECOND, OPEN = "vault", "second", "open"
ROTATIONS = 20
#: Bytes that go through one TCP connection: some hundred packets of full size.
BULK = 1 << 19
_SEND = "import socket,sys; c=socket.create_connection((sys.argv[1],7001),60); c.sendall(bytes({})); c.close()"
_TAKE = "import socket; s=socket.create_server(('',7001)); print('up',flush=True); c,_=s.accept(); n=0\nwhile d:=c.recv(65536): n+=len(d)\nprint(n)"


@dataclass
class Pair:
    """``anna`` on h1 and ``bob`` on h2 in the encrypted network; ``wire`` is h1's link, seen since before there was one.
    ``hosts`` are their namespaces, and the one of the ``switch`` between them, which is a stranger to the cluster."""

    cluster: Cluster
    wire: Capture
    hosts: dict[str, Namespace]
    vni: int

    def states(self, host: str) -> set[tuple[str, str]]:
        """(SPI, key) of all states of a host."""
        said = self.hosts[host].ip("xfrm", "state")
        return set(zip(re.findall(r"spi (0x\w+)", said), re.findall(r"aead \S+ (0x\w+)", said), strict=True))

    def counted(self, host: str, name: str) -> int:
        """One of the kernel's numbers of what went wrong in encryption."""
        lines = self.hosts[host].call(_statistics).splitlines()
        return sum(int(line.split()[1]) for line in lines if line.split()[0] == name)

    def pings(self) -> AbstractContextManager[Pings]:
        """Echo requests from anna to bob."""
        target = self.cluster.address("h2", "bob", VAULT)
        return pinging(self.cluster.inside("h1", "anna", "ping", target), 0.05)

    def join(self, network: str) -> None:
        """Both containers are in one more network."""
        for host, name in (("h1", "anna"), ("h2", "bob")):
            self.cluster.api(host).post(f"/networks/{network}/connect", {"Container": name})

    def part(self, network: str) -> None:
        """They are not any more, and it is gone."""
        for host, name in (("h1", "anna"), ("h2", "bob")):
            self.cluster.api(host).post(f"/networks/{network}/disconnect", {"Container": name})
        self.cluster.cli("h1", "network", "rm", network)


def _statistics() -> str:
    with open("/proc/thread-self/net/xfrm_stat") as file:
        return file.read()


def _vni(cluster: Cluster, network: str) -> int:
    found: Any = cluster.api("h1").get(f"/networks/{network}")
    return int(found["Options"]["com.docker.network.driver.overlay.vxlanid_list"])


def _link(ns: Namespace) -> str:
    """The link to the other hosts."""
    found = re.search(r"^\d+: (\S+) +inet 198\.18\.", ns.ip("-o", "-4", "address"), re.MULTILINE)
    assert found, ns.ip("-o", "-4", "address")
    return found[1]


@pytest.fixture(scope="module")
def pair(cluster: Cluster) -> Iterator[Pair]:
    with ExitStack() as stack:
        hosts = {}
        places = {name: host.place for name, host in cluster.hosts.items()} | {"switch": cluster.lab._layout.switch}
        for name, place in places.items():
            hosts[name] = Namespace(os.open(place.file("net"), os.O_RDONLY | os.O_CLOEXEC))
            stack.callback(hosts[name].close)
        wire = stack.enter_context(capturing(hosts["h1"], _link(hosts["h1"])))
        cluster.network(VAULT, "--opt", "encrypted")
        stack.callback(cluster.cli, "h1", "network", "rm", VAULT)
        for host, name in (("h1", "anna"), ("h2", "bob")):
            cluster.start(host, name, VAULT)
            stack.callback(cluster.remove, host, name)
        yield Pair(cluster, wire, hosts, _vni(cluster, VAULT))


def test_containers_reach_each_other_by_esp(pair: Pair) -> None:
    pair.cluster.meets("h1", "anna", "bob")
    pair.cluster.meets("h2", "bob", "anna")
    assert pair.wire.encrypted > 0
    said = pair.hosts["h1"].run("ip", "-d", "xfrm", "state").stdout
    assert "esn" in said and "replay_window 1024" in said and "mode transport" in said
    assert re.findall(r"rfc4106\(gcm\(aes\)\) 0x\w{40} (\d+)", said) == ["128", "128"]


def test_full_size_packets_arrive_whole(pair: Pair) -> None:
    mtu = int(pair.cluster.run_inside("h1", "anna", "cat", "/sys/class/net/eth0/mtu"))
    assert mtu == 1416
    bob = pair.cluster.address("h2", "bob", VAULT)
    whole = ("ping", "-c", "2", "-W", "30", "-M", "do", "-s", str(mtu - 28), bob)
    assert " 0% packet loss" in pair.cluster.run_inside("h1", "anna", *whole)
    taking = subprocess.Popen(
        pair.cluster.inside("h2", "bob", "/usr/bin/python3", "-c", _TAKE), stdout=subprocess.PIPE, text=True
    )
    assert taking.stdout is not None and taking.stdout.readline() == "up\n"
    pair.cluster.run_inside("h1", "anna", "/usr/bin/python3", "-c", _SEND.format(BULK), bob)
    assert taking.communicate(timeout=PROGRAM_S)[0] == f"{BULK}\n"


def test_a_network_beside_it_is_in_clear(pair: Pair) -> None:
    pair.cluster.network(OPEN)
    number = _vni(pair.cluster, OPEN)
    pair.join(OPEN)
    target = pair.cluster.address("h2", "bob", OPEN)
    pair.cluster.answers("h1", "anna", target, "bob")
    until(lambda: pair.wire.clear[number], "clear packets of the clear network")
    pair.part(OPEN)


def test_sec_05_every_direction_has_a_key_of_its_own(pair: Pair) -> None:
    both = pair.states("h1") | pair.states("h2")
    assert len(both) == len({key for _, key in both}) == 2


def test_sec_02_clear_packets_of_its_number_reach_nobody(pair: Pair) -> None:
    bob = pair.cluster.inspect("h2", "bob")["NetworkSettings"]["Networks"][VAULT]
    target = pair.cluster.hosts["h2"].address_v4
    letter = frame(pair.vni, bob["MacAddress"], "10.0.99.99", bob["IPAddress"], 5000, b"forged")
    with Namespace.of(pair.cluster.inspect("h2", "bob")["State"]["Pid"]).socket(kind=socket.SOCK_DGRAM) as ears:
        ears.bind(("0.0.0.0", 5000))
        ears.settimeout(0)

        def dropped() -> int:
            said = pair.hosts["h2"].run("nft", "list", "chain", "ip", "fairlead-tunnels", "encrypted-in").stdout
            return sum(map(int, re.findall(r"counter packets (\d+)", said)))

        before = dropped()
        inject(pair.hosts["switch"], target, letter)
        until(lambda: dropped() == before + 1, "the clear packet is counted")
        with pytest.raises(BlockingIOError):
            ears.recv(100)


def test_sec_05_a_packet_that_is_played_again_is_dropped(pair: Pair) -> None:
    target = socket.inet_aton(pair.cluster.hosts["h2"].address_v4)
    packet = until(lambda: next((one for one in pair.wire.esp if one[16:20] == target), b""), "a packet to h2")
    before = pair.counted("h2", "XfrmInStateSeqError") + pair.counted("h2", "XfrmInStateProtoError")
    with pair.hosts["h1"].socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sender:
        sender.sendto(packet, (pair.cluster.hosts["h2"].address_v4, 0))
    until(
        lambda: pair.counted("h2", "XfrmInStateSeqError") + pair.counted("h2", "XfrmInStateProtoError") > before,
        "it is dropped",
    )


def _nothing_lost(pings: Pings) -> None:
    assert pings.lost == [], f"{len(pings.lost)} of {pings.sent} were lost"


def test_keys_go_round_and_nothing_is_lost(pair: Pair) -> None:
    api: Any = pair.cluster.api("h1")
    known = pair.states("h1")
    with pair.pings() as pings:
        for _ in range(ROTATIONS):
            api.post("/fairlead/swarm/keys")
            until(lambda: not api.get("/fairlead/swarm/keys")["Rotating"], "all nodes use the new keys")
            fresh = pair.states("h1")
            assert len(fresh) == 2 and not {key for _, key in fresh} & {key for _, key in known}
            known |= fresh
    _nothing_lost(pings)


def test_sec_04_the_end_of_a_second_network_disturbs_nothing(pair: Pair) -> None:
    with pair.pings() as pings:
        pair.cluster.network(SECOND, "--opt", "encrypted")
        number = _vni(pair.cluster, SECOND)
        pair.join(SECOND)
        pair.cluster.answers("h1", "anna", pair.cluster.address("h2", "bob", SECOND), "bob")
        assert len(pair.states("h1")) == 2
        pair.part(SECOND)
        assert len(pair.states("h1")) == 2
    _nothing_lost(pings)
    assert pair.wire.clear[number] == 0


def test_sec_03_a_daemon_that_is_killed_and_comes_again_disturbs_nothing(pair: Pair) -> None:
    before = pair.states("h2")
    with pair.pings() as pings:
        pair.cluster.kill_daemon("h2")
        pair.cluster.start_daemon("h2")
        until(lambda: pair.cluster.nodes()["h2"] == "ready", "h2 is back")
        pair.cluster.meets("h2", "bob", "anna")
    _nothing_lost(pings)
    assert pair.states("h2") == before


def test_sec_04_what_a_stranger_takes_away_is_made_anew_with_other_keys(pair: Pair) -> None:
    before = {key for _, key in pair.states("h2")}
    pair.hosts["h2"].ip("xfrm", "state", "flush")
    until(lambda: len(pair.states("h2")) == 2, "there are states again")
    assert not {key for _, key in pair.states("h2")} & before
    pair.cluster.meets("h1", "anna", "bob")
    pair.hosts["h1"].ip("xfrm", "policy", "flush")
    pair.cluster.meets("h1", "anna", "bob")


def test_sec_06_nothing_leaves_for_an_address_that_nobody_has(pair: Pair) -> None:
    nobody = pair.cluster.address("h2", "bob", VAULT).rpartition(".")[0] + ".250"
    before = pair.wire.encrypted
    assert " 100% packet loss" in pair.cluster.run_inside(
        "h1", "anna", "sh", "-c", f"ping -c 2 -i 0.2 -W 1 {nobody}; true"
    )
    assert pair.wire.encrypted == before


def test_sec_01_not_one_clear_packet_was_seen_in_all_that_time(pair: Pair) -> None:
    assert pair.wire.encrypted > 2 * ROTATIONS
    assert pair.wire.clear[pair.vni] == 0
    assert pair.wire.missed == 0
