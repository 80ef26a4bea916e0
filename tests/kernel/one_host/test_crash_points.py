"""The daemon is killed at every fault point in turn; the next one finds nothing half done and leaves nothing behind.

In the suite daemons are forked (``nursery.py``); with ``--programs`` each is the program that a user starts.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest
from tests.kernel.one_host.conftest import MakeHost
from tests.kernel.one_host.host import HOST_V4, Host
from tests.kernel.one_host.namespace import Namespace
from tests.kernel.one_host.nursery import Nursery
from tests.kernel.one_host.programs import IDLE, echo
from tests.kernel.one_host.streams import Stream
from tests.kernel.one_host.waiting import until
from tests.kernel.one_host.whole import assert_whole

from fairlead.api.client import ApiError
from fairlead.daemon.faults import POINTS, VARIABLE
from fairlead.model.errors import NetError

#: A host port that a stranger holds, so that publishing it is refused and undone.
TAKEN = 8099
#: Seconds in which a daemon that came by its point is gone.
GONE_S = 60
#: Nanoseconds between two looks at a container's health, so short that a command is under way meanwhile.
HEALTH_NS = 50_000_000
#: Points that only a start comes by.
ONLY_IN_STARTS = ("repair.", "recovery.", "act.AlignHosts")


@pytest.fixture(scope="module")
def bare() -> Iterator[Namespace]:
    """A namespace that is not ours."""
    space = Namespace.new()
    yield space
    space.close()


@pytest.fixture(scope="module")
def scene(make_host: MakeHost, bare: Namespace, pytestconfig: pytest.Config) -> Iterator[Host]:
    """A published server with streams to it from inside and outside, which must survive all of it."""
    host = make_host()
    if not pytestconfig.getoption("--programs"):
        host.nursery = Nursery(host.ns)
    host.start()
    host.network("web", subnet="10.61.0.0/24", v6="fd00:61::/64")
    host.network("side", subnet="10.62.0.0/24")
    server = host.run("server", echo("server", "tcp:80"), network="web", publish={"80/tcp": ["8080"]})
    client = host.run("client", network="web")
    with contextlib.closing(host.listen("0.0.0.0", TAKEN)):
        streams = [Stream(host.neighbour, HOST_V4, 8080), Stream(client.ns, server.ip(), 80)]
        yield host
        for stream in streams:
            stream.wait_more()
        assert [stream.close() for stream in streams] == ["", ""]
    clear(host, bare)
    for container in (server, client):
        container.remove()
    host.remove_network("web")
    host.remove_network("side")


def clear(host: Host, bare: Namespace) -> None:
    """Remove what an earlier life left."""
    for name in ("busy", "wrong", "life"):
        tolerate_absence(lambda n=name: host.api.delete(f"/containers/{n}", {"force": True}))
    tolerate_absence(lambda: host.disconnect("side", f"netns:{bare.path}"))
    tolerate_absence(lambda: host.remove_network("short"))


def tolerate_absence(work: Callable[[], object]) -> None:
    """Do it; what is not there need not be removed."""
    try:
        work()
    except ApiError as error:
        if error.status not in (404, 500):
            raise


def everyday(host: Host, bare: Namespace) -> None:
    """Comes by every point between two steps of a command, refusals included."""
    clear(host, bare)
    host.network("short", subnet="10.63.0.0/24")
    host.create("wrong", ("/no/such/program",), network="short")
    host.create("busy", IDLE, network="short", publish={"80/tcp": [str(TAKEN)]})
    for name in ("wrong", "busy"):
        refused(host, name)
    probe = {"Test": ["CMD", "true"], "Interval": HEALTH_NS, "Timeout": 10**9, "Retries": 3}
    life = host.create("life", IDLE, network="short", publish={"81/tcp": ["8081"]}, Healthcheck=probe)
    life.start()
    host.connect("side", "life")
    host.connect("bridge", "life")
    host.connect("side", f"netns:{bare.path}")
    until(lambda: life.inspect()["State"]["Health"]["Status"] == "healthy", "its health is asked for")
    for action in ("pause", "unpause", "kill?signal=SIGUSR1"):
        host.api.post(f"/containers/life/{action}")
    host.disconnect("short", "life")
    host.disconnect("side", "life")
    host.disconnect("side", f"netns:{bare.path}")
    host.api.post("/containers/life/stop?t=0")
    host.api.post("/containers/life/start")
    for name in ("life", "wrong", "busy"):
        host.api.delete(f"/containers/{name}", {"force": True})
    host.remove_network("short")


def refused(host: Host, name: str) -> None:
    """Start a container that cannot be started."""
    try:
        host.api.post(f"/containers/{name}/start")
    except ApiError as error:
        if error.status not in (400, 500):
            raise
    else:
        raise AssertionError(f"{name} was started")


def comes_by(host: Host, bare: Namespace, point: str) -> str:
    """Launch a daemon that ends at a point. If it outlives its start, what the one before left must be whole; then it
    is used until it ends. Where it came by: ``start`` or ``command``."""
    host.launch(**{VARIABLE: point})
    process = host.process
    assert process is not None
    until(lambda: process.poll() is not None or host.responds(), "the daemon answers or ends")
    where = "start" if process.poll() is not None else "command"
    try:
        if where == "command":
            assert_whole(host)
            everyday(host, bare)
    except (NetError, OSError) as error:
        try:
            process.wait(GONE_S)
        except subprocess.TimeoutExpired:
            raise error from None
    assert process.wait(GONE_S) == -signal.SIGKILL, host.tail()
    host.process = None
    return where


@pytest.mark.timeout(900)  # seconds; some hundred starts of a daemon, as programs 0.6 s each on an idle machine
def test_killed_at_every_fault_point(scene: Host, bare: Namespace) -> None:
    """At the first visit; if that is in the start, and it can be in a command too, at the first that is in one. Each
    daemon takes up what the one before left, and is looked at before it is killed itself."""
    scene.stop(signal.SIGKILL)
    killed = 0
    for point in POINTS:
        try:
            where, nth = comes_by(scene, bare, point), 1
            while where == "start" and not point.startswith(ONLY_IN_STARTS):
                nth += 1
                where = comes_by(scene, bare, f"{point}:{nth}")
        except BaseException as fault:
            fault.add_note(f"killed at {POINTS[: POINTS.index(point)][-1:]}, then armed: {point}\n{scene.tail()}")
            raise
        killed += nth
        print(f"{point}: visit {nth}, in a {where}", flush=True)
    scene.start()
    assert_whole(scene)
    assert scene.neighbour.tcp(HOST_V4, 8080)[0] == "server"
    print(f"\n{killed} daemons killed at {len(POINTS)} points")
