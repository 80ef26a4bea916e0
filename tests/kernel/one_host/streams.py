"""Traffic that never rests, and tells whether it was ever disturbed."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import threading
from collections.abc import Iterator

from tests.kernel.one_host.namespace import Namespace
from tests.kernel.one_host.waiting import until


class Stream:
    """A TCP connection that never rests: sends numbered lines and reads each back before the next."""

    def __init__(self, ns: Namespace, address: str, port: int) -> None:
        self._socket = ns.socket()
        self._socket.settimeout(5)
        self._socket.connect((address, port))
        self.greeting = self._socket.recv(100)
        self.count = 0
        self.fault = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def wait_more(self, lines: int = 20) -> None:
        """Until this many more lines have come back, or it is clear that none will."""
        wanted = self.count + lines
        until(lambda: self.count >= wanted or self.fault, "a stream flows on")

    def close(self) -> str:
        """Stop; what went wrong, empty if nothing did."""
        self._stop.set()
        self._thread.join()
        self._socket.close()
        return self.fault

    def _run(self) -> None:
        try:
            with self._socket.makefile("rb") as lines:
                while not self._stop.is_set():
                    line = f"{self.count}\n".encode()
                    self._socket.sendall(line)
                    if lines.readline() != line:
                        self.fault = "the stream broke"
                        return
                    self.count += 1
        except OSError as fault:
            self.fault = repr(fault)


@contextlib.contextmanager
def pinging(ns: Namespace, address: str) -> Iterator[list[int]]:
    """Ping 100 times a second during the block; afterwards the list holds (sent, received)."""
    result: list[int] = []
    command = ns.command("ping", "-n", "-q", "-i", "0.01", address)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield result
        finally:
            process.send_signal(signal.SIGINT)
            text, _ = process.communicate(timeout=10)
    found = re.search(r"(\d+) packets transmitted, (\d+) received", text)
    assert found, text
    result += [int(found[1]), int(found[2])]
