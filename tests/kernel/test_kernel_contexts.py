"""Firewall contexts that are kept for sandboxes work, do not outlive them, and are never too many."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kernel.test_kernel_descriptors import crowded

from fairlead.kernel import contexts, netns
from fairlead.kernel.contexts import Contexts
from fairlead.kernel.errno import Refused

__all__ = ["crowded"]


@pytest.fixture
def kept() -> Iterator[Contexts]:
    found = Contexts()
    yield found
    found.close()


def make(space: Path, name: str) -> str:
    """A namespace; its path."""
    path = str(space / name)
    netns.create(path)
    return path


def tables(kept: Contexts, name: str, path: str) -> str:
    with kept.use(name, path, keep=False) as nft:
        return nft.run("list tables")


def add(kept: Contexts, name: str, path: str, table: str) -> None:
    with kept.use(name, path, keep=True) as nft:
        nft.run(f"add table inet {table}")


def test_a_context_is_kept_where_something_changes_and_belongs_to_its_namespace(kept: Contexts, space: Path) -> None:
    a, b = make(space, "a"), make(space, "b")
    assert not tables(kept, "a", a) and "a" not in kept
    for round_ in ("one", "two"):
        add(kept, "a", a, round_)
        add(kept, "b", b, f"{round_}b")
    assert "a" in kept and "b" in kept
    assert tables(kept, "a", a).split()[2::3] == ["one", "two"]
    assert tables(kept, "b", b).split()[2::3] == ["oneb", "twob"]
    assert "a" in kept
    with netns.inside(a):
        assert Path("/proc/thread-self/ns/net").stat().st_ino == os.stat(a).st_ino


def test_another_namespace_of_the_same_name_gets_another_context(kept: Contexts, space: Path) -> None:
    path = make(space, "a")
    add(kept, "a", path, "old")
    netns.delete(path)
    make(space, "a")
    assert not tables(kept, "a", path)
    add(kept, "a", path, "fresh")
    assert tables(kept, "a", path).split()[2::3] == ["fresh"]
    netns.delete(path)
    with pytest.raises(FileNotFoundError), kept.use("a", path, keep=True):
        pass
    assert "a" not in kept


def test_what_went_wrong_in_one_is_not_kept(kept: Contexts, space: Path) -> None:
    path = make(space, "a")
    add(kept, "a", path, "one")
    with pytest.raises(Refused):
        add(kept, "a", path, "in valid")
    assert "a" not in kept
    add(kept, "a", path, "two")
    assert tables(kept, "a", path).split()[2::3] == ["one", "two"]


def test_there_are_never_more_than_so_many(kept: Contexts, space: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contexts, "KEPT_MAX", 2)
    paths = {name: make(space, name) for name in "abc"}
    for name, path in paths.items():
        add(kept, name, path, "one")
    assert [name for name in paths if name in kept] == ["b", "c"]
    kept.drop("b")
    add(kept, "a", paths["a"], "two")
    assert [name for name in paths if name in kept] == ["a", "c"]


@pytest.mark.usefixtures("crowded")
def test_where_low_descriptors_are_scarce_none_is_kept(kept: Contexts, space: Path) -> None:
    for name in "abcdefghijkl":
        path = make(space, name)
        add(kept, name, path, "one")
        assert name not in kept
        netns.delete(path)
