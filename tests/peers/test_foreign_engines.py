"""One network for all: containers of ours, of Docker, of Podman, and bare processes, with the real engines."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from tests.kernel.one_host.foreigners import Foreigner, held, process, sandboxes
from tests.kernel.one_host.host import Host
from tests.kernel.one_host.namespace import PROGRAM_S
from tests.kernel.one_host.programs import echo
from tests.kernel.one_host.waiting import until
from tests.peers.foreign_engines import DOCKER, Engine, engines

from fairlead.api.client import ApiError

__all__ = ["engines"]

Engines = tuple[Host, Engine, Engine]
NET = "mixed"


@pytest.fixture(scope="module")
def net(engines: Engines) -> Iterator[str]:
    host, docker, _ = engines
    host.network(NET, subnet="10.91.0.0/24", v6="fd00:91::/64")
    docker.call("network", "create", "theirs")
    yield NET
    docker.call("network", "rm", "theirs")
    host.remove_network(NET)


@contextlib.contextmanager
def joined(host: Host, foreigner: Foreigner, *words: str) -> Iterator[dict[str, Any]]:
    """Connected by the command line, and disconnected; the endpoint as ``sandbox inspect`` tells it."""
    host.cli("network", "connect", *words, NET, foreigner.target)
    found = next(box for box in sandboxes(host) if box["Target"] == foreigner.target)
    try:
        yield found["NetworkSettings"]["Networks"][NET]
    finally:
        host.cli("network", "disconnect", NET, foreigner.target)


def test_each_resolves_and_reaches_the_others(engines: Engines, net: str) -> None:
    host, docker, podman = engines

    def serve(name: str) -> tuple[str, ...]:
        return echo(name, "tcp:81")

    with contextlib.ExitStack() as stack:
        members = {
            "d-none": docker.run("d-none", "none", serve("d-none")),
            "d-bridge": docker.run("d-bridge", "bridge", serve("d-bridge")),
            "d-user": docker.run("d-user", "theirs", serve("d-user")),
            "p-none": podman.run("p-none", "none", serve("p-none")),
            "p-bridge": podman.run("p-bridge", "podman", serve("p-bridge")),
            "bare": stack.enter_context(process(*serve("bare"))),
        }
        addresses: dict[str, tuple[str, str]] = {}
        for name, member in members.items():
            extra = ("--alias", f"{name}-alias", *(("--name", name) if name == "bare" else ()))
            place = stack.enter_context(joined(host, member, *extra))
            addresses[name] = (place["IPAddress"], place["GlobalIPv6Address"])
        ours = stack.enter_context(host.run("ours", serve("ours"), network=net))
        members["ours"] = Foreigner("ours", ours.ns, ours.pid)
        addresses["ours"] = (ours.ip(), ours.ip6())
        for name, member in members.items():
            for other, (v4, v6) in addresses.items():
                if other == name:
                    continue
                assert member.resolve(other, "ahostsv4") == v4, f"{name} asks for {other}"
                assert member.resolve(f"{other}.{net}", "ahostsv6") == v6, f"{name} asks for {other}"
                assert member.ns.tcp(v4, 81)[:1] == [other], f"{name} connects to {other}"
                assert member.ns.tcp(v6, 81)[:1] == [other], f"{name} connects to {other}"
            assert member.resolve(addresses["d-none"][0] if name != "d-none" else ours.ip(), "hosts").endswith(
                f".{net}"
            )
        assert ours.exec("getent", "ahostsv4", "d-user-alias").stdout.split()[0] == addresses["d-user"][0]
        assert members["d-bridge"].ns.pings(addresses["p-bridge"][0])
        assert members["d-bridge"].links() == ["eth0", "eth1", "lo"]
        listed = {member["Name"] for member in host.get(f"/networks/{net}")["Containers"].values()}
        assert listed == set(members)
    for engine, name in ((docker, "d-none"), (docker, "d-bridge"), (docker, "d-user"), (podman, "p-none")):
        until(engine.find(name).settled, f"nothing of ours is left in {name}")
        engine.remove(name)
    podman.remove("p-bridge")
    assert (sandboxes(host), held(host)) == ([], [])


def test_docker_names_and_addresses_go_on_beside_ours(engines: Engines, net: str) -> None:
    host, docker, _ = engines
    mate = docker.run("mate", "theirs", echo("mate", "tcp:81"))
    user = docker.run("user", "theirs", echo("user", "tcp:81"))
    theirs = user.resolve("mate", "ahostsv4")
    routes, rules = user.ns.ip("route"), user.ns.run("nft", "list", "ruleset").stdout
    with joined(host, user, "-p", "8191:81"):
        assert user.resolve("mate", "ahostsv4") == theirs
        assert user.ns.tcp(theirs, 81)[0] == "mate"
        assert mate.ns.tcp(mate.resolve("user", "ahostsv4"), 81)[0] == "user"
        assert host.ns.tcp("127.0.0.1", 8191)[0] == "user"
    until(user.settled, "nothing of ours is left")
    assert (user.ns.ip("route"), user.resolve("mate", "ahostsv4")) == (routes, theirs)
    assert user.ns.run("nft", "list", "ruleset").stdout.count("chain") == rules.count("chain")
    docker.remove("mate", "user")


@pytest.mark.parametrize("kind", ["docker", "podman"])
def test_a_restarted_or_removed_container_is_released(engines: Engines, net: str, kind: str) -> None:
    host, docker, podman = engines
    engine = docker if kind == "docker" else podman
    member = engine.run("mortal", "none", echo("mortal", "tcp:81"))
    for end in (lambda: engine.call("restart", "--time", "0", "mortal"), lambda: engine.remove("mortal")):
        host.cli("network", "connect", NET, member.target)
        assert [box["Target"] for box in sandboxes(host)] == [f"{kind}:mortal"]
        end()
        until(lambda: not sandboxes(host) and not held(host), "the sandbox is released")
    with pytest.raises(ApiError) as caught:
        host.connect(NET, f"{kind}:mortal")
    assert caught.value.status == 404
    assert f"{kind.title()} has no container mortal" in caught.value.message


@pytest.mark.parametrize("kind", ["docker", "podman"])
def test_a_container_that_does_not_run_is_refused(engines: Engines, net: str, kind: str) -> None:
    host, docker, podman = engines
    engine = docker if kind == "docker" else podman
    engine.launch("ended", "none", ("true",))
    until(lambda: engine.call("container", "inspect", "--format", "{{.State.Status}}", "ended") == "exited", "its end")
    with pytest.raises(ApiError) as caught:
        host.connect(NET, f"{kind}:ended")
    assert (caught.value.status, "is not running" in caught.value.message) == (409, True)
    engine.remove("ended")


def test_the_docker_client_connects_any_target(engines: Engines, net: str) -> None:
    host, docker, _ = engines
    member = docker.run("plain", "none", echo("plain", "tcp:81"))
    words = [DOCKER, "--host", host.url, "network", "connect", "--alias", "pl", NET, f"pid:{member.pid}"]
    subprocess.run(words, check=True, timeout=PROGRAM_S)
    with host.run("asker", network=NET) as asker:
        found = asker.exec("getent", "ahostsv4", "pl").stdout.split()[0]
        assert asker.ns.tcp(found, 81)[0] == "plain"
    subprocess.run(
        [DOCKER, "--host", host.url, "network", "disconnect", NET, "docker:plain"], check=True, timeout=PROGRAM_S
    )
    assert sandboxes(host) == []
    docker.remove("plain")
