"""What a node keeps of its cluster: written whole, readable by its owner only, and never misread."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from fairlead.daemon.cluster import datapath, keepsake
from fairlead.gossip.identity import Address
from fairlead.gossip.keyring import next_epoch
from fairlead.model.errors import Internal
from fairlead.model.events import DataPath


def test_an_identity_is_made_once_and_is_nobody_elses_to_read(tmp_path: Path) -> None:
    folder = str(tmp_path / "swarm")
    first = keepsake.identity(folder)
    assert keepsake.identity(folder).id == first.id
    assert keepsake.identity(str(tmp_path / "other")).id != first.id
    assert stat.S_IMODE((tmp_path / "swarm" / keepsake.IDENTITY_FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "xy", "11" * 31])
def test_a_damaged_identity_is_not_replaced_by_another(tmp_path: Path, text: str) -> None:
    (tmp_path / keepsake.IDENTITY_FILE).write_text(text)
    with pytest.raises(Internal) as caught:
        keepsake.identity(str(tmp_path))
    assert "is damaged" in str(caught.value)
    assert (tmp_path / keepsake.IDENTITY_FILE).read_text() == text


def test_the_boot_epoch_grows_though_the_clock_goes_back_or_the_file_is_lost(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert keepsake.epoch(folder) == 0
    for clock_s, expected in ((1000, 1000), (1000, 1001), (500, 1002), (2000, 2000)):
        number = next_epoch(keepsake.epoch(folder), clock_s)
        assert number == expected
        keepsake.keep_epoch(folder, number)
    (tmp_path / keepsake.EPOCH_FILE).write_text("garbage")
    assert keepsake.epoch(folder) == 0


def test_a_write_that_is_cut_short_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    keepsake.write(path, b"one")
    path.with_name("file.new").mkdir()
    with pytest.raises(Internal):
        keepsake.write(path, b"two")
    assert path.read_bytes() == b"one"


@pytest.mark.parametrize("text", ["", "{", "7", '[["h"]]', '[["10.0.0.2", "x"]]'])
def test_peers_that_cannot_be_read_are_none(tmp_path: Path, text: str) -> None:
    folder = str(tmp_path)
    keepsake.keep_peers(folder, [Address("10.0.0.2", 7946)])
    assert keepsake.peers(folder) == (Address("10.0.0.2", 7946),)
    (tmp_path / keepsake.PEERS_FILE).write_text(text)
    assert keepsake.peers(folder) == ()


def test_the_data_path_is_kept_for_the_next_start(tmp_path: Path) -> None:
    assert datapath.stored(str(tmp_path)) is None
    datapath.keep(str(tmp_path), DataPath("10.0.0.1", 4790, 1400))
    assert datapath.stored(str(tmp_path)) == DataPath("10.0.0.1", 4790, 1400)
    (tmp_path / datapath.PATH_FILE).write_text("[]")
    assert datapath.stored(str(tmp_path)) is None
