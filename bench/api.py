"""A client of the Engine API that keeps its connection: the same for our daemon and for Docker's."""

from __future__ import annotations

import http.client
import json
import socket
import time

#: Seconds to wait for an answer. The slowest honest one is a start with 1,000 ports under Docker (a minute).
_PATIENCE_S = 120.0
_ERROR_STATUS = 400


class ApiFailure(Exception):
    """The daemon said no."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_PATIENCE_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Api:
    """One connection. Not for several threads at a time."""

    def __init__(self, path: str) -> None:
        self._connection = _UnixConnection(path)

    def close(self) -> None:
        self._connection.close()

    def call(self, method: str, path: str, body: object = None) -> object:
        """The answer's JSON, or None."""
        data = None if body is None else json.dumps(body).encode()
        status, answer = self.exchange(method, path, data)
        if status >= _ERROR_STATUS:
            raise ApiFailure(f"{method} {path.partition('?')[0]}: {status} {answer.decode(errors='replace').strip()}")
        return json.loads(answer) if answer.strip() else None

    def timed(self, method: str, path: str, body: object = None) -> float:
        """Seconds that a call took, its JSON included."""
        start = time.perf_counter()
        self.call(method, path, body)
        return time.perf_counter() - start

    def exchange(self, method: str, path: str, data: bytes | None, kind: str = "application/json") -> tuple[int, bytes]:
        """Status and body."""
        headers = {} if data is None else {"Content-Type": kind}
        try:
            self._connection.request(method, path, data, headers)
            response = self._connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as fault:
            self._connection.close()
            raise ApiFailure(f"{method} {path.partition('?')[0]}: {type(fault).__name__} {fault}") from fault
