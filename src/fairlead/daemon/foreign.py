"""Targets of others as the user names them -> namespaces: the engines say which process, the kernel what is there."""

from __future__ import annotations

from dataclasses import replace

from fairlead.discovery import resolvconf
from fairlead.discovery.upstream import SERVERS_MAX
from fairlead.kernel.apply import Kernel
from fairlead.kernel.foreign import Found
from fairlead.model import codes
from fairlead.model.commands import Command, ConnectNetwork, DisconnectNetwork
from fairlead.model.errors import Conflict, NotFound, Unavailable
from fairlead.model.target import Foreign, Target, parse
from fairlead.runtime.foreign import ForeignEngines

#: Tries to look at a container that is started anew meanwhile.
_ATTEMPTS = 3


class ForeignTargets:
    """Finds what stands behind ``pid:``, ``netns:``, ``docker:`` and ``podman:``."""

    def __init__(self, kernel: Kernel, engines: ForeignEngines) -> None:
        self._kernel = kernel
        self._engines = engines

    async def complete(self, command: Command) -> Command:
        """The command with what was found at its target, if it names one. Raises what ``find`` raises; a disconnect
        goes on without when the target is gone."""
        if not isinstance(command, ConnectNetwork | DisconnectNetwork) or command.foreign is not None:
            return command
        target = parse(command.container)
        if target is None:
            return command
        try:
            return replace(command, foreign=await self.find(target))
        except (NotFound, Conflict, Unavailable):
            if isinstance(command, DisconnectNetwork):
                return command
            raise

    async def find(self, target: Target) -> Foreign:
        """The namespace of a target. Raises ``NotFound``, ``Invalid`` for the host's own or what is none, ``Conflict``
        for a container that does not run, ``Unavailable`` when its engine does not answer."""
        if target.kind in ("pid", "netns"):
            return _read(await self._kernel.find_foreign(str(target), pid=target.pid, path=target.path))
        pid = await self._engines.pid(target.kind, target.name)
        for _ in range(_ATTEMPTS):
            found = await self._kernel.find_foreign(str(target), pid=pid)
            # The number may have been another process's by the time we looked; then the engine says another one now.
            again = await self._engines.pid(target.kind, target.name)
            if again == pid:
                return _read(found)
            pid = again
        raise Conflict(f"{target} is started again and again", hint="try when it stays up", code=codes.TARGET_BUSY)


def _read(found: Found) -> Foreign:
    conf = resolvconf.parse(found.resolv_conf)
    ndots = resolvconf.ndots(conf.options)
    return replace(
        found.foreign,
        servers=conf.servers[:SERVERS_MAX],
        search=conf.search,
        ndots=resolvconf.NDOTS_DEFAULT if ndots is None else ndots,
    )
