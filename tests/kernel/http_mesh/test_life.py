"""The proxy's life: it falls and stands up, outlives daemons, moves to other ports, and no request fails while it changes."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import threading
from collections.abc import Iterator

import pytest
from tests.kernel.http_mesh.bed import PATIENCE_S, PORT, TLS_PORT, Answer, Stage, service, staged
from tests.kernel.one_host.waiting import until

from fairlead.mesh.wish import HttpService
from fairlead.model import codes
from fairlead.model.errors import PortInUse, Unavailable

HOST = "shop.example"


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with staged() as made:
        for number in (1, 2, 3):
            made.task(number)
        yield made


class Askers:
    """Clients that ask all the time, over connections that are kept and over new ones; what was not answered with 200 is a
    fault."""

    def __init__(self, stage: Stage, count: int = 4) -> None:
        self.faults: list[str] = []
        self.answers, self.moment = 0, ""
        self._stage, self._stop = stage, threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number % 2 == 0,)) for number in range(count)]

    def __enter__(self) -> Askers:
        for thread in self._threads:
            thread.start()
        until(lambda: self.answers > 20 or self.faults, "clients are asking")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        assert not self.faults, (len(self.faults), self.answers, self.faults[:3])

    def _ask(self, kept: bool) -> None:
        while not self._stop.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=PATIENCE_S)
            try:
                connection.sock = self._stage.connect()
                for _ in range(50 if kept else 1):
                    connection.request("GET", "/", headers={"Host": HOST, "Connection": "keep-alive"})
                    response = connection.getresponse()
                    said = response.read()
                    if response.status != 200:
                        self.faults.append(f"{response.status} {said!r} {self.moment}")
                    self.answers += 1
                    if self._stop.is_set() or response.will_close:
                        break
            except (OSError, http.client.HTTPException) as fault:
                self.faults.append(repr(fault))
            finally:
                connection.close()


def shop(*numbers: int, **said: str) -> HttpService:
    return service("shop", *(f"127.0.1.{number}" for number in numbers), host=HOST, **said)


def test_a_hundred_changes_and_reloads_lose_no_request(stage: Stage) -> None:
    """Scaling, other routes, other services in the same breath, and every tenth time a reload."""
    stage.apply(shop(1, 2))
    reloads = stage.proxy.status().reloads
    with Askers(stage) as askers:
        for number in range(100):
            askers.moment = f"change {number}"
            tasks = ((1, 2), (2, 3), (3, 1), (1, 2, 3), (2,))[number % 5]
            others = [service(f"o{one}", "127.0.1.1", host=f"o{one}.example") for one in range(number % 7)]
            more = {"sticky": f"cookie{number}"} if number % 10 == 9 else {}
            extra = [service("extra", "127.0.1.1", host="extra.example", **more)]
            stage.apply(shop(*tasks), *others, *extra)
    assert stage.proxy.status().reloads == reloads + 10


def answered(stage: Stage) -> Answer | None:
    """None if the worker that was asked was about to follow its master."""
    try:
        return stage.ask(HOST)
    except (ConnectionError, http.client.HTTPException):
        return None


def test_it_is_started_again_when_it_falls_and_who_asks_meanwhile_waits(stage: Stage) -> None:
    stage.apply(shop(1))
    before = stage.proxy.status()
    pid, restarts = before.pid, before.restarts
    os.kill(pid, signal.SIGKILL)
    assert until(lambda: answered(stage), "an answer").status == 200
    until(lambda: stage.proxy.status().restarts == restarts + 1, "it was counted")
    assert stage.proxy.status().pid not in {0, pid}
    stage.apply(shop(2))
    assert stage.ask(HOST).seen["task"] == "127.0.1.2"


def test_a_worker_that_falls_is_replaced(stage: Stage) -> None:
    stage.apply(shop(1))
    master = stage.proxy.status().pid
    with open(f"/proc/{master}/task/{master}/children") as file:
        worker = int(file.read().split()[0])
    os.kill(worker, signal.SIGSEGV)
    until(lambda: stage.proxy.status().pid not in {0, master}, "another master runs")
    assert until(lambda: answered(stage), "an answer").status == 200


def test_it_outlives_a_daemon_and_goes_on_with_the_next_without_a_reload(stage: Stage) -> None:
    stage.apply(shop(1), service("more", "127.0.1.3", host="more.example"))
    pid = stage.proxy.status().pid
    with Askers(stage, 2):
        stage.successor()
        stage.loop.run(stage.proxy.start(None))
        assert stage.proxy.status().pid == pid
        stage.apply(shop(2))
    status = stage.proxy.status()
    assert (status.pid, status.reloads) == (pid, 0)
    assert stage.ask(HOST).seen["task"] == "127.0.1.2"
    assert stage.ask("more.example").status == 404


def test_a_daemon_that_died_while_it_said_something_loads_everything_anew(stage: Stage) -> None:
    stage.apply(shop(1))
    stage.successor()
    (stage.folder / "changing").touch()
    stage.loop.run(stage.proxy.start(None))
    stage.apply(shop(2))
    assert stage.proxy.status().reloads == 1
    assert stage.ask(HOST).seen["task"] == "127.0.1.2"


def test_ports_are_moved_also_when_it_is_not_certain_what_it_does(stage: Stage) -> None:
    stage.apply(shop(1))
    stage.successor()
    (stage.folder / "changing").touch()
    stage.loop.run(stage.proxy.start(None))
    stage.apply(shop(2), http_port=8080)
    assert stage.ask(HOST, port=8080).seen["task"] == "127.0.1.2"
    with pytest.raises(ConnectionRefusedError):
        stage.connect(port=PORT)
    stage.apply(shop(1))
    assert stage.ask(HOST).seen["task"] == "127.0.1.1"


def test_without_knowledge_of_the_one_before_everything_is_loaded_anew(stage: Stage) -> None:
    stage.successor()
    (stage.folder / "layout.json").write_text("{")
    stage.loop.run(stage.proxy.start(None))
    stage.apply(shop(3))
    assert stage.ask(HOST).seen["task"] == "127.0.1.3"


def test_it_falls_while_a_successor_looks_after_it(stage: Stage) -> None:
    stage.apply(shop(1))
    stage.successor()
    stage.loop.run(stage.proxy.start(None))
    pid = stage.proxy.status().pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: stage.proxy.status().pid not in {0, pid}, "another runs")
    assert until(lambda: answered(stage), "an answer").seen["task"] == "127.0.1.1"


def test_a_fault_in_what_it_is_told_is_mended_by_a_reload(stage: Stage) -> None:
    """Somebody else has talked to it: a route that we know is not there."""
    stage.apply(shop(1))
    reloads = stage.proxy.status().reloads
    (control,) = stage.folder.glob("admin-*.sock")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(control))
        client.sendall(f"del map {stage.folder}/plain.map {HOST}/\n".encode())
        client.recv(100)
    stage.apply(service("other", "127.0.1.2", host=HOST))
    assert stage.ask(HOST).seen["task"] == "127.0.1.2"
    assert stage.proxy.status().reloads == reloads + 1


def test_other_ports_and_back_when_they_cannot_be_had(stage: Stage) -> None:
    stage.apply(shop(1))
    stage.apply(
        shop(1), service("safe", "127.0.1.1", host="safe.example", tls="required"), http_port=8080, https_port=0
    )
    assert stage.ask(HOST, port=8080).status == 200
    refused = stage.ask("safe.example", port=8080)
    assert (refused.status, b"TLS, which is switched off" in refused.body) == (503, True)
    with pytest.raises(ConnectionRefusedError):
        stage.connect(port=PORT)
    with stage.home.socket() as taken:
        taken.bind(("127.0.0.1", 8081))
        taken.listen()
        with pytest.raises(PortInUse, match="port 8081"):
            stage.apply(shop(2), http_port=8081)
        assert stage.ask(HOST, port=8080).seen["task"] == "127.0.1.1"
    stage.apply(shop(2))
    assert stage.ask(HOST, port=PORT).seen["task"] == "127.0.1.2"
    stage.connect(port=TLS_PORT).close()


def test_what_stops_is_gone_with_its_sockets_and_may_come_back(stage: Stage) -> None:
    stage.apply(shop(1))
    stage.loop.run(stage.proxy.stop())
    assert not stage.proxy.status().running
    with pytest.raises(ConnectionRefusedError):
        stage.connect()
    stage.apply(shop(1))
    assert stage.ask(HOST).status == 200


def test_a_node_without_haproxy_says_what_to_install(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.loop.run(stage.proxy.stop())
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(Unavailable) as caught:
        stage.apply(shop(1))
    assert caught.value.code is codes.HAPROXY_MISSING
    assert "apt-get install" in caught.value.hint
    monkeypatch.undo()
    stage.apply(shop(1))
    assert stage.ask(HOST).status == 200
