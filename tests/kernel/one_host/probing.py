"""Packets that ask all the time, to see what gets through while something else happens."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.kernel.one_host.namespace import Namespace

#: Seconds between two packets: a firewall that is open for longer than this is caught.
_EVERY_S = 0.001


@dataclass
class Probe:
    """One who asks: how many packets were sent, and when answers came, in seconds of the monotonic clock."""

    sent: int = 0
    answered: list[float] = field(default_factory=list)

    def longest_silence_s(self) -> float:
        """Between two answers."""
        return max((late - early for early, late in zip(self.answered, self.answered[1:], strict=False)), default=0.0)


@contextlib.contextmanager
def asking(ns: Namespace, address: str, port: int) -> Iterator[Probe]:
    """A datagram to an echo server again and again, each from a port of its own, so that each is a new connection."""
    probe, stop = Probe(), threading.Event()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    def ask() -> None:
        waiting: list[socket.socket] = []
        while not stop.wait(_EVERY_S):
            client = socket.socket(family, socket.SOCK_DGRAM)
            client.setblocking(False)
            with contextlib.suppress(OSError):
                client.sendto(b"?", (address, port))
            probe.sent += 1
            waiting.append(client)
            listen(waiting)
            while len(waiting) > 200:
                waiting.pop(0).close()
        time.sleep(0.05)
        listen(waiting)
        for client in waiting:
            client.close()

    def listen(waiting: list[socket.socket]) -> None:
        for client in list(waiting):
            try:
                client.recv(4096)
            except BlockingIOError:
                continue
            except OSError:
                pass
            else:
                probe.answered.append(time.monotonic())
            waiting.remove(client)
            client.close()

    thread = threading.Thread(target=lambda: ns.call(ask))
    thread.start()
    try:
        yield probe
    finally:
        stop.set()
        thread.join()
