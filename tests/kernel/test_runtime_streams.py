"""Logs, terminals, joined streams and commands beside a container, under the real runc and conmon."""

# ruff: noqa: ASYNC240  (a story has its loop for itself)

from __future__ import annotations

import asyncio
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.kernel.runtime_bench import PATIENCE_S, Bench, Story, collect, ended, make_play, until

from fairlead.model.errors import Conflict, Invalid, NotFound
from fairlead.model.mount import parse_volume
from fairlead.model.runspec import ExecSpec
from fairlead.runtime import images
from fairlead.runtime.containers import Runtime

MISSING = [name for name in ("runc", "conmon") if shutil.which(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (apt install runc conmon)")

play = pytest.fixture(make_play)
Play = Callable[[Story], None]


async def run_exec(bench: Bench, container_id: str, spec: ExecSpec, given: bytes = b"") -> dict[str, object]:
    """Output and exit code of a command beside a container."""
    exec_id = bench.runtime.exec_create(container_id, spec)
    stream = await bench.runtime.exec_start(exec_id)
    if given:
        await stream.write(given)
    await stream.close_stdin()
    texts = await collect(stream)
    facts = bench.runtime.exec_inspect(exec_id)
    assert facts["Running"] is False
    return {**texts, "code": facts["ExitCode"]}


def test_exec_has_input_both_outputs_and_an_exit_code(play: Play) -> None:
    async def story(bench: Bench) -> None:
        spec = bench.spec("sleep", "60", env=("A=own",))
        await bench.runtime.start(spec)
        command = ExecSpec(
            args=("sh", "-c", "cat; echo $A $B; echo err >&2; pwd; exit 3"), env=("B=b",), open_stdin=True
        )
        told = await run_exec(bench, spec.container_id, command, b"given\n")
        assert told == {"stdout": b"given\nown b\n/\n", "stderr": b"err\n", "code": 3}
        big = b"x" * 300_000
        told = await run_exec(bench, spec.container_id, ExecSpec(args=("wc", "-c"), open_stdin=True), big)
        assert told["stdout"] == b"300000\n"

    play(story)


def test_exec_without_input_reads_end_of_file(play: Play) -> None:
    async def story(bench: Bench) -> None:
        spec = bench.spec("sleep", "60")
        await bench.runtime.start(spec)
        command = ExecSpec(args=("sh", "-c", "cat; id -u; pwd"), user="nobody", working_dir="/usr")
        assert (await run_exec(bench, spec.container_id, command))["stdout"] == b"65534\n/usr\n"

    play(story)


@pytest.mark.parametrize(("command", "code"), [("no-such-command", 127), ("/etc/passwd", 126)])
def test_exec_that_cannot_run_says_why(play: Play, command: str, code: int) -> None:
    async def story(bench: Bench) -> None:
        spec = bench.spec("sleep", "60")
        await bench.runtime.start(spec)
        told = await run_exec(bench, spec.container_id, ExecSpec(args=(command,)))
        assert told["code"] == code
        assert b"exec failed" in bytes(str(told["stderr"]), "utf-8")

    play(story)


def test_exec_is_refused_where_it_makes_no_sense(play: Play) -> None:
    async def story(bench: Bench) -> None:
        spec = bench.spec("sleep", "60")
        with pytest.raises(Conflict, match="not running"):
            bench.runtime.exec_create(spec.container_id, ExecSpec(args=("true",)))
        await bench.runtime.start(spec)
        with pytest.raises(Invalid):
            bench.runtime.exec_create(spec.container_id, ExecSpec(args=()))
        with pytest.raises(NotFound):
            await bench.runtime.exec_start("unknown")
        exec_id = bench.runtime.exec_create(spec.container_id, ExecSpec(args=("true",)))
        assert bench.runtime.exec_inspect(exec_id)["Running"] is False
        await collect(await bench.runtime.exec_start(exec_id))
        with pytest.raises(Conflict, match="started already"):
            await bench.runtime.exec_start(exec_id)

    play(story)


def test_exec_with_terminal_has_a_size(play: Play) -> None:
    async def story(bench: Bench) -> None:
        spec = bench.spec("sleep", "60")
        await bench.runtime.start(spec)
        script = "trap 'stty size; exit 4' WINCH; test -t 0 && test -t 1 && test -t 2 && echo ready; while :; do sleep 0.05; done"
        exec_id = bench.runtime.exec_create(
            spec.container_id, ExecSpec(args=("bash", "-c", script), tty=True, open_stdin=True)
        )
        stream = await bench.runtime.exec_start(exec_id)
        await until(stream, b"ready\r\n")
        assert bench.runtime.exec_inspect(exec_id)["Running"] is True
        # runc writes the number down when the command runs already
        while not (pid := bench.runtime.exec_inspect(exec_id)["Pid"]):  # noqa: ASYNC110  # a file of runc
            await asyncio.sleep(0.01)
        assert os.path.exists(f"/proc/{pid}")
        await bench.runtime.exec_resize(exec_id, 33, 99)
        assert b"33 99" in (await collect(stream))["stdout"]
        assert bench.runtime.exec_inspect(exec_id)["ExitCode"] == 4

    play(story)


def test_exec_goes_on_when_its_reader_leaves(play: Play) -> None:
    async def story(bench: Bench) -> None:
        fifo = bench.folder / "fifo"
        os.mkfifo(fifo)
        spec = bench.spec("sleep", "60", mounts=(parse_volume(f"{fifo}:/fifo"),))
        await bench.runtime.start(spec)
        script = "head -c 1000000 /dev/zero && echo through > /fifo"
        exec_id = bench.runtime.exec_create(spec.container_id, ExecSpec(args=("sh", "-c", script)))
        stream = await bench.runtime.exec_start(exec_id)
        await stream.close()
        assert await asyncio.wait_for(stream.read(), PATIENCE_S) is None
        text = await asyncio.wait_for(asyncio.to_thread(fifo.read_text), PATIENCE_S)
        assert text == "through\n"

    play(story)


def test_exec_ends_though_something_it_left_holds_its_output(play: Play) -> None:
    async def story(bench: Bench) -> None:
        spec = bench.spec("sleep", "60")
        await bench.runtime.start(spec)
        script = "sleep 60 </dev/null >/dev/null 2>&1 & echo done"
        assert (await run_exec(bench, spec.container_id, ExecSpec(args=("sh", "-c", script))))["stdout"] == b"done\n"

    play(story)


def test_attach_before_the_start_misses_nothing(play: Play) -> None:
    async def story(bench: Bench) -> None:
        spec = bench.spec("sh", "-c", "echo first; cat; echo last >&2; exit 6", open_stdin=True)
        stream = await bench.runtime.attach(spec.container_id)
        assert stream.tty is False
        reading = asyncio.ensure_future(collect(stream))
        writing = asyncio.ensure_future(stream.write(b"given\n" * 20_000))
        await bench.runtime.start(spec)
        await asyncio.wait_for(writing, PATIENCE_S)
        await stream.close_stdin()
        assert await reading == {"stdout": b"first\n" + b"given\n" * 20_000, "stderr": b"last\n"}
        assert await ended(bench.runtime, spec.container_id) == 6

    play(story)


def test_two_may_attach_and_one_may_leave(play: Play) -> None:
    async def story(bench: Bench) -> None:
        spec = bench.spec("sh", "-c", "while read x; do echo $x; done; echo end", open_stdin=True, tty=True)
        await bench.runtime.start(spec)
        one, two = [await bench.runtime.attach(spec.container_id) for _ in range(2)]
        assert one.tty
        await one.write(b"a\n")
        assert b"a\r\n" in await until(one, b"a\r\na\r\n")
        waiting = asyncio.ensure_future(one.read())
        await asyncio.sleep(0)
        await one.close()
        assert await asyncio.wait_for(waiting, PATIENCE_S) is None
        await two.write(b"b\n\x04")
        assert b"end" in await until(two, b"end")
        await two.close()
        assert await ended(bench.runtime, spec.container_id) == 0

    play(story)


def test_terminal_of_a_container_has_a_size(play: Play) -> None:
    async def story(bench: Bench) -> None:
        spec = bench.spec("bash", "-c", "trap 'stty size; exit' WINCH; echo go; while :; do sleep 0.05; done", tty=True)
        stream = await bench.runtime.attach(spec.container_id)
        await bench.runtime.start(spec)
        await until(stream, b"go")
        with pytest.raises(Invalid):
            await bench.runtime.resize(spec.container_id, 5000, 1)
        await bench.runtime.resize(spec.container_id, 40, 90)
        assert b"40 90" in (await collect(stream))["stdout"]

    play(story)


def test_no_abstract_socket_is_made(play: Play) -> None:
    async def story(bench: Bench) -> None:
        def abstract() -> set[str]:
            return {line.split()[-1] for line in Path("/proc/self/net/unix").read_text().splitlines() if " @" in line}

        before = abstract()
        spec = bench.spec("cat", tty=True, open_stdin=True, netns="")
        await bench.runtime.start(spec)
        stream = await bench.runtime.attach(spec.container_id)
        assert abstract() <= before
        await stream.close()

    play(story)


def test_following_a_log_ends_with_the_container(play: Play) -> None:
    async def story(bench: Bench) -> None:
        spec = bench.spec(
            "sh", "-c", "echo one; head -c 20000 /dev/zero | tr '\\0' x; echo; read x; echo $x", open_stdin=True
        )
        await bench.runtime.start(spec)
        other = Runtime(bench.paths)
        stream = await bench.runtime.attach(spec.container_id)
        text, stamps = b"", []
        async with asyncio.timeout(PATIENCE_S):
            async for line in other.logs(spec.container_id, follow=True):
                text += line.data
                stamps.append(line.stamp)
                if text == b"one\n" + b"x" * 20000 + b"\n":
                    await stream.write(b"bye\n")
        assert text == b"one\n" + b"x" * 20000 + b"\nbye\n"
        assert stamps == sorted(stamps)
        assert stamps[0].endswith("Z")
        assert [line.data async for line in other.logs(spec.container_id, tail=1)] == [b"bye\n"]
        await stream.close()

    play(story)


def test_follower_may_stop_at_any_time(play: Play) -> None:
    async def story(bench: Bench) -> None:
        spec = bench.spec("sh", "-c", "echo one; exec sleep 60")
        await bench.runtime.start(spec)
        before = len(os.listdir("/proc/self/fd"))
        lines = bench.runtime.logs(spec.container_id, follow=True)
        assert (await asyncio.wait_for(anext(lines), PATIENCE_S)).data == b"one\n"
        await lines.aclose()  # type: ignore[attr-defined]
        assert len(os.listdir("/proc/self/fd")) == before

    play(story)


def test_descriptors_are_not_leaked(play: Play) -> None:
    async def story(bench: Bench) -> None:
        async def once() -> None:
            spec = bench.spec("sh", "-c", "echo x; cat", open_stdin=True)
            stream = await bench.runtime.attach(spec.container_id)
            await bench.runtime.start(spec)
            await run_exec(bench, spec.container_id, ExecSpec(args=("true",)))
            await run_exec(bench, spec.container_id, ExecSpec(args=("true",), tty=True))
            told = asyncio.ensure_future(ended(bench.runtime, spec.container_id))
            await stream.close_stdin()
            await collect(stream)
            await told
            await bench.runtime.remove(spec.container_id)

        await once()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            await once()
        assert len(os.listdir("/proc/self/fd")) == before

    play(story)


def libraries(*programs: str) -> list[str]:
    """Paths of the shared libraries that programs of this machine need."""
    told = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True).stdout
    return [word for word in told.split() if word.startswith("/") and not word.endswith(":")]


def test_imported_image_runs(play: Play) -> None:
    async def story(bench: Bench) -> None:
        needed = libraries("/bin/sh", "/bin/cat")
        files = {"/bin/sh", "/bin/cat", *needed}
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz", dereference=True) as tar:
            for name in sorted(files):
                tar.add(os.path.realpath(name), name)

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(buffer.getvalue()), 1 << 16):
                yield buffer.getvalue()[start : start + (1 << 16)]

        await images.import_tarball(bench.paths, "tiny", pieces(), created=1.0)
        assert [image.names for image in images.listing(bench.paths)] == [("tiny:latest",)]
        hosts = bench.folder / "hosts"
        hosts.write_text("of ours\n")
        script = "cat /etc/hosts; echo /[bdeps]*; echo x > /new && cat /new"
        code, out, _ = await bench.output("sh", "-c", script, image="tiny", hosts=str(hosts))
        assert (code, out) == (0, "of ours\n/bin /dev /etc /proc /sys\nx\n")
        assert not (Path(bench.paths.images) / "tiny/rootfs/new").exists()

    play(story)
