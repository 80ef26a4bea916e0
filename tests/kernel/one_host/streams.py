"""Traffic that never rests, and tells whether it was ever disturbed."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator, Sequence

from tests.kernel.one_host.namespace import ANSWER_S, PROGRAM_S, Namespace
from tests.kernel.one_host.waiting import until

#: Requests that must be answered after all is over: what was not answered before them is lost.
_LAST_PINGS = 5


class Stream:
    """A TCP connection that never rests: sends numbered lines and reads each back before the next."""

    def __init__(self, ns: Namespace, address: str, port: int) -> None:
        self._socket = ns.socket()
        self._socket.settimeout(ANSWER_S)
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


class Pings:
    """Echo requests that go out all the time, and which of them were answered."""

    def __init__(self) -> None:
        self._answered: set[int] = set()

    @property
    def sent(self) -> int:
        """How many went out before one that was answered: what is under way is not lost yet."""
        return max(self._answered, default=0)

    @property
    def lost(self) -> list[int]:
        """The numbers of those among them that got no answer."""
        return sorted(set(range(1, self.sent)) - self._answered)

    def read(self, lines: Iterable[str]) -> None:
        """Take in what ``ping`` prints."""
        for line in lines:
            if found := re.search(r"icmp_seq=(\d+) ttl=", line):
                self._answered.add(int(found[1]))


@contextlib.contextmanager
def pinging(command: Sequence[str], every_s: float = 0.01) -> Iterator[Pings]:
    """Echo requests during the block. ``command`` runs ``ping ADDRESS`` where it is to come from. It ends with some that
    are answered, after all that is to be seen."""
    pings = Pings()
    words = [*command, "-n", "-i", str(every_s)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        reader = threading.Thread(target=pings.read, args=(process.stdout,))
        reader.start()
        try:
            until(lambda: pings.sent, "the first answer")
            yield pings
            wanted = pings.sent + _LAST_PINGS
            until(lambda: pings.sent >= wanted, "the last answer")
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(PROGRAM_S)
            reader.join()
