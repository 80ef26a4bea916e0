"""Name servers of sandboxes: sockets made in their namespaces by the kernel room, served by the discovery room."""

from __future__ import annotations

import socket

from fairlead.discovery.aio import DnsServer
from fairlead.discovery.names import DNS_ADDRESS, DNS_LISTEN_PORT
from fairlead.engine.outcome import CloseResolver, OpenResolver
from fairlead.kernel.apply import Kernel


class SandboxResolvers:
    """Opens a server for a sandbox the first time it is asked for, and changes its view afterwards."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._open: set[str] = set()
        self.server = DnsServer(kernel.socket_in)
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
