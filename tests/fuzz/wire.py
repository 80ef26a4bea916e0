"""Requests over a daemon's Unix socket for programs that speak ``requests``, as the fuzzer does."""

from __future__ import annotations

import socket

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool


class _Connection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("fairlead", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout if isinstance(self.timeout, int | float) else None)
        self.sock.connect(self._path)


class _Pool(HTTPConnectionPool):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("fairlead")
        self._path, self._seconds = path, timeout

    def _new_conn(self) -> _Connection:
        return _Connection(self._path, self._seconds)


class UnixAdapter(HTTPAdapter):
    """Sends everything to one socket, each request by a connection of its own."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__()
        self._path, self._seconds = path, timeout

    def get_connection_with_tls_context(  # type: ignore[no-untyped-def,override]
        self, request, verify, proxies=None, cert=None
    ) -> _Pool:
        return _Pool(self._path, self._seconds)

    def request_url(self, request: requests.PreparedRequest, proxies: object) -> str:  # type: ignore[override]
        return str(request.path_url)


def session(path: str, timeout: float) -> requests.Session:
    """A session whose every request goes to the socket at ``path``."""
    made = requests.Session()
    made.mount("http://", UnixAdapter(path, timeout))
    made.trust_env = False
    return made
