"""What this node encrypts tunnels with: whether its kernel can, what it drew for its present life, and the keys.

A life is as long as the kernel's states, which outlive the daemon: sequence numbers go on, so nobody notices a restart. When
states may have been lost (the machine was started anew, a stranger took them away) another life begins: the node draws anew,
its card tells all others, and with that all keys to and from it are other ones. No key is ever used again from the beginning.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol

from fairlead.daemon.cluster import keepsake
from fairlead.daemon.cluster.contract import Place
from fairlead.drivers.overlay.encryption import spi
from fairlead.kernel.ipsec import Mended
from fairlead.model.cluster import Key, Ring, Station
from fairlead.model.errors import NetError
from fairlead.model.events import Event, TunnelSecrets
from fairlead.model.session import HeldKeys

log = logging.getLogger(__name__)

#: What the node drew for its present life, in its folder of the cluster.
LIFE_FILE = "tunnel-life"
#: Bytes that are drawn: two lives of a cluster never have the same.
_NONCE_BYTES = 16
#: Seconds that a key which nobody uses any more goes on to open what comes: packets may be held up in a queue, or on a virtual
#: processor that does not run. And how many of those there are at most, when keys go round faster than that.
LINGER_S, LINGER_MAX = 10.0, 2
#: Seconds between two looks at what stands in the kernel. Clear packets are dropped whatever stands there.
CHECK_S = 10.0


class Ipsec(Protocol):
    """The kernel's part; ``kernel.ipsec`` is the real one."""

    async def fault(self, *, v6: bool) -> str:
        """Why this node cannot encrypt to nodes with addresses of this family; empty if it can."""

    async def stands(self) -> bool:
        """Whether states of an earlier life of the daemon are intact."""

    async def mend(self) -> Mended:
        """Put right what strangers changed."""


class Encryption:
    """One of a member. ``feed`` tells the engine, ``say`` the other nodes (by gossip); ``others`` are those that are known.
    ``changed`` is awaited when what ``fault`` or ``held`` say has changed by itself."""

    def __init__(
        self,
        place: Place,
        ipsec: Ipsec,
        feed: Callable[[Event], Awaitable[None]],
        say: Callable[[Station], None],
        others: Mapping[str, Station],
        changed: Callable[[], Awaitable[None]],
    ) -> None:
        self._place = place
        self._ipsec = ipsec
        self._feed = feed
        self._say = say
        self._others = others
        self._changed = changed
        self._path = Path(place.folder) / LIFE_FILE
        self._nonce = ""
        self._ring = Ring()
        #: Keys that have left the ring, and until when (the loop's time) they open.
        self._former: dict[Key, float] = {}
        self._one_at_a_time = asyncio.Lock()
        #: Why this node cannot be in encrypted networks; empty: it can.
        self.fault = TunnelSecrets().fault
        #: The keys that are in use.
        self.held = HeldKeys()

    async def start(self, ring: Ring | None) -> None:
        """Go on with the life of before if what was encrypted with stands, and with the keys of before."""
        await self._look()
        await self.use(ring or Ring())

    async def use(self, ring: Ring) -> None:
        """Hold these keys, and use the primary one. ``held`` says afterwards whether the kernel took them."""
        async with self._one_at_a_time:
            until = asyncio.get_running_loop().time() + LINGER_S
            self._former |= {key: until for key in self._ring.keys if key not in ring.keys}
            self._former = dict(sorted(self._former.items(), key=lambda item: item[0].tag)[-LINGER_MAX:])
            self._ring = ring
            if self._collides():
                self._draw()
            await self._tell()
            await self._settle()

    async def leave(self) -> None:
        """The node leaves its cluster: nothing is encrypted any more, and the next cluster begins with another life."""
        async with self._one_at_a_time:
            self._nonce, self._ring, self._former = "", Ring(), {}
            await asyncio.to_thread(self._path.unlink, missing_ok=True)
            self._say(self._own)
            await self._feed(TunnelSecrets())

    async def watch(self) -> None:
        """Look after it for ever."""
        while True:
            await asyncio.sleep(CHECK_S)
            await self._check()

    async def _check(self) -> None:
        async with self._one_at_a_time:
            before = self.fault, self.held
            if self.fault:
                await self._look()
                if not self.fault:
                    await self._tell()
            await self._let_go()
            await self._settle()
            if self._collides():
                self._draw()
                await self._tell()
        if before != (self.fault, self.held):
            await self._changed()

    async def _let_go(self) -> None:
        """Former keys open no more once their time is over."""
        now = asyncio.get_running_loop().time()
        kept = {key: until for key, until in self._former.items() if until > now}
        if kept != self._former:
            self._former = kept
            await self._tell()

    async def _look(self) -> None:
        """Find out whether this node can encrypt, and begin to if it can."""
        before = self.fault
        try:
            self.fault = await self._ipsec.fault(v6=":" in self._place.data_path)
            if not self.fault:
                await self._live()
        except NetError as error:
            self.fault = error.message
        if self.fault and self.fault != before:
            log.info("this node cannot be in encrypted networks: %s", self.fault)

    async def _live(self) -> None:
        """Go on with the life of before, if what it sends with stands, or begin another."""
        kept = await asyncio.to_thread(keepsake.read, self._path)
        if kept is not None and kept.isalnum() and await self._ipsec.stands():
            self._nonce = kept.decode()
            self._say(self._own)
        else:
            self._draw()

    def _draw(self) -> None:
        """Begin another life."""
        self._nonce = secrets.token_hex(_NONCE_BYTES)
        keepsake.write(self._path, self._nonce.encode())
        self._say(self._own)

    @property
    def _own(self) -> Station:
        return Station(self._place.node_id, self._place.data_path, self._nonce)

    async def _tell(self) -> None:
        ring = Ring((*self._ring.keys, *self._former), self._ring.primary)
        await self._feed(TunnelSecrets(self._own, ring, self.fault))

    async def _settle(self) -> None:
        """See that the kernel has it all; begin another life if something that was sent with has gone."""
        try:
            found = await self._ipsec.mend()
            for words in found.words:
                log.warning("encryption between nodes: %s", words)
            if found.lost:
                self._draw()
                await self._tell()
                found = await self._ipsec.mend()
        except NetError as error:
            log.error("encryption between nodes cannot be looked after: %s", error)
            return
        failed = found.lost or any(words.startswith("could not") for words in found.words)
        if not failed:
            self.held = HeldKeys(tuple(sorted(key.tag for key in self._ring.keys)), self._ring.primary)

    def _collides(self) -> bool:
        """Whether two nodes would be known here by the same number: what this node draws decides about it, too."""
        if not self._nonce:
            return False
        own = self._own
        numbers = Counter(spi(key, other, own) for key in self._ring.keys for other in self._others.values())
        return any(count > 1 for count in numbers.values())
