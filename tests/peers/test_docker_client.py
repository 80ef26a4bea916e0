"""The real docker client, every one that is installed, drives the daemon by ``DOCKER_HOST``."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from tests.kernel.one_host.host import HOST_V4, Host
from tests.kernel.one_host.namespace import PROGRAM_S
from tests.kernel.one_host.programs import IDLE, echo
from tests.kernel.one_host.waiting import until

Docker = Callable[..., subprocess.CompletedProcess[str]]


def clients() -> list[str]:
    """Every docker client on the PATH, each once."""
    found = [shutil.which("docker", path=folder) for folder in os.environ.get("PATH", "").split(os.pathsep)]
    real = {os.path.realpath(path): path for path in found if path}
    return sorted(real.values())


@pytest.fixture(scope="module", params=clients() or [""], ids=lambda path: path.replace("/", "_").strip("_") or "none")
def docker(request: pytest.FixtureRequest, host: Host) -> Docker:
    """Runs a client against the daemon of the test."""
    client = request.param
    if not client:
        pytest.skip("no docker client is installed: ./run test installs Debian's docker.io")

    def run(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "DOCKER_HOST": host.url, "HOME": str(host.folder)}
        done = subprocess.run(
            [client, *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PROGRAM_S,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, f"docker {' '.join(words)}: exit {done.returncode}: {done.stdout}{done.stderr}"
        return done

    return run


@pytest.fixture
def net(docker: Docker) -> Iterator[str]:
    """A network made by the client."""
    identifier = docker("network", "create", "--subnet", "10.71.0.0/24", "--label", "a=b", "peernet").stdout.strip()
    assert re.fullmatch(r"[0-9a-f]{64}", identifier)
    yield "peernet"
    docker("network", "rm", "peernet")


@pytest.fixture
def box(docker: Docker, net: str) -> Iterator[str]:
    """A container made by the client, in that network."""
    docker("run", "-d", "--name", "box", "--network", net, "-p", "8380:80", "host", *echo("box", "tcp:80"))
    yield "box"
    with contextlib.suppress(AssertionError):
        docker("rm", "-f", "box")


def shown(docker: Docker, *words: str) -> list[dict[str, object]]:
    """The JSON that a command prints."""
    found = json.loads(docker(*words).stdout)
    assert isinstance(found, list)
    return found


def test_version_and_info(docker: Docker, host: Host) -> None:
    version = json.loads(docker("version", "--format", "{{json .}}").stdout)
    assert version["Server"]["ApiVersion"]
    assert "Fairlead" in docker("version").stdout
    info = json.loads(docker("info", "--format", "{{json .}}").stdout)
    assert {"bridge", "host", "null"} <= set(info["Plugins"]["Network"])
    assert not info.get("ServerErrors")
    assert "Server Version" in docker("info").stdout


def test_networks_are_made_shown_and_removed(docker: Docker, host: Host, net: str) -> None:
    listed = docker("network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}}").stdout.splitlines()
    assert {"bridge bridge local", "host host local", "none null local", "peernet bridge local"} <= set(listed)
    assert docker("network", "ls", "-q", "--filter", "name=peernet", "--no-trunc").stdout.strip() != ""
    assert docker("network", "ls", "-q", "--filter", "label=a=b").stdout.count("\n") == 1
    found = shown(docker, "network", "inspect", net)[0]
    assert found["IPAM"]["Config"][0]["Subnet"] == "10.71.0.0/24"  # type: ignore[index]
    assert f"br-{str(found['Id'])[:12]}" in host.links()
    refused = docker("network", "create", net, code=1)
    assert "network with name peernet already exists" in refused.stderr


def test_every_option_of_network_create(docker: Docker, host: Host) -> None:
    words = [
        "--driver",
        "bridge",
        "--subnet",
        "10.72.0.0/24",
        "--gateway",
        "10.72.0.254",
        "--ip-range",
        "10.72.0.128/25",
    ]
    words += ["--aux-address", "router=10.72.0.200", "--ipv6", "--subnet", "fd00:72::/64", "--internal", "--attachable"]
    words += ["--opt", "com.docker.network.driver.mtu=1400", "--label", "x=y"]
    docker("network", "create", *words, "full")
    found = shown(docker, "network", "inspect", "full")[0]
    assert (found["Internal"], found["Attachable"], found["EnableIPv6"], found["Labels"]) == (
        True,
        True,
        True,
        {"x": "y"},
    )
    # the client sends subnets in the order of a Go map: any
    config = {entry["Subnet"]: entry for entry in found["IPAM"]["Config"]}  # type: ignore[index]
    assert config["10.72.0.0/24"]["Gateway"] == "10.72.0.254"
    assert config["10.72.0.0/24"]["AuxiliaryAddresses"] == {"router": "10.72.0.200"}
    docker("network", "rm", "full")


def test_connect_and_disconnect(docker: Docker, host: Host, box: str) -> None:
    docker("network", "create", "second")
    docker("network", "connect", "--alias", "friend", "second", box)
    places = shown(docker, "inspect", box)[0]["NetworkSettings"]["Networks"]  # type: ignore[index]
    assert set(places) == {"peernet", "second"}
    assert "friend" in places["second"]["Aliases"]
    assert box in json.dumps(shown(docker, "network", "inspect", "second")[0]["Containers"])
    docker("network", "disconnect", "second", box)
    assert "second" not in docker("inspect", "-f", "{{json .NetworkSettings.Networks}}", box).stdout
    assert "is not connected to" in docker("network", "disconnect", "second", box, code=1).stderr
    docker("network", "rm", "second")


def test_address_of_ones_own_choice(docker: Docker, net: str) -> None:
    docker("run", "-d", "--name", "fixed", "--network", net, "--ip", "10.71.0.77", "host", *IDLE)
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    assert docker("inspect", "-f", form, "fixed").stdout.strip() == "10.71.0.77"
    docker("rm", "-f", "fixed")


def test_prune_takes_only_what_nobody_uses(docker: Docker, box: str) -> None:
    docker("network", "create", "idle1")
    docker("network", "create", "--label", "keep=1", "idle2")
    pruned = docker("network", "prune", "--force", "--filter", "label!=keep").stdout
    assert "idle1" in pruned
    assert "idle2" not in pruned
    assert "peernet" not in pruned
    docker("network", "rm", "idle2")


def test_ps_and_inspect(docker: Docker, host: Host, box: str) -> None:
    assert docker("ps", "--format", "{{.Names}} {{.Image}} {{.State}}").stdout.splitlines() == ["box host running"]
    assert "8380->80/tcp" in docker("ps").stdout
    assert docker("ps", "-q", "--filter", "name=nothing").stdout == ""
    state = shown(docker, "inspect", box)[0]["State"]
    assert isinstance(state, dict)
    assert (state["Status"], state["Running"]) == ("running", True)
    assert docker("port", box).stdout.startswith("80/tcp -> 0.0.0.0:8380")
    until(lambda: host.neighbour.reaches(HOST_V4, 8380), "the published port answers")
    assert host.neighbour.tcp(HOST_V4, 8380)[0] == "box"


def test_run_attached_shows_output_and_code(docker: Docker) -> None:
    done = docker("run", "--rm", "host", "sh", "-c", "echo out; echo err >&2; exit 3", code=3)
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    assert docker("ps", "-aq").stdout == ""
    many = docker("run", "--rm", "host", "seq", "1", "20000").stdout.splitlines()
    assert many == [str(number) for number in range(1, 20001)]
    docker("run", "--rm", "host", "/no/such/program", code=127)
    docker("run", "--rm", "-p", "8381:80", "-p", "8381:81", "host", "true", code=125)


def test_exec_and_logs(docker: Docker, box: str) -> None:
    assert docker("exec", box, "echo", "hello").stdout == "hello\n"
    docker("exec", box, "sh", "-c", "exit 5", code=5)
    assert "10.71.0." in docker("exec", box, "ip", "-4", "-o", "address", "show", "eth0").stdout
    docker("run", "--name", "talks", "host", "sh", "-c", "echo one; echo two >&2")
    done = docker("logs", "talks")
    assert (done.stdout, done.stderr) == ("one\n", "two\n")
    assert (
        docker("logs", "--tail", "1", "-f", "talks").stderr + docker("logs", "--tail", "0", "talks").stdout == "two\n"
    )
    docker("rm", "talks")


def test_the_life_of_a_container(docker: Docker) -> None:
    docker(
        "create",
        "--name",
        "life",
        "--hostname",
        "box",
        "-e",
        "A=B",
        "host",
        "sh",
        "-c",
        "echo $A; hostname; exec sleep 100000",
    )
    docker("start", "life")
    until(lambda: docker("logs", "life").stdout == "B\nbox\n", "its output")
    docker("rename", "life", "afterlife")
    docker("stop", "-t", "1", "afterlife")
    assert docker("inspect", "-f", "{{.State.Status}}", "afterlife").stdout == "exited\n"
    assert "Exited" in docker("ps", "-a").stdout
    docker("restart", "-t", "0", "afterlife")
    assert "is running" in docker("rm", "afterlife", code=1).stderr
    docker("kill", "afterlife")
    assert docker("wait", "afterlife").stdout.strip() == "137"
    docker("rm", "afterlife")
    assert "No such" in docker("inspect", "afterlife", code=1).stderr


def test_events_tell_what_happened(docker: Docker) -> None:
    since = f"{time.time():.6f}"
    docker("network", "create", "told")
    docker("run", "--rm", "--network", "told", "--name", "teller", "host", "true")
    docker("network", "rm", "told")
    form = "{{.Type}} {{.Action}}"
    until_now = f"{time.time():.6f}"
    lines = docker("events", "--since", since, "--until", until_now, "--format", form).stdout.splitlines()
    wanted = ["network create", "container create", "network connect", "container start", "container die"]
    wanted += ["network disconnect", "container destroy", "network destroy"]
    assert set(wanted) <= set(lines), lines
    only = docker("events", "--since", since, "--until", until_now, "--filter", "type=network", "--format", form).stdout
    assert "container" not in only


def test_refusals_carry_the_daemons_words(docker: Docker, box: str) -> None:
    assert "nowhere" in docker("network", "inspect", "nowhere", code=1).stderr
    assert "has active endpoints" in docker("network", "rm", "peernet", code=1).stderr
    assert (
        "port is already allocated"
        in docker("run", "-d", "--name", "late", "-p", "8380:80", "host", "true", code=125).stderr
    )
    docker("rm", "late")
    assert "it should be 10.72.0.0/24" in docker("network", "create", "--subnet", "10.72.0.1/24", "x", code=1).stderr


def test_events_of_a_life_have_dockers_words_in_dockers_order(docker: Docker) -> None:
    since = f"{time.time():.6f}"
    docker("run", "-d", "--name", "told", "host", *IDLE)
    docker("exec", "told", "true")
    docker("restart", "-t", "0", "told")
    docker("stop", "-t", "0", "told")
    docker("rm", "told")
    docker("container", "prune", "-f")
    form = "{{.Action}}{{with .Actor.Attributes.signal}} {{.}}{{end}}"
    words = ["events", "--since", since, "--until", f"{time.time():.6f}", "--filter", "type=container"]
    lines = docker(*words, "--format", form).stdout.splitlines()
    stopped = ["kill 15", "die", "stop"]
    begun = ["create", "start", "exec_create: true", "exec_start: true", "exec_die"]
    assert [line for line in lines if line != "kill 9"] == [
        *begun,
        *stopped,
        "start",
        "restart",
        *stopped,
        "destroy",
        "prune",
    ]


def test_filters_of_ps(docker: Docker, box: str) -> None:
    def found(*filters: str) -> list[str]:
        words = [word for text in filters for word in ("--filter", text)]
        return docker("ps", "-a", "--format", "{{.Names}}", *words).stdout.split()

    docker("create", "--name", "second", "--label", "tier=back", "--expose", "99", "-v", "/tmp:/inside", "host", "true")
    assert found("label=tier=back") == found("volume=/inside") == found("expose=99") == found("since=box") == ["second"]
    assert (
        found("status=running") == found("before=second") == found("publish=8380") == found("network=peernet") == [box]
    )
    assert found("ancestor=host") == found("is-task=false") == found("health=none") == ["second", box]
    assert found("is-task=true") == found("exited=3") == found("name=nothing") == found("id=zzz") == []
    assert docker("ps", "-n", "1", "--format", "{{.Names}}").stdout.split() == ["second"]
    assert docker("ps", "-lq", "--no-trunc").stdout == docker("inspect", "-f", "{{.Id}}", "second").stdout
    assert "virtual" in docker("ps", "-as").stdout or "0B" in docker("ps", "-as").stdout
    assert "invalid filter" in docker("ps", "--filter", "colour=red", code=1).stderr
    docker("rm", "second")


def test_filters_of_network_ls(docker: Docker, net: str) -> None:
    def found(*filters: str) -> list[str]:
        words = [word for text in filters for word in ("--filter", text)]
        return docker("network", "ls", "--format", "{{.Name}}", *words).stdout.split()

    assert found("dangling=true") == found("type=custom") == found("label=a=b") == found("name=^peer") == [net]
    assert found("driver=null") == ["none"]
    assert found("type=builtin") == found("dangling=false") == ["bridge", "host", "none"]
    assert found("driver=host", "driver=null", "scope=local") == ["host", "none"]
    assert found("scope=swarm") == []
    assert "type" in docker("network", "ls", "--filter", "type=odd", code=1).stderr


def test_room_and_its_pruning(docker: Docker) -> None:
    docker("run", "--name", "over", "host", "true")
    docker("network", "create", "left")
    assert "Containers" in docker("system", "df").stdout
    pruned = docker("system", "prune", "-f", "--volumes").stdout
    assert "Deleted Containers:" in pruned
    assert "left" in pruned
    assert "Total reclaimed space" in pruned
    assert docker("volume", "ls", "-q").stdout == ""
    assert docker("info").stderr == ""
