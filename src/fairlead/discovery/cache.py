"""Ready answers, keyed by all of a query but its id: most packets are answered by one dictionary look-up.

The key keeps case, flags and EDNS of the query, so a kept answer fits every later query with the same key. Entries of
one sandbox hold while the generations of its networks stand; ``refresh`` is called when the tables' epoch has moved.
Replies from outside stand beside our own answers, for the sandbox that asked only and as long as their records say
(RFC 2181 section 8, RFC 2308 section 5); a name that a container takes meanwhile drops them too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat

from fairlead.discovery import wire
from fairlead.discovery.names import Tables

#: Entries kept for one sandbox: 10,000 names asked for A and AAAA fit.
ENTRIES_MAX = 20_480
#: Entries kept for all sandboxes of a node, about 0.4 KB each: at most some 30 MB, however hard containers ask.
ENTRIES_TOTAL_MAX = 65_536

#: Replies from outside kept for one sandbox; the oldest makes room.
REPLIES_MAX = 4096
#: Longest reply that is kept, in octets: with ``ENTRIES_TOTAL_MAX`` some 70 MB at most, if all sandboxes ask for such.
REPLY_SIZE_MAX = wire.UDP_SIZE
#: Longest time that a reply is kept, in seconds, whatever its records say: a mistake outside is over soon after it is
#: mended there, though nobody can empty this cache.
REPLY_AGE_MAX_S = 300

#: What a look-up falls back to: an iterator without items.
NOTHING: Iterator[bytes] = iter(())


class Fading:
    """A reply from outside, drawn for ever until its time is over; its records' times to live shrink meanwhile."""

    __slots__ = ("_age_s", "_body", "_born", "_clock", "_first", "_life")

    def __init__(self, body: bytes, life: wire.Life, clock: Callable[[], float]) -> None:
        self._first = self._body = body
        self._life, self._clock, self._born, self._age_s = life, clock, clock(), 0

    def __iter__(self) -> Fading:
        return self

    def __next__(self) -> bytes:
        age_s = int(self._clock() - self._born)
        if age_s != self._age_s:
            if age_s >= min(self._life.seconds, REPLY_AGE_MAX_S):
                raise StopIteration
            self._body, self._age_s = wire.aged(self._first, self._life, age_s), age_s
        return self._body


class Shelf:
    """All caches of a node, so that their sum stays bounded. ``clock`` gives monotonic seconds."""

    def __init__(
        self, clock: Callable[[], float], entries_max: int = ENTRIES_MAX, total_max: int = ENTRIES_TOTAL_MAX
    ) -> None:
        self.clock = clock
        self.entries_max = entries_max
        self.total_max = total_max
        self.total = 0
        self.caches: set[WireCache] = set()

    def make_room(self) -> None:
        """Whoever holds most loses it, when all hold too much: a sandbox that asks wildly does not cost the others."""
        if self.total >= self.total_max:
            max(self.caches, key=lambda cache: len(cache.entries)).clear()


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
        self._replies: dict[bytes, None] = {}
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
        self._put(key, repeat(bodies[0]) if len(bodies) == 1 else iter(bodies[1:]))

    def keep_reply(self, key: bytes, reply: bytes, end: int, epoch: int) -> None:
        """Keep a reply from outside, if it may be. ``end`` is where its question ends; ``epoch`` was the tables' when
        the query was sent out: if names have changed since, it might have to be answered by us now."""
        if epoch != self._tables.epoch or self not in self._shelf.caches or len(reply) > REPLY_SIZE_MAX:
            return
        life = wire.life(reply, end)
        if life is None:
            return
        while len(self._replies) >= REPLIES_MAX:
            oldest = next(iter(self._replies))
            del self._replies[oldest]
            self._drop(oldest)
        self._put(key, Fading(reply[2:], life, self._shelf.clock))
        self._replies[key] = None

    def close(self) -> None:
        """Give the room back; nothing is kept any more."""
        self.clear()
        self._shelf.caches.discard(self)

    def clear(self) -> None:
        """Drop all entries."""
        self._shelf.total -= len(self.entries)
        self.entries.clear()
        self._replies.clear()

    def _put(self, key: bytes, answers: Iterator[bytes]) -> None:
        if len(self.entries) >= self._shelf.entries_max:
            self.clear()
        self._shelf.make_room()
        if key not in self.entries:
            self._shelf.total += 1
        self.entries[key] = answers

    def _drop(self, key: bytes) -> None:
        if self.entries.pop(key, None) is not None:
            self._shelf.total -= 1
