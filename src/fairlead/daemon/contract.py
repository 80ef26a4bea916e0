"""What carrying outcomes out needs of the edges; the real ones and the fakes fit."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from fairlead.discovery.aio import DnsServer
from fairlead.engine.outcome import (
    CloseResolver,
    JoinScope,
    LeaveScope,
    OpenResolver,
    Publish,
    PublishNames,
    Retract,
    RetractNames,
)
from fairlead.model import codes
from fairlead.model.errors import Unavailable
from fairlead.model.runspec import RunSpec
from fairlead.model.state import Change
from fairlead.model.target import Foreign
from fairlead.plan.objects import Plan


class Kernel(Protocol):
    """Linux's networking."""

    async def apply(self, plans: dict[str, Plan]) -> None:
        """Make Linux what the plans say, or raise ``NetError`` with nothing changed."""

    async def repair(self, plans: dict[str, Plan]) -> list[str]:
        """Make Linux what these plans say and nothing else; what was done, in words."""


class Store(Protocol):
    """The records on disk."""

    async def write(self, changes: tuple[Change, ...]) -> None:
        """Return once the changes are on disk."""


class Resolvers(Protocol):
    """Opens and closes the name servers of sandboxes."""

    server: DnsServer

    async def open(self, message: OpenResolver) -> None:
        """Serve names in a sandbox, or change what is served."""

    async def close(self, message: CloseResolver) -> None:
        """Serve names there no more."""


class Containers(Protocol):
    """Processes in sandboxes."""

    async def start(self, spec: RunSpec) -> tuple[int, int]:
        """Start a container: (its process id, its monitor's). Raises ``NetError`` with nothing left of it."""

    async def signal(self, container_id: str, name: str) -> None:
        """Send a signal to the first process; raises ``NetError`` when it does not run."""

    async def release(self, container_id: str) -> None:
        """Give back what only a running container needs."""

    async def remove(self, container_id: str) -> None:
        """Leave nothing of a container."""

    def watch(self, container_id: str, monitor_pid: int, on_exit: Callable[[int, float], None]) -> None:
        """Call back once with exit code and epoch seconds when it has ended."""

    def oom_killed(self, container_id: str) -> bool:
        """Whether the kernel killed in its last run for want of memory."""

    async def suspend(self, container_id: str, *, resume: bool) -> None:
        """Stop its clock, or let it go on; raises ``NetError``."""

    async def probe(self, container_id: str, words: tuple[str, ...], timeout_s: float) -> tuple[int, str]:
        """Run a health command: exit code (-1: too long) and output. Raises ``NetError``."""

    async def drop_volume(self, name: str) -> None:
        """Remove a volume; raises ``NotFound``."""


class Namespaces(Protocol):
    """Word of the end of namespaces that others made."""

    def watch(self, sandbox_id: str, foreign: Foreign, gone: Callable[[], None]) -> None:
        """Call back once when nothing but us holds it."""

    def forget(self, sandbox_id: str) -> None:
        """Call back no more."""


#: What the engine wants said to the other nodes.
Scoped = JoinScope | LeaveScope | Publish | PublishNames | Retract | RetractNames


class Scopes(Protocol):
    """What this node says to the others of the cluster's networks."""

    def tell(self, message: Scoped) -> None:
        """Have it said, or said no more."""

    async def followed(self, networks: Collection[str]) -> None:
        """Return when every living node that takes part in these networks does all that was said there until now: its
        tables lead nobody elsewhere. At once when there is nobody."""


class Leases(Protocol):
    """Who gets addresses of the cluster's networks."""

    async def want(self, network_id: str, count: int, address: str) -> None:
        """Get ``count`` leases more of a network, or that of an address; raises ``NetError``."""

    async def admit(self, network: str, *, own: bool = False) -> bool:
        """Take part in a network that the cluster may have (by id, name or id prefix), with ``own`` as the node itself;
        False when there is nobody to ask. Raises what a manager says."""

    def changed(self) -> None:
        """What is leased is used in another way now."""


class Crews(Protocol):
    """Who leads requests to the tasks of services."""

    async def crew(self, network_id: str, service_id: str) -> None:
        """The ready tasks of a service in a network are others. Returns when no new request goes to those that left, or
        after a moment in which that could not be done."""


class NoCluster:
    """``Scopes``, ``Leases`` and ``Crews`` of a node in no cluster."""

    def tell(self, message: Scoped) -> None:
        """Nobody hears it."""

    async def followed(self, networks: Collection[str]) -> None:
        """Nobody is to follow anything."""

    async def want(self, network_id: str, count: int, address: str) -> None:
        """Raises ``Unavailable``."""
        raise Unavailable(
            "This node is not part of a swarm",
            hint="`fairlead swarm join` makes it a member again",
            code=codes.NOT_IN_SWARM,
        )

    async def admit(self, network: str, *, own: bool = False) -> bool:
        """Nobody to ask."""
        return False

    def changed(self) -> None:
        """Nobody cares."""

    async def crew(self, network_id: str, service_id: str) -> None:
        """Nobody leads any."""


class NoContainers:
    """``Containers`` of a node without a runtime: sandboxes are of others' making, none is started here."""

    async def start(self, spec: RunSpec) -> tuple[int, int]:
        """Raises ``Unavailable``."""
        raise Unavailable(
            f"container {spec.container_id[:12]}: this node has no runtime",
            hint="start the daemon",
            code=codes.PROGRAM_MISSING,
        )

    async def signal(self, container_id: str, name: str) -> None:
        """Raises ``Unavailable``."""
        raise Unavailable(
            f"container {container_id[:12]}: this node has no runtime",
            hint="start the daemon",
            code=codes.PROGRAM_MISSING,
        )

    async def release(self, container_id: str) -> None:
        """Nothing to give back."""

    async def remove(self, container_id: str) -> None:
        """Nothing to remove."""

    def watch(self, container_id: str, monitor_pid: int, on_exit: Callable[[int, float], None]) -> None:
        """Nobody to wait for."""

    def oom_killed(self, container_id: str) -> bool:
        """Nobody was."""
        return False

    async def suspend(self, container_id: str, *, resume: bool) -> None:
        """Raises ``Unavailable``."""
        raise Unavailable(
            f"container {container_id[:12]}: this node has no runtime",
            hint="start the daemon",
            code=codes.PROGRAM_MISSING,
        )

    async def probe(self, container_id: str, words: tuple[str, ...], timeout_s: float) -> tuple[int, str]:
        """Raises ``Unavailable``."""
        raise Unavailable(
            f"container {container_id[:12]}: this node has no runtime",
            hint="start the daemon",
            code=codes.PROGRAM_MISSING,
        )

    async def drop_volume(self, name: str) -> None:
        """Nothing to remove."""
