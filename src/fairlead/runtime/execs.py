"""Commands run inside a running container, beside its first process.

``runc exec`` stays as their parent outside and ends with their exit code. A terminal is a pseudo-terminal of ours that
runc takes as its own and passes on to the one it makes inside.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import secrets
import signal
import tty
from dataclasses import dataclass
from pathlib import Path

from fairlead.model import codes
from fairlead.model.errors import Conflict, Internal, Invalid, NotFound
from fairlead.model.runspec import ExecSpec
from fairlead.runtime.bundle import exec_process
from fairlead.runtime.conmon import EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, exit_code_of
from fairlead.runtime.layout import Files
from fairlead.runtime.mounts import edge
from fairlead.runtime.privileges import available
from fairlead.runtime.processes import Child, open_member, read_pid
from fairlead.runtime.streams import ExecStream
from fairlead.runtime.users import identity, read_accounts

#: Bytes of an exec's identifier: as long as Docker's, 64 hexadecimal digits.
ID_BYTES = 32
#: Execs kept that have ended, and that were never started, of each the last ones. Reason: Docker keeps them for some
#: minutes; a number is bounded in memory whoever asks how often. Our choice.
IDLE_KEPT = 512


@dataclass(slots=True)
class _Exec:
    container_id: str
    files: Files
    spec: ExecSpec
    child: Child | None = None
    stream: ExecStream | None = None
    pid: int = 0
    exit_code: int | None = None


class Execs:
    """All execs that this process knows."""

    def __init__(self, runc: str, root: Path) -> None:
        self._runc = runc
        self._root = root
        self._known: dict[str, _Exec] = {}

    def create(self, container_id: str, files: Files, spec: ExecSpec) -> str:
        """Note a command; returns its id. Raises ``Invalid`` for an empty one."""
        if not spec.args:
            raise Invalid("No exec command specified", hint="name a command", code=codes.START_FAILED)
        self._drop_old()
        exec_id = secrets.token_hex(ID_BYTES)
        self._known[exec_id] = _Exec(container_id, files, spec)
        return exec_id

    def start(self, exec_id: str) -> ExecStream:
        """Start a command. Raises ``NotFound``, ``Conflict`` if it was started before, ``Invalid``, ``Internal``."""
        known = self._get(exec_id)
        if known.child is not None:
            raise Conflict(
                f"exec {exec_id} has been started already", hint="create another one", code=codes.START_FAILED
            )
        base = known.files.run / f"exec-{exec_id}"
        with edge("preparing the command"):
            self._write_process(known, base)
        words = [self._runc, "--root", str(self._root), "--log", f"{base}.log", "--log-format", "json"]
        words += ["exec", "--pid-file", f"{base}.pid", "--process", f"{base}.json", known.container_id]
        with edge("starting the command"):
            known.child, known.stream = _spawn(words, known.spec)
        known.child.ended.add_done_callback(lambda _: _note_end(known, base))
        return known.stream

    def inspect(self, exec_id: str) -> dict[str, object]:
        """Docker's fields of an exec. Raises ``NotFound``."""
        known = self._get(exec_id)
        if known.child is not None and known.child.exit_code is not None:
            _note_end(known, known.files.run / f"exec-{exec_id}")
        running = known.child is not None and known.exit_code is None
        pid = known.pid or (read_pid(known.files.run / f"exec-{exec_id}.pid") if running else 0)
        return {
            "ID": exec_id,
            "ContainerID": known.container_id,
            "Running": running,
            "ExitCode": known.exit_code,
            "Pid": pid,
        }

    def resize(self, exec_id: str, height: int, width: int) -> None:
        """Tell the size of a command's terminal; runc is told to look. Raises ``NotFound``."""
        known = self._get(exec_id)
        if known.stream is None or known.child is None or known.exit_code is not None:
            return
        with edge("resizing the terminal"):
            known.stream.set_size(height, width)
        if known.spec.tty:
            known.child.send(signal.SIGWINCH)

    def kill(self, exec_id: str) -> None:
        """SIGKILL a command, and runc, which waits for it."""
        known = self._get(exec_id)
        pid = known.pid or read_pid(_beside(known.files.run / f"exec-{exec_id}", "pid"))
        member = open_member(pid, known.container_id)
        if member is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(member, signal.SIGKILL)
            os.close(member)
        elif known.child is not None:
            known.child.send(signal.SIGKILL)

    def forget(self, exec_id: str) -> None:
        """Forget a command that has ended."""
        self._known.pop(exec_id, None)

    def forget_container(self, container_id: str) -> None:
        """Forget the execs of a container that is being removed; they end with it."""
        for exec_id in [exec_id for exec_id, known in self._known.items() if known.container_id == container_id]:
            del self._known[exec_id]

    def _get(self, exec_id: str) -> _Exec:
        try:
            return self._known[exec_id]
        except KeyError:
            raise NotFound(
                f"No such exec instance: {exec_id}", hint="create it first", code=codes.EXEC_NOT_FOUND
            ) from None

    def _drop_old(self) -> None:
        ended = [exec_id for exec_id, known in self._known.items() if known.exit_code is not None]
        unstarted = [exec_id for exec_id, known in self._known.items() if known.child is None]
        for idle in (ended, unstarted):
            for exec_id in idle[: max(0, len(idle) - IDLE_KEPT)]:
                del self._known[exec_id]

    def _write_process(self, known: _Exec, base: Path) -> None:
        process = read_process(known.files)
        if not process:
            raise Internal(
                f"the bundle of container {known.container_id} is damaged",
                hint="remove the container",
                code=codes.FAULT,
            )
        who = None
        if known.spec.user:
            rootfs = known.files.rootfs
            who = identity(known.spec.user, read_accounts(rootfs, "/etc/passwd"), read_accounts(rootfs, "/etc/group"))
        _beside(base, "json").write_text(json.dumps(exec_process(process, known.spec, who, available())), "utf-8")


def _spawn(words: list[str], spec: ExecSpec) -> tuple[Child, ExecStream]:
    """Start runc with pipes, or with a pseudo-terminal as all of its streams."""
    if spec.tty:
        ours, theirs = pty.openpty()
        try:
            tty.setraw(
                theirs
            )  # runc does so too, but only after it has begun to copy: neither echo nor change newlines
            child = Child(words, stdin=theirs, stdout=theirs, stderr=theirs)
        except Internal:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        return child, ExecStream(child, {ours: "stdout"}, ours, tty=True)
    pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(3)]
    (input_end, stdin), (stdout, output_end), (stderr, error_end) = pipes
    try:
        child = Child(words, stdin=input_end, stdout=output_end, stderr=error_end)
    except Internal:
        for descriptor in (stdin, stdout, stderr):
            os.close(descriptor)
        raise
    finally:
        for descriptor in (input_end, output_end, error_end):
            os.close(descriptor)
    if not spec.open_stdin:
        os.close(stdin)
    return child, ExecStream(child, {stdout: "stdout", stderr: "stderr"}, stdin if spec.open_stdin else None, tty=False)


def _note_end(known: _Exec, base: Path) -> None:
    """Keep exit code and process id, and delete the files. Without a process id runc itself failed: its own exit code
    says nothing, its words do. Only the first call counts."""
    if known.exit_code is not None:
        return
    known.pid = read_pid(_beside(base, "pid"))
    code = known.child.exit_code if known.child is not None else None
    if known.pid == 0:
        code = _failure_code(_beside(base, "log"))
    known.exit_code = code
    for suffix in ("json", "pid", "log"):
        with contextlib.suppress(OSError):
            _beside(base, suffix).unlink()


def _beside(base: Path, suffix: str) -> Path:
    return base.with_name(f"{base.name}.{suffix}")


def _failure_code(log: Path) -> int:
    """127 for a command that is not there, 126 for anything else that kept it from running."""
    with contextlib.suppress(OSError):
        said = log.read_text("utf-8", "replace").replace('\\"', '"')
        return EXIT_NOT_FOUND if exit_code_of(said) == EXIT_NOT_FOUND else EXIT_NOT_EXECUTABLE
    return EXIT_NOT_EXECUTABLE


def read_process(files: Files) -> dict[str, object]:
    """The process section of a container's bundle; empty when there is none."""
    try:
        section = json.loads(files.config.read_text("utf-8")).get("process")
    except (OSError, ValueError):
        return {}
    return section if isinstance(section, dict) else {}
