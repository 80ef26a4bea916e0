"""The order of the tests is about files that there are, and gives each worker whole files."""

from __future__ import annotations

from pathlib import Path

from tests.order import LONG_S, SHARED_OUT, Files


def test_every_long_file_is_there() -> None:
    tests = Path(__file__).resolve().parent
    assert not [name for name in (*LONG_S, SHARED_OUT) if not (tests / name).is_file()]
    assert list(LONG_S.values()) == sorted(LONG_S.values(), reverse=True)


def test_a_file_stays_with_one_worker_unless_its_tests_share_nothing() -> None:
    files = Files.__new__(Files)
    assert files._split_scope("tests/unit/a.py::TestB::test_c[1::2]") == "tests/unit/a.py"
    alone = f"tests/{SHARED_OUT}::test_d[0-250]"
    assert files._split_scope(alone) == alone
