"""A node's calls through the door of a manager (``control.py``)."""

from __future__ import annotations

import asyncio
import base64
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, TypeVar

import aiohttp
import msgspec
from yarl import URL

from fairlead.api.contract_control import AdmitBody, AdmittedBody, RenewBody
from fairlead.api.control import LINE_BYTES_MAX, LINES_TYPE
from fairlead.api.control_limits import UNACKNOWLEDGED_MS
from fairlead.api.networks_swarm import refusal
from fairlead.api.schema import encode
from fairlead.model import codes
from fairlead.model.errors import Forbidden, NetError, Unavailable

log = logging.getLogger(__name__)

_T = TypeVar("_T")

Waiting = asyncio.Queue[bytes | None]

#: Seconds for a connection with its handshake, and for a whole call (swarm: 20 s for requests of members).
_CONNECT_S, _CALL_S = 5.0, 20.0
#: Bytes of an answer: a list of some thousand nodes.
_ANSWER_BYTES_MAX = 64 * 1024 * 1024
#: Seconds that the last words of a session get to be sent.
_FAREWELL_S = 1.0
#: First HTTP status of a refusal.
_REFUSED = 400
#: What TLS's words for a refusal mean between nodes, and where more is told.
_REFUSALS = {
    "alert certificate expired": (
        "it does not believe this node: its certificate has expired",
        codes.CERTIFICATE_EXPIRED,
    ),
    "certificate has expired": ("its certificate has expired", codes.CERTIFICATE_EXPIRED),
    "alert unknown ca": ("it belongs to another cluster, and does not believe this node", codes.OTHER_CLUSTER),
    "CERTIFICATE_VERIFY_FAILED": ("its certificate is not of this cluster", codes.OTHER_CLUSTER),
}
#: Lines that wait to be sent; a manager that reads none for so long is no manager.
_WAITING_MAX = 4096


class Manager:
    """The manager at ``address`` (``host:port``). ``context`` says whom to believe and who we are; ``name`` is what its
    certificate must be for."""

    def __init__(self, address: str, context: ssl.SSLContext, name: str) -> None:
        self.address = address
        self._context = context
        self._name = name

    async def root(self) -> str:
        """The root certificate that it shows to anyone (PEM). Not to be believed before it fits a token."""
        return (await self._call("GET", "/root"))[1].decode("ascii", "replace")

    async def join(self, wish: AdmitBody) -> AdmittedBody:
        """Ask to be let in; raises what it refuses with."""
        return await self._ask("/join", wish, AdmittedBody)

    async def renew(self, request: str, proof: bytes = b"") -> AdmittedBody:
        """Ask for a new certificate; ``proof`` is the present one (DER) of the node for which a manager asks."""
        return await self._ask("/renew", RenewBody(request, base64.b64encode(proof).decode()), AdmittedBody)

    async def pass_on(self, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        """Have it answer a request of the API: status and body; raises ``Unavailable``."""
        return await self._call(method, f"/api{target}", body, refused=False)

    async def session(self) -> Stream:
        """Open a session; raises ``Unavailable`` or what it refuses with."""
        try:
            return await Stream.open(self._client(None), self._url("/session"), self._name)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._unreachable(error) from error

    async def _ask(self, path: str, wish: object, shape: type[_T]) -> _T:
        _, data = await self._call("POST", path, encode(wish))
        try:
            return msgspec.json.decode(data, type=shape)
        except msgspec.DecodeError as error:
            raise Unavailable(
                f"{self.address} answered with something else: {error}", hint="is it a manager?"
            ) from error

    async def _call(self, method: str, path: str, body: bytes = b"", *, refused: bool = True) -> tuple[int, bytes]:
        pieces, size = [], 0
        try:
            async with (
                self._client(_CALL_S) as client,
                client.request(method, self._url(path), data=body or None, server_hostname=self._name) as reply,
            ):
                async for piece in reply.content.iter_any():
                    size += len(piece)
                    if size > _ANSWER_BYTES_MAX:
                        raise Unavailable(f"{self.address} answers without an end", hint="is it a manager?")
                    pieces.append(piece)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._unreachable(error) from error
        if refused and reply.status >= _REFUSED:
            raise refusal(reply.status, b"".join(pieces))
        return reply.status, b"".join(pieces)

    def _client(self, total_s: float | None) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._context, force_close=True, socket_factory=_socket),
            timeout=aiohttp.ClientTimeout(total=total_s, connect=_CONNECT_S, sock_connect=_CONNECT_S),
            auto_decompress=False,
        )

    def _url(self, target: str) -> URL:
        return URL(f"https://{self.address}{target}", encoded=True)

    def _unreachable(self, error: Exception) -> NetError:
        """Why nothing came of a call. TLS refuses in numbers; what they mean is told."""
        words = str(error)
        for sign, (message, code) in _REFUSALS.items():
            if sign in words:
                return Forbidden(f"manager {self.address}: {message}", hint=code.steps[0], code=code)
        reason = "no answer in time" if isinstance(error, TimeoutError) else words or type(error).__name__
        return Unavailable(
            f"cannot reach the manager at {self.address}: {reason}",
            hint="is its daemon running, and 2377/tcp open in every firewall on the way?",
            code=codes.MANAGER_UNREACHABLE,
        )


class Stream:
    """The node's end of a session: lines both ways."""

    def __init__(
        self, client: aiohttp.ClientSession, reply: aiohttp.ClientResponse, waiting: Waiting, sent: asyncio.Event
    ) -> None:
        self._client = client
        self._reply = reply
        self._waiting = waiting
        self._sent = sent

    @classmethod
    async def open(cls, client: aiohttp.ClientSession, url: URL, name: str) -> Stream:
        """Begin one; raises what the manager refuses with, and what aiohttp raises."""
        waiting: Waiting = asyncio.Queue(_WAITING_MAX)
        waiting.put_nowait(b"\n")  # the head of a request goes out with the first of its body only
        sent = asyncio.Event()
        try:
            reply = await client.post(
                url, data=_drained(waiting, sent), headers={"Content-Type": LINES_TYPE}, server_hostname=name
            )
            if reply.status >= _REFUSED:
                raise refusal(reply.status, await reply.read())
        except BaseException:
            await client.close()
            raise
        return cls(client, reply, waiting, sent)

    def send(self, line: bytes) -> None:
        """Have a line sent; raises ``Unavailable`` when the session has ended or the manager reads nothing."""
        if self._reply.closed or self._waiting.full():
            raise Unavailable("the session with the manager has ended", hint="another one is opened")
        self._waiting.put_nowait(line + b"\n")

    async def lines(self) -> AsyncIterator[bytes]:
        """What the manager says, line by line, until the session ends."""
        rest = b""
        with suppress(aiohttp.ClientError, OSError):
            async for piece in self._reply.content.iter_any():
                *whole, rest = (rest + piece).split(b"\n")
                if len(rest) > LINE_BYTES_MAX:
                    return
                for line in whole:
                    yield line

    async def close(self) -> None:
        """End the session: what waits to be sent is sent first, unless the manager takes none of it."""
        if not self._waiting.full():
            self._waiting.put_nowait(None)
            with suppress(TimeoutError):
                async with asyncio.timeout(_FAREWELL_S):
                    await self._sent.wait()
        self._reply.close()
        await self._client.close()


async def _drained(waiting: Waiting, sent: asyncio.Event) -> AsyncIterator[bytes]:
    """What waits, until its end; ``sent`` is set once no more is to come or nobody takes it."""
    try:
        while (line := await waiting.get()) is not None:
            yield line
    finally:
        sent.set()


def _socket(place: tuple[Any, ...]) -> socket.socket:
    """A connection that is given up when nobody acknowledges what it sends."""
    family, kind, proto, _, _ = place
    wire = socket.socket(family, kind, proto)
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)
    return wire
