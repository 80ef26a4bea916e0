"""A node in the program that uses it, as coroutines."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from fairlead.daemon.assembly import Assembly, NodeOptions, assemble
from fairlead.daemon.foreign import ForeignTargets
from fairlead.model import codes
from fairlead.model.commands import (
    Command,
    ConnectNetwork,
    CreateNetwork,
    CreateSandbox,
    DisconnectNetwork,
    RemoveNetwork,
    RemoveSandbox,
)
from fairlead.model.endpoint import Endpoint, EndpointSettings, PortRequest
from fairlead.model.errors import Internal, Invalid, Unavailable
from fairlead.model.network import Network, PoolRequest
from fairlead.model.sandbox import Sandbox, SandboxSettings
from fairlead.model.settings import Paths
from fairlead.model.state import bare_sandbox
from fairlead.model.target import Target
from fairlead.plan.objects import NOTHING
from fairlead.runtime.foreign import ForeignEngines

_R = TypeVar("_R", Network, Sandbox)


class AsyncNode:
    """One node of Fairlead in the network namespace of the thread that opens it, where no other (no daemon) may be.

    Use it as ``async with``. Without ``state_dir`` everything that it made is gone on exit; with one, records are kept
    there and what stands in Linux stays, for the next node that is given the same directory: it repairs what was damaged
    meanwhile and goes on. Every method raises ``NetError`` with nothing changed when it cannot do what it is asked.
    ``default_pools`` are (prefix, length of the subnets cut from it), instead of Docker's.
    """

    def __init__(
        self,
        state_dir: str = "",
        *,
        default_pools: Sequence[tuple[str, int]] = (),
        dns: Sequence[str] = (),
        resolv_conf: str = "/etc/resolv.conf",
    ) -> None:
        self._lasting = bool(state_dir)
        self._folder = str(Path(state_dir).absolute()) if state_dir else ""
        self._pools, self._dns, self._resolv_conf = tuple(default_pools), tuple(dns), resolv_conf
        self._stack = AsyncExitStack()
        self._assembly: Assembly | None = None

    async def __aenter__(self) -> AsyncNode:
        """Put the node together; raises ``Conflict`` when another uses the directory, ``Refused`` what Linux refuses."""
        if self._assembly is not None:
            raise Invalid("this node is open already", hint="make another one")
        folder = self._folder or tempfile.mkdtemp(prefix="fairlead-")
        try:
            self._assembly = await self._stack.enter_async_context(
                assemble(
                    NodeOptions(
                        paths=Paths(state=folder, run=f"{folder}/run"),
                        default_pools=self._pools,
                        resolv_conf=self._resolv_conf,
                        dns=self._dns,
                        default_bridge="",
                    )
                )
            )
        except BaseException:
            if not self._lasting:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        self._folder = folder
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the node; one without a directory of its own leaves nothing."""
        node, self._assembly = self._node, None
        try:
            if not self._lasting:
                await node.kernel.apply(dict.fromkeys(node.engine.plans(), NOTHING))
        finally:
            await self._stack.aclose()
            if not self._lasting:
                shutil.rmtree(self._folder, ignore_errors=True)

    def discard(self) -> None:
        """Let nothing stay on exit, the state directory included."""
        self._lasting = False

    @property
    def networks(self) -> tuple[Network, ...]:
        """Every network that was made here."""
        return tuple(network for network in self._node.engine.state.networks.values() if not network.predefined)

    @property
    def sandboxes(self) -> tuple[Sandbox, ...]:
        """Every sandbox."""
        return tuple(self._node.engine.state.bare_sandboxes.values())

    def endpoints(self, sandbox: str) -> tuple[Endpoint, ...]:
        """A sandbox's places in networks, in the order of joining; raises ``NotFound``."""
        state = self._node.engine.state
        return tuple(state.endpoints[endpoint_id] for endpoint_id in bare_sandbox(state, sandbox).endpoints)

    def path(self, sandbox: str) -> str:
        """The file that holds the sandbox's network namespace, as ``nsenter --net=`` and setns(2) take it."""
        found = bare_sandbox(self._node.engine.state, sandbox)
        return f"{self._folder}/run/netns/{found.netns}"

    async def create_network(
        self,
        name: str,
        *,
        subnets: Sequence[str] = (),
        ipv6: bool = False,
        internal: bool = False,
        driver: str = "bridge",
        options: Mapping[str, str] | None = None,
    ) -> Network:
        """Make a network; without ``subnets`` they are chosen. ``options`` are Docker's driver options."""
        pools = tuple(PoolRequest(subnet) for subnet in subnets)
        wanted = ipv6 or any(":" in subnet for subnet in subnets)
        return await self._made(
            CreateNetwork(name, driver, ipv6=wanted, internal=internal, pools=pools, options=dict(options or {})),
            Network,
        )

    async def delete_network(self, network: str) -> None:
        """Remove a network; raises ``Forbidden`` while somebody is in it."""
        await self._submit(RemoveNetwork(network))

    async def create_sandbox(
        self, name: str = "", *, namespace: str = "", pid: int = 0, dns: Sequence[str] = ()
    ) -> Sandbox:
        """Make a sandbox: in a new network namespace, or around the one at a path or of a process, which stays when the
        sandbox goes; the sandbox goes when such a namespace does. ``dns`` are servers to ask instead of the host's."""
        if namespace and pid:
            raise Invalid("a namespace and a process were given", hint="give one of them")
        foreign = None
        if namespace or pid:
            target = Target("netns", namespace) if namespace else Target("pid", str(pid))
            foreign = await ForeignTargets(self._node.kernel, ForeignEngines()).find(target)
        return await self._made(CreateSandbox(SandboxSettings(name, dns=tuple(dns)), foreign), Sandbox)

    async def delete_sandbox(self, sandbox: str) -> None:
        """Take a sandbox out of its networks and forget it; a namespace that it made ends when nobody is in it."""
        await self._submit(RemoveSandbox(sandbox))

    async def join(
        self,
        sandbox: str,
        network: str,
        *,
        ipv4: str = "",
        ipv6: str = "",
        mac: str = "",
        aliases: Sequence[str] = (),
        ifname: str = "",
        ports: Sequence[PortRequest] = (),
        gw_priority: int = 0,
    ) -> Endpoint:
        """Give a sandbox an interface in a network. Its name and ``aliases`` resolve for everybody in the network.
        ``ports`` of the sandbox are published on the host, through whichever network leads out."""
        named = {"com.docker.network.endpoint.ifname": ifname} if ifname else {}
        settings = EndpointSettings(ipv4, ipv6, (), tuple(aliases), (), mac, gw_priority, named)
        found = bare_sandbox(self._node.engine.state, sandbox)
        where = self._node.engine.state.network(network)
        await self._submit(ConnectNetwork(where.id, found.id, settings, SandboxSettings(ports=tuple(ports))))
        return next(one for one in self.endpoints(found.id) if one.network_id == where.id)

    async def leave(self, sandbox: str, network: str) -> None:
        """Take a sandbox out of a network."""
        found = bare_sandbox(self._node.engine.state, sandbox)
        await self._submit(DisconnectNetwork(network, found.id))

    def resolve(self, sandbox: str, name: str) -> tuple[str, ...]:
        """The addresses of a name as a program in the sandbox finds them in its networks; nobody outside is asked."""
        found = bare_sandbox(self._node.engine.state, sandbox)
        return self._node.resolvers.server.find(found.id, name)

    @property
    def _node(self) -> Assembly:
        if self._assembly is None:
            raise Unavailable("this node is not open", hint="use it within its `with` block")
        return self._assembly

    async def _submit(self, command: Command) -> object:
        return await self._node.carrier.submit(command)

    async def _made(self, command: Command, kind: type[_R]) -> _R:
        reply = await self._submit(command)
        if not isinstance(reply, kind):
            raise Internal(f"{type(command).__name__} was answered with {type(reply).__name__}", code=codes.FAULT)
        return reply
