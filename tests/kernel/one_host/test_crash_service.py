"""The daemon as a service: what it tells its manager, and what waits for it while it is away."""

from __future__ import annotations

import concurrent.futures
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kernel.one_host.conftest import MakeHost
from tests.kernel.one_host.containers import Container
from tests.kernel.one_host.host import ROOT
from tests.kernel.one_host.namespace import Namespace
from tests.kernel.one_host.questions import ask
from tests.kernel.one_host.service_manager import FakeServiceManager
from tests.kernel.one_host.waiting import until
from tests.kernel.one_host.whole import assert_whole

UNITS = ROOT / "packaging" / "systemd"
#: What systemd calls the exposure of the hardened unit, at most (SEC-24).
EXPOSURE_MAX = 4.5
#: Refuses memory that is writable and executable, as MemoryDenyWriteExecute= does (prctl PR_SET_MDWE = 65), and goes on.
_DENY_WRITE_EXECUTE = """
import ctypes, os, sys
assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0
os.execvp(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture(scope="module")
def manager(make_host: MakeHost) -> Iterator[FakeServiceManager]:
    """A host whose daemon runs as a service."""
    made = FakeServiceManager(make_host())
    made.start()
    yield made
    made.host.stop()
    made.close()


@pytest.fixture(scope="module")
def pair(manager: FakeServiceManager) -> Iterator[dict[str, Container]]:
    """Two containers that know each other by name."""
    host = manager.host
    host.network("web")
    made = {name: host.run(name, network="web") for name in ("asking", "asked")}
    yield made
    for container in made.values():
        container.remove()
    host.remove_network("web")


def test_it_tells_when_it_is_ready_how_it_is_and_that_it_lives(manager: FakeServiceManager) -> None:
    manager.wait("READY=1")
    manager.wait("WATCHDOG=1", times=3)
    assert any(word.startswith("STATUS=3 networks") for word in manager.words)


def test_a_reload_repairs(manager: FakeServiceManager) -> None:
    host, ready = manager.host, manager.words.count("READY=1")
    address = host.links()["fairlead0"]["addr_info"][0]
    host.ns.ip("address", "del", f"{address['local']}/{address['prefixlen']}", "dev", "fairlead0")
    assert host.process is not None
    host.process.send_signal(signal.SIGHUP)
    manager.wait("RELOADING=1")
    manager.wait("READY=1", times=ready + 1)
    assert any(word.startswith("MONOTONIC_USEC=") for word in manager.words)
    assert_whole(host)


class Asker:
    """Asks for a name again and again, each query once and with patience."""

    def __init__(self, container: Container, name: str, *, tcp: bool) -> None:
        self.answers: list[list[str] | str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(container, name, tcp))
        self._thread.start()

    def close(self) -> None:
        """Ask no more."""
        self._stop.set()
        self._thread.join()

    def _run(self, container: Container, name: str, tcp: bool) -> None:
        while not self._stop.is_set():
            try:
                self.answers.append(ask(container, name, tcp=tcp))
            except Exception as fault:  # noqa: BLE001  (counted: the test wants none)
                self.answers.append(repr(fault))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_queries_and_requests_wait_for_the_next_daemon(
    manager: FakeServiceManager, pair: dict[str, Container], how: signal.Signals
) -> None:
    host = manager.host
    host.get("/networks")
    askers = [Asker(pair["asking"], "asked", tcp=tcp) for tcp in (False, True)]
    until(lambda: all(len(asker.answers) > 3 for asker in askers), "names are asked for")
    host.stop(how)
    # asked while nobody is there: the answer comes from who comes next
    with concurrent.futures.ThreadPoolExecutor() as pool:
        late = [pool.submit(ask, pair["asking"], "asked", tcp=tcp) for tcp in (False, True)]
        request = pool.submit(host.api.get, "/networks")
        manager.start()
        expected = [pair["asked"].ip()]
        assert [answer.result() for answer in late] == [expected, expected]
        assert len(request.result()) == 4
    counts = [len(asker.answers) for asker in askers]
    until(lambda: all(len(a.answers) > count + 3 for a, count in zip(askers, counts, strict=True)), "and go on")
    for asker in askers:
        asker.close()
    lost = [answer for answer in askers[0].answers if answer != expected]
    assert lost == []
    # A conversation over TCP that the daemon had begun ends with it; one that it had not begun waits.
    broken = [answer for answer in askers[1].answers if answer != expected]
    assert len(broken) <= 1, broken


def test_what_is_kept_is_let_go_with_what_it_was_kept_for(manager: FakeServiceManager) -> None:
    host, before = manager.host, sorted(name for name, _ in manager.kept)
    host.network("brief")
    with host.run("brief", network="brief"):
        assert len(manager.kept) > len(before)
    host.remove_network("brief")
    until(lambda: sorted(name for name, _ in manager.kept) == before, "nothing more is kept than before")


def test_what_nobody_wants_any_more_is_let_go_at_a_start(manager: FakeServiceManager) -> None:
    host = manager.host
    host.network("brief")
    brief = host.run("brief", network="brief")
    kept = len(manager.kept)
    pid = brief.pid
    host.stop(signal.SIGKILL)
    subprocess.run(["kill", "-KILL", str(pid)], check=True)
    manager.start()
    until(lambda: len(manager.kept) < kept, "sockets of the container that ended are not kept")
    brief.remove()
    host.remove_network("brief")
    assert_whole(host)


def settings(unit: str) -> dict[str, str]:
    """The settings of a unit that stand there once."""
    lines = (UNITS / unit).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def test_sec_24_the_hardened_unit_is_exposed_little(tmp_path: Path) -> None:
    unit = UNITS / "fairlead-networks.service"
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_MAX * 10:.0f}", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-300:] + done.stderr
    assert len(settings(unit.name)["CapabilityBoundingSet"].split()) == 6


@pytest.mark.parametrize("unit", ["fairlead.service", "fairlead-networks.service"])
def test_units_are_services_that_outlive_their_daemon(unit: str) -> None:
    found = settings(unit)
    assert (found["Type"], found["KillMode"], found["Restart"]) == ("notify", "process", "always")
    assert int(found["FileDescriptorStoreMax"]) >= 8192
    assert found["RuntimeDirectoryPreserve"] == "yes"
    assert int(found["WatchdogSec"]) > 0


def test_sec_24_networks_need_no_more_privilege_than_the_hardened_unit_gives(make_host: MakeHost) -> None:
    """The daemon under the unit's capabilities, without write-and-execute memory and in a mount namespace of its own,
    killed and started again: its sandbox is the same as before."""
    capabilities = [word.removeprefix("CAP_").lower() for word in hardened().split()]
    host = make_host()
    manager = FakeServiceManager(host)
    manager.flags = ("--no-containers",)
    manager.wrapper = (
        *("unshare", "--mount", "--propagation", "slave"),
        *("setpriv", "--no-new-privs", "--bounding-set", ",".join(["-all", *(f"+{name}" for name in capabilities)])),
        *(sys.executable, "-ISc", _DENY_WRITE_EXECUTE),
    )
    other, bare = Namespace.new(), Namespace.new()
    try:
        manager.start()
        host.network("net", subnet="10.66.0.0/24")
        for name, space in (("bare", bare), ("other", other)):
            body = {"Container": f"netns:{space.path}", "Sandbox": {"Name": name}}
            host.api.post("/networks/net/connect", body)
        assert bare.pings("10.66.0.3")
        before = bare.ip("-d", "address")
        host.stop(signal.SIGKILL)
        manager.start()
        assert bare.ip("-d", "address") == before
        assert bare.pings("10.66.0.3")
        for space in (bare, other):
            host.disconnect("net", f"netns:{space.path}")
        host.remove_network("net")
        host.stop()
    finally:
        bare.close()
        other.close()
        manager.close()


def hardened() -> str:
    """The capabilities of the hardened unit."""
    return settings("fairlead-networks.service")["CapabilityBoundingSet"]
