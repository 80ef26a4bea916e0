"""The service manager's side of a daemon: sd_notify(3), the watchdog, and the store that keeps sockets while we are away.

A stored descriptor lives on in the service manager however this process ends, and comes back at the next start (see
FileDescriptorStoreMax= in systemd.service(5)). A query or request sent meanwhile waits in the socket's queue.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, MutableMapping

log = logging.getLogger(__name__)

#: The first descriptor that is handed over (sd_listen_fds(3): SD_LISTEN_FDS_START).
_FIRST = 3
#: Most descriptors in one message (linux/net/scm.h: SCM_MAX_FD).
STORE_MAX = 253
#: Longest name of a stored descriptor (sd_pid_notify_with_fds(3)).
_NAME_MAX = 255


class ServiceManager:
    """Takes what the environment of a service says out of it, so that no child inherits it. Without a service manager
    nothing is stored and nobody is told."""

    def __init__(self, environment: MutableMapping[str, str] | None = None, pid: int | None = None) -> None:
        found = os.environ if environment is None else environment
        own = str(os.getpid() if pid is None else pid)
        self._address = found.pop("NOTIFY_SOCKET", "")
        words = {name: found.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")}
        watchdog = {name: found.pop(name, "") for name in ("WATCHDOG_USEC", "WATCHDOG_PID")}
        self._stored: dict[str, list[int]] = {}
        if words["LISTEN_PID"] == own:
            self._take_over(int(words["LISTEN_FDS"] or 0), words["LISTEN_FDNAMES"].split(":"))
        for_us = watchdog["WATCHDOG_PID"] in ("", own)
        #: Seconds after which the service manager wants a sign of life; 0 when it wants none.
        self.watchdog_s = int(watchdog["WATCHDOG_USEC"] or 0) / 1e6 if for_us else 0.0

    def _take_over(self, count: int, names: list[str]) -> None:
        for index in range(count):
            descriptor = _FIRST + index
            os.set_inheritable(descriptor, False)
            self._stored.setdefault(names[index] if index < len(names) else "", []).append(descriptor)

    @property
    def keeps(self) -> bool:
        """Whether descriptors can be given to keep."""
        return bool(self._address)

    def tell(self, *words: str) -> None:
        """Tell some ``NAME=value`` assignments."""
        self._send(words, ())

    def keep(self, name: str, *descriptors: int) -> None:
        """Give descriptors to keep under a name, beside those that are kept under it already."""
        if len(descriptors) > STORE_MAX or len(name) > _NAME_MAX or ":" in name:
            raise ValueError(f"cannot keep {len(descriptors)} descriptors as {name!r}")
        self._send(("FDSTORE=1", f"FDNAME={name}"), descriptors)

    def drop(self, name: str) -> None:
        """Let what is kept under a name go; the own descriptors stay open."""
        self._send(("FDSTOREREMOVE=1", f"FDNAME={name}"), ())

    def take(self, name: str) -> list[int]:
        """The descriptors that were kept under a name before this start; they are the caller's from now on. They go on
        being kept."""
        return self._stored.pop(name, [])

    def kept(self, prefix: str) -> list[str]:
        """Names, beginning so, of what was kept before this start and not taken yet."""
        return [name for name in self._stored if name.startswith(prefix)]

    def drop_rest(self) -> None:
        """Let all go that was kept before this start and that nobody took."""
        for name, descriptors in self._stored.items():
            log.info("a kept descriptor is needed no more", extra={"descriptor": name})
            self.drop(name)
            for descriptor in descriptors:
                os.close(descriptor)
        self._stored.clear()

    async def live(self, check: Callable[[], Awaitable[str]]) -> None:
        """Give a sign of life, and the status that ``check`` returns, whenever half of the time is over; returns at
        once when none is wanted. A check that raises or hangs gives no sign."""
        while self.watchdog_s:
            self.tell("WATCHDOG=1", f"STATUS={await check()}")
            await asyncio.sleep(self.watchdog_s / 2)

    def reloading(self) -> None:
        """Tell that the configuration is read anew; ``READY=1`` ends it."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def _send(self, words: tuple[str, ...], descriptors: tuple[int, ...]) -> None:
        if not self._address:
            return
        target = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            try:
                sender.connect(target)
                socket.send_fds(sender, ["\n".join(words).encode()], list(descriptors))
            except OSError as error:
                log.warning("cannot notify the service manager: %s", error)
