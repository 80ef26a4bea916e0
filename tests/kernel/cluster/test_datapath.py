"""What the way to other nodes carries, over a router whose far link is narrower than the near one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from fairlead.daemon.cluster import datapath, keepsake
from fairlead.daemon.cluster.contract import Place
from fairlead.kernel import netns
from fairlead.model.cluster import NodeDescription

#: A near node (2), a router (1, and 1 on the far side) and a far node (2), in both families.
_NEAR, _FAR = "10.77.0.2", "10.77.1.2"
_NEAR6, _FAR6 = "fd77:0::2", "fd77:1::2"


def ip(*words: str, inside: Path | None = None) -> None:
    command = ["ip", *words]
    if inside is not None:
        command = ["nsenter", f"--net={inside}", *command]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(name="far")
def _far(space: Path, tmp_path: Path) -> Iterator[Path]:
    """The test runs at the near node; the far link carries 1,400 bytes only. What is answered is the far node's file."""
    router, far = tmp_path / "router", tmp_path / "far"
    for place in (router, far):
        netns.create(str(place))
    try:
        for place in (None, router, far):
            _sysctl(place, "ipv6/conf/default/accept_dad", "0")  # it takes a second until an address is used
        _link("near", None, "r0", router, 1500)
        _link("r1", router, "far", far, 1400)
        for place, link, *addresses in (
            (None, "near", f"{_NEAR}/24", f"{_NEAR6}/64"),
            (router, "r0", "10.77.0.1/24", "fd77:0::1/64"),
            (router, "r1", "10.77.1.1/24", "fd77:1::1/64"),
            (far, "far", f"{_FAR}/24", f"{_FAR6}/64"),
        ):
            for address in addresses:
                ip("address", "add", address, "dev", link, inside=place)
        for place, four, six in ((None, "10.77.0.1", "fd77:0::1"), (far, "10.77.1.1", "fd77:1::1")):
            ip("route", "add", "default", "via", four, inside=place)
            ip("-6", "route", "add", "default", "via", six, inside=place)
        for path in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            _sysctl(router, path, "1")
        yield far
    finally:
        for place in (router, far):
            netns.delete(str(place))


def _sysctl(inside: Path | None, path: str, value: str) -> None:
    with netns.inside(str(inside)) if inside is not None else nullcontext():
        Path(f"/proc/sys/net/{path}").write_text(value)


def _link(name: str, here: Path | None, peer: str, there: Path, mtu: int) -> None:
    ip("link", "add", name, "mtu", str(mtu), "type", "veth", "peer", "name", peer, "mtu", str(mtu), inside=here)
    descriptor = os.open(there, os.O_RDONLY)
    try:
        move = ["ip", "link", "set", peer, "netns", f"/proc/{os.getpid()}/fd/{descriptor}"]
        entry = ["nsenter", f"--net={here}"] if here is not None else []
        subprocess.run([*entry, *move], check=True, capture_output=True)
    finally:
        os.close(descriptor)
    ip("link", "set", name, "up", inside=here)
    ip("link", "set", peer, "up", inside=there)


def place(tmp_path: Path, address: str) -> Place:
    folder = str(tmp_path / "swarm")
    return Place(
        "n1", "c", folder, keepsake.identity(folder), NodeDescription("h"), advertise=address, data_path=address
    )


@pytest.mark.parametrize(("source", "target"), [(_NEAR, _FAR), (_NEAR6, _FAR6)])
def test_the_narrowest_link_is_found_though_no_link_here_has_its_mtu(
    far: Path, tmp_path: Path, source: str, target: str
) -> None:
    here = place(tmp_path, source)
    assert datapath.quick(here, [target]).mtu == 1500
    found = datapath.measure(here, [target])
    assert found.mtu == 1400
    assert [warning.partition(",")[0] for warning in found.warnings] == [
        f"packets of more than 1400 bytes do not arrive at {target}"
    ]


def test_a_black_hole_is_found_though_nobody_says_too_big(far: Path, tmp_path: Path) -> None:
    rules = "table ip hole { chain out { type filter hook postrouting priority 0; meta length > 1337 drop; }; }"
    subprocess.run(["nsenter", f"--net={tmp_path}/router", "nft", rules], check=True)
    assert datapath.measure(place(tmp_path, _NEAR), [_FAR]).mtu == 1337


def test_a_jumbo_link_is_used_whole(space: Path, tmp_path: Path) -> None:
    far = tmp_path / "far"
    netns.create(str(far))
    try:
        _link("near", None, "far", far, 9000)
        ip("address", "add", f"{_NEAR}/24", "dev", "near")
        ip("address", "add", "10.77.0.9/24", "dev", "far", inside=far)
        found = datapath.measure(place(tmp_path, _NEAR), ["10.77.0.9"])
        assert (found.mtu, found.warnings) == (9000, ())
    finally:
        netns.delete(str(far))


def test_who_answers_no_echo_is_taken_at_the_routes_word(far: Path, tmp_path: Path) -> None:
    rules = "table inet deaf { chain in { type filter hook input priority 0; meta l4proto icmp drop; }; }"
    subprocess.run(["nsenter", f"--net={far}", "nft", rules], check=True)
    found = datapath.measure(place(tmp_path, _NEAR), [_FAR])
    assert (found.mtu, found.warnings) == (1500, ())


def test_moby_53004_packets_that_are_dropped_for_their_source_are_found(far: Path, tmp_path: Path) -> None:
    ip("address", "add", "10.88.0.2/32", "dev", "near")  # the router has no way back to it
    found = datapath.measure(place(tmp_path, "10.88.0.2"), [_FAR])
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith(f"packets from the data path address 10.88.0.2 get no answer from {_FAR}")


def test_a_data_path_address_of_another_host_is_told(space: Path, tmp_path: Path) -> None:
    found = datapath.measure(place(tmp_path, "192.0.2.77"), [_FAR])
    assert "192.0.2.77 is not one of this host" in found.warnings[0]


def test_moby_41775_a_card_that_miscounts_within_tunnels_is_told(
    far: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # veth stands for VMware's card, which no test machine has: the driver's name is read from the kernel all the same
    monkeypatch.setitem(datapath.FAULTY_DRIVERS, "veth", frozenset({4789}))
    found = datapath.quick(place(tmp_path, _NEAR), [_FAR])
    assert "the driver of near (veth) computes wrong checksums" in found.warnings[0]
    assert "--data-path-port" in found.warnings[0]
