"""A member's ways to its managers (``contract.Managers``): which there are, who leads, and the sessions with them."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Protocol

from fairlead.api.control_client import Manager, Stream
from fairlead.daemon.cluster import wire
from fairlead.daemon.cluster.control import SessionLine
from fairlead.model import codes
from fairlead.model.errors import Forbidden, Invalid, NetError, Unavailable
from fairlead.model.session import (
    Downward,
    Hello,
    LeaseWish,
    ManagerView,
    NetworkWish,
    TaskReport,
    Upward,
)

log = logging.getLogger(__name__)


class Line(Protocol):
    """Lines both ways."""

    def send(self, line: bytes) -> None:
        """Have a line sent; raises ``Unavailable``."""

    def lines(self) -> AsyncIterator[bytes]:
        """What comes, until the end."""

    async def close(self) -> None:
        """End it."""


class Nearby:
    """Lines to the brain in this process."""

    def __init__(self, line: SessionLine) -> None:
        self._line = line

    def send(self, line: bytes) -> None:
        """Have a line heard."""
        self._line.heard(line)

    def lines(self) -> AsyncIterator[bytes]:
        """What is said."""
        return self._line.lines()

    async def close(self) -> None:
        """End it."""
        self._line.ended()


class MemberSession:
    """One open session (``contract.Session``)."""

    def __init__(self, manager: str, line: Line, serves: Callable[[], str]) -> None:
        self.manager = manager
        self._line = line
        self._lines = line.lines()
        self._serves = serves
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[object]] = {}
        self._over = False

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._over

    async def send(self, message: Upward) -> None:
        """Tell the manager; raises ``Unavailable`` when the session is broken."""
        self._send(message, 0)

    async def ask(self, message: NetworkWish | LeaseWish | TaskReport) -> object:
        """Ask the manager and wait for its answer; raises what it refuses with."""
        number = next(self._numbers)
        asked: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._asked[number] = asked
        try:
            self._send(message, number)
            return await asked
        finally:
            self._asked.pop(number, None)

    async def receive(self) -> Downward | None:
        """What the manager says next; None when the session has ended."""
        while not self._over:
            line = await anext(self._lines, None)
            if line is None:
                break
            try:
                message, number = wire.read_downward(line)
            except Invalid as error:
                log.warning("the session with %s ends: %s", self.manager or "this manager", error)
                break
            if isinstance(message, Downward):
                return message
            self._answered(number, message)
        await self.close()
        return None

    async def close(self) -> None:
        """Let it go; who waits for an answer is told so."""
        if self._over:
            return
        self._over = True
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(_broken())
        await self._line.close()

    def _send(self, message: Upward, number: int) -> None:
        if self._over:
            raise _broken()
        if isinstance(message, Hello):
            message = replace(message, manager_address=self._serves())
        self._line.send(wire.upward(message, number))

    def _answered(self, number: int, message: object) -> None:
        asked = self._asked.get(number)
        if asked is None or asked.done():
            return
        if isinstance(message, NetError):
            asked.set_exception(message)
        else:
            asked.set_result(message)


class Roots(Protocol):
    """What a member does about its certificate."""

    def trust(self, roots: str) -> None:
        """These roots are the cluster's now."""

    def become(self, role: str, *, renew: bool) -> None:
        """This role is wanted."""

    def expelled(self) -> None:
        """The node is no member any more."""

    def met(self, managers: tuple[tuple[str, str], ...]) -> None:
        """These are the managers now, as (node id, host:port): to be kept."""


class Links:
    """Implements ``contract.Managers``. ``nearby`` opens a session with the brain in this process, None where it is
    elsewhere; ``dial`` makes a way to the manager at an address."""

    def __init__(
        self,
        member: Roots,
        nearby: Callable[[], SessionLine | None],
        dial: Callable[[str], Manager],
        serves: Callable[[], str],
        managers: tuple[tuple[str, str], ...],
    ) -> None:
        self._member = member
        self._nearby = nearby
        self._dial = dial
        self._serves = serves
        self._sessions: set[MemberSession] = set()
        self.managers = managers
        #: Where the leader answered last, empty before.
        self.leader = ""

    async def open(self) -> MemberSession:
        """A new session. Raises ``Unavailable`` when no manager answers, ``Forbidden`` when this node is no member any
        more."""
        line = self._nearby()
        if line is not None:
            return self._opened("", Nearby(line))
        failure: NetError | None = None
        for address in self.candidates():
            try:
                stream: Stream = await self._dial(address).session()
            except NetError as error:
                if isinstance(error, Forbidden) and error.code == codes.NODE_REMOVED:
                    raise
                failure = error
                continue
            self.leader = address
            return self._opened(address, stream)
        raise failure or Unavailable("this node knows no manager", code=codes.MANAGER_UNREACHABLE)

    def candidates(self) -> list[str]:
        """Addresses of the other managers, the one that led last first."""
        own = self._serves()
        found = [address for _, address in self.managers if address and address != own]
        return sorted(dict.fromkeys(found), key=lambda address: address != self.leader)

    def learn(self, managers: Sequence[ManagerView]) -> None:
        """These are the managers now; kept for the next start."""
        known = tuple((view.node_id, view.address) for view in managers if view.address)
        if known and known != self.managers:
            self.managers = known
            self._member.met(known)

    def trust(self, roots: str) -> None:
        """These roots (PEM) are the cluster's now."""
        self._member.trust(roots)

    def become(self, role: str, *, renew: bool = False) -> None:
        """The managers want this node in this role."""
        self._member.become(role, renew=renew)

    def removed(self) -> None:
        """This node was told that it is no member any more."""
        self._member.expelled()

    async def end_sessions(self) -> None:
        """Have every session opened anew: what the node proves itself with has changed."""
        for session in list(self._sessions):
            await session.close()

    def _opened(self, address: str, line: Line) -> MemberSession:
        session = MemberSession(address, line, self._serves)
        self._sessions = {one for one in self._sessions if not one.is_over}
        self._sessions.add(session)
        return session


def _broken() -> NetError:
    return Unavailable(
        "the session with the manager has ended", hint="another one is opened", code=codes.MANAGER_UNREACHABLE
    )
