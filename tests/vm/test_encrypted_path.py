"""The encrypted way between two nodes on a kernel that has ESP, without managers and gossip: the bed plays those.

One look at the wire for all of these tests: not one clear packet of the encrypted network in all that time is what is claimed.
"""

from __future__ import annotations

import re
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path as Folder

import pytest
from tests.kernel.one_host.streams import Pings, pinging
from tests.kernel.one_host.waiting import until
from tests.kernel.overlay.bed import Bed, Box, Member
from tests.kernel.overlay.underlay import Capture, capturing

from fairlead.model import options
from fairlead.model.cluster import Key, Ring, Station
from fairlead.model.events import StationsSeen, TunnelSecrets
from fairlead.model.network import Network

RED, BLUE, GREEN = 4200, 4300, 4400
ROTATIONS = 20
#: Bytes that go through one TCP connection: some hundred packets of full size.
BULK = 1 << 19
SECRET = {options.ENCRYPTED: ""}


@dataclass
class Path:
    """Two nodes with a box each in the encrypted network, ``red``; ``wire`` is the first one's link."""

    bed: Bed
    red: Network
    stations: list[Station]
    boxes: list[Box]
    wire: Capture
    ring: Ring = Ring((Key(2, "11" * 32),), 2)

    def tell(self, *members: Member) -> None:
        """These nodes (all) hold the ring now, and know the other."""
        for member in members or self.bed.members:
            own, other = self.stations[:: 1 if member is self.bed.members[0] else -1]
            member.ask("feed", TunnelSecrets(own, self.ring, ""))
            member.ask("feed", StationsSeen(((other.vtep, other),)))

    def live_anew(self, number: int) -> None:
        """A node begins another life."""
        old = self.stations[number]
        self.stations[number] = replace(old, nonce=old.nonce + "a")
        self.tell()

    def states(self, number: int) -> set[tuple[str, str]]:
        """(SPI, key) of all states of a node."""
        said = self.bed.members[number].ns.ip("xfrm", "state")
        return set(zip(re.findall(r"spi (0x\w+)", said), re.findall(r"aead \S+ (0x\w+)", said), strict=True))

    def reach(self) -> None:
        ann, bob = self.boxes
        until(lambda: ann.ns.pings(self.address(1)) and bob.ns.pings(self.address(0)), "the boxes reach each other")

    def address(self, number: int) -> str:
        return f"10.0.2.{10 + number}"


def _path(bed: Bed, wire: Capture) -> Path:
    stations = [Station(f"n{one.number}", one.vtep, f"{one.number:032x}") for one in bed.members]
    red = bed.network("red", "10.0.2.0/24", vni=RED, **SECRET)
    path = Path(bed, red, stations, [], wire)
    path.tell()
    for number, name in enumerate(("ann", "bob")):
        path.boxes.append(bed.connect(bed.members[number], red, name, 10 + number))
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    bed = Bed(tmp_path_factory.mktemp("o"))
    try:
        with capturing(bed.members[0].ns) as wire:
            yield _path(bed, wire)
    finally:
        left = bed.close()
    assert not left, "\n".join(left)


def test_packets_go_by_esp(path: Path) -> None:
    path.reach()
    assert path.wire.encrypted > 0
    assert path.wire.clear[RED] == 0
    said = path.bed.members[0].ns.ip("-d", "xfrm", "state")
    assert said.count("mode transport") == said.count("flag esn") == said.count("replay_window 1024") == 2
    assert re.findall(r"rfc4106\(gcm\(aes\)\) 0x\w{40} (\d+)", said) == ["128", "128"]


def test_full_size_packets_arrive_whole(path: Path) -> None:
    ann, bob = path.boxes
    assert "mtu 1416" in ann.ns.ip("link", "show", "eth0")
    whole = ("ping", "-n", "-c1", "-W30", "-M", "do", "-s", str(1416 - 28), path.address(1))
    assert ann.ns.run(*whole, check=False).returncode == 0
    took: list[int] = []
    with bob.ns.socket() as door:
        door.bind(("", 7001))
        door.listen()

        def take() -> None:
            client, _ = door.accept()
            with client:
                while more := client.recv(65536):
                    took.append(len(more))

        taking = threading.Thread(target=take)
        taking.start()
        with ann.ns.connected(path.address(1), 7001) as client:
            client.sendall(bytes(BULK))
        taking.join()
    assert sum(took) == BULK


def test_a_network_beside_it_is_in_clear(path: Path) -> None:
    blue = path.bed.network("blue", "10.0.3.0/24", vni=BLUE)
    for number, name in enumerate(("ann", "bob")):
        path.bed.connect(path.bed.members[number], blue, name, 10 + number)
    before = path.wire.encrypted
    assert path.boxes[0].ns.pings("10.0.3.11")
    until(lambda: path.wire.clear[BLUE] >= 2, "it is seen in clear")
    assert path.wire.encrypted == before


def test_sec_05_every_direction_has_a_key_of_its_own(path: Path) -> None:
    both = path.states(0) | path.states(1)
    assert len(both) == len({key for _, key in both}) == 2


def test_sec_05_a_packet_that_is_played_again_is_dropped(path: Path) -> None:
    two = path.bed.members[1]
    target = socket.inet_aton(two.vtep)
    packet = until(lambda: next((one for one in path.wire.esp if one[16:20] == target), b""), "a packet to node 2")
    before = _refused(two)
    with path.bed.members[0].ns.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sender:
        sender.sendto(packet, (two.vtep, 0))
    until(lambda: _refused(two) > before, "it is dropped and counted")


def _refused(member: Member) -> int:
    return sum(_statistics(member).get(name, 0) for name in ("XfrmInStateSeqError", "XfrmInStateProtoError"))


def _statistics(member: Member) -> dict[str, int]:
    """What went wrong with encryption on a node, as its kernel counts it."""

    def look() -> str:
        with open("/proc/thread-self/net/xfrm_stat") as file:
            return file.read()

    rows = (line.split() for line in member.ns.call(look).splitlines())
    return {name: int(count) for name, count in rows if count != "0"}


def _undisturbed(path: Path, pings: Pings) -> None:
    said = [_statistics(member) for member in path.bed.members]
    assert pings.lost == [], f"{len(pings.lost)} of {pings.sent} were lost; {said}"


def test_sec_04_the_end_of_a_second_network_disturbs_nothing(path: Path) -> None:
    with pinging(path.boxes[0].ns.command("ping", path.address(1)), 0.02) as pings:
        green = path.bed.network("green", "10.0.4.0/24", vni=GREEN, **SECRET)
        for number, name in enumerate(("ann", "bob")):
            path.bed.connect(path.bed.members[number], green, name, 10 + number)
        assert path.boxes[0].ns.pings("10.0.4.11")
        assert len(path.states(0)) == 2
        for number, name in enumerate(("ann", "bob")):
            path.bed.disconnect(path.bed.members[number], green, name)
        assert len(path.states(0)) == 2
    _undisturbed(path, pings)
    assert path.wire.clear[GREEN] == 0


def test_sec_03_a_daemon_that_is_killed_and_comes_again_disturbs_nothing(path: Path) -> None:
    two, before = path.bed.members[1], path.states(1)
    with pinging(path.boxes[0].ns.command("ping", path.address(1)), 0.02) as pings:
        two.stop(signal.SIGKILL)
        two.start()
        path.tell(two)
        path.bed.spread()
        for network_id in path.bed.networks:
            path.bed.tell_all(two, network_id)
        assert two.ask("ipsec", "stands")
    _undisturbed(path, pings)
    assert path.states(1) == before


def test_sec_04_what_a_stranger_takes_away_is_made_anew_with_other_keys(path: Path) -> None:
    two, before = path.bed.members[1], path.states(1)
    two.ns.ip("xfrm", "policy", "flush")
    assert not path.boxes[1].ns.pings(path.address(0), expect=False)
    assert not two.ask("ipsec", "mend").lost
    path.reach()
    two.ns.ip("xfrm", "state", "flush")
    assert two.ask("ipsec", "mend").lost
    assert not two.ask("ipsec", "stands") or len(path.states(1)) == 1
    path.live_anew(1)
    path.reach()
    assert len(path.states(1)) == 2 and not path.states(1) & before
    assert not two.ask("ipsec", "mend").words


def test_sec_06_nothing_leaves_for_an_address_that_nobody_has(path: Path) -> None:
    before = path.wire.encrypted
    assert not path.boxes[0].ns.pings("10.0.2.77", expect=False)
    assert path.wire.encrypted == before


def test_keys_go_round_and_nothing_is_lost(path: Path) -> None:
    """As a node takes them: a key opens one rotation longer than it is used."""
    with pinging(path.boxes[0].ns.command("ping", path.address(1)), 0.02) as pings:
        seen, former = path.states(0), path.ring.keys[0]
        for number in range(ROTATIONS):
            old, new = path.ring.keys[-1], Key(number + 3, f"{number + 3:064x}")
            for path.ring in (
                Ring((former, old, new), old.tag) if former != old else Ring((old, new), old.tag),
                Ring((old, new), old.tag),
                Ring((old, new), new.tag),
            ):
                path.tell()
            former = old
            assert path.states(0) == path.states(1)
            assert len(path.states(0)) == 4 and len(path.states(0) - seen) == 2
            seen |= path.states(0)
    _undisturbed(path, pings)
    path.ring = Ring((new,), new.tag)
    path.tell()
    assert len(path.states(0)) == 2


def test_states_go_with_the_last_endpoint(path: Path) -> None:
    path.bed.disconnect(path.bed.members[1], path.red, "bob")
    assert path.states(0) == path.states(1) == set()


def test_sec_01_not_one_clear_packet_was_seen_in_all_that_time(path: Path) -> None:
    assert path.wire.encrypted > 2 * ROTATIONS
    assert path.wire.clear[RED] == 0
    assert path.wire.missed == 0


def test_between_ipv6_addresses(tmp_path: Folder) -> None:
    bed = Bed(tmp_path, v6=True)
    try:
        with capturing(bed.members[0].ns) as wire:
            path = _path(bed, wire)
            path.reach()
            assert "mtu 1396" in path.boxes[0].ns.ip("link", "show", "eth0")
            whole = ("ping", "-n", "-c1", "-W30", "-M", "do", "-s", str(1396 - 28), path.address(1))
            assert path.boxes[0].ns.run(*whole, check=False).returncode == 0
            until(lambda: wire.encrypted >= 4, "it is encrypted")
        assert wire.clear[RED] == 0 and not wire.missed
    finally:
        left = bed.close()
    assert not left
