"""What holds a namespace of others, told from what only looks like it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tests.kernel.one_host.foreigners import Foreigner, named, process
from tests.kernel.one_host.waiting import PATIENCE_S

from fairlead.kernel.foreign import NamespaceWatch, boot_id, holds, look, start_time
from fairlead.kernel.machine import Machine
from fairlead.model.target import Foreign


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(str(tmp_path))
    yield made
    made.close()


def end(bare: Foreigner) -> None:
    os.kill(bare.pid, 9)
    os.waitpid(bare.pid, 0)


def test_a_process_is_known_by_its_start_and_this_boot(machine: Machine) -> None:
    with process() as bare:
        foreign = look(machine, bare.target, bare.pid, "").foreign
        assert (foreign.pid, foreign.started, foreign.boot) == (bare.pid, start_time(bare.pid), boot_id())
        assert foreign.links == ("lo",)
        assert holds(foreign)
        assert not holds(replace(foreign, boot="another life"))
        end(bare)
        assert not holds(foreign)


def test_a_reused_number_is_not_the_process_that_had_it(machine: Machine) -> None:
    with process() as first, process() as second:
        foreign = look(machine, first.target, first.pid, "").foreign
        end(first)
        started = start_time(second.pid)
        assert started is not None
        # as if Linux had given the number of the first to the second
        assert not holds(replace(foreign, pid=second.pid))
        assert not holds(replace(foreign, pid=second.pid, started=started))


def test_another_process_or_a_file_holds_it_as_well(machine: Machine) -> None:
    with named() as blue:
        path = f"/run/netns/{blue.target.partition(':')[2]}"
        foreign = look(machine, blue.target, 0, path).foreign
        assert (foreign.pid, foreign.path) == (0, path)
        assert holds(foreign)
    assert not holds(foreign)


def test_a_path_of_a_process_is_that_process(machine: Machine) -> None:
    with process() as bare:
        foreign = look(machine, "netns:x", 0, f"/proc/{bare.pid}/ns/net").foreign
        assert (foreign.pid, foreign.path) == (bare.pid, "")


def test_the_end_is_told_once_and_not_after_it_was_forgotten(machine: Machine) -> None:
    with process() as bare, process() as other:
        told: list[str] = []

        async def watch() -> None:
            watching, heard = NamespaceWatch(), asyncio.Event()

            def hear(name: str) -> None:
                told.append(name)
                heard.set()

            try:
                for name, member in (("a", bare), ("b", bare), ("c", other)):
                    found: Foreign = look(machine, member.target, member.pid, "").foreign
                    watching.watch(name, found, partial(hear, name))
                watching.forget("b")
                end(bare)
                await heard.wait()
                await asyncio.sleep(0.05)
            finally:
                watching.close()

        asyncio.run(asyncio.wait_for(watch(), PATIENCE_S))
        assert told == ["a"]


def test_a_watch_that_comes_too_late_tells_at_once(machine: Machine) -> None:
    with process() as bare:
        foreign = look(machine, bare.target, bare.pid, "").foreign
        end(bare)

        async def watch() -> None:
            watching, heard = NamespaceWatch(), asyncio.Event()
            watching.watch("late", foreign, heard.set)
            await heard.wait()
            watching.close()

        asyncio.run(asyncio.wait_for(watch(), PATIENCE_S))
