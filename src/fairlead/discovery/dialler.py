"""Carrying out what the forwarder says: a socket for each attempt, and its replies back to the forwarder.

The sockets and the clock are the edge's and come in by ``Outside``; this is the order of things only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from fairlead.discovery.clients import Client
from fairlead.discovery.connections import Connection, Socket, dial, hear
from fairlead.discovery.resolver import Forward
from fairlead.discovery.upstream import Close, Forwarder, Reply, Send

AnySocket = TypeVar("AnySocket", bound=Socket)


class Outside(NamedTuple, Generic[AnySocket]):
    """What the edge does: ``open`` a non-blocking socket for an attempt (raises ``OSError``); ``listen`` on it,
    calling back when it is readable or broken; ``watch`` it, calling back with (readable or broken, writable), at
    first for room to send; change whether room to send is wanted; ``close`` it; tell monotonic seconds."""

    open: Callable[[Send], AnySocket]
    listen: Callable[[AnySocket, Callable[[object], None]], None]
    watch: Callable[[AnySocket, Callable[[bool, bool], None]], None]
    want_write: Callable[[AnySocket, bool], None]
    close: Callable[[AnySocket], None]
    clock: Callable[[], float]


class Dialler(Generic[AnySocket]):
    """All attempts of a node that wait for a reply."""

    def __init__(self, forwarder: Forwarder[Client], outside: Outside[AnySocket]) -> None:
        self._forwarder = forwarder
        self._outside = outside
        self._sockets: dict[int, AnySocket] = {}

    def ask(self, owner: str, client: Client, forward: Forward, *, tcp: bool) -> None:
        """Forward a query."""
        self._act(self._forwarder.ask(owner, client, forward, tcp, self._outside.clock()))

    def tick(self, now: float) -> None:
        """Do what is due."""
        self._act(self._forwarder.tick(now))

    def forget(self, owner: str) -> None:
        """Close everything that is under way for an owner."""
        self._act(self._forwarder.forget(owner))

    def _act(self, acts: Iterable[Send | Close | Reply[Client]]) -> None:
        for act in acts:
            if isinstance(act, Reply):
                act.client.reply(act.data)
            elif isinstance(act, Close):
                sock = self._sockets.pop(act.token, None)
                if sock is not None:
                    self._outside.close(sock)
            elif not self._send(act):
                self._act(self._forwarder.fail(act.token, self._outside.clock()))

    def _send(self, send: Send) -> bool:
        """Open a socket to a server and send, or prepare to; False if that is not possible."""
        try:
            sock = self._sockets[send.token] = self._outside.open(send)
        except OSError:
            return False
        if not dial(sock, send):
            return False
        if send.tcp:
            connection = Connection(
                sock, lambda more: self._outside.want_write(sock, more), self._outside.clock(), send.data
            )
            self._outside.watch(sock, lambda read, write: self._converse(send.token, connection, read, write))
        else:
            self._outside.listen(sock, partial(self._hear, send.token, sock))
        return True

    def _hear(self, token: int, sock: AnySocket, _event: object) -> None:
        data, now = hear(sock), self._outside.clock()
        self._act(self._forwarder.fail(token, now) if data is None else self._forwarder.receive(token, data, now))

    def _converse(self, token: int, connection: Connection, read: bool, write: bool) -> None:
        now = self._outside.clock()
        if write:
            connection.flush()
        for message in connection.read(now) if read else ():
            self._act(self._forwarder.receive(token, message, now))
        if connection.closed:
            self._act(self._forwarder.fail(token, now))
