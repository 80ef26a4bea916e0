"""What the kernel worker holds between changes: sockets, contexts, ports, trash. Used by one thread."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from fairlead.kernel import ipvs, netns
from fairlead.kernel.adoption import Adoptions
from fairlead.kernel.announce import Announcer
from fairlead.kernel.contexts import Contexts
from fairlead.kernel.netlink import Netlink
from fairlead.kernel.nft import Nft
from fairlead.kernel.ports import Holds
from fairlead.kernel.stale import StaleConnections
from fairlead.kernel.trash import Trash
from fairlead.kernel.watch import Listener
from fairlead.model.faults import Reach, pass_by


class Machine:
    """The node as one thread has it in hand. ``own_indices`` are those of links of ours in the node's own namespace;
    ``reach`` is told fault points."""

    def __init__(self, netns_dir: str, reach: Reach = pass_by) -> None:
        self.netns_dir = netns_dir
        self.reach = reach
        self.holds = Holds()
        self.trash = Trash(self.enter)
        self.announcer = Announcer()
        self.adoptions = Adoptions()
        self.stale = StaleConnections()
        self.contexts = Contexts()
        self.fading = ipvs.Fading(self.path)
        self.own_indices: set[int] = set()
        self.listener: Listener | None = None
        self._netlink: Netlink | None = None
        self._nft: Nft | None = None

    def path(self, ns: str) -> str:
        """Where a namespace is held; empty for the node's own."""
        return f"{self.netns_dir}/{ns}" if ns else ""

    @contextmanager
    def enter(self, ns: str) -> Iterator[Netlink]:
        """The thread is in the namespace, with a route socket there, until the block ends. Raises ``OSError``."""
        if not ns:
            if self._netlink is None:
                self._netlink = Netlink()
            yield self._netlink
            return
        with netns.inside(self.path(ns)), Netlink() as netlink:
            yield netlink

    @contextmanager
    def firewall(self, ns: str, *, keep: bool = False) -> Iterator[Nft]:
        """The thread is in the namespace, with a firewall context of it, until the block ends; with ``keep`` it will soon
        be wanted again. Raises ``OSError``."""
        if not ns:
            if self._nft is None:
                self._nft = Nft()
            yield self._nft
            return
        with self.contexts.use(ns, self.path(ns), keep=keep) as nft:
            yield nft

    def listen(self, ns: str) -> None:
        """Hear of damage in a sandbox, if anybody listens at all. What cannot be heard is found at the next start."""
        if self.listener is not None:
            with suppress(OSError):
                # the first socket that a process opens in a namespace has its own number as port (netlink(7))
                self.listener.open(ns, self.path(ns), os.getpid())

    def unlisten(self, ns: str) -> None:
        """Hear of a sandbox no more: it goes."""
        self.contexts.drop(ns)
        self.fading.drop(ns)
        if self.listener is not None:
            self.listener.forget(ns)

    def close(self) -> None:
        """Delete what waits and let everything go that ends with this process."""
        if self.listener is not None:
            self.listener.close()
        self.announcer.close()
        self.stale.flush()
        self.trash.purge()
        self.holds.release_all()
        if self._netlink is not None:
            self._netlink.close()
        if self._nft is not None:
            self._nft.close()
        self.contexts.close()
