"""Killed at random moments while eight clients change things, below traffic that must not notice.

In the suite a few times; ``pytest tests/kernel/one_host/test_crash_random.py --crashes 50`` is the whole of it.
"""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections.abc import Iterator

import pytest
from tests.kernel.one_host.conftest import MakeHost
from tests.kernel.one_host.containers import Container
from tests.kernel.one_host.host import HOST_V4, Host
from tests.kernel.one_host.nursery import Nursery
from tests.kernel.one_host.programs import IDLE, echo
from tests.kernel.one_host.questions import ask
from tests.kernel.one_host.streams import Stream, pinging
from tests.kernel.one_host.whole import assert_whole

from fairlead.api.client import Client
from fairlead.model.errors import NetError

CLIENTS, NETWORKS, CONTAINERS, PORTS = 8, 5, 20, 10
FIRST_PORT = 8100
#: Longest life of a daemon here, seconds: long enough for a round of each client, short enough to hit any moment.
LIFE_S = 4.0
#: Kills until the clients are stopped and everything is looked at; between them a start finds them at its door.
KILLS = 2


@pytest.fixture(scope="module")
def crowd(make_host: MakeHost, pytestconfig: pytest.Config) -> Iterator[tuple[Host, list[Container]]]:
    """Twenty containers on five networks, ten of them published."""
    host = make_host()
    if not pytestconfig.getoption("--programs"):
        host.nursery = Nursery(host.ns)
    host.start()
    for number in range(NETWORKS):
        host.network(f"net{number}", subnet=f"10.7{number}.0.0/24")
    made = []
    for number in range(CONTAINERS):
        publish = {"80/tcp": [str(FIRST_PORT + number)]} if number < PORTS else {}
        command = echo(f"c{number}", "tcp:80") if number < PORTS else IDLE
        made.append(host.run(f"c{number}", command, network=f"net{number % NETWORKS}", publish=publish))
    yield host, made
    for container in made:
        container.remove()
    for number in range(NETWORKS):
        host.remove_network(f"net{number}")


class Clients:
    """Eight programs that make, connect and remove things until told to stop; each has names of its own, and starts
    over with what a killed daemon left of them."""

    def __init__(self, host: Host, seed: int) -> None:
        self.done = 0
        self._host = host
        self._stop = threading.Event()
        self._faults: list[BaseException] = []
        chances = [random.Random(f"{seed} {number}") for number in range(CLIENTS)]
        self._threads = [threading.Thread(target=self._run, args=(n, chance)) for n, chance in enumerate(chances)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop; raises what one of them did not expect."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._faults:
            raise self._faults[0]

    def _run(self, number: int, chance: random.Random) -> None:
        api = Client(self._host.url)
        try:
            while not self._stop.is_set():
                try:
                    self._round(api, f"x{number}", chance)
                    self.done += 1
                except (NetError, OSError):
                    time.sleep(0.05)  # the daemon is away, or the last one left something half way: clear up, go on
                clear(api, f"x{number}")
        except BaseException as fault:  # noqa: BLE001  (raised again where the test sees it)
            self._faults.append(fault)

    def _round(self, api: Client, name: str, chance: random.Random) -> None:
        api.post("/networks/create", {"Name": name, "EnableIPv6": chance.random() < 0.5})
        config = {"NetworkMode": name, "PortBindings": {"80/tcp": [{}]}, "AutoRemove": chance.random() < 0.2}
        api.post("/containers/create", {"Image": "host", "Cmd": list(IDLE), "HostConfig": config}, {"name": name})
        api.post(f"/containers/{name}/start")
        other = f"net{chance.randrange(NETWORKS)}"
        api.post(f"/networks/{other}/connect", {"Container": name})
        if chance.random() < 0.5:
            api.post(f"/networks/{name}/disconnect", {"Container": name})


def clear(api: Client, name: str) -> None:
    """Remove a client's things, as far as there is a daemon to do it."""
    with contextlib.suppress(NetError, OSError):
        api.delete(f"/containers/{name}", {"force": True})
    with contextlib.suppress(NetError, OSError):
        api.delete(f"/networks/{name}")


@pytest.mark.timeout(1800)  # seconds; as many as are asked for
def test_killed_at_random_moments(crowd: tuple[Host, list[Container]], pytestconfig: pytest.Config) -> None:
    host, made = crowd
    seed, crashes = pytestconfig.getoption("--first-seed"), pytestconfig.getoption("--crashes")
    chance = random.Random(seed)
    inside = [Stream(made[10 + n].ns, made[n].ip(), 80) for n in range(NETWORKS)]
    outside = [Stream(host.neighbour, HOST_V4, FIRST_PORT + n) for n in range(PORTS)]
    done = 0
    with pinging(made[10].ns.command("ping", made[0].ip())) as pings:
        for crash in range(0, crashes, KILLS):
            clients = Clients(host, seed + crash)
            try:
                for _ in range(min(KILLS, crashes - crash)):
                    time.sleep(chance.uniform(0.05, LIFE_S))
                    host.stop(signal.SIGKILL)
                    host.start()
            finally:
                clients.close()
            done += clients.done
            assert_whole(host)
        for stream in (*inside, *outside):
            stream.wait_more()
    assert [stream.close() for stream in (*inside, *outside)] == [""] * (NETWORKS + PORTS)
    assert not pings.lost
    assert done > 0, "the clients came to nothing"
    for number, container in enumerate(made[:PORTS]):
        assert host.neighbour.tcp(HOST_V4, FIRST_PORT + number)[0] == container.name
        assert ask(made[10 + number % NETWORKS], container.name) == [container.ip()]
    for number in range(CLIENTS):
        clear(host.api, f"x{number}")
    assert_whole(host)
    print(f"\n{done} rounds of clients, {crashes} kills")
