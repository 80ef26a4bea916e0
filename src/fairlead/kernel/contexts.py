"""Firewall contexts of sandboxes, kept for the next change: making one and letting it go costs more than what is done with
it, and a second change at once waits for 20 ms until the first one's is closed."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from fairlead.kernel import netns
from fairlead.kernel.nft import Nft

#: Contexts that are kept at most; the one that was not used for longest goes. Each has a descriptor below 1,024, of which
#: there are few, and 150 KiB (measured).
KEPT_MAX = 256
#: Sockets that are closed at once. All wait for the same grace period of the kernel (RCU): a restart with 200 sandboxes
#: took 3.4 s with one after the other and takes 0.4 s so, measured.
_CLOSERS = 16


class Contexts:
    """Used by one thread. A context holds its namespace, so it is dropped before that goes."""

    def __init__(self) -> None:
        #: Namespace -> its inode, by which another one of the same name is told, and the context.
        self._kept: OrderedDict[str, tuple[int, Nft]] = OrderedDict()
        self._closers = ThreadPoolExecutor(_CLOSERS, thread_name_prefix="fairlead-nft-close")

    def __contains__(self, ns: str) -> bool:
        """Whether one is kept for a namespace."""
        return ns in self._kept

    @contextmanager
    def use(self, ns: str, path: str, *, keep: bool) -> Iterator[Nft]:
        """The thread is in the namespace ``ns``, held at ``path``, with a context of it, until the block ends; one that
        was not kept yet is afterwards, if asked to (``keep``) and nothing went wrong. Raises ``OSError``."""
        inode, nft = self._take(ns, path)
        keep, sound = keep or nft is not None, False
        try:
            # the library may make itself a new socket, so the thread is in there also with a context that was kept
            with netns.inside(path):
                nft = nft or Nft()
                yield nft
                if keep:
                    nft.forget()
            sound = True
        finally:
            # out here: a thread that is started to close something must not be one of the sandbox, which would live as long
            if nft is not None and sound and keep and Nft.has_spares():
                self._kept[ns] = (inode, nft)
                self._shrink(KEPT_MAX)
            elif nft is not None:
                self._free(nft)

    def drop(self, ns: str) -> None:
        """Let go of a namespace."""
        _, nft = self._kept.pop(ns, (0, None))
        if nft is not None:
            self._free(nft)

    def close(self) -> None:
        """Let everything go."""
        self._shrink(0)
        self._closers.shutdown()

    def _take(self, ns: str, path: str) -> tuple[int, Nft | None]:
        try:
            inode = os.stat(path).st_ino
        except OSError:
            self.drop(ns)
            raise
        if self._kept.get(ns, (inode, None))[0] != inode:
            self.drop(ns)
        return inode, self._kept.pop(ns, (0, None))[1]

    def _shrink(self, size: int) -> None:
        while len(self._kept) > size:
            self._free(self._kept.popitem(last=False)[1][1])

    def _free(self, nft: Nft) -> None:
        left = nft.free()
        if left >= 0:
            self._closers.submit(os.close, left)
