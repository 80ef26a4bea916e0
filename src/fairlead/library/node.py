"""A node in the program that uses it, as plain calls: an ``AsyncNode`` on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

from fairlead.library.asynchronous import AsyncNode
from fairlead.model.addresses import bare
from fairlead.model.endpoint import Endpoint, PortBinding, PortRequest
from fairlead.model.errors import NotFound, Unavailable
from fairlead.model.network import Network
from fairlead.model.sandbox import Sandbox

_R = TypeVar("_R")


class _Running:
    """An ``AsyncNode`` that is open on an event loop in a thread of its own, which inherits the caller's namespace."""

    def __init__(self, node: AsyncNode) -> None:
        self.node = node
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fairlead-node", daemon=True)
        self._thread.start()
        self._open = True
        try:
            self.call(node.__aenter__())
        except BaseException:
            self._end()
            raise

    def call(self, work: Coroutine[object, object, _R]) -> _R:
        """Run a coroutine to its end."""
        if not self._open:
            work.close()
            raise Unavailable("this node is closed", hint="open another one")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def now(self, question: Callable[[], _R]) -> _R:
        """An answer out of the records, which belong to the loop's thread."""

        async def ask() -> _R:
            return question()

        return self.call(ask())

    def close(self) -> None:
        """Close the node and end the thread; twice is nothing."""
        if self._open:
            try:
                self.call(self.node.__aexit__(None, None, None))
            finally:
                self._end()

    def _end(self) -> None:
        self._open = False
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Node:
    """One node of Fairlead in the network namespace of the calling thread, where no other (no daemon) may be; what
    ``AsyncNode`` says of itself holds here. Open from its making to ``close``, or as a ``with`` block. Calls may come
    from any thread."""

    def __init__(
        self,
        state_dir: str = "",
        *,
        default_pools: Sequence[tuple[str, int]] = (),
        dns: Sequence[str] = (),
        resolv_conf: str = "/etc/resolv.conf",
    ) -> None:
        inner = AsyncNode(state_dir, default_pools=default_pools, dns=dns, resolv_conf=resolv_conf)
        self._running = _Running(inner)

    def __enter__(self) -> Node:
        """The node itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Let go of the node; without a state directory nothing of it is left. Closing twice is nothing."""
        self._running.close()

    def discard(self) -> None:
        """See ``AsyncNode.discard``."""
        self._running.now(self._running.node.discard)

    def network(
        self,
        name: str,
        *,
        subnets: Sequence[str] = (),
        ipv6: bool = False,
        internal: bool = False,
        driver: str = "bridge",
        options: Mapping[str, str] | None = None,
    ) -> LiveNetwork:
        """Make a network, see ``AsyncNode.create_network``."""
        made = self._running.call(
            self._running.node.create_network(
                name, subnets=subnets, ipv6=ipv6, internal=internal, driver=driver, options=options
            )
        )
        return LiveNetwork(self._running, made)

    def sandbox(self, name: str = "", *, namespace: str = "", pid: int = 0, dns: Sequence[str] = ()) -> LiveSandbox:
        """Make a sandbox, see ``AsyncNode.create_sandbox``."""
        made = self._running.call(self._running.node.create_sandbox(name, namespace=namespace, pid=pid, dns=dns))
        return LiveSandbox(self._running, made)

    @property
    def networks(self) -> dict[str, LiveNetwork]:
        """Every network that was made here, by name."""
        return {
            network.name: LiveNetwork(self._running, network)
            for network in self._running.now(lambda: self._running.node.networks)
        }

    @property
    def sandboxes(self) -> dict[str, LiveSandbox]:
        """Every sandbox, by name."""
        return {
            sandbox.name: LiveSandbox(self._running, sandbox)
            for sandbox in self._running.now(lambda: self._running.node.sandboxes)
        }


@dataclass(frozen=True, slots=True)
class LiveNetwork:
    """A network of a node. ``record`` is what it was made as."""

    _running: _Running
    record: Network

    @property
    def name(self) -> str:
        """Its name."""
        return self.record.name

    @property
    def subnets(self) -> tuple[str, ...]:
        """Its subnets, given or chosen."""
        return tuple(pool.subnet for pool in self.record.pools)

    def delete(self) -> None:
        """Remove it; raises ``Forbidden`` while somebody is in it."""
        self._running.call(self._running.node.delete_network(self.record.id))


@dataclass(frozen=True, slots=True)
class LiveSandbox:
    """A sandbox of a node. ``record`` is what it was made as."""

    _running: _Running
    record: Sandbox

    @property
    def name(self) -> str:
        """Its name, by which it resolves in its networks."""
        return self.record.name

    @property
    def path(self) -> str:
        """The file that holds its network namespace, as ``nsenter --net=`` and setns(2) take it."""
        return self._running.now(lambda: self._running.node.path(self.record.id))

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Its places in networks, in the order of joining."""
        return self._running.now(lambda: self._running.node.endpoints(self.record.id))

    @property
    def published(self) -> tuple[PortBinding, ...]:
        """The ports that are published on the host now."""
        return tuple(binding for endpoint in self.endpoints for binding in endpoint.bindings)

    def join(
        self,
        network: LiveNetwork | str,
        *,
        ipv4: str = "",
        ipv6: str = "",
        mac: str = "",
        aliases: Sequence[str] = (),
        ifname: str = "",
        ports: Sequence[PortRequest] = (),
        gw_priority: int = 0,
    ) -> Endpoint:
        """Give it an interface in a network, see ``AsyncNode.join``."""
        return self._running.call(
            self._running.node.join(
                self.record.id,
                _named(network),
                ipv4=ipv4,
                ipv6=ipv6,
                mac=mac,
                aliases=aliases,
                ifname=ifname,
                ports=ports,
                gw_priority=gw_priority,
            )
        )

    def leave(self, network: LiveNetwork | str) -> None:
        """Take it out of a network."""
        self._running.call(self._running.node.leave(self.record.id, _named(network)))

    def resolve(self, name: str) -> tuple[str, ...]:
        """The addresses of a name as a program in it finds them in its networks, IPv4 first; empty if nobody has it."""
        return self._running.now(lambda: self._running.node.resolve(self.record.id, name))

    def address(self, network: LiveNetwork | str, *, v6: bool = False) -> str:
        """Its address in a network, empty without one of the family; raises ``NotFound`` when it is not in it."""
        named = _named(network)
        wanted = {
            one.id for one in self._running.now(lambda: self._running.node.networks) if named in (one.id, one.name)
        }
        for endpoint in self.endpoints:
            if endpoint.network_id in wanted:
                return bare(endpoint.ipv6 if v6 else endpoint.ipv4)
        raise NotFound(f"sandbox {self.name} is not in network {named}", hint="let it join first")

    def delete(self) -> None:
        """Take it out of its networks and forget it; a namespace that was there before stays."""
        self._running.call(self._running.node.delete_sandbox(self.record.id))


def _named(network: LiveNetwork | str) -> str:
    return network if isinstance(network, str) else network.record.id
