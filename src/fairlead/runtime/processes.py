"""Child processes, and processes that are nobody's child any more, awaited by descriptor instead of by polling."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from fairlead.model import codes
from fairlead.model.errors import Internal
from fairlead.runtime.bundle import CGROUP_PARENT

#: The whole environment of runc and conmon. UTC makes conmon's time stamps Docker's; conmon makes its console socket in
#: TMPDIR, which must be short (sun_path) and where nobody but root may make names.
ENVIRONMENT: dict[str, str] = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "TMPDIR": "/run",
}
#: Seconds that runc or conmon may take for one step. Reason: they need 5-80 ms; a machine under heavy load a few
#: seconds; longer means that they hang. Our choice.
STEP_TIMEOUT_S = 30.0
#: Seconds between two looks for a program of an earlier daemon, which is nobody's child any more. Only after a crash.
_LOOK_S = 0.01

#: Bytes taken of what a short command writes. Reason: ``ps`` of 32 000 processes is some 4 MB. Our choice.
CAPTURE_BYTES_MAX = 1 << 23

Standard = int | IO[bytes] | None


class Child:
    """A child process of ours; its end is awaited through a pidfd, so no thread and no signal handler is needed."""

    def __init__(
        self,
        args: Sequence[str],
        *,
        stdin: Standard = subprocess.DEVNULL,
        stdout: Standard = subprocess.DEVNULL,
        stderr: Standard = subprocess.DEVNULL,
        pass_fds: Sequence[int] = (),
        environment: dict[str, str] | None = None,
        folder: str = "/",
    ) -> None:
        """Start it in a session of its own, so that no signal meant for us reaches it, in ``folder``. Raises
        ``Internal``."""
        try:
            self._process = subprocess.Popen(
                list(args),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                close_fds=True,
                pass_fds=pass_fds,
                env={**ENVIRONMENT, **(environment or {})},
                start_new_session=True,
                cwd=folder,
            )
        except OSError as fault:
            raise Internal(
                f"cannot run {args[0]}: {fault.strerror}", hint=f"is {args[0]} installed?", code=codes.START_FAILED
            ) from fault
        self.pid = self._process.pid
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        watch_end(os.pidfd_open(self.pid), self._reap)

    @property
    def exit_code(self) -> int | None:
        """Exit code as a shell tells it (128 + signal), None while it runs."""
        code = self._process.returncode
        return code if code is None or code >= 0 else 128 - code

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when it has ended."""
        self._process.send_signal(number)

    def _reap(self) -> None:
        self._process.wait()
        if not self.ended.done() and not self.ended.get_loop().is_closed():
            self.ended.set_result(self.exit_code or 0)


def watch_end(descriptor: int, act: Callable[[], None]) -> Callable[[], None]:
    """Call ``act`` once when the process behind a pidfd ends; closes the descriptor. Returns a way to call it off."""
    loop = asyncio.get_running_loop()
    open_ones = [descriptor]

    def call_off() -> None:
        if open_ones:
            loop.remove_reader(descriptor)
            os.close(open_ones.pop())

    def ended() -> None:
        if open_ones:
            call_off()
            act()

    loop.add_reader(descriptor, ended)
    return call_off


async def wait_end(descriptor: int) -> None:
    """Wait until the process behind a pidfd ends; closes the descriptor, also when cancelled."""
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    call_off = watch_end(descriptor, lambda: _resolve(ended))
    try:
        await ended
    finally:
        call_off()


async def readable_soon(*descriptors: int) -> None:
    """Wait until one of the descriptors can be read (or its other end is gone)."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    for descriptor in descriptors:
        loop.add_reader(descriptor, _resolve, ready)
    try:
        await ready
    finally:
        for descriptor in descriptors:
            loop.remove_reader(descriptor)


async def writable_soon(descriptor: int) -> None:
    """Wait until the descriptor can be written to (or its other end is gone)."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(descriptor, _resolve, ready)
    try:
        await ready
    finally:
        loop.remove_writer(descriptor)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def run(args: Sequence[str]) -> tuple[int, str]:
    """Run a short command to its end: (exit code, text on its standard error). Raises ``Internal`` when it hangs."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    with os.fdopen(reading, "rb", buffering=0) as errors:
        try:
            child = Child(args, stderr=writing)
        finally:
            os.close(writing)
        try:
            code = await asyncio.wait_for(asyncio.shield(child.ended), STEP_TIMEOUT_S)
        except TimeoutError:
            child.send(signal.SIGKILL)
            raise Internal(f"{args[0]} did not answer within {STEP_TIMEOUT_S:.0f} s", code=codes.START_FAILED) from None
        os.set_blocking(reading, False)
        return code, (errors.read(1 << 16) or b"").decode("utf-8", "replace").strip()


async def capture(args: Sequence[str]) -> tuple[int, str, str]:
    """Run a short command to its end: (exit code, standard output, standard error). Raises ``Internal`` when it
    hangs."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        child = Child(args, stdout=output, stderr=errors)
        try:
            code = await asyncio.wait_for(asyncio.shield(child.ended), STEP_TIMEOUT_S)
        except TimeoutError:
            child.send(signal.SIGKILL)
            raise Internal(f"{args[0]} did not answer within {STEP_TIMEOUT_S:.0f} s", code=codes.START_FAILED) from None
        texts = []
        for file in (output, errors):
            file.seek(0)
            texts.append(file.read(CAPTURE_BYTES_MAX).decode("utf-8", "replace").strip())
        return code, texts[0], texts[1]


def read_pid(path: Path) -> int:
    """The process id in a file, 0 if there is none."""
    try:
        text = path.read_text("ascii").strip()
    except (OSError, ValueError):
        return 0
    return int(text) if text.isdecimal() else 0


def open_monitor(pid: int, container_id: str) -> int | None:
    """A pidfd of ``pid`` if it is alive and the conmon of this container; process ids are used again, hence the check,
    and it is made after the pidfd is open, so that it holds for the process behind the descriptor."""
    return _open_checked(pid, lambda: _is_monitor(pid, container_id))


def open_member(pid: int, container_id: str) -> int | None:
    """A pidfd of ``pid`` if it is alive and in the cgroup of this container."""
    return _open_checked(pid, lambda: _is_member(pid, container_id))


def open_program(pid: int, program: str, argument: str) -> int | None:
    """A pidfd of ``pid`` if it is alive and runs ``program`` with this argument."""
    return _open_checked(pid, lambda: _runs(pid, program.encode(), os.fsencode(argument)))


async def settled(container_id: str, pid_file: Path) -> None:
    """Wait until no program that an earlier daemon started is still making this container: runc has ended, and conmon
    is gone or has been told the container's process id. After ``STEP_TIMEOUT_S`` it counts as hanging, and is left."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STEP_TIMEOUT_S):
            while _under_way(container_id, pid_file):  # noqa: ASYNC110  # strangers' processes: nobody tells us
                await asyncio.sleep(_LOOK_S)


def _under_way(container_id: str, pid_file: Path) -> bool:
    programs = {
        words[0].rpartition(b"/")[2]
        for words in (_read_proc(int(name), "cmdline").split(b"\0") for name in os.listdir("/proc") if name.isdecimal())
        if container_id.encode() in words
    }
    return b"runc" in programs or (b"conmon" in programs and not read_pid(pid_file))


def _open_checked(pid: int, check: Callable[[], bool]) -> int | None:
    if pid <= 0:
        return None
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return None
    if check() and not _has_ended(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def _has_ended(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _is_monitor(pid: int, container_id: str) -> bool:
    words = _read_proc(pid, "cmdline").split(b"\0")
    return words[0].rpartition(b"/")[2] == b"conmon" and container_id.encode() in words


def _runs(pid: int, program: bytes, argument: bytes) -> bool:
    words = _read_proc(pid, "cmdline").split(b"\0")
    return words[0].rpartition(b"/")[2] == program and argument in words


def _is_member(pid: int, container_id: str) -> bool:
    path = f"{CGROUP_PARENT}/{container_id}".encode()
    return any(line.endswith(b":" + path) for line in _read_proc(pid, "cgroup").splitlines())


def _read_proc(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
