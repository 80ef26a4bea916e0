"""A service's virtual address on three hosts: whoever asks, wherever, reaches each ready task, and is seen as himself."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.kernel.cluster.bed import PROGRAM_S, SEA
from tests.kernel.cluster.services import HEALTH, Fleet, serve, spec
from tests.kernel.one_host.programs import ECHO
from tests.kernel.one_host.waiting import until

from fairlead.balance.nftables import TABLE

#: Connections after which each of three tasks was reached: the chance of missing one is below 1e-10.
ENOUGH = 60
#: Asks ``host`` (a name or an address) ``count`` times over ``proto`` and ``family`` who it is, and how we look to it; a
#: line for each answer, "nobody" for none.
_ASK = """
import socket, sys
host, proto, family, count = sys.argv[1:]
family = socket.AF_INET6 if family == "6" else socket.AF_INET
kind = socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM
for _ in range(int(count)):
    try:
        where = socket.getaddrinfo(host, 7000, family, kind)[0][4]
        with socket.socket(family, kind) as link:
            link.settimeout(30)
            link.connect(where)
            if proto == "udp":
                link.send(b"hello")
            print(link.recv(4096).decode().strip(), flush=True)
    except OSError as error:
        print("nobody", error, flush=True)
"""
#: Says how many connections are tracked.
_COUNT = 'print(open("/proc/sys/net/netfilter/nf_conntrack_count").read())'
#: Greets as ECHO does, its tag is the host name.
_GREET = ("/bin/sh", "-c", 'exec /usr/bin/python3 -ISc "$0" "$(hostname)" tcp:7000 udp:7000', ECHO)
#: Nanoseconds; the program does not listen to requests to end.
_HURRY = {"StopGracePeriod": 500_000_000}
#: Nanoseconds that a dead task's successor waits: meanwhile two are left.
_LATE = {"Delay": 3_000_000_000}
TASKS = {"s1", "s2", "s3"}
#: Asks ``host`` who it is, ``rate`` times a second from four threads, until its standard input ends; then says how often it
#: was answered, and what went wrong.
_LOAD = """
import json, socket, sys, threading, time
host, rate, threads = sys.argv[1], float(sys.argv[2]), 4
over, answered, wrong = threading.Event(), [0] * threads, []
def ask(number):
    due = time.monotonic()
    while not over.is_set():
        try:
            with socket.create_connection((host, 7000), timeout=30) as link:
                said = link.recv(256)
            if not said:
                wrong.append("nothing was said")
            answered[number] += 1
        except OSError as error:
            wrong.append(repr(error))
        due = max(due + threads / rate, time.monotonic() - 1)
        over.wait(max(0.0, due - time.monotonic()))
asking = [threading.Thread(target=ask, args=(number,)) for number in range(threads)]
[one.start() for one in asking]
sys.stdin.read()
over.set()
[one.join() for one in asking]
print(json.dumps([sum(answered), wrong]))
"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    found = Fleet(tmp_path_factory.mktemp("vip"), 3)
    try:
        found.network(SEA, "--ipv6", "--subnet", "10.77.0.0/24", "--subnet", "fd77::/64")
        for host in found.hosts:
            found.start(host, f"on-{host}")
        found.create(spec("web", _GREET, 3, container={"Hostname": "s{{.Task.Slot}}", **_HURRY}, restart=_LATE))
        found.settled("web", 3)
        for host in found.hosts:
            all_answer(found, host)
        yield found
        found.remove_service("web")
    finally:
        found.close()


def all_answer(fleet: Fleet, host: str) -> None:
    """Wait until each task answers a host's container, and nobody is silent: a program runs before it listens."""
    said: list[Counter[str]] = []

    def look() -> bool:
        said.append(ask(fleet, host, f"on-{host}"))
        return said[-1].keys() == TASKS

    try:
        until(look, f"all tasks answer on {host}")
    except AssertionError as error:
        raise AssertionError(f"{error}: {said[-1]}\n{fleet.told('web')}") from None


def addresses(fleet: Fleet, host: str, container: str) -> dict[str, str]:
    """A container's addresses, by family."""
    place = fleet.inspect(host, container)["NetworkSettings"]["Networks"][SEA]
    return {"4": place["IPAddress"], "6": place["GlobalIPv6Address"]}


def ask(
    fleet: Fleet, host: str, container: str, target: str = "web", proto: str = "tcp", family: str = "4"
) -> Counter[str]:
    """Who answered a container how often; each of them has seen it with its own address."""
    words = ("/usr/bin/python3", "-c", _ASK, target, proto, family, str(ENOUGH))
    said = [line.split() for line in fleet.run_inside(host, container, *words).splitlines()]
    own = addresses(fleet, host, container)[family]
    assert {words[1] for words in said if words[0] != "nobody"} <= {own}
    return Counter(words[0] for words in said)


@pytest.mark.parametrize("family", ["4", "6"])
@pytest.mark.parametrize("proto", ["tcp", "udp"])
def test_containers_on_every_host_reach_every_task_by_name(fleet: Fleet, proto: str, family: str) -> None:
    for host in fleet.hosts:
        assert ask(fleet, host, f"on-{host}", "web", proto, family).keys() == TASKS


@pytest.mark.parametrize("family", ["4", "6"])
@pytest.mark.parametrize("proto", ["tcp", "udp"])
def test_tasks_reach_their_own_service(fleet: Fleet, proto: str, family: str) -> None:
    for task in fleet.held():
        assert ask(fleet, task.host, task.container, "web", proto, family).keys() == TASKS


def test_the_name_means_the_address_that_inspect_shows(fleet: Fleet) -> None:
    every_vip = [vip["Addr"].partition("/")[0] for vip in fleet.service("web")["Endpoint"]["VirtualIPs"]]
    vips = [vip for vip in every_vip if ":" not in vip]
    assert len(vips) == 1
    every = fleet.addresses(fleet.wanted("web"))
    for host in fleet.hosts:
        assert fleet.resolve(host, f"on-{host}", "web") == vips
        assert set(fleet.resolve(host, f"on-{host}", "tasks.web")) == {one for one in every if ":" not in one}


def test_questions_for_names_are_not_tracked_as_connections(fleet: Fleet) -> None:
    fleet.resolve("h1", "on-h1", "web")
    tracked = fleet.run_inside("h1", "on-h1", "/usr/bin/python3", "-c", _COUNT)
    for _ in range(5):
        assert fleet.resolve("h1", "on-h1", "web")
    assert int(fleet.run_inside("h1", "on-h1", "/usr/bin/python3", "-c", _COUNT)) <= int(tracked)


def test_a_service_by_names_only_has_no_virtual_address(fleet: Fleet) -> None:
    fleet.create(spec("plain", _GREET, 2, container=_HURRY, endpoint={"Mode": "dnsrr"}))
    try:
        every = {one for one in fleet.addresses(fleet.settled("plain", 2)) if ":" not in one}
        for host in fleet.hosts:
            until(lambda host=host: set(fleet.resolve(host, f"on-{host}", "plain")) == every, "all are told")  # type: ignore[misc]
    finally:
        fleet.remove_service("plain")


def test_a_killed_task_is_led_to_no_more_and_its_successor_is(fleet: Fleet) -> None:
    task = fleet.wanted("web")[0]
    (address,) = (one for one in fleet.addresses([task]) if ":" not in one)
    fleet.kill_task(task)

    def told(host: str) -> bool:
        words = ("nft", "list", "table", "inet", TABLE)
        return not re.search(rf"\b{re.escape(address)}\b", fleet.run_inside(host, f"on-{host}", *words))

    for host in fleet.hosts:
        until(lambda host=host: told(host), f"{host} leads nobody to the dead task")  # type: ignore[misc]
        answers = ask(fleet, host, f"on-{host}")
        followed = [one for one in fleet.wanted("web") if one["Slot"] == task["Slot"] and one["ID"] != task["ID"]]
        if followed and followed[0]["DesiredState"] == "running":
            break  # on a busy machine its successor is there meanwhile, and may not listen yet
        assert len(answers.keys()) == 2 and answers.keys() < TASKS, answers
    fleet.settled("web", 3)
    for host in fleet.hosts:
        all_answer(fleet, host)


@contextmanager
def laden(fleet: Fleet, service: str, rate: int) -> Iterator[list[tuple[int, list[str]]]]:
    """Containers on all hosts ask a service so often, together; afterwards (number of answers, faults) of each."""
    (vip,) = (vip for vip in fleet.resolve("h1", "on-h1", service))
    words = ("/usr/bin/python3", "-c", _LOAD, vip, str(rate / len(fleet.hosts)))
    asking = [
        subprocess.Popen(
            fleet.inside(host, f"on-{host}", *words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for host in fleet.hosts
    ]
    found: list[tuple[int, list[str]]] = []
    try:
        yield found
        found += [tuple(json.loads(one.communicate(timeout=PROGRAM_S)[0])) for one in asking]
    finally:
        for one in asking:
            one.kill()
            one.wait()


def test_a_rolling_update_loses_no_request(fleet: Fleet, request: pytest.FixtureRequest) -> None:
    """``--load 2000 --load-for 60`` is what the acceptance asks for. A firewall that is flushed on a host is no matter."""
    rate, seconds = request.config.getoption("--load"), request.config.getoption("--load-for")
    wanted = spec("load", serve(linger_s=0.1), 6, container={"Healthcheck": HEALTH}, update={"parallelism": 2})
    fleet.create(wanted)
    try:
        fleet.settled("load", 6)
        began, release = time.monotonic(), 0
        with laden(fleet, "load", rate) as found:
            while not release or time.monotonic() - began < seconds:
                release += 1
                wanted["TaskTemplate"]["ContainerSpec"]["Env"] = [f"RELEASE={release}"]
                before = {task["ID"] for task in fleet.wanted("load")}
                fleet.change("load", wanted)
                flush = fleet.lab.entry("h2", ["nft", "flush", "ruleset"], "/")
                subprocess.run(flush.arguments, check=True, timeout=PROGRAM_S)
                after = fleet.settled("load", 6, state="completed")
                assert not before & {task["ID"] for task in after}
        assert [wrong for _, wrong in found] == [[], [], []], found
        assert all(answered > 10 for answered, _ in found), found
        print(
            f"{sum(answered for answered, _ in found)} requests in {time.monotonic() - began:.0f} s, {release} updates"
        )
    finally:
        fleet.remove_service("load")


def test_everybody_can_see_how_a_service_is_balanced_and_who_is_in_step(fleet: Fleet) -> None:
    all_answer(fleet, "h1")
    addresses_of = {one["ID"]: fleet.addresses([one]) for one in fleet.wanted("web")}
    for host in fleet.hosts:
        until(lambda host=host: len(seen(fleet, host)["Tasks"]) == 3, f"{host} knows all tasks")  # type: ignore[misc]
        web = seen(fleet, host)
        vips = {vip["Addr"].partition("/")[0] for vip in fleet.service("web")["Endpoint"]["VirtualIPs"]}
        assert {web["VIP"], web["VIP6"]} == vips
        for task in web["Tasks"]:
            name, slot, identifier = task["Name"].split(".")
            assert (name, {task["EndpointIP"], task["EndpointIPv6"]}) == ("web", addresses_of[identifier]), slot
            assert task["Info"]["State"] == "ready" and task["Info"]["Weight"] == "1"
        own = [task for task in web["Tasks"] if "Connections" in task["Info"]]
        assert len(own) == len([held for held in fleet.held(host) if held.service == "web"])
        assert all(int(task["Info"]["Connections"]) > 0 for task in own), own
        in_step = {peer["Name"]: peer["InStep"] for peer in web["Peers"]}
        assert len(in_step) == 2 and all(in_step.values()), in_step
        with fleet.api(host).open("GET", "/fairlead/metrics") as reply:
            lines = reply.read().decode().splitlines()
        assert f'fairlead_service_ready_tasks{{network="{SEA}",service="web"}} 3' in lines
        counted = [line for line in lines if line.startswith("fairlead_service_task_connections_total")]
        assert len([line for line in counted if 'service="web"' in line]) == len(own), counted


def seen(fleet: Fleet, host: str) -> dict[str, Any]:
    """How a host sends to the service."""
    (found,) = json.loads(fleet.cli(host, "network", "inspect", "--verbose", SEA))
    return {"Tasks": [], **found.get("Services", {}).get("web", {}), "Peers": found.get("Peers", [])}


def test_without_managers_a_lost_worker_is_led_to_no_more(fleet: Fleet) -> None:
    """The last test: it takes the manager's daemon and a host away."""
    lost = {held.address for held in fleet.held("h3") if held.service == "web"}
    assert lost
    fleet.kill_daemon("h1")
    fleet.plug("h3", into=False)
    try:

        def told() -> bool:
            listing = fleet.run_inside("h2", "on-h2", "nft", "list", "table", "inet", TABLE)
            return not any(re.search(rf"\b{re.escape(address)}\b", listing) for address in lost)

        until(told, "h2 leads nobody to the lost host")
        answers = ask(fleet, "h2", "on-h2")
        assert answers and "nobody" not in answers, answers
    finally:
        fleet.plug("h3", into=True)
        fleet.start_daemon("h1")
    all_answer(fleet, "h2")
