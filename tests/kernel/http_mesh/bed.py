"""A node's proxy on a real HAProxy: a namespace is the host with its ports, another is where tasks are."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import socketserver
import tempfile
import threading
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, TypeVar

from tests.kernel.one_host.namespace import CLONE_NEWNET, Namespace, _check, _libc

from fairlead.daemon.http_proxy import HttpProxy
from fairlead.mesh import labels
from fairlead.mesh.wish import Certificate, Frontends, HttpService, HttpTask, Wish

T = TypeVar("T")

PORT, TLS_PORT = 80, 443
#: Seconds for anything; only what never comes takes as long.
PATIENCE_S = 60.0


class Loop:
    """An event loop in a thread that is in a namespace: what is run there opens its sockets there, and so do programs that it
    starts."""

    def __init__(self, home: Namespace) -> None:
        self._loop = asyncio.new_event_loop()
        started = threading.Event()

        def live() -> None:
            _check(_libc.setns(home.descriptor, CLONE_NEWNET))
            asyncio.set_event_loop(self._loop)
            started.set()
            self._loop.run_forever()

        self._thread = threading.Thread(target=live)
        self._thread.start()
        assert started.wait(PATIENCE_S)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to its end."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    def close(self) -> None:
        """End it with its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


class _Echo(BaseHTTPRequestHandler):
    """Says what it was asked, and by whose hands it came."""

    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        server: Any = self.server
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length) if length else b""
        if self.path.startswith(server.health):
            self.send_response(200 if server.healthy else 500)
            self.send_header("content-length", "0")
            self.end_headers()
            return
        if self.path.startswith("/slow"):
            time.sleep(0.3)
        answer = {
            "task": server.name,
            "method": self.command,
            "path": self.path,
            "body": len(body),
            "peer": self.client_address[0],
            "headers": [(key.lower(), value) for key, value in self.headers.items()],
        }
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        if server.cookie:
            self.send_header("set-cookie", f"{server.cookie}=mine; path=/")
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_HEAD = _answer  # noqa: N815  (names that http.server looks for)

    def log_message(self, *args: object) -> None:
        """Nothing."""


class Server(socketserver.ThreadingTCPServer):
    """A TCP server at an address in a namespace, one thread for each connection."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 1024

    def __init__(self, home: Namespace, address: str, port: int, handler: Any) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.name = address
        self.healthy, self.health, self.cookie = True, "/health", ""
        super().__init__((address, port), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = home.socket(self.address_family)
        self.server_bind()
        self.server_activate()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that breaks off is no fault."""

    def close(self) -> None:
        """End it."""
        self.shutdown()
        self.server_close()
        self._thread.join(PATIENCE_S)


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def seen(self) -> dict[str, Any]:
        """What the task saw."""
        assert self.status == 200, (self.status, self.body)
        found: dict[str, Any] = json.loads(self.body)
        return found

    def header(self, name: str) -> list[str]:
        """Values of a header that the task got."""
        return [value for key, value in self.seen["headers"] if key == name]


@dataclass
class Stage:
    """The node. ``proxy`` is what is tested; everything else is there to ask it."""

    folder: Path
    home: Namespace
    tasks: Namespace
    loop: Loop
    proxy: HttpProxy
    servers: list[Server] = field(default_factory=list)

    def task(self, number: int, port: int = 80, handler: Any = _Echo) -> Server:
        """A task at 127.0.1.NUMBER that echoes requests."""
        server = Server(self.tasks, f"127.0.1.{number}", port, handler)
        self.servers.append(server)
        return server

    def apply(self, *services: HttpService, certificates: tuple[Certificate, ...] = (), **frontends: Any) -> None:
        """Have the proxy do this."""
        self.loop.run(self.proxy.apply(Wish(Frontends(**frontends), services, certificates)))

    def ask(
        self,
        host: str,
        path: str = "/",
        method: str = "GET",
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        address: str = "127.0.0.1",
        port: int = PORT,
    ) -> Answer:
        """One request over a connection of its own."""
        with contextlib.closing(HTTPConnection(address, port, timeout=PATIENCE_S)) as connection:
            connection.sock = self.connect(address, port)
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for key, value in {"Host": host, **(headers or {})}.items():
                connection.putheader(key, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            return answer_of(connection.getresponse())

    def connect(self, address: str = "127.0.0.1", port: int = PORT) -> socket.socket:
        """A connection from the host."""
        client = self.home.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        client.settimeout(PATIENCE_S)
        try:
            client.connect((address, port))
        except OSError:
            client.close()
            raise
        return client

    def successor(self) -> None:
        """The daemon ends, and another takes its place."""
        self.loop.run(self.proxy.release())
        self.proxy = HttpProxy(self.folder, self.tasks.path)

    def log(self) -> list[dict[str, Any]]:
        """The access log."""
        return [json.loads(line) for line in (self.folder / "access.log").read_text().splitlines()]


def answer_of(response: HTTPResponse) -> Answer:
    """All of an answer."""
    return Answer(response.status, {key.lower(): value for key, value in response.getheaders()}, response.read())


@contextlib.contextmanager
def staged() -> Iterator[Stage]:
    """A node with nothing on it, gone afterwards. Its folder can be passed through, as the daemon's can, by who HAProxy is."""
    folder = Path(tempfile.mkdtemp(prefix="fairlead-http-mesh-"))
    folder.chmod(0o711)
    home, tasks = Namespace.new(), Namespace.new()
    loop = Loop(home)
    stage = Stage(folder, home, tasks, loop, HttpProxy(folder, tasks.path))
    try:
        yield stage
    finally:
        loop.run(stage.proxy.stop())
        for server in stage.servers:
            server.close()
        loop.close()
        home.close()
        tasks.close()
        shutil.rmtree(folder)


def service(name: str, *tasks: str | HttpTask, labelled: dict[str, str] | None = None, **said: str) -> HttpService:
    """A service with its ready tasks; ``said`` are our labels without their beginning, ``labelled`` others."""
    known = {f"fairlead.http.{key}": value for key, value in said.items()} | (labelled or {})
    ready = tuple(task if isinstance(task, HttpTask) else HttpTask(task) for task in tasks)
    return HttpService(f"id{name}", name, labels.parse(known, f"service {name}"), ready)
