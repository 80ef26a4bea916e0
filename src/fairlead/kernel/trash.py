"""Links that are gone for everyone but the kernel, and their deletion in bulk.

Deleting a link makes the kernel wait, with the lock held that every change of links needs (19 ms for one, 40 ms for 50 in
one request, measured). So a deleted link is at once made harmless and put in a group of its own, and the group is
deleted when there is nothing else to do.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from socket import if_nametoindex

from fairlead.kernel import requests
from fairlead.kernel.netlink import Netlink
from fairlead.plan.objects import ALIAS_MARK, Bridge, Veth

#: Seconds without other work after which the group is deleted.
IDLE_S = 0.1
#: Links that may wait: deleting so many takes about 0.2 s.
WAITING_MAX = 256
#: Seconds that a link may wait at most, however busy the node is.
WAITING_S = 5.0

Enter = Callable[[str], AbstractContextManager[Netlink]]


def trash_name() -> str:
    """A name that no other link has: 13 of the 15 characters that Linux allows, 40 random bits."""
    return f"fx-{secrets.token_hex(5)}"


class Trash:
    """What waits for deletion. ``enter`` gives a netlink socket with the thread in a namespace."""

    def __init__(self, enter: Enter) -> None:
        self._enter = enter
        self._waiting: dict[str, int] = {}
        self._oldest = 0.0

    def __len__(self) -> int:
        return sum(self._waiting.values())

    @property
    def urgent(self) -> bool:
        """Whether the group should be deleted although there is other work."""
        return len(self) >= WAITING_MAX or (len(self) > 0 and time.monotonic() - self._oldest >= WAITING_S)

    def note(self, ns: str, count: int = 1) -> None:
        """Remember links in the trash group of a namespace."""
        if not self._waiting:
            self._oldest = time.monotonic()
        self._waiting[ns] = self._waiting.get(ns, 0) + count

    def take(self, links: Collection[Bridge | Veth], dead: Collection[str]) -> None:
        """Make links harmless and forget their names. Those of namespaces that are about to be dropped (``dead``) go
        with them. Links that are gone already are nothing. Raises ``OSError``."""
        doomed: dict[str, list[tuple[str, str, int]]] = {}
        for link in links:
            ends = [(link.ns, link.name, link.alias)]
            if isinstance(link, Veth):
                ends.append((link.peer_ns, link.peer, link.alias + requests.PEER_SUFFIX))
            group = requests.TRASH_GROUP
            for ns, name, alias in ends:
                if ns not in dead:
                    doomed.setdefault(ns, []).append((name, alias or ALIAS_MARK, group))
                    group = 0  # deleting one end deletes the other
        for ns, names in doomed.items():
            try:
                self._discard(ns, names)
            except FileNotFoundError:
                continue  # the namespace is gone, and its links with it

    def _discard(self, ns: str, names: list[tuple[str, str, int]]) -> None:
        with self._enter(ns) as netlink:
            batch: list[bytearray] = []
            for name, alias, group in names:
                try:
                    index = if_nametoindex(name)
                except OSError:
                    continue
                batch.append(requests.discard(index, trash_name(), alias, group=group))
                if group:
                    self.note(ns)
            for fault in netlink.request(batch):
                if fault is not None and fault.code != errno.ENODEV:
                    raise OSError(fault.code, fault.text or os.strerror(fault.code))

    def purge(self) -> None:
        """Delete everything that waits. A namespace or group that is gone is nothing to do; what the
        kernel will not delete now stays harmless, and the next repair tries again."""
        waiting, self._waiting = self._waiting, {}
        for ns in waiting:
            try:
                with self._enter(ns) as netlink:
                    netlink.request([requests.delete_group()])
            except OSError:
                continue
