"""Ready answers, keyed by all of a query but its id: most packets are answered by one dictionary look-up.

The key keeps case, flags and EDNS of the query, so a kept answer fits every later query with the same key. Entries of
one sandbox hold while the generations of its networks stand; ``refresh`` is called when the tables' epoch has moved.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat

from fairlead.discovery.names import Tables

#: Entries kept for one sandbox: 10,000 names asked for A and AAAA fit.
ENTRIES_MAX = 20_480
#: Entries kept for all sandboxes of a node, about 0.4 KB each: at most some 30 MB, however hard containers ask.
ENTRIES_TOTAL_MAX = 65_536

#: What a look-up falls back to: an iterator without items.
NOTHING: Iterator[bytes] = iter(())


class Shelf:
    """All caches of a node, so that their sum stays bounded."""

    def __init__(self, entries_max: int = ENTRIES_MAX, total_max: int = ENTRIES_TOTAL_MAX) -> None:
        self.entries_max = entries_max
        self.total_max = total_max
        self.total = 0
        self.caches: set[WireCache] = set()


class WireCache:
    """The answers of one sandbox. Reading is ``next(cache.entries.get(query[2:], NOTHING), None)``: None means that
    the answer must be made; an answer with several addresses is drawn in another order each time and runs out."""

    def __init__(self, tables: Tables, networks: tuple[str, ...], shelf: Shelf) -> None:
        self.entries: dict[bytes, Iterator[bytes]] = {}
        self.epoch = 0
        self._tables = tables
        self._networks = networks
        self._shelf = shelf
        self._generations: tuple[int, ...] = ()
        shelf.caches.add(self)

    def refresh(self) -> None:
        """Drop the entries if names in one of the networks have changed; they then hold for the present epoch."""
        epoch = self._tables.epoch
        generations = tuple([self._tables.generation(network) for network in self._networks])
        if generations != self._generations:
            self.clear()
            self._generations = generations
        self.epoch = epoch

    def keep(self, key: bytes, bodies: tuple[bytes, ...]) -> None:
        """Keep the answers to a query whose octets after the id are ``key``; the first of several is the caller's to use."""
        if len(self.entries) >= self._shelf.entries_max:
            self.clear()
        if self._shelf.total >= self._shelf.total_max:
            for cache in self._shelf.caches:
                cache.clear()
        if key not in self.entries:
            self._shelf.total += 1
        self.entries[key] = repeat(bodies[0]) if len(bodies) == 1 else iter(bodies[1:])

    def close(self) -> None:
        """Give the room back."""
        self.clear()
        self._shelf.caches.discard(self)

    def clear(self) -> None:
        """Drop all entries."""
        self._shelf.total -= len(self.entries)
        self.entries.clear()
