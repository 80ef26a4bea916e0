"""systemd as the daemon of a service sees it: a notification socket, and a store for descriptors."""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
from pathlib import Path

from tests.kernel.one_host.host import Host
from tests.kernel.one_host.waiting import until

#: Hands the descriptors named by the first argument over as 3, 4, ... and becomes the program in the others.
_HANDOVER = """
import fcntl, os, sys
given = [fcntl.fcntl(int(text), fcntl.F_DUPFD, 500) for text in sys.argv[1].split(",") if text]
for number, descriptor in enumerate(given):
    os.dup2(descriptor, 3 + number)
    os.close(descriptor)
os.environ["LISTEN_PID"] = os.environ["WATCHDOG_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""
#: Microseconds within which a sign of life is wanted.
WATCHDOG_USEC = 400_000


class FakeServiceManager:
    """Starts the daemon of a host as systemd starts a service; keeps what it gives, and gives it back at the next
    start. ``words`` are the assignments that came, in order."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.words: list[str] = []
        self.kept: list[tuple[str, int]] = []
        self.wrapper: tuple[str, ...] = ()
        self.flags: tuple[str, ...] = ()
        self._path = str(host.folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self._path)
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._receive)
        self._thread.start()

    def start(self) -> None:
        """Start the daemon with what is kept, and wait until it is ready."""
        seen = self.words.count("READY=1")
        names, descriptors = [name for name, _ in self.kept], [descriptor for _, descriptor in self.kept]
        handover = (sys.executable, "-ISc", _HANDOVER, ",".join(map(str, descriptors)))
        self.host.launch(
            wrapper=(*self.wrapper, *handover),
            keep=descriptors,
            flags=self.flags,
            NOTIFY_SOCKET=self._path,
            LISTEN_FDS=str(len(descriptors)),
            LISTEN_FDNAMES=":".join(names),
            WATCHDOG_USEC=str(WATCHDOG_USEC),
        )
        process = self.host.process
        assert process is not None
        until(lambda: self.words.count("READY=1") > seen or process.poll() is not None, "the daemon is ready")
        assert process.poll() is None, self.host.tail()

    def wait(self, word: str, times: int = 1) -> None:
        """Until an assignment has come so often."""
        until(lambda: self.words.count(word) >= times, word)

    def close(self) -> None:
        """Let everything go."""
        os.close(self._stopped)
        self._thread.join()
        os.close(self._stop)
        self._socket.close()
        Path(self._path).unlink()
        for _, descriptor in self.kept:
            os.close(descriptor)

    def _receive(self) -> None:
        while self._stop not in select.select([self._socket, self._stop], [], [])[0]:
            data, descriptors, _, _ = socket.recv_fds(self._socket, 4096, 253)
            words = data.decode().splitlines()
            name = next((word.removeprefix("FDNAME=") for word in words if word.startswith("FDNAME=")), "stored")
            if "FDSTORE=1" in words:
                self.kept += [(name, descriptor) for descriptor in descriptors]
            if "FDSTOREREMOVE=1" in words:
                for entry in [entry for entry in self.kept if entry[0] == name]:
                    self.kept.remove(entry)
                    os.close(entry[1])
            self.words += words
