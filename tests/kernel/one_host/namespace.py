"""Network namespaces without names: made, entered for a moment by a thread, asked with real packets."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket as sockets
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from tests.kernel.one_host.waiting import FACTOR

T = TypeVar("T")

CLONE_NEWNET = 0x40000000  # linux/sched.h
#: Seconds that an answer may take before we say that nobody is there: on one machine it takes under a millisecond.
SILENCE_S = 0.25 * FACTOR
#: Seconds that an answer may take that must come: only one that never comes takes as long, and a busy machine is no fault.
ANSWER_S = 30.0
#: Seconds for a program that is asked something.
PROGRAM_S = 90.0

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def in_thread(work: Callable[[], T]) -> T:
    """Run in a thread of its own, so that a namespace entered there is left with it."""
    answers: list[T] = []
    faults: list[BaseException] = []

    def body() -> None:
        try:
            answers.append(work())
        except BaseException as fault:  # noqa: BLE001  (it is raised again where it belongs)
            faults.append(fault)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if faults:
        raise faults[0]
    return answers[0]


class Namespace:
    """A network namespace that lives as long as the descriptor that holds it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def new(cls, *, loopback: bool = True) -> Namespace:
        """A fresh one, with ``lo`` up unless it shall have none."""

        def make() -> int:
            _check(_libc.unshare(CLONE_NEWNET))
            return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

        made = cls(in_thread(make))
        if loopback:
            made.ip("link", "set", "lo", "up")
        return made

    @classmethod
    def of(cls, pid: int) -> Namespace:
        """That of a process."""
        return cls(os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC))

    def close(self) -> None:
        """Let go of it."""
        os.close(self.descriptor)

    @property
    def path(self) -> str:
        """A path by which other programs find it while this process lives."""
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"

    def call(self, work: Callable[[], T]) -> T:
        """Run in a thread that has entered it."""

        def body() -> T:
            _check(_libc.setns(self.descriptor, CLONE_NEWNET))
            return work()

        return in_thread(body)

    def command(self, *words: str) -> list[str]:
        """The command line that runs ``words`` inside."""
        return ["nsenter", f"--net={self.path}", "--", *words]

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program inside."""
        done = subprocess.run(self.command(*words), capture_output=True, text=True, check=False, timeout=PROGRAM_S)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(words)}: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def ip(self, *words: str) -> str:
        """The program ``ip`` inside; its output."""
        return self.run("ip", *words).stdout

    def read(self, path: str) -> str:
        """A setting below /proc/sys of this namespace."""

        def look() -> str:
            with open(f"/proc/sys/{path}") as file:
                return file.read().strip()

        return self.call(look)

    def write(self, path: str, value: str) -> None:
        """Change such a setting."""

        def change() -> None:
            with open(f"/proc/sys/{path}", "w") as file:
                file.write(value)

        self.call(change)

    def socket(self, family: int = sockets.AF_INET, kind: int = sockets.SOCK_STREAM, proto: int = 0) -> sockets.socket:
        """A socket that lives inside."""
        return self.call(lambda: sockets.socket(family, kind, proto))

    @contextlib.contextmanager
    def connected(self, address: str, port: int, timeout_s: float = ANSWER_S) -> Iterator[sockets.socket]:
        """A TCP connection from inside."""
        with self.socket(_family(address)) as client:
            client.settimeout(timeout_s)
            client.connect((address, port))
            yield client

    def tcp(self, address: str, port: int, timeout_s: float = ANSWER_S) -> list[str]:
        """The words with which an echo server greets: its tag, our address as it sees it, its own address."""
        with self.connected(address, port, timeout_s) as client, client.makefile("r") as lines:
            line: str = lines.readline()
            return line.split()

    def udp(self, address: str, port: int, timeout_s: float = ANSWER_S) -> list[str]:
        """The same over UDP; raises ``TimeoutError`` when nothing comes."""
        with self.socket(_family(address), sockets.SOCK_DGRAM) as client:
            client.settimeout(timeout_s)
            client.connect((address, port))
            client.send(b"hello")
            return client.recv(4096).decode().split()

    def reaches(self, address: str, port: int, proto: str = "tcp", *, expect: bool = False) -> bool:
        """Whether anybody answers; refusal and silence are both no. ``expect`` says how long it is worth waiting."""
        try:
            return bool((self.tcp if proto == "tcp" else self.udp)(address, port, ANSWER_S if expect else SILENCE_S))
        except OSError:
            return False

    def pings(self, address: str, *, expect: bool = True) -> bool:
        """Whether the real ping gets an answer; ``expect`` says how long it is worth waiting."""
        wait = str(ANSWER_S if expect else SILENCE_S)
        return self.run("ping", "-n", "-c1", "-W", wait, address, check=False).returncode == 0


def _family(address: str) -> int:
    return sockets.AF_INET6 if ":" in address else sockets.AF_INET
