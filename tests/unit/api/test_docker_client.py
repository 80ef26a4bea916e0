"""Docker's own clients, as installed here, against the API of a fake node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.api.living import Living, living_api

_PLACES = ("/usr/bin/docker", "/usr/local/bin/docker")
CLIENTS = sorted({place for place in (*_PLACES, shutil.which("docker") or "") if place and os.access(place, os.X_OK)})

pytestmark = pytest.mark.skipif(not CLIENTS, reason="no docker client is installed: apt install docker.io")


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Living]:
    with living_api(tmp_path) as living:
        yield living


@pytest.fixture(params=CLIENTS or ["none"])
def docker(request: pytest.FixtureRequest, api: Living, tmp_path: Path) -> Docker:
    return Docker(request.param, api.host, tmp_path)


class Docker:
    """One client binary, pointed at the socket."""

    def __init__(self, binary: str, host: str, home: Path) -> None:
        self._binary = binary
        self._environment = {"PATH": "/usr/bin:/bin", "DOCKER_HOST": host, "HOME": str(home)}

    def run(self, *words: str, code: int = 0, given: str | None = None) -> str:
        """Standard output; fails the test on another exit code."""
        done = subprocess.run(
            [self._binary, *words],
            env=self._environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr


def test_version_and_info(docker: Docker) -> None:
    assert docker.run("version", "--format", "{{.Server.Version}} {{.Server.MinAPIVersion}}").split()[1] == "1.24"
    assert docker.run("info", "--format", "{{.Name}} {{.Swarm.LocalNodeState}}") == "fakehost inactive\n"
    assert "Network: bridge host null" in docker.run("info")


def test_network_verbs(docker: Docker) -> None:
    identifier = docker.run("network", "create", "--subnet", "10.9.0.0/24", "--label", "a=b", "web").strip()
    assert docker.run("network", "ls", "-q", "--no-trunc", "--filter", "label=a=b").strip() == identifier
    assert docker.run("network", "ls", "--format", "{{.Name}}").split() == ["bridge", "host", "none", "web"]
    shown = json.loads(docker.run("network", "inspect", "web"))[0]
    assert shown["IPAM"]["Config"][0]["Subnet"] == "10.9.0.0/24"
    assert "already exists" in docker.run("network", "create", "web", code=1)
    docker.run("run", "-d", "--name", "c1", "host", "cat")
    docker.run("network", "connect", "--alias", "db", "web", "c1")
    assert "active endpoints" in docker.run("network", "rm", "web", code=1)
    assert "c1" in docker.run("network", "inspect", "web", "-f", "{{range .Containers}}{{.Name}}{{end}}")
    docker.run("network", "disconnect", "web", "c1")
    assert docker.run("network", "rm", "web") == "web\n"
    docker.run("network", "create", "idle")
    assert docker.run("network", "prune", "-f").split() == ["Deleted", "Networks:", "idle"]


def test_life_of_a_container(docker: Docker) -> None:
    identifier = docker.run("run", "-d", "--name", "c1", "-p", "8080:80", "host", "sleep", "9").strip()
    assert docker.run("ps", "--no-trunc", "--format", "{{.ID}} {{.Ports}}") == f"{identifier} 0.0.0.0:8080->80/tcp\n"
    assert docker.run("logs", "--tail", "1", "c1") == "three\n"
    assert docker.run("exec", "-i", "c1", "cat", code=3, given="typed") == "hello\n"
    assert docker.run("inspect", "-f", "{{.State.Status}}", "c1") == "running\n"
    assert docker.run("stop", "c1") == "c1\n"
    assert docker.run("wait", "c1") == "143\n"
    docker.run("rename", "c1", "c2")
    assert docker.run("rm", "c2") == "c2\n"
    assert docker.run("ps", "-aq") == ""


def test_image_that_is_not_there(docker: Docker) -> None:
    assert "fairlead image import" in docker.run("run", "absent", "true", code=125)


def test_events(docker: Docker) -> None:
    docker.run("network", "create", "web")
    lines = docker.run("events", "--since", "1", "--until", "1700001000", "--format", "{{.Type}} {{.Action}}")
    assert lines == "network create\n"
