"""Name servers of sandboxes: sockets made in their namespaces by the kernel room, served by the discovery room; and the
host's own resolver file, which says whom they ask."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from fairlead.daemon.service import ServiceManager
from fairlead.daemon.watch import FileWatch
from fairlead.discovery import resolvconf
from fairlead.discovery.aio import DnsServer
from fairlead.discovery.names import DNS_ADDRESS, DNS_FORWARD_MARK, DNS_LISTEN_PORT
from fairlead.engine.outcome import CloseResolver, OpenResolver
from fairlead.kernel.apply import Kernel
from fairlead.model.events import ResolverFileChanged

#: Where systemd-resolved writes the servers behind its stub (systemd-resolved(8)).
RESOLVED_FILE = "/run/systemd/resolve/resolv.conf"

#: What a sandbox's server listens on.
_KINDS = (socket.SOCK_DGRAM, socket.SOCK_STREAM)
#: Socket option that tells which network namespace a socket is of, 8 octets (asm-generic/socket.h, Linux 5.14).
_SO_NETNS_COOKIE = 71

log = logging.getLogger(__name__)


class SandboxResolvers:
    """Opens a server for a sandbox the first time it is asked for, and changes its view afterwards."""

    def __init__(self, kernel: Kernel, service: ServiceManager) -> None:
        self._kernel = kernel
        self._service = service
        self._open: set[str] = set()
        self.server = DnsServer(self._fresh_sockets)
        self.server.start()

    async def open(self, message: OpenResolver) -> None:
        """Serve names in a sandbox, or change what is served."""
        if message.sandbox_id in self._open:
            self.server.update_view(message.sandbox_id, message.view)
            return
        udp, listener = self._kept(message) or await self._fresh(message)
        self._open.add(message.sandbox_id)
        self.server.add_sandbox(message.sandbox_id, udp, listener, message.view)

    async def close(self, message: CloseResolver) -> None:
        """Serve names there no more."""
        self._open.discard(message.sandbox_id)
        self.server.remove_sandbox(message.sandbox_id)
        self._service.drop(_kept_as(message.sandbox_id))

    def _fresh_sockets(self, netns: str, family: int, kind: int, count: int) -> list[socket.socket]:
        """Sockets to ask servers from a sandbox's namespace, marked so that rules there which lead queries to us leave
        them alone. Raises ``OSError``."""
        made = self._kernel.fresh_sockets(netns, family, kind, count)
        try:
            for each in made:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, DNS_FORWARD_MARK)
        except OSError:
            for each in made:
                each.close()
            raise
        return made

    def shut(self) -> None:
        """Close everything; what the service manager keeps goes on taking queries, answered by whom it hands them."""
        self.server.close()

    def _kept(self, message: OpenResolver) -> tuple[socket.socket, socket.socket] | None:
        """The sockets that were kept while no daemon ran, if they are of the namespace that the sandbox has now."""
        found = [socket.socket(fileno=descriptor) for descriptor in self._service.take(_kept_as(message.sandbox_id))]
        if not found:
            return None
        by_type = {kept.type: kept for kept in found}
        (probe,) = self._kernel.fresh_sockets(message.view.netns, socket.AF_INET, socket.SOCK_DGRAM, 1)
        with probe:
            here = probe.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)
        of_here = [kept for kept in found if kept.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8) == here]
        if len(of_here) == len(by_type) == len(found) == len(_KINDS):
            return by_type[socket.SOCK_DGRAM], by_type[socket.SOCK_STREAM]
        for kept in found:
            kept.close()
        self._service.drop(_kept_as(message.sandbox_id))
        return None

    async def _fresh(self, message: OpenResolver) -> tuple[socket.socket, socket.socket]:
        wanted = [(socket.AF_INET, kind, DNS_ADDRESS, DNS_LISTEN_PORT) for kind in _KINDS]
        udp, listener = await self._kernel.sockets_in(message.view.netns, wanted)
        self._service.keep(_kept_as(message.sandbox_id), udp.fileno(), listener.fileno())
        return udp, listener


def _kept_as(sandbox_id: str) -> str:
    return f"dns.{sandbox_id[:12]}"


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
                except Exception:  # a supervisor: the next change must be followed all the same
                    log.exception("a change of %s could not be followed", self._path)
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
