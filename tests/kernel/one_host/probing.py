"""Packets that ask all the time, to see what gets through while something else happens."""

from __future__ import annotations

import contextlib
import itertools
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
    """One who asks: how many packets were sent, and which of them were answered, by their numbers. What a busy machine
    delays is no silence: whoever does not run sends nothing meanwhile."""

    sent: int = 0
    answered: list[int] = field(default_factory=list)

    def longest_silence(self) -> int:
        """Packets in a row that were not answered, between two that were."""
        numbers = sorted(self.answered)
        return max((late - early - 1 for early, late in itertools.pairwise(numbers)), default=0)


@contextlib.contextmanager
def asking(ns: Namespace, address: str, port: int) -> Iterator[Probe]:
    """A datagram to an echo server again and again, each from a port of its own, so that each is a new connection."""
    probe, stop = Probe(), threading.Event()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    def ask() -> None:
        waiting: list[tuple[int, socket.socket]] = []
        while not stop.wait(_EVERY_S):
            client = socket.socket(family, socket.SOCK_DGRAM)
            client.setblocking(False)
            with contextlib.suppress(OSError):
                client.sendto(b"?", (address, port))
            probe.sent += 1
            waiting.append((probe.sent, client))
            listen(waiting)
            while len(waiting) > 200:
                waiting.pop(0)[1].close()
        time.sleep(0.05)
        listen(waiting)
        for _, client in waiting:
            client.close()

    def listen(waiting: list[tuple[int, socket.socket]]) -> None:
        for number, client in list(waiting):
            try:
                client.recv(4096)
            except BlockingIOError:
                continue
            except OSError:
                pass
            else:
                probe.answered.append(number)
            waiting.remove((number, client))
            client.close()

    thread = threading.Thread(target=lambda: ns.call(ask))
    thread.start()
    try:
        yield probe
    finally:
        stop.set()
        thread.join()
