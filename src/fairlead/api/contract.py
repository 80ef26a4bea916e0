"""What the API server needs of a node: asked of the daemon, which alone knows all rooms."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from fairlead.api.contract_balance import BalanceView
from fairlead.api.contract_containers import Files, Images, Meters, Volumes
from fairlead.api.contract_encryption import EncryptionView
from fairlead.api.contract_gossip import GossipView
from fairlead.api.contract_http_mesh import HttpMeshView
from fairlead.api.contract_swarm import Swarm
from fairlead.model.commands import Command
from fairlead.model.events import Notice
from fairlead.model.runspec import ExecSpec, LogLine
from fairlead.model.state import State


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What ``info`` and ``version`` tell: collected once at start."""

    id: str
    hostname: str
    kernel: str
    operating_system: str
    architecture: str
    cpus: int
    memory_bytes: int
    started: float
    pid: int
    default_pools: tuple[tuple[str, int], ...]
    drivers: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    #: Controllers of control groups that the kernel has: what containers can be limited in.
    controllers: frozenset[str] = frozenset()
    #: ``1``, or ``2`` where there is the unified hierarchy only: there containers see control groups of their own
    #: unless they ask for the host's (Docker).
    cgroup_version: str = "1"


class Stream(Protocol):
    """A running exec or attach: bytes both ways."""

    tty: bool

    async def read(self) -> tuple[str, bytes] | None:
        """The next piece as (``stdout`` or ``stderr``, bytes); None when the command has ended."""

    async def write(self, data: bytes) -> None:
        """Bytes for standard input."""

    async def close_stdin(self) -> None:
        """End of standard input."""

    async def close(self) -> None:
        """Let go; the command goes on if it can."""


class Preview(Protocol):
    """Tells what a command would do."""

    async def __call__(self, command: Command, /, *, start: bool) -> list[str]:
        """Lines for people, with ``start`` also of starting the container that it makes; raises as ``submit`` does."""


class Firewall(Protocol):
    """The node's firewall, among those of others."""

    @property
    def driver(self) -> str:
        """Docker's word for what it is made of."""

    @property
    def asks(self) -> bool:
        """Whether the host's own filters decide about published ports."""

    def rows(self) -> list[tuple[str, str]]:
        """What ``info`` tells of it, by name."""

    def warnings(self) -> tuple[str, ...]:
        """What an operator should do."""


class Notices(Protocol):
    """What happens on a node."""

    def tell(self, kind: str, action: str, identifier: str, attributes: Mapping[str, str]) -> None:
        """Something has happened now: Docker's type, action, id and attributes."""

    def subscribe(self, since: float | None) -> AsyncIterator[Notice]:
        """Notices from this call on (after those kept since ``since``), until the caller stops iterating or is too far
        behind."""


class Usage(Protocol):
    """What containers take of the disk or of memory that stands for one."""

    def container_bytes(self, container_id: str) -> int:
        """Bytes of what a container has written into its root file system."""


class Node(Protocol):
    """A node as the API sees it."""

    state: State
    notices: Notices
    firewall: Firewall
    usage: Usage
    preview: Preview
    files: Files
    volumes: Volumes
    images: Images
    meters: Meters
    swarm: Swarm
    gossip: GossipView
    http_mesh: HttpMeshView
    balance: BalanceView
    encryption: EncryptionView

    @property
    def facts(self) -> NodeFacts:
        """What ``info`` tells of this machine."""

    async def submit(self, command: Command) -> object:
        """Carry a command out; returns its answer or raises ``NetError``."""

    def pool_usage(self, network_id: str) -> dict[str, tuple[int, int]]:
        """Subnet -> (addresses in use, addresses that automatic choice can still take)."""

    async def wait(self, container: str, condition: str) -> int:
        """Exit code of a container once ``condition`` holds (``not-running``, ``next-exit`` or ``removed``)."""

    def logs(self, container: str, *, follow: bool, tail: int | None, since: float | None) -> AsyncIterator[LogLine]:
        """Output of a container; with ``follow`` until it ends."""

    async def attach(self, container: str) -> Stream:
        """Join the standard streams of a container that runs or is about to."""

    def exec_create(self, container: str, spec: ExecSpec) -> str:
        """Note a command to run in a running container; returns its id."""

    async def exec_start(self, exec_id: str) -> Stream:
        """Start it."""

    def exec_inspect(self, exec_id: str) -> dict[str, object]:
        """``ID``, ``ContainerID``, ``Running``, ``ExitCode``, ``Pid`` of an exec, by Docker's names."""

    async def exec_resize(self, exec_id: str, height: int, width: int) -> None:
        """Tell a terminal's size."""

    async def resize(self, container: str, height: int, width: int) -> None:
        """Tell the size of a container's terminal."""
