"""Rounds of making and unmaking, eight at a time: nothing may be left of them, and memory stays flat.

Some dozens in the suite; ``pytest -s tests/kernel/one_host/test_cycles.py --cycles 3000`` is the whole of it, and
tells the memory at every tenth of the way.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.kernel.one_host.conftest import MakeHost
from tests.kernel.one_host.host import Host
from tests.kernel.one_host.programs import IDLE
from tests.kernel.one_host.waiting import until
from tests.kernel.one_host.whole import assert_whole

from fairlead.api.client import Client

WORKERS = 8
#: Rounds before the first look: what is made once and kept (threads, caches, pools of objects) is made in them. As many
#: as a tenth of all if that is more: pages come to be used in part, most of them in the first hundreds.
WARM_UP = 4 * WORKERS
#: What the daemon's memory may grow by, KiB, however many rounds: two of the pieces of 1 MiB that Python's allocator
#: takes when more is under way at one moment than ever before. A leak of 1 KiB in each of 2,000 rounds goes beyond it.
GROWTH_MAX_KIB = 2048
#: Looks at the memory on the way.
LEGS = 10
#: Threads of the daemon: its own, and the pool of the event loop, which grows to its bound (processors and four).
THREADS_MAX = 16


def holdings(host: Host) -> dict[str, Any]:
    """Everything that a leak would add to, of the host and of the daemon."""
    return {
        **{f"descriptors of {kind}": count for kind, count in descriptors(host.pid).items()},
        "links": sorted(host.links()),
        "addresses": sorted(
            f"{name} {item['local']}"
            for name, row in host.links().items()
            for item in row["addr_info"]
            if item["scope"] == "global"
        ),
        "routes": sorted(host.ns.ip("route", "show", "table", "all").splitlines()),
        "routes6": sorted(line.split(" pref ")[0] for line in host.ns.ip("-6", "route").splitlines()),
        "firewall": host.ruleset(),
        "namespaces": sorted(path.name for path in (host.run_dir / "netns").iterdir()),
        "networks": sorted(row["Name"] for row in host.get("/networks")),
        "containers": [row["Names"] for row in host.get("/containers/json?all=1")],
        "mounts": [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(host.folder) in line],
        "files": sorted(str(path) for path in (host.state / "containers").iterdir()),
        "threads": len(os.listdir(f"/proc/{host.pid}/task")) > THREADS_MAX,
    }


def descriptors(pid: int) -> dict[str, int]:
    """Open files of the daemon by kind."""
    found = []
    for entry in os.scandir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(re.sub(r"[0-9]+\]", "]", os.readlink(entry.path)))
    return dict(Counter(found))


def memory_kib(pid: int) -> int:
    """Resident memory of the daemon."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("VmRSS")))


def cycle(api: Client, number: int) -> None:
    """A network and a second one, a running container of the first connected to the second and back, all removed."""
    first, second, name = (f"{letter}{abs(number)}{'w' * (number < 0)}" for letter in "abc")
    for network in (first, second):
        api.post("/networks/create", {"Name": network, "EnableIPv6": number % 2 == 0})
    body = {
        "Image": "host",
        "Cmd": list(IDLE),
        "HostConfig": {"NetworkMode": first, "PortBindings": {"80/tcp": [{}], "53/udp": [{}]}},
    }
    api.post("/containers/create", body, {"name": name})
    api.post(f"/containers/{name}/start")
    api.post(f"/networks/{second}/connect", {"Container": name, "EndpointConfig": {"Aliases": ["x"]}})
    api.post(f"/networks/{first}/disconnect", {"Container": name})
    api.delete(f"/containers/{name}", {"force": True})
    for network in (first, second):
        api.delete(f"/networks/{network}")


def rounds(host: Host, numbers: range) -> None:
    """Cycles with these numbers, as many at a time as there are workers; raises what one raised."""
    waiting, lock = list(numbers), threading.Lock()
    faults: list[Exception] = []

    def work() -> None:
        api = Client(host.url)
        while not faults:
            with lock:
                if not waiting:
                    return
                number = waiting.pop()
            try:
                cycle(api, number)
            except Exception as fault:  # noqa: BLE001  (raised again below, where the test sees it)
                faults.append(fault)

    threads = [threading.Thread(target=work) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]


@pytest.mark.timeout(1800)  # seconds; as many as are asked for
def test_nothing_leaks(make_host: MakeHost, record_property: Any, pytestconfig: pytest.Config) -> None:
    cycles = pytestconfig.getoption("--cycles")
    host = make_host()
    host.pools = ("base=10.64.0.0/12,size=24",)
    host.start()
    rounds(host, range(-max(WARM_UP, cycles // 10), 0))
    settled(host)
    before, memory = holdings(host), memory_kib(host.pid)
    for leg in range(LEGS):
        rounds(host, range(cycles * leg // LEGS, cycles * (leg + 1) // LEGS))
        print(f"after {cycles * (leg + 1) // LEGS} cycles: {memory_kib(host.pid) - memory:+} KiB", flush=True)
    settled(host)
    after = holdings(host)
    keys = before.keys() | after.keys()
    changed = {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}
    assert changed == {}
    # what the last rounds had in use for a moment is given back within seconds
    until(
        lambda: memory_kib(host.pid) - memory <= GROWTH_MAX_KIB, f"{memory} KiB before, at most {GROWTH_MAX_KIB} more"
    )
    grown = memory_kib(host.pid) - memory
    record_property("memory_growth_kib", grown)
    print(f"\nmemory: {memory} KiB before, {grown:+} KiB after {cycles} cycles")


def test_repairs_beside_commands_disturb_none(make_host: MakeHost) -> None:
    """SIGHUP after SIGHUP, while eight clients make and remove things: none of them is refused, nothing is left over."""
    host = make_host()
    host.start()
    before, over, repairs = holdings(host), threading.Event(), []

    def repair() -> None:
        while not over.wait(0.02):
            os.kill(host.pid, signal.SIGHUP)
            repairs.append(1)

    thread = threading.Thread(target=repair)
    thread.start()
    try:
        rounds(host, range(2 * WORKERS))
    finally:
        over.set()
        thread.join()
    settled(host)
    assert len(repairs) > WORKERS
    after = holdings(host)
    kept = ("links", "firewall", "namespaces", "networks", "containers", "mounts", "files")
    assert [after[key] for key in kept] == [before[key] for key in kept]
    assert_whole(host)
    assert not [line for line in host.log.read_text().splitlines() if " ERROR " in line]


def settled(host: Host) -> None:
    """Links on their way out are deleted, connections of ours are closed."""
    until(lambda: not any(name.startswith("fx-") for name in host.links()), "links that are gone are deleted")
    counts = [sum(descriptors(host.pid).values())]

    def quiet() -> bool:
        counts.append(sum(descriptors(host.pid).values()))
        return len(counts) > 20 and len(set(counts[-20:])) == 1

    until(quiet, "the number of open files settles")
