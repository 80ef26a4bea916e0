"""The host's resolver file, followed through everything that editors and network managers do to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

import pytest

from fairlead.daemon.resolvers import HostResolverFile
from fairlead.daemon.watch import FileWatch
from fairlead.model.events import ResolverFileChanged

#: Seconds that a change may take to be told; it takes under a millisecond.
PATIENCE_S = 60.0

Next = Callable[[], Awaitable[ResolverFileChanged]]


def followed(path: Path, stub: Path, scenario: Callable[[Next], Coroutine[object, object, None]]) -> None:
    """Run a scenario that asks for one told change after the other."""

    async def run() -> None:
        told: asyncio.Queue[ResolverFileChanged] = asyncio.Queue()
        task = asyncio.create_task(HostResolverFile(str(path), str(stub)).follow(told.put))
        try:
            await scenario(lambda: asyncio.wait_for(told.get(), PATIENCE_S))
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


async def until(told: Next, text: str) -> ResolverFileChanged:
    """The change with this text; steps on the way may be told too, or not."""
    while (change := await told()).text != text:
        pass
    return change


def test_rewriting_replacing_and_linking_are_all_seen(tmp_path: Path) -> None:
    path = tmp_path / "etc" / "resolv.conf"
    path.parent.mkdir()
    path.write_text("nameserver 192.0.2.1")

    async def scenario(told: Next) -> None:
        await until(told, "nameserver 192.0.2.1")
        path.write_text("nameserver 192.0.2.2\n")
        await until(told, "nameserver 192.0.2.2")
        (tmp_path / "new").write_text("nameserver 192.0.2.3")
        (tmp_path / "new").rename(path)
        await until(told, "nameserver 192.0.2.3")
        target = tmp_path / "run" / "real.conf"
        target.parent.mkdir()
        target.write_text("nameserver 192.0.2.4")
        path.unlink()
        path.symlink_to("../run/real.conf")
        await until(told, "nameserver 192.0.2.4")
        target.write_text("nameserver 192.0.2.5")
        await until(told, "nameserver 192.0.2.5")
        (tmp_path / "run" / "other").write_text("nameserver 192.0.2.6")
        (tmp_path / "run" / "other").rename(target)
        await until(told, "nameserver 192.0.2.6")

    followed(path, tmp_path / "stub", scenario)


def test_a_file_that_is_missing_or_empty_changes_nothing_until_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "resolv.conf"

    async def scenario(told: Next) -> None:
        assert (await told()).text == ""
        path.parent.mkdir(parents=True)
        path.write_text("nameserver 192.0.2.1")
        await until(told, "nameserver 192.0.2.1")
        path.write_text("")
        path.unlink()
        assert (await told()).text == "nameserver 192.0.2.1"
        path.write_text("nameserver 192.0.2.2")
        await until(told, "nameserver 192.0.2.2")

    followed(path, tmp_path / "stub", scenario)


def test_behind_the_stub_of_systemd_resolved_its_own_file_is_followed(tmp_path: Path) -> None:
    path, stub = tmp_path / "resolv.conf", tmp_path / "resolve" / "resolv.conf"
    path.write_text("nameserver 127.0.0.53")
    stub.parent.mkdir()
    stub.write_text("nameserver 192.0.2.1")

    async def scenario(told: Next) -> None:
        first = await told()
        assert (first.text, first.direct) == ("nameserver 127.0.0.53", "nameserver 192.0.2.1")
        stub.write_text("nameserver 192.0.2.2")
        while (await told()).direct != "nameserver 192.0.2.2":
            pass
        path.write_text("nameserver 192.0.2.3")
        change = await until(told, "nameserver 192.0.2.3")
        assert change.direct == change.text

    followed(path, stub, scenario)


def test_a_change_that_nobody_could_take_up_does_not_end_the_watch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 192.0.2.1")

    async def run() -> None:
        told: asyncio.Queue[str] = asyncio.Queue()

        async def learn(change: ResolverFileChanged) -> None:
            told.put_nowait(change.text)
            if change.text == "nameserver 192.0.2.1":
                raise OSError("disk full")

        task = asyncio.create_task(HostResolverFile(str(path), str(tmp_path / "stub")).follow(learn))
        assert await asyncio.wait_for(told.get(), PATIENCE_S) == "nameserver 192.0.2.1"
        path.write_text("nameserver 192.0.2.2")
        assert await asyncio.wait_for(told.get(), PATIENCE_S) == "nameserver 192.0.2.2"
        assert "could not be followed" in caplog.text
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())


def test_other_files_of_the_folder_are_no_change(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("x")

    async def run() -> None:
        changes: asyncio.Queue[None] = asyncio.Queue()
        watch = FileWatch((str(path),), lambda: changes.put_nowait(None))
        for number in range(20):
            (tmp_path / f"other{number}").write_text("y")
            await asyncio.sleep(0)
        path.write_text("longer")
        await asyncio.wait_for(changes.get(), PATIENCE_S)
        watch.close()
        assert changes.empty()

    asyncio.run(run())
