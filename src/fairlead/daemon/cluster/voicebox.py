"""The gossip core in its own thread, and the ways to it and from it for the event loop."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeVar

from fairlead.gossip.aio import GossipServer, Loop, listen
from fairlead.gossip.contract import Event, GossipSettings, Wish, Written
from fairlead.gossip.gossip import Gossip
from fairlead.gossip.identity import Address, Identity
from fairlead.gossip.keyring import Keyring
from fairlead.gossip.views import CLUSTER
from fairlead.model import codes
from fairlead.model.errors import Unavailable

_T = TypeVar("_T")

#: Seconds after which a node that none of those it knows has answered takes itself for the only one: they may be gone for
#: good, and its addresses would never be free again. It is long enough for the others' daemons to start with it.
ALONE_S = 30.0
#: Seconds that ending waits for the thread; it only ever waits in epoll, so this is a bug's limit.
JOIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Start:
    """How a core begins. ``listen`` is where it listens, ``advertise`` what it tells others; ``seeds`` are members that it
    may know."""

    identity: Identity
    epoch: int
    listen: Address
    advertise: Address
    keyring: Keyring
    settings: GossipSettings
    seeds: tuple[Address, ...] = ()


class Core(Gossip):
    """A core that calls back when what was written has come to all."""

    def __init__(self, start: Start, now: float) -> None:
        super().__init__(
            start.identity, start.epoch, start.advertise, start.keyring, start.settings, random.SystemRandom(), now
        )
        self._alone_at = now + ALONE_S
        #: Scope, and whether all are to do it and not only to hold it -> what is waited for there, the oldest first.
        self._awaited: dict[tuple[str, bool], list[tuple[Written, Callable[[], None]]]] = {}

    @property
    def waiting(self) -> int:
        """How many writes are waited for."""
        return sum(map(len, self._awaited.values()))

    def when_converged(self, written: Written, done: Callable[[], None], *, followed: bool = False) -> None:
        """Call back once, when every living member has confirmed a write (``followed``: does what was written); one in a
        network that has been left when all know that it is left."""
        if not self.takes_part(written.scope):
            written, followed = self.said_so_far(), False
        waiting = self._awaited.setdefault((written.scope, followed), [])
        waiting.append((written, done))
        waiting.sort(key=lambda entry: entry[0].seq)

    def detach(self, network: str, now: float) -> None:
        """As ever; what is waited for there goes on as ``when_converged`` says."""
        super().detach(network, now)
        for followed in (False, True):
            for written, done in self._awaited.pop((network, followed), []):
                self.when_converged(written, done)

    def takes_part(self, scope: str) -> bool:
        """Whether this node is in a network, or it is the cluster's scope."""
        return self.tables.counts(self.members.own, scope)

    def said_so_far(self, scope: str = CLUSTER) -> Written:
        """All that was said in a network, or in the cluster's scope, what is yet to be signed and sent included."""
        own = self.tables.own(scope)
        return Written(scope, self._epoch, own.seq + own.unsaid)

    def outgoing(self, now: float) -> list[Wish]:
        """As ever. It is asked for after all that may have brought a confirmation. Who has not joined yet does not know
        whose it needs, and waits a while before it believes that it needs nobody's."""
        wishes = super().outgoing(now)
        if not self._joined and now < self._alone_at:
            return wishes
        for (scope, followed), waiting in list(self._awaited.items()):
            reached = self.following.complete if followed else self.converged
            while waiting and reached(waiting[0][0]):
                waiting.pop(0)[1]()
            if not waiting:
                del self._awaited[scope, followed]
        return wishes


@dataclass(slots=True)
class _Heard:
    """What passes from the thread to the event loop."""

    events: deque[Event] = field(default_factory=deque)
    called: bool = False


class Voicebox:
    """One core that runs. ``heard`` is called in the event loop with what has happened, as much as has gathered."""

    def __init__(self, start: Start, heard: Callable[[list[Event]], None]) -> None:
        """Begin to listen; raises ``Unavailable``."""
        self._loop = asyncio.get_running_loop()
        self._heard_by = heard
        self._heard = _Heard()
        try:
            sockets = listen(start.listen)
        except OSError as error:
            raise Unavailable(
                f"cannot listen for other nodes at {start.listen} (TCP and UDP): {error.strerror}",
                hint="another program may have the port; `ss -lntup` shows who",
                code=codes.GOSSIP_PORT,
            ) from error
        self._turns = Loop()
        self.server = GossipServer(self._turns, Core(start, time.monotonic()), sockets, self._told)
        self._seeds = start.seeds
        self._thread = threading.Thread(target=self._turns.run, name="fairlead-gossip", daemon=True)

    def begin(self) -> None:
        """Speak."""
        self._turns.post(self.server.start)
        self.post(lambda core, now: core.join(self._seeds, now))
        self._thread.start()

    def post(self, command: Callable[[Core, float], _T]) -> Future[_T]:
        """Have the core do something, after all that it was told before."""
        return self.server.do(command)

    async def do(self, command: Callable[[Core, float], _T]) -> _T:
        """The same; what it returns or raises."""
        return await asyncio.wrap_future(self.post(command))

    async def converged(self, written: Written, *, followed: bool = False) -> None:
        """Return when every living member has confirmed a write (``followed``: does what was written)."""
        done: asyncio.Future[None] = self._loop.create_future()

        def call() -> None:
            self._loop.call_soon_threadsafe(_fulfil, done)

        await self.do(lambda core, _: core.when_converged(written, call, followed=followed))
        await done

    async def close(self, *, leave: bool) -> None:
        """End, with a farewell (``leave``) or without."""
        if leave:
            await self.do(lambda core, now: core.leave(now))
        self._turns.post(self.server.close)
        self._turns.stop()
        await asyncio.to_thread(self._thread.join, JOIN_S)

    def _told(self, event: Event) -> None:
        """In the thread of the core. The event loop is woken once for all that happens until it runs."""
        heard = self._heard
        heard.events.append(event)
        if not heard.called:
            heard.called = True
            self._loop.call_soon_threadsafe(self._hear)

    def _hear(self) -> None:
        self._heard.called = False
        events: list[Event] = []
        while self._heard.events:
            events.append(self._heard.events.popleft())
        self._heard_by(events)


def _fulfil(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
