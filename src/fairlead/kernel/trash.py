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
from collections import deque
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from socket import if_nametoindex

from fairlead.kernel import requests
from fairlead.kernel.netlink import Netlink
from fairlead.plan.objects import ALIAS_MARK, Bridge, Veth

#: Seconds without other work after which deletion begins.
IDLE_S = 0.1
#: Seconds between two slices in which other work may come in.
_PAUSE_S = 0.001
#: Links that may wait before a slice of them is deleted although there is other work.
WAITING_MAX = 256
#: Seconds after which a link is deleted however busy the node is, and seconds between two such slices: each holds up
#: other work for 20 to 50 ms. What waits is harmless, but its container sees it; to move it out of there takes the
#: kernel as long as to delete it (10 to 25 ms against 0.3 for making it harmless, measured).
WAITING_S = 1.0
_SPACING_S = 1.0
#: What is deleted at once, between two looks for other work: 64 pairs take the kernel about 40 ms. A bridge counts
#: as 32, since the kernel waits for each alone (rcu_barrier in br_multicast_dev_del): 100 at once took 1.8 s, measured.
SLICE = 64
_BRIDGE_WEIGHT = 32

Enter = Callable[[str], AbstractContextManager[Netlink]]


def trash_name() -> str:
    """A name that no other link has: 13 of the 15 characters that Linux allows, 40 random bits."""
    return f"fx-{secrets.token_hex(5)}"


@dataclass(slots=True)
class _Slot:
    """Links of one namespace in one interface group: what is deleted at once."""

    ns: str
    group: int
    since: float
    links: int = 0
    weight: int = 0


class Trash:
    """What waits for deletion. ``enter`` gives a netlink socket with the thread in a namespace."""

    def __init__(self, enter: Enter) -> None:
        self._enter = enter
        self._slots: deque[_Slot] = deque()
        self._next_group = 0
        self._draining = False
        self._last_slice = 0.0

    def __len__(self) -> int:
        return sum(slot.links for slot in self._slots)

    @property
    def urgent(self) -> bool:
        """Whether a slice should be deleted although there is other work."""
        if not self._slots:
            return False
        due = max(self._slots[0].since + WAITING_S, self._last_slice + _SPACING_S)
        return len(self) >= WAITING_MAX or time.monotonic() >= due

    def patience(self) -> float | None:
        """Seconds to wait for other work before ``purge_slice``; None when nothing waits. Once begun, slice follows
        slice until there is other work."""
        if not self._slots:
            return None
        draining, self._draining = self._draining, False
        return 0 if self.urgent else _PAUSE_S if draining else IDLE_S

    def slot(self, ns: str, *, bridge: bool = False) -> int:
        """The interface group that the next link of a namespace to be deleted belongs in."""
        last = self._slots[-1] if self._slots else None
        if last is None or last.ns != ns or last.weight >= SLICE:
            groups = requests.TRASH_GROUPS
            last = _Slot(ns, groups[self._next_group % len(groups)], time.monotonic())
            self._next_group += 1
            self._slots.append(last)
        last.links += 1
        last.weight += _BRIDGE_WEIGHT if bridge else 1
        return last.group

    def take(self, links: Collection[Bridge | Veth], dead: Collection[str]) -> None:
        """Make links harmless and forget their names. Those of namespaces that are about to be dropped (``dead``) go
        with them. Links that are gone already are nothing. Raises ``OSError``."""
        doomed: dict[str, list[tuple[str, str, str]]] = {}
        for link in links:
            ends = [(link.ns, link.name, link.alias)]
            if isinstance(link, Veth):
                ends.append((link.peer_ns, link.peer, link.alias + requests.PEER_SUFFIX))
            kind = "bridge" if isinstance(link, Bridge) else "veth"
            for ns, name, alias in ends:
                if ns not in dead:
                    doomed.setdefault(ns, []).append((name, alias or ALIAS_MARK, kind))
                    kind = ""  # deleting one end deletes the other
        for ns, names in doomed.items():
            try:
                self._discard(ns, names)
            except FileNotFoundError:
                continue  # the namespace is gone, and its links with it

    def _discard(self, ns: str, names: list[tuple[str, str, str]]) -> None:
        with self._enter(ns) as netlink:
            batch: list[bytearray] = []
            for name, alias, kind in names:
                try:
                    index = if_nametoindex(name)
                except OSError:
                    continue
                group = self.slot(ns, bridge=kind == "bridge") if kind else 0
                batch += [requests.lower(index), requests.discard(index, trash_name(), alias, group)]
            for fault in netlink.request(batch):
                if fault is not None and fault.code != errno.ENODEV:
                    raise OSError(fault.code, fault.text or os.strerror(fault.code))

    def purge_slice(self) -> None:
        """Delete what has waited longest. A namespace or group that is gone is nothing to do; what the kernel will not
        delete now stays harmless, and the next repair tries again."""
        if not self._slots:
            return
        slot = self._slots.popleft()
        self._draining = bool(self._slots)
        with suppress(OSError), self._enter(slot.ns) as netlink:
            netlink.request([requests.delete_group(slot.group)])
        self._last_slice = time.monotonic()

    def purge(self) -> None:
        """Delete everything that waits."""
        while self._slots:
            self.purge_slice()
