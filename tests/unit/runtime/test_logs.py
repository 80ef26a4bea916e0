"""Reading conmon's log format."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.model.runspec import LogLine
from fairlead.runtime import logs
from fairlead.runtime.layout import Files

STAMP = "2026-01-02T03:04:05.600000000"


def record(text: str, tag: str = "F", stream: str = "stdout", second: int = 5) -> bytes:
    return f"2026-01-02T03:04:{second:02d}.600000000+00:00 {stream} {tag} {text}\n".encode()


def read(tmp_path: Path, content: bytes, *, tail: int | None = None, since: float | None = None) -> list[bytes]:
    (tmp_path / "log").write_bytes(content)
    files = Files(run=tmp_path / "run", state=tmp_path)

    async def collect() -> list[bytes]:
        lines = logs.read(files, lambda: None, follow=False, tail=tail, since=since)
        return [line.data async for line in lines]

    return asyncio.run(collect())


def test_record_is_parsed() -> None:
    assert logs.parse(record("a b  c")[:-1]) == LogLine("stdout", b"a b  c\n", f"{STAMP}Z")
    assert logs.parse(record("", stream="stderr")[:-1]) == LogLine("stderr", b"\n", f"{STAMP}Z")
    assert logs.parse(record("half", tag="P")[:-1]) == LogLine("stdout", b"half", f"{STAMP}Z")


@given(st.binary(max_size=80))
def test_any_record_is_parsed_or_skipped(data: bytes) -> None:
    line = logs.parse(data)
    assert line is None or line.stream in ("stdout", "stderr")


def test_stamp_is_epoch_seconds() -> None:
    assert logs.epoch("1970-01-01T00:01:00.250000000Z") == 60.25
    assert logs.epoch("1970-01-01T00:01:00Z") == 60.0
    assert logs.epoch("nonsense") == 0.0


def test_whole_log_is_read_and_pieces_stay_pieces(tmp_path: Path) -> None:
    content = record("one") + record("tw", tag="P") + record("o") + b"garbage\n" + record("three")
    assert read(tmp_path, content) == [b"one\n", b"tw", b"o\n", b"three\n"]


@pytest.mark.parametrize(
    ("tail", "expected"),
    [(0, []), (1, [b"three\n"]), (2, [b"tw", b"o\n", b"three\n"]), (9, [b"one\n", b"tw", b"o\n", b"three\n"])],
)
def test_tail_counts_lines_not_pieces(tmp_path: Path, tail: int, expected: list[bytes]) -> None:
    content = record("one") + record("tw", tag="P") + record("o") + record("three")
    assert read(tmp_path, content, tail=tail) == expected


def test_since_leaves_out_older_lines(tmp_path: Path) -> None:
    content = record("old", second=1) + record("new", second=9)
    assert read(tmp_path, content, since=logs.epoch("2026-01-02T03:04:05Z")) == [b"new\n"]


def test_log_that_is_missing_or_half_written_is_no_fault(tmp_path: Path) -> None:
    files = Files(run=tmp_path / "run", state=tmp_path / "none")

    async def collect() -> list[LogLine]:
        return [line async for line in logs.read(files, lambda: None, follow=True, tail=None, since=None)]

    assert asyncio.run(collect()) == []
    assert read(tmp_path, record("one") + b"2026-01-02T03:") == [b"one\n"]


@given(st.lists(st.tuples(st.sampled_from("FP"), st.integers(0, 40000)), max_size=12), st.integers(1, 14))
def test_tail_is_the_end_of_the_whole(sizes: list[tuple[str, int]], tail: int) -> None:
    content = b"".join(record("x" * size, tag=tag) for tag, size in sizes)
    start = logs.start_of_tail(io.BytesIO(content), tail)
    tags = [tag for tag, _ in sizes]
    lines = sum(1 for at, _ in enumerate(tags) if at == 0 or tags[at - 1] == "F")
    rest = [entry for entry in content[start:].split(b"\n") if entry]
    kept = [entry.split(b" ")[2].decode() for entry in rest]
    assert tags[len(tags) - len(kept) :] == kept
    assert sum(1 for at, _ in enumerate(kept) if at == 0 or kept[at - 1] == "F") == min(lines, tail)
