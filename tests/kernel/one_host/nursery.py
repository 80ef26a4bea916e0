"""Daemons that start at once: a process which has imported all of the daemon forks one for each life.

What such a daemon does is what the program does, ends by SIGKILL included; only the imports, two thirds of a start, are
made once. For tests that start a daemon a hundred times.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

from tests.kernel.one_host.namespace import Namespace

from fairlead.cli.main import main

#: Seconds in which a process that was told to end is gone.
_END_S = 60


class Life:
    """A daemon that was forked, as far as ``subprocess.Popen`` is used here."""

    def __init__(self, nursery: subprocess.Popen[bytes], pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._nursery = nursery

    def poll(self) -> int | None:
        """The exit code, or minus the signal that ended it; None while it lives."""
        return self._look(0)

    def wait(self, timeout: float) -> int:
        """Its exit code when it has ended; raises ``subprocess.TimeoutExpired``."""
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"daemon {self.pid}", timeout)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it is known to have ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout: float) -> int | None:
        answers = self._nursery.stdout
        assert answers is not None
        if self.returncode is None and select.select([answers], [], [], timeout)[0]:
            self.returncode = os.waitstatus_to_exitcode(int(answers.readline()))
        return self.returncode


class Nursery:
    """Forks daemons in a namespace, one at a time."""

    def __init__(self, ns: Namespace) -> None:
        # without a buffer: what is readable must be seen by select
        self._process = subprocess.Popen(
            ns.command(sys.executable, "-m", "tests.kernel.one_host.nursery"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )

    def launch(self, flags: Sequence[str], environment: Mapping[str, str], log: str) -> Life:
        """Start ``fairlead daemon`` with these flags, and these variables beside our own."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"flags": list(flags), "environment": dict(environment), "log": log}
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        return Life(self._process, int(self._process.stdout.readline()))

    def close(self) -> None:
        """End it; its daemon has ended."""
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(_END_S)


def serve() -> None:
    """For each order on standard input: fork a daemon, tell its process id, and how it ended."""
    importlib.import_module("fairlead.daemon.main")
    importlib.import_module("fairlead.cli.daemon")
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if not pid:
            _be(order["flags"], order["environment"], order["log"])
        print(pid, flush=True)
        print(os.waitpid(pid, 0)[1], flush=True)


def _be(flags: list[str], environment: dict[str, str], log: str) -> None:
    """Be the daemon; does not return."""
    os.environ.update(environment)
    for descriptor, path, mode in ((0, os.devnull, os.O_RDONLY), (1, log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)):
        opened = os.open(path, mode | os.O_CLOEXEC, 0o644)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.dup2(1, 2)
    sys.argv = ["fairlead", "daemon", *flags]
    main()


if __name__ == "__main__":
    serve()
