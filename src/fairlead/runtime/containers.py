"""The front door: containers with all that can be done with them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

from fairlead.model import codes
from fairlead.model.errors import Conflict, Invalid
from fairlead.model.runspec import ExecSpec, LogLine
from fairlead.runtime import logs
from fairlead.runtime.execs import read_process
from fairlead.runtime.layout import files_of
from fairlead.runtime.lifecycle import Exited, Running
from fairlead.runtime.mounts import edge
from fairlead.runtime.processes import open_monitor, read_pid
from fairlead.runtime.steering import Steering
from fairlead.runtime.streams import AttachStream, ExecStream, join_now

__all__ = ["Exited", "Running", "Runtime"]

#: Largest terminal that conmon accepts, in rows and columns (conmon: process_winsz_ctrl_line).
TERMINAL_SIZE_MAX = 1000
#: First word of a line on conmon's control FIFO that sets the terminal's size (conmon: WIN_RESIZE_EVENT).
CONTROL_RESIZE = 1


class Runtime(Steering):
    """Containers of one daemon: their life and steering (inherited), output, terminals, commands and commands beside them. Needs
    root, runc and conmon. All methods belong to one event loop."""

    def logs(
        self, container_id: str, *, follow: bool = False, tail: int | None = None, since: float | None = None
    ) -> AsyncIterator[LogLine]:
        """Output of all runs of a container: the ``tail`` last lines (None = all), not older than ``since`` epoch
        seconds; with ``follow`` until it ends. Nothing for one that never ran."""
        files = files_of(self._paths, container_id)

        def monitor() -> int | None:
            return open_monitor(read_pid(files.monitor_pid), container_id)

        return logs.read(files, monitor, follow=follow, tail=tail, since=since)

    async def attach(self, container_id: str) -> AttachStream:
        """Join the streams of a container. One that does not run yet is joined by its next start, before it can write
        a byte; ``abandon`` of the stream is called if that fails. Raises ``Internal`` when conmon does not answer."""
        files = files_of(self._paths, container_id)
        stream = AttachStream()
        if self._is_alive(container_id, files):
            join_now(stream, files.run, tty=read_process(files).get("terminal") is True)
        else:
            self._waiting.setdefault(container_id, []).append(stream)
        return stream

    async def resize(self, container_id: str, height: int, width: int) -> None:
        """Tell the size of a container's terminal in rows and columns; nothing happens when it has none.
        Raises ``Invalid`` for a size that conmon refuses, ``Conflict`` when it does not run."""
        if not (0 <= height <= TERMINAL_SIZE_MAX and 0 <= width <= TERMINAL_SIZE_MAX):
            raise Invalid(f"invalid terminal size: {height}x{width}", hint=f"at most {TERMINAL_SIZE_MAX} each way")
        files = files_of(self._paths, container_id)
        if not self._is_alive(container_id, files):
            raise Conflict(
                f"container {container_id} is not running", hint="start it first", code=codes.CONTAINER_NOT_RUNNING
            )
        if read_process(files).get("terminal") is True:
            with edge("resizing the terminal"):
                descriptor = os.open(files.control, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    os.write(descriptor, f"{CONTROL_RESIZE} {height} {width}\n".encode())
                finally:
                    os.close(descriptor)

    def exec_create(self, container_id: str, spec: ExecSpec) -> str:
        """Note a command for a running container; returns its id. Raises ``Conflict`` when the container does not run,
        ``Invalid`` for an empty command."""
        files = files_of(self._paths, container_id)
        if not self._is_alive(container_id, files):
            raise Conflict(
                f"container {container_id} is not running", hint="start it first", code=codes.CONTAINER_NOT_RUNNING
            )
        return self._execs.create(container_id, files, spec)

    async def exec_start(self, exec_id: str) -> ExecStream:
        """Start it. Raises ``NotFound``, ``Conflict`` if it was started before, ``Invalid`` for an unknown user. A
        command that is not there is told on the stream and by exit code 127, as Docker does."""
        return self._execs.start(exec_id)

    def exec_inspect(self, exec_id: str) -> dict[str, object]:
        """``ID``, ``ContainerID``, ``Running``, ``ExitCode`` (None while it has none), ``Pid``. Raises ``NotFound``."""
        return self._execs.inspect(exec_id)

    async def exec_resize(self, exec_id: str, height: int, width: int) -> None:
        """Tell the size of a command's terminal. Raises ``NotFound``."""
        self._execs.resize(exec_id, height, width)
