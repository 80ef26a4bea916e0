"""Hosts: network, mount and process namespaces of their own, which end with all that runs in them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.programs import Programs

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000  # <sched.h>
#: Seconds that a host has to come up, or a process to end.
_PATIENCE_S = 20.0
_STEP_S = 0.005

#: Becomes process 1: a /run of its own, then the program that reaps and waits.
_INIT = 'mount -t tmpfs -o mode=755 tmpfs /run && ip link set lo up && exec "$0"'

#: The neighbour's link, and its addresses: RFC 2544's range for benchmarks.
NEIGHBOUR, HOST_SIDE, NEIGHBOUR_SIDE, PREFIX = "outside", "198.18.0.1", "198.18.0.2", 24


class NotMeasured(Exception):
    """A row, or one side of it, cannot be measured; the text says why."""


class Host:
    """A machine of its own as far as networks, mounts and processes go. Files and control groups are shared."""

    def __init__(self, name: str, programs: Programs) -> None:
        self.name = name
        self._programs = programs
        enter = ("unshare", "--net", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child")
        command = [*enter, "--mount-proc", "sh", "-c", _INIT, programs["pause"]]
        self._outer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            self.init = self._wait_for_init()
        except BaseException:
            self.close()
            raise
        self._neighbour: Host | None = None

    @property
    def netns(self) -> str:
        """A path to its network namespace."""
        return f"/proc/{self.init}/ns/net"

    def netns_of(self, pid: int) -> str:
        """A path to the network namespace of one of its processes, by the number that the host knows it by."""
        return f"/proc/{self.init}/root/proc/{pid}/ns/net"

    def command(self, words: Sequence[str]) -> list[str]:
        """The same command, inside."""
        return ["nsenter", "--target", str(self.init), "--net", "--mount", "--pid", *words]

    def run(self, *words: str) -> str:
        """Standard output of a command that ran in its network."""
        return run(self.netns, *words)

    def start(self, *words: str, log: Path | None = None) -> Process:
        """A process that goes on."""
        return Process(self.command(words), log)

    def neighbour(self) -> Host:
        """The host at the other end of a link to the outside, made when first asked for."""
        if self._neighbour is None:
            other = Host(f"{self.name}-neighbour", self._programs)
            self._neighbour = other
            self.run("ip", "link", "add", NEIGHBOUR, "type", "veth", "peer", NEIGHBOUR, "netns", str(other.init))
            for host, address in ((self, HOST_SIDE), (other, NEIGHBOUR_SIDE)):
                host.run("ip", "address", "add", f"{address}/{PREFIX}", "dev", NEIGHBOUR)
                host.run("ip", "link", "set", NEIGHBOUR, "up")
            self.run("ip", "route", "add", "default", "via", NEIGHBOUR_SIDE)
        return self._neighbour

    def close(self) -> None:
        """End everything in it."""
        if neighbour := getattr(self, "_neighbour", None):
            neighbour.close()
        if init := getattr(self, "init", 0):
            with contextlib.suppress(ProcessLookupError):
                os.kill(init, signal.SIGKILL)
        else:
            self._outer.kill()
        self._outer.wait()

    def _wait_for_init(self) -> int:
        deadline = time.monotonic() + _PATIENCE_S
        pause = os.path.realpath(self._programs["pause"])
        while time.monotonic() < deadline and self._outer.poll() is None:
            for pid in children(self._outer.pid):
                with contextlib.suppress(OSError):
                    if os.path.realpath(f"/proc/{pid}/exe") == pause:
                        return pid
            time.sleep(_STEP_S)
        raise NotMeasured(f"host {self.name}: namespaces could not be made")


class Process:
    """A process that was started inside a host; ``pid`` is its number outside."""

    def __init__(self, command: Sequence[str], log: Path | None = None) -> None:
        with contextlib.ExitStack() as files:
            output = files.enter_context(log.open("ab")) if log else subprocess.DEVNULL
            self._outer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    @property
    def pid(self) -> int:
        """nsenter forks into a process namespace; the process is its child."""
        inner = children(self._outer.pid)
        return inner[0] if inner else self._outer.pid

    @property
    def ended(self) -> bool:
        return self._outer.poll() is not None

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Signal it and wait for its end; what does not end is killed."""
        for attempt in (number, signal.SIGKILL):
            if self.ended:
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, attempt)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._outer.wait(_PATIENCE_S)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGKILL)


def run(netns: str, *words: str) -> str:
    """Standard output of a command that ran in a network namespace; raises ``NotMeasured`` when it fails."""
    done = subprocess.run(["nsenter", f"--net={netns}", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise NotMeasured(f"{' '.join(words)[:80]}: {said[-1] if said else f'exit code {done.returncode}'}")
    return done.stdout


def background(netns: str, *words: str) -> Process:
    """A process in a network namespace that goes on; use with ``with``."""
    return Process(["nsenter", f"--net={netns}", *words])


@contextlib.contextmanager
def inside(netns: str) -> Iterator[None]:
    """This thread works in a network namespace meanwhile."""
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _enter(here)
    finally:
        os.close(here)


def children(pid: int) -> list[int]:
    """The children of a process."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def rss_bytes(pid: int) -> int:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def _enter(descriptor: int) -> None:
    if _LIBC.setns(descriptor, _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
