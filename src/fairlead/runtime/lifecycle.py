"""Containers from start to end.

Theory of operation. ``start`` puts a writable layer on the image's root, writes an OCI bundle, lets conmon run
``runc create``, joins those who want to see the first byte, and lets ``runc start`` go ahead. From then on conmon alone
keeps the container: our process may die. The end of conmon tells the end of the container; its exit file tells how.
After the end, bundle and mount of the root go with ``release`` (or the next start), the writable layer with ``remove``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fairlead.model import codes
from fairlead.model.errors import Conflict, NetError, Unavailable
from fairlead.model.faults import Reach, pass_by
from fairlead.model.runspec import RunSpec
from fairlead.model.settings import Paths
from fairlead.model.signals import signal_number
from fairlead.runtime import conmon, images
from fairlead.runtime.bundle import CGROUP_PARENT, LOG_FILES, config
from fairlead.runtime.cgroups import CGROUP_ROOT
from fairlead.runtime.execs import Execs
from fairlead.runtime.layout import Files, files_of, runc_root
from fairlead.runtime.logs import has_ended
from fairlead.runtime.mounts import edge, is_mounted, mount_copy_on_write, unmount
from fairlead.runtime.preparation import place_of
from fairlead.runtime.processes import (
    STEP_TIMEOUT_S,
    open_member,
    open_monitor,
    read_pid,
    run,
    settled,
    wait_end,
    watch_end,
)
from fairlead.runtime.rotation import Rotation, shift
from fairlead.runtime.streams import AttachStream, join_now

#: Exit code of a container of whose end nobody took note: its conmon was killed, or the machine went down (containerd
#: and Docker answer 255, "unknown", then).
EXIT_UNKNOWN = 255
#: Fault points: after each step of a start, of its undoing, of giving back, and of a removal.
POINTS = (
    "runtime.prepared",
    "runtime.created",
    "runtime.started",
    "runtime.undoing",
    "runtime.deleted",
    "runtime.released",
    "runtime.killed",
    "runtime.undone",
)


@dataclass(frozen=True, slots=True)
class Running:
    """The container runs. ``monitor_pid`` is its conmon, 0 when that was killed: its exit code will be unknown."""

    pid: int
    monitor_pid: int


@dataclass(frozen=True, slots=True)
class Exited:
    """The container has ended with ``exit_code``, ``at`` epoch seconds."""

    exit_code: int
    at: float


OnExit = Callable[[int, float], None]


class Containers:
    """The life of containers: start, end, and what is left of them. Methods belong to one event loop."""

    def __init__(
        self,
        paths: Paths,
        *,
        runc: str | None = None,
        conmon_path: str | None = None,
        hidden: tuple[str, ...] = (),
        reach: Reach = pass_by,
    ) -> None:
        """``runc`` and ``conmon_path`` are looked up when not given; nothing is touched or checked yet. ``hidden`` are
        directories that no container may see, beside our own (those of other daemons on this machine). ``reach`` is
        told fault points."""
        self._paths = paths
        self._reach = reach
        self._hidden = hidden
        self._runc = runc or shutil.which("runc", path=os.defpath + ":/usr/sbin:/sbin:/usr/local/sbin") or ""
        self._conmon = conmon_path or shutil.which("conmon", path=os.defpath + ":/usr/libexec/podman") or ""
        self._watches: dict[str, Callable[[], None]] = {}
        self._waiting: dict[str, list[AttachStream]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._rotation = Rotation()
        self._execs = Execs(self._runc, runc_root(paths))

    async def start(self, spec: RunSpec) -> tuple[int, int]:
        """Start a container: (its process id, conmon's). The writable layer of an earlier run is kept.

        Raises ``NotFound`` for the image, ``Invalid`` for what cannot be run, ``Conflict`` if it runs already,
        ``Internal`` when the kernel or runc fails; ``exit_code`` of the error is Docker's (127, 126, 128). Everything
        that this call made is gone then.
        """
        files = files_of(self._paths, spec.container_id)
        self._check_tools()
        async with self._lock(spec.container_id):
            if self._is_alive(spec.container_id, files):
                raise Conflict(
                    f"container {spec.container_id} is running already",
                    hint="stop it first",
                    code=codes.CONTAINER_RUNNING,
                )
            await self._kill(spec.container_id, files)  # its conmon may still be writing down how it ended
            await self._release(spec.container_id, files)
            had_layer = is_mounted(files.layer)
            work = asyncio.ensure_future(self._start(spec, files))
            try:
                return await asyncio.shield(work)
            except BaseException as fault:
                await asyncio.wait({work})  # cancelled: conmon is on its way and must be let come to a point
                self._reach("runtime.undoing")
                await asyncio.shield(self._undo(spec.container_id, files, keep_layer=had_layer))
                if isinstance(fault, NetError) and fault.exit_code == NetError.exit_code:
                    fault.exit_code = conmon.EXIT_NOT_STARTED
                raise

    async def signal(self, container_id: str, name: str) -> None:
        """Send a signal (``SIGTERM``, ``TERM`` or ``15``) to the first process of a container.
        Raises ``Invalid`` for a word that is no signal, ``Conflict`` when it does not run."""
        number = signal_number(name)
        files = files_of(self._paths, container_id)
        descriptor = open_member(read_pid(files.pid), container_id)
        if descriptor is None:
            raise Conflict(
                f"container {container_id} is not running", hint="start it first", code=codes.CONTAINER_NOT_RUNNING
            )
        try:
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            raise Conflict(
                f"container {container_id} is not running", hint="start it first", code=codes.CONTAINER_NOT_RUNNING
            ) from None
        finally:
            os.close(descriptor)

    async def release(self, container_id: str) -> None:
        """After its end: give back what only a running container needs (runc's state, cgroup, mount of the root). The
        writable layer and the log stay. Raises ``Conflict`` when it runs."""
        files = files_of(self._paths, container_id)
        async with self._lock(container_id):
            if self._is_alive(container_id, files):
                raise Conflict(f"container {container_id} is running", hint="stop it first", code=codes.START_FAILED)
            await self._release(container_id, files)

    async def remove(self, container_id: str) -> None:
        """Leave nothing of a container, running or not, whole or half made; may be called again. Raises ``Internal``
        when the kernel or runc refuses; calling again goes on from there."""
        files = files_of(self._paths, container_id)
        async with self._lock(container_id):
            self.forget(container_id)
            for stream in self._waiting.pop(container_id, []):
                stream.abandon()
            self._execs.forget_container(container_id)
            await self._kill(container_id, files)
            self._reach("runtime.killed")
            await self._undo(container_id, files, keep_layer=False)
            self._reach("runtime.undone")
            with edge("removing the container's files"):
                await asyncio.to_thread(_remove_tree, files.state)
        self._locks.pop(container_id, None)

    def watch(self, container_id: str, monitor_pid: int, on_exit: OnExit) -> None:
        """Call ``on_exit(exit_code, epoch seconds)`` once, from the loop, when the container has ended; at once if it
        has. ``monitor_pid`` may be 0. A second call replaces the first."""
        self.forget(container_id)
        files = files_of(self._paths, container_id)
        with edge("watching the log"):
            self._rotation.begin(container_id, files, log_files(files))

        def ended() -> None:
            self._watches.pop(container_id, None)
            self._rotation.end(container_id)
            if not has_ended(files) and self._is_alive(container_id, files):
                self.watch(container_id, 0, on_exit)  # conmon was killed; the container goes on without
                return
            outcome = _outcome(files)
            on_exit(outcome.exit_code, outcome.at)

        descriptor = open_monitor(monitor_pid, container_id)
        if descriptor is None:
            descriptor = open_monitor(read_pid(files.monitor_pid), container_id)
        if descriptor is None:
            descriptor = open_member(read_pid(files.pid), container_id)
        if descriptor is None:
            handle = asyncio.get_running_loop().call_soon(ended)
            self._watches[container_id] = handle.cancel
        else:
            self._watches[container_id] = watch_end(descriptor, ended)

    def forget(self, container_id: str) -> None:
        """Watch a container no more."""
        call_off = self._watches.pop(container_id, None)
        if call_off is not None:
            call_off()

    async def recover(self, container_id: str, *, starting: bool = False) -> Running | Exited:
        """What became of a container while nobody watched. One that was created but never started is cleared away and
        counts as exited with 128; one without any trace as exited with 255 now. With ``starting`` its start was under
        way when the watching ended: it runs by now, or nothing of the start is left."""
        files = files_of(self._paths, container_id)
        if starting:
            await settled(container_id, files.pid)
            if not self._is_alive(container_id, files):
                async with self._lock(container_id):
                    await self._undo(container_id, files, keep_layer=True)
                return Exited(conmon.EXIT_NOT_STARTED, time.time())
        if has_ended(files):
            return _outcome(files)
        member = open_member(read_pid(files.pid), container_id)
        monitor_pid = read_pid(files.monitor_pid)
        monitor = open_monitor(monitor_pid, container_id)
        if member is None:
            if monitor is not None:  # the container has ended and conmon is about to say how
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(wait_end(monitor), STEP_TIMEOUT_S)
            return _outcome(files)
        os.close(member)
        if monitor is not None:
            os.close(monitor)
        if _awaits_start(runc_root(self._paths) / container_id):
            async with self._lock(container_id):
                await self._kill(container_id, files)
                await self._undo(container_id, files, keep_layer=True)
            return Exited(conmon.EXIT_NOT_STARTED, time.time())
        return Running(read_pid(files.pid), monitor_pid if monitor is not None else 0)

    async def release_rest(self, container_id: str) -> None:
        """``release`` of one that has ended, if that was not come to."""
        files = files_of(self._paths, container_id)
        if _is_known(runc_root(self._paths) / container_id) or is_mounted(files.rootfs):
            async with self._lock(container_id):
                await self._kill(container_id, files)
                await self._release(container_id, files)

    def known(self) -> set[str]:
        """Ids of all containers of which anything is left: mounts, files, or state of runc."""
        places = (Path(self._paths.run, "containers"), Path(self._paths.containers), runc_root(self._paths))
        return {entry.name for place in places if place.is_dir() for entry in place.iterdir()}

    def close(self) -> None:
        """Let go of everything without touching a container."""
        self._rotation.close()
        for container_id in list(self._watches):
            self.forget(container_id)
        for streams in self._waiting.values():
            for stream in streams:
                stream.abandon()
        self._waiting.clear()
        _remove_cgroup_parent()

    async def _start(self, spec: RunSpec, files: Files) -> tuple[int, int]:
        with edge("preparing the container"):
            await self._prepare(spec, files)
        self._reach("runtime.prepared")
        pid, monitor_pid = await conmon.create(
            conmon.command(self._conmon, self._runc, runc_root(self._paths), spec, files), files
        )
        self._reach("runtime.created")
        for stream in self._waiting.pop(spec.container_id, []):
            join_now(stream, files.run, tty=spec.tty)
        code, said = await run([self._runc, "--root", str(runc_root(self._paths)), "start", spec.container_id])
        if code != 0 and not has_ended(files):
            raise conmon.refusal(said)
        self._reach("runtime.started")
        return pid, monitor_pid

    async def _prepare(self, spec: RunSpec, files: Files) -> None:
        """Mounts, bundle and log file. Raises ``OSError`` and what ``find``, ``place_of`` and ``config`` raise."""
        root = images.find(self._paths, spec.image, self._hidden)
        files.run.mkdir(mode=0o711, parents=True, exist_ok=True)
        files.state.mkdir(mode=0o710, parents=True, exist_ok=True)
        mount_copy_on_write(root.path, files.layer, files.rootfs)
        place = await place_of(spec, root, files, self._paths, self.pid_of)
        files.config.write_text(json.dumps(config(spec, place)), "utf-8")
        os.close(os.open(files.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640))
        if spec.log_bytes_max > 0 and spec.log_files > 1:
            shift(files, spec.log_files)
        for stale in (files.exit, files.pid, files.monitor_pid, files.out_of_memory):
            stale.unlink(missing_ok=True)

    def pid_of(self, container_id: str) -> int:
        """The first process of a container that runs, else 0."""
        files = files_of(self._paths, container_id)
        return read_pid(files.pid) if self._is_alive(container_id, files) else 0

    def oom_killed(self, container_id: str) -> bool:
        """Whether the kernel killed something in the container's last run since its memory had run out."""
        return files_of(self._paths, container_id).out_of_memory.exists()

    async def _kill(self, container_id: str, files: Files) -> None:
        """SIGKILL, and wait until conmon has told the end; a conmon that does not end is killed, too."""
        member = open_member(read_pid(files.pid), container_id)
        if member is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(member, signal.SIGKILL)
            await asyncio.wait_for(wait_end(member), STEP_TIMEOUT_S)
        monitor = open_monitor(read_pid(files.monitor_pid), container_id)
        if monitor is not None:
            try:
                await asyncio.wait_for(wait_end(os.dup(monitor)), STEP_TIMEOUT_S)
            except TimeoutError:
                signal.pidfd_send_signal(monitor, signal.SIGKILL)
            finally:
                os.close(monitor)

    async def _release(self, container_id: str, files: Files) -> None:
        """Give back runc's state, the cgroup, and the mount of the root of a container that has ended."""
        root = runc_root(self._paths)
        if _is_known(root / container_id):
            code, said = await run([self._runc, "--root", str(root), "delete", "--force", container_id])
            if code != 0:
                raise conmon.refusal(said)
        self._reach("runtime.deleted")
        with edge("unmounting the container's root"):
            unmount(files.rootfs)
        self._reach("runtime.released")

    async def _undo(self, container_id: str, files: Files, *, keep_layer: bool) -> None:
        """Take back what a start made, except the state folder."""
        for stream in self._waiting.pop(container_id, []):
            stream.abandon()
        await self._kill(container_id, files)
        await self._release(container_id, files)
        if not keep_layer:
            with edge("unmounting the container's writable layer"):
                unmount(files.layer)
                await asyncio.to_thread(_remove_tree, files.run)

    def _is_alive(self, container_id: str, files: Files) -> bool:
        descriptor = open_member(read_pid(files.pid), container_id)
        if descriptor is None:
            return False
        os.close(descriptor)
        return True

    def _lock(self, container_id: str) -> asyncio.Lock:
        return self._locks.setdefault(container_id, asyncio.Lock())

    def _check_tools(self) -> None:
        for name, found in (("runc", self._runc), ("conmon", self._conmon)):
            if not found:
                raise Unavailable(
                    f"{name} is not installed", hint=f"install it: apt install {name}", code=codes.PROGRAM_MISSING
                )


def log_files(files: Files) -> int:
    """How many files the log of a container may have, as its bundle says."""
    try:
        return int(json.loads(files.config.read_text("utf-8"))["annotations"][LOG_FILES])
    except (OSError, ValueError, KeyError, TypeError):
        return 1


def _outcome(files: Files) -> Exited:
    """What conmon wrote about the end; unknown, and now, when it could not."""
    try:
        return Exited(int(files.exit.read_text("ascii")), files.exit.stat().st_mtime)
    except (OSError, ValueError):
        return Exited(EXIT_UNKNOWN, time.time())


def _is_known(folder: Path) -> bool:
    """Whether runc has state of a container."""
    return folder.is_dir()


def _awaits_start(folder: Path) -> bool:
    """Whether a container is created and not started: runc takes the FIFO away when it starts."""
    return (folder / "exec.fifo").exists()


def _remove_tree(folder: Path) -> None:
    """Delete a folder of ours, in which nothing is mounted any more; one that is not there is fine."""
    if folder.is_dir():
        shutil.rmtree(folder)


def _remove_cgroup_parent() -> None:
    """Take our parent cgroup out of each hierarchy in which nobody uses it any more."""
    with contextlib.suppress(OSError):
        for hierarchy in (CGROUP_ROOT, *CGROUP_ROOT.iterdir()):
            with contextlib.suppress(OSError):
                (hierarchy / CGROUP_PARENT.lstrip("/")).rmdir()
