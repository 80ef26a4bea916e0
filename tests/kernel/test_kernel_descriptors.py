"""A process with more than 1,024 open files can still change the firewall."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from fairlead.kernel import netns
from fairlead.kernel.descriptors import SELECT_MAX, LowDescriptors, went_low
from fairlead.kernel.nft import Nft


@pytest.fixture
def crowded() -> Iterator[None]:
    """Every low descriptor is taken but those that are kept."""
    Nft().close()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    taken: list[int] = []
    try:
        while not taken or taken[-1] < SELECT_MAX:
            taken.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("crowded")
def test_firewalls_of_node_and_sandboxes_work_above_the_limit_of_select(space: Path) -> None:
    with Nft() as own:
        own.run("add table inet one")
        for name in ("a", "b"):
            path = str(space / name)
            netns.create(path)
            with netns.inside(path), Nft() as other:
                other.run("add table inet two")
                assert other.run("list tables").split() == ["table", "inet", "two"]
        assert own.run("list tables").split() == ["table", "inet", "one"]


@pytest.mark.usefixtures("crowded")
def test_contexts_that_are_not_closed_use_the_reserve_up_with_an_error(space: Path) -> None:
    contexts: list[Nft] = []
    with pytest.raises(OSError, match="below 1024"):
        for _ in range(SELECT_MAX):
            contexts.append(Nft())
    for context in contexts:
        context.close()
    Nft().close()


def test_a_descriptor_that_another_thread_took_is_noticed() -> None:
    reserve = LowDescriptors()
    spent = reserve.spend()
    assert went_low(spent)
    thief = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        assert thief != spent or not went_low(spent)
    finally:
        os.close(thief)
        reserve.close()
