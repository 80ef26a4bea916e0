"""Checksums within tunnels, as another node sees them: right, spoilt on the way, never computed, and nobody who says."""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import socket
import struct
import subprocess
from pathlib import Path

import pytest
from tests.kernel.cluster.test_datapath import _FAR, _NEAR, place
from tests.kernel.cluster.test_datapath import _far as far_fixture

from fairlead.daemon.cluster import checksums, datapath
from fairlead.daemon.cluster.checksums import Seen
from fairlead.kernel.apply import Kernel

far = far_fixture
PORT = 4789
# linux/sockios.h, linux/ethtool.h
_SIOCETHTOOL, _ETHTOOL_STXCSUM = 0x8946, 0x17


def look(folder: Path) -> Seen | None:
    """Look from the near node; nothing of it is left."""

    folder.mkdir()

    async def session() -> Seen | None:
        kernel = Kernel(str(folder))
        try:
            return await checksums.look(kernel, str(folder), _NEAR, PORT, [_FAR])
        finally:
            assert not await kernel.observe()
            await kernel.close()

    return asyncio.run(session())


def computing(link: str) -> None:
    """No card below: the kernel computes checksums itself."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        value = bytearray(struct.pack("II", _ETHTOOL_STXCSUM, 0))
        place = ctypes.addressof((ctypes.c_char * len(value)).from_buffer(value))
        fcntl.ioctl(asking, _SIOCETHTOOL, struct.pack("16sP16x", link.encode(), place))


def spoil(tmp_path: Path) -> None:
    """The router writes nonsense where the checksum within stands."""
    rules = f"table ip spoil {{ chain f {{ type filter hook forward priority 0; udp dport {PORT} @th,448,16 set 0xdead; }}; }}"
    subprocess.run(["nsenter", f"--net={tmp_path}/router", "nft", rules], check=True)


def test_right_checksums_are_seen_to_be_right(far: Path, tmp_path: Path) -> None:
    computing("near")
    assert look(tmp_path / "spaces") == Seen(_FAR, right=True)


@pytest.mark.parametrize("computed", [True, False])
def test_moby_41775_checksums_that_something_spoils_are_seen(far: Path, tmp_path: Path, computed: bool) -> None:
    if computed:
        computing("near")
    spoil(tmp_path)
    seen = look(tmp_path / "spaces")
    assert seen == Seen(_FAR, right=False)
    here = place(tmp_path, _NEAR)
    (told,) = datapath.judged(datapath.quick(here, [_FAR]), here, seen).warnings
    assert "ethtool -K near tx-checksum-ip-generic off" in told and "--data-path-port" in told


def test_what_no_card_has_computed_shows_nothing(far: Path, tmp_path: Path) -> None:
    assert look(tmp_path / "spaces") is None


@pytest.mark.parametrize(
    "rules",
    [
        "table inet deaf { chain in { type filter hook input priority 0; udp dport 4789 drop; }; }",
        "table inet mute { chain out { type filter hook output priority 0; meta l4proto icmp drop; }; }",
    ],
)
def test_who_says_nothing_shows_nothing(far: Path, tmp_path: Path, rules: str) -> None:
    computing("near")
    subprocess.run(["nsenter", f"--net={far}", "nft", rules], check=True)
    assert look(tmp_path / "spaces") is None


def test_a_node_that_has_tunnels_says_nothing(far: Path, tmp_path: Path) -> None:
    computing("near")
    for words in (["add", "vx", "type", "vxlan", "id", "7", "dstport", str(PORT)], ["set", "vx", "up"]):
        subprocess.run(["nsenter", f"--net={far}", "ip", "link", *words], check=True)
    assert look(tmp_path / "spaces") is None


def test_a_drivers_name_counts_where_nothing_is_seen_and_the_card_is_asked(
    far: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(datapath.FAULTY_DRIVERS, "veth", frozenset({PORT}))
    here = place(tmp_path, _NEAR)
    found = datapath.quick(here, [_FAR])
    assert "the driver of near (veth)" in found.warnings[0]
    assert datapath.judged(found, here, None) == found
    assert not datapath.judged(found, here, Seen(_FAR, right=True)).warnings
    (told,) = datapath.judged(found, here, Seen(_FAR, right=False)).warnings
    assert f"arrive at {_FAR} with wrong checksums" in told
    computing("near")  # the remedy
    assert not datapath.quick(here, [_FAR]).warnings
