"""A runtime to try things with: directories and a network namespace of its own, and a look at what is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from fairlead.model.runspec import RunSpec
from fairlead.model.settings import Paths
from fairlead.runtime.containers import Runtime
from fairlead.runtime.streams import AttachStream, ExecStream

#: Seconds that any one wait may take on a busy machine.
PATIENCE_S = 60.0


@dataclass
class Bench:
    """A runtime in directories of its own with a prepared network namespace."""

    runtime: Runtime
    paths: Paths
    netns: str
    folder: Path
    made: list[str]

    def spec(self, *args: str, **changes: object) -> RunSpec:
        spec = RunSpec(
            container_id=secrets.token_hex(32),
            image="host",
            args=args,
            env=(),
            working_dir="",
            user="",
            hostname="box",
            tty=False,
            open_stdin=False,
            netns=self.netns,
            hosts="",
            resolv_conf="",
            hostname_file="",
        )
        spec = replace(spec, **changes)  # type: ignore[arg-type]
        self.made.append(spec.container_id)
        return spec

    async def output(self, *args: str, **changes: object) -> tuple[int, str, str]:
        """Run to the end: (exit code, standard output, standard error)."""
        spec = self.spec(*args, **changes)
        await self.runtime.start(spec)
        code = await ended(self.runtime, spec.container_id)
        texts = {"stdout": "", "stderr": ""}
        async for line in self.runtime.logs(spec.container_id):
            texts[line.stream] += line.data.decode()
        return code, texts["stdout"], texts["stderr"]

    def _paths(self) -> Iterator[str]:
        """All that is in the directories, without what is mounted there: the whole machine in each container."""
        device = self.folder.stat().st_dev
        for folder, folders, files in os.walk(self.folder):
            yield from (os.path.join(folder, name) for name in (*folders, *files))
            folders[:] = [name for name in folders if os.lstat(os.path.join(folder, name)).st_dev == device]

    def leftovers(self) -> list[str]:
        """Whatever of any container is still there."""
        found = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(self.folder) in line]
        for container_id in self.made:
            found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/fairlead/{container_id}")]
            found += [path for path in self._paths() if container_id in os.path.basename(path)]
            found += [
                f"process {entry.name}"
                for entry in Path("/proc").iterdir()
                if entry.name.isdecimal() and container_id.encode() in command_line(entry)
            ]
        return found


def command_line(folder: Path) -> bytes:
    with contextlib.suppress(OSError):
        return (folder / "cmdline").read_bytes()
    return b""


async def ended(runtime: Runtime, container_id: str, monitor_pid: int = 0) -> int:
    """The exit code, once the watch tells it."""
    told: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    runtime.watch(container_id, monitor_pid, lambda code, at: told.set_result(code))
    return await asyncio.wait_for(told, PATIENCE_S)


async def collect(stream: AttachStream | ExecStream) -> dict[str, bytes]:
    texts = {"stdout": b"", "stderr": b""}
    async with asyncio.timeout(PATIENCE_S):
        while (piece := await stream.read()) is not None:
            texts[piece[0]] += piece[1]
    await stream.close()
    return texts


async def until(stream: AttachStream | ExecStream, text: bytes) -> bytes:
    """Read standard output until ``text`` was seen."""
    seen = b""
    async with asyncio.timeout(PATIENCE_S):
        while text not in seen:
            piece = await stream.read()
            assert piece is not None, seen
            seen += piece[1]
    return seen


Story = Callable[[Bench], Awaitable[None]]


def make_play(tmp_path: Path) -> Iterator[Callable[[Story], None]]:
    """Play a story with a bench, then remove every container of it and check that nothing is left."""
    holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep 600"], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    paths = Paths(state=str(tmp_path / "state"), run=str(tmp_path / "run"))

    def play_story(story: Story) -> None:
        async def whole() -> None:
            bench = Bench(Runtime(paths), paths, f"/proc/{holder.pid}/ns/net", tmp_path, [])
            try:
                await story(bench)
            finally:
                for container_id in bench.made:
                    await bench.runtime.remove(container_id)
                bench.runtime.close()
            assert bench.leftovers() == []

        asyncio.run(whole())

    try:
        yield play_story
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
