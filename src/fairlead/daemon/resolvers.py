"""Name servers of sandboxes: sockets made in their namespaces by the kernel room, served by the discovery room; and the
host's own resolver file, which says whom they ask."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from fairlead.daemon.watch import FileWatch
from fairlead.discovery import resolvconf
from fairlead.discovery.aio import DnsServer
from fairlead.discovery.names import DNS_ADDRESS, DNS_LISTEN_PORT
from fairlead.engine.outcome import CloseResolver, OpenResolver
from fairlead.kernel.apply import Kernel
from fairlead.model.errors import NetError
from fairlead.model.events import ResolverFileChanged

#: Where systemd-resolved writes the servers behind its stub (systemd-resolved(8)).
RESOLVED_FILE = "/run/systemd/resolve/resolv.conf"

log = logging.getLogger(__name__)


class SandboxResolvers:
    """Opens a server for a sandbox the first time it is asked for, and changes its view afterwards."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._open: set[str] = set()
        self.server = DnsServer(kernel.fresh_sockets)
        self.server.start()

    async def open(self, message: OpenResolver) -> None:
        """Serve names in a sandbox, or change what is served."""
        if message.sandbox_id in self._open:
            self.server.update_view(message.sandbox_id, message.view)
            return
        wanted = [
            (socket.AF_INET, kind, DNS_ADDRESS, DNS_LISTEN_PORT) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)
        ]
        udp, listener = await self._kernel.sockets_in(message.view.netns, wanted)
        self._open.add(message.sandbox_id)
        self.server.add_sandbox(message.sandbox_id, udp, listener, message.view)

    async def close(self, message: CloseResolver) -> None:
        """Serve names there no more."""
        self._open.discard(message.sandbox_id)
        self.server.remove_sandbox(message.sandbox_id)

    def shut(self) -> None:
        """Close everything."""
        self.server.close()


class HostResolverFile:
    """The host's resolv.conf and, behind systemd-resolved's stub, the one with the real servers. A file that is
    missing or empty is about to be written: what was read before holds meanwhile."""

    def __init__(self, path: str, behind_stub: str = RESOLVED_FILE) -> None:
        self._path, self._behind_stub = path, behind_stub
        self._texts: dict[str, str] = {}
        self._changed = asyncio.Event()

    def read(self) -> ResolverFileChanged:
        """What the files say now."""
        text = self._text(self._path)
        stubbed = resolvconf.behind_stub(resolvconf.parse(text))
        return ResolverFileChanged(text, (stubbed and self._text(self._behind_stub)) or text)

    async def follow(self, learn: Callable[[ResolverFileChanged], Awaitable[object]]) -> None:
        """Tell what the files say after each change, until cancelled."""
        try:
            watch = FileWatch((self._path, self._behind_stub), self._changed.set)
        except OSError as error:
            log.warning("cannot watch %s (%s): changes are followed after a restart only", self._path, error.strerror)
            return
        try:
            while True:
                try:
                    await learn(self.read())
                except NetError as error:
                    log.error("cannot follow %s: %s", self._path, error)
                await self._changed.wait()
                self._changed.clear()
        finally:
            watch.close()

    def _text(self, path: str) -> str:
        known = self._texts.get(path, "")
        with suppress(OSError):
            known = Path(path).read_text(errors="replace").strip() or known
        if not known and path == self._path:
            log.warning("%s names no servers: containers resolve only each other", path)
        self._texts[path] = known
        return known
