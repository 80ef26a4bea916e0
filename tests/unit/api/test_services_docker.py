"""Services and stacks by Docker's own clients, as installed here, against a fake node with a real brain."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.api.fake_agents import Agents
from tests.unit.api.living import Living, living_api
from tests.unit.api.test_docker_client import CLIENTS, Docker

pytestmark = pytest.mark.skipif(not CLIENTS, reason="no docker client is installed: apt install docker.io")

COMPOSE = """
version: "3.8"
services:
  web:
    image: host
    command: sleep 100
    networks: {sea: {aliases: [www]}}
    deploy:
      replicas: 2
      update_config: {order: start-first}
  worker:
    image: host
    command: ["sleep", "200"]
    networks: [sea]
networks:
  sea:
    ipam: {config: [{subnet: 10.78.0.0/24}]}
"""


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Living]:
    with living_api(tmp_path) as living:
        living.client.post("/swarm/init", {"ListenAddr": "0.0.0.0:2377", "Spec": {}})
        with Agents(living) as agents:
            agents.join("fakehost")
            yield living


@pytest.fixture(params=CLIENTS or ["none"])
def docker(request: pytest.FixtureRequest, api: Living, tmp_path: Path) -> Docker:
    return Docker(request.param, api.host, tmp_path)


def test_a_service_is_made_and_told_of(docker: Docker) -> None:
    said = docker.run(
        "service", "create", "--name", "web", "--update-monitor", "100ms", "--label", "a=b", "--env", "A=1",
        "--publish", "published=8080,target=80,mode=host", "host", "sleep", "100",
    )  # fmt: skip
    identifier = said.split()[0]
    assert "converged" in said
    row = docker.run("service", "ls", "--format", "{{.ID}} {{.Name}} {{.Mode}} {{.Replicas}} {{.Image}}")
    assert row.split() == [identifier[:12], "web", "replicated", "1/1", "host"]
    assert docker.run("service", "ps", "web", "--format", "{{.Ports}}") == "*:8080->80/tcp\n"
    assert docker.run("service", "inspect", "--format", "{{.Spec.Labels.a}}", "web") == "b\n"


def eventually(docker: Docker, state: str) -> dict[str, Any]:
    """The service ``web`` once its update is in a state: clients end when all tasks run, the manager watches longer."""
    for _ in range(1000):
        shown: dict[str, Any] = json.loads(docker.run("service", "inspect", "web"))[0]
        if shown["UpdateStatus"]["State"] == state:
            break
        time.sleep(0.05)
    assert shown["UpdateStatus"]["State"] == state
    return shown


def test_scale_update_and_rollback(docker: Docker) -> None:
    docker.run("service", "create", "-q", "--name", "web", "--update-monitor", "100ms", "host", "sleep", "100")
    assert "web scaled to 3" in docker.run("service", "scale", "web=3")
    names = docker.run("service", "ps", "web", "--format", "{{.Name}} {{.Node}} {{.DesiredState}}").splitlines()
    assert sorted(names) == [f"web.{slot} fakehost Running" for slot in (1, 2, 3)]
    docker.run("service", "update", "--env-add", "B=2", "--update-parallelism", "0", "web")
    shown = eventually(docker, "completed")
    assert shown["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"] == ["B=2"]
    assert "Env:\t\tB=2" in docker.run("service", "inspect", "--pretty", "web")
    docker.run("service", "rollback", "web")
    shown = eventually(docker, "rollback_completed")
    assert "Env" not in shown["Spec"]["TaskTemplate"]["ContainerSpec"]
    assert "\\_ web.1" in docker.run("service", "ps", "web")
    assert docker.run("service", "rm", "web") == "web\n"
    assert "no such service: web" in docker.run("service", "inspect", "web", code=1).lower()


def test_a_node_is_drained_and_tells_its_tasks(docker: Docker, api: Living) -> None:
    docker.run("service", "create", "-d", "--name", "web", "--replicas", "2", "host", "sleep", "100")
    assert "web.1" in docker.run("node", "ps", "self")
    docker.run("node", "update", "--availability", "drain", "fakehost")
    assert "Drain" in docker.run("node", "ls")
    waiting = docker.run("service", "ps", "--no-trunc", "--filter", "desired-state=running", "web")
    assert "no suitable node" in waiting


def test_a_stack(docker: Docker, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(COMPOSE)
    said = docker.run("stack", "deploy", "--compose-file", str(file), "shop")
    for line in ("Creating network shop_sea", "Creating service shop_web", "Creating service shop_worker"):
        assert line in said
    assert docker.run("stack", "ls", "--format", "{{.Name}} {{.Services}}") == "shop 2\n"
    assert sorted(docker.run("stack", "services", "--format", "{{.Name}}", "shop").split()) == [
        "shop_web",
        "shop_worker",
    ]
    assert docker.run("stack", "ps", "--format", "{{.Name}}", "shop").count("shop_web.") == 2
    file.write_text(COMPOSE.replace("replicas: 2", "replicas: 3").partition("  worker:")[0] + "networks:\n  sea:\n")
    assert "Updating service shop_web" in docker.run("stack", "deploy", "--prune", "-c", str(file), "shop")
    assert docker.run("stack", "services", "--format", "{{.Name}} {{.Replicas}}", "shop").startswith("shop_web 3")
    said = docker.run("stack", "rm", "shop")
    assert "Removing network shop_sea" in said
    assert docker.run("stack", "ls", "--format", "{{.Name}}") == ""


def test_logs_of_a_service(docker: Docker) -> None:
    docker.run("service", "create", "-d", "--name", "web", "host", "sleep", "100")
    assert "| hello from 1" in docker.run("service", "logs", "web")
    assert docker.run("service", "logs", "--raw", "web") == "hello from 1\n"


def test_faults_are_told(docker: Docker) -> None:
    assert "already exists" in _twice(docker)
    assert "none-such" in docker.run("service", "create", "-d", "--network", "none-such", "host", code=1)


def _twice(docker: Docker) -> str:
    docker.run("service", "create", "-d", "--name", "web", "host")
    return docker.run("service", "create", "-d", "--name", "web", "host", code=1)
