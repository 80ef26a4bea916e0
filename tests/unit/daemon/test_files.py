"""Name files after a crash: whatever a torn write left counts as ours, and what somebody else wrote does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairlead.daemon.files import POINTS, NameFiles
from fairlead.discovery.hosts import HostLine


class Torn(Exception):
    """The process is gone."""


@pytest.mark.parametrize("point", [point for point in POINTS if point != "files.edited"])
def test_a_file_whose_writing_was_cut_short_is_written_again(tmp_path: Path, point: str) -> None:
    NameFiles(str(tmp_path)).write("c", {"hosts": "", "resolv.conf": "nameserver 10.0.0.1\n"}, anew=True)

    def crash(reached: str) -> None:
        if reached == point:
            raise Torn

    with pytest.raises(Torn):
        NameFiles(str(tmp_path), crash).write("c", {"resolv.conf": "nameserver 10.0.0.22\n"}, anew=False)
    NameFiles(str(tmp_path)).write("c", {"resolv.conf": "nameserver 10.0.0.3\n"}, anew=False)
    assert (tmp_path / "c" / "resolv.conf").read_text() == "nameserver 10.0.0.3\n"


def test_a_file_that_was_written_and_not_cut_to_length_is_ours(tmp_path: Path) -> None:
    def crash(reached: str) -> None:
        if reached == "files.noted":
            raise Torn

    NameFiles(str(tmp_path)).write("c", {"resolv.conf": "a long text\n"}, anew=True)
    with pytest.raises(Torn):
        NameFiles(str(tmp_path), crash).write("c", {"resolv.conf": "short\n"}, anew=False)
    (tmp_path / "c" / "resolv.conf").write_text("short\n" + "a long text\n"[6:])
    NameFiles(str(tmp_path)).write("c", {"resolv.conf": "new\n"}, anew=False)
    assert (tmp_path / "c" / "resolv.conf").read_text() == "new\n"


def test_a_file_that_somebody_edited_stays(tmp_path: Path) -> None:
    files = NameFiles(str(tmp_path))
    files.write("c", {"resolv.conf": "ours\n"}, anew=True)
    (tmp_path / "c" / "resolv.conf").write_text("theirs\n")
    files.write("c", {"resolv.conf": "ours again\n"}, anew=False)
    assert (tmp_path / "c" / "resolv.conf").read_text() == "theirs\n"


def test_a_hosts_file_is_brought_in_line_with_the_records(tmp_path: Path) -> None:
    files = NameFiles(str(tmp_path))
    text = "127.0.0.1\tlocalhost\n10.0.0.9\tbox\n10.0.0.2\tbox\n1.2.3.4\tmine box\n5.6.7.8\tbox\n"
    files.write("c", {"hosts": text}, anew=True)
    lines = (HostLine("10.0.0.2", ("box",)), HostLine("10.0.0.3", ("box",)))
    for _ in range(2):
        files.align_hosts("c", ("box",), lines, (HostLine("5.6.7.8", ("box",)),))
        assert (tmp_path / "c" / "hosts").read_text() == (
            "127.0.0.1\tlocalhost\n10.0.0.2\tbox\n1.2.3.4\tmine box\n5.6.7.8\tbox\n10.0.0.3\tbox\n"
        )
    files.align_hosts("gone", ("box",), lines, ())
    assert not (tmp_path / "gone").exists()
