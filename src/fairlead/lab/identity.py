"""Which process a daemon is: a number alone may have been given to a stranger since."""

from __future__ import annotations

import json
import os
import select
import signal
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Identity:
    """A process of this boot: its number and the clock ticks since boot at which it started."""

    pid: int
    started_ticks: int
    boot: str

    def open(self) -> int | None:
        """A pidfd of the process if it still runs; the caller closes it. Signals through it hit nobody else."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except OSError:
            return None
        if identify(self.pid) == self and not is_over(self.pid):
            return descriptor
        os.close(descriptor)
        return None

    def is_alive(self) -> bool:
        """Whether the process still runs."""
        descriptor = self.open()
        if descriptor is not None:
            os.close(descriptor)
        return descriptor is not None


def identify(pid: int) -> Identity | None:
    """Who has the number now; None if nobody."""
    fields = _stat(pid)
    if not fields:
        return None
    # Field 22 of proc(5), counted from 1; the state is field 3 and our first.
    return Identity(pid, int(fields[19]), Path("/proc/sys/kernel/random/boot_id").read_text().strip())


def save(path: str, identity: Identity) -> None:
    """Write it down, at once or not at all."""
    draft = Path(f"{path}.new")
    draft.write_text(json.dumps(asdict(identity)))
    draft.replace(path)


def load(path: str) -> Identity | None:
    """What was written down; None if nothing was."""
    try:
        return Identity(**json.loads(Path(path).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def send(descriptor: int, what: signal.Signals) -> None:
    """A signal to the process of a pidfd; one that has ended does not mind."""
    try:
        signal.pidfd_send_signal(descriptor, what)
    except ProcessLookupError:
        return


def wait_end(descriptor: int, seconds: float) -> bool:
    """Whether the process of a pidfd ends within ``seconds``; a child of ours is left for its parent to reap."""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(seconds * 1000))


def is_over(pid: int) -> bool:
    """Whether a process has ended; one that its parent has not asked about yet has, too."""
    fields = _stat(pid)
    return not fields or fields[0] in "ZX"


def _stat(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()
