"""What conmon is told, and what its answers mean."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from fairlead.model.errors import Internal, Invalid
from fairlead.model.settings import Paths
from fairlead.model.signals import signal_number
from fairlead.runtime import conmon
from fairlead.runtime.layout import files_of
from fairlead.runtime.processes import read_pid


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"data": 42}\n', (42, "")),
        (b'{"data": -1, "message": "a \\"b\\"\\n"}\n', (-1, 'a "b"\n')),
        (b'{"data": -1, "message": "raw\ttab"}\n', (-1, "raw\ttab")),
        (b"", (-1, "")),
        (b"no json", (-1, "no json")),
        (b"[1]", (-1, "[1]")),
        (b'{"data": "x"}', (-1, "")),
    ],
)
def test_answer_is_understood_or_told(line: bytes, expected: tuple[int, str]) -> None:
    assert conmon.parse_answer(line) == expected


@pytest.mark.parametrize(
    ("cause", "code", "kind"),
    [
        ('exec: "nope": executable file not found in $PATH', 127, Invalid),
        ('exec: "/nope": stat /nope: no such file or directory', 127, Invalid),
        ('exec: "/etc/passwd": permission denied', 126, Invalid),
        ('exec: "/etc": is a directory', 126, Invalid),
        ("error mounting /x: no such file or directory", 128, Internal),
        ("", 128, Internal),
    ],
)
def test_refusal_has_dockers_exit_code(cause: str, code: int, kind: type[Exception]) -> None:
    fault = conmon.refusal(f"runc create failed: unable to start container process: {cause}")
    assert isinstance(fault, kind)
    assert fault.exit_code == code
    assert fault.message.startswith("failed to create task for container: ")
    assert cause in fault.message


def test_refusal_takes_runcs_last_complaint_without_decoration() -> None:
    said = 'time="2026-01-01T00:00:00Z" level=warning msg="lame"\ntime="x" level=error msg="no \\"x\\" here"\n'
    assert conmon.readable(said) == 'no "x" here'
    assert conmon.readable(" \n") == "no reason given"


def test_files_of_an_identifier_that_is_no_name_are_refused() -> None:
    files = files_of(Paths(state="/s", run="/r"), "abc")
    assert (files.run, files.log) == (Path("/r/containers/abc"), Path("/s/containers/abc/log"))
    for bad in ("", "..", "a/b", "../x", "a\n"):
        with pytest.raises(Invalid):
            files_of(Paths(), bad)


@pytest.mark.parametrize(
    ("text", "number"),
    [("SIGTERM", 15), ("term", 15), ("9", 9), ("SIGRTMIN+3", signal.SIGRTMIN + 3), ("sigkill", 9), ("RTMIN", 34)],
)
def test_signal_is_a_name_or_a_number(text: str, number: int) -> None:
    assert signal_number(text) == number


@pytest.mark.parametrize("text", ["", "SIG", "SIGNOPE", "0", "65", "-1", "SIGRTMIN+99", "1e1"])
def test_other_words_are_no_signal(text: str) -> None:
    with pytest.raises(Invalid, match="invalid signal"):
        signal_number(text)


@pytest.mark.parametrize(("content", "pid"), [(b"12", 12), (b"12\n", 12), (b"", 0), (b"-3", 0), (b"\xff", 0)])
def test_pid_file_that_is_damaged_names_no_process(tmp_path: Path, content: bytes, pid: int) -> None:
    (tmp_path / "pid").write_bytes(content)
    assert read_pid(tmp_path / "pid") == pid
    assert read_pid(tmp_path / "missing") == 0
