"""A stack by Docker's own clients, on lab hosts: made, scaled, changed, a host drained, removed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kernel.cluster.bed import Cluster
from tests.kernel.one_host.waiting import until
from tests.unit.api.test_docker_client import CLIENTS

pytestmark = pytest.mark.skipif(not CLIENTS, reason="no docker client is installed: apt install docker.io")

#: Seconds a service may take until it is as wanted, on a laden machine.
_SETTLED_S = 120.0
_COMPOSE = """
services:
  web:
    image: host
    command: ["sleep", "3600"]
    stop_grace_period: 1s
    networks: [sea]
    deploy:
      replicas: 2
      update_config: {monitor: 100ms, parallelism: 0}
      restart_policy: {delay: 100ms}
networks:
  sea:
    ipam: {config: [{subnet: 10.78.0.0/24}]}
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    found = Cluster(tmp_path_factory.mktemp("docker"), 2)
    try:
        yield found
    finally:
        found.close()


class Shell:
    """A command line that is pointed at the manager's daemon."""

    def __init__(self, program: str, url: str, home: Path) -> None:
        self._words = [program, "--host", url]
        self._environment = {**os.environ, "HOME": str(home)}

    def __call__(self, *words: str) -> str:
        done = subprocess.run(
            [*self._words, *words], env=self._environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(params=CLIENTS or ["none"])
def shell(request: pytest.FixtureRequest, cluster: Cluster, tmp_path: Path) -> Shell:
    return Shell(request.param, cluster.hosts["h1"].url, tmp_path)


def test_a_stack_lives_and_goes(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text('version: "3.8"\n' + _COMPOSE)
    said = shell("stack", "deploy", "-c", str(file), "shop")
    assert "Creating network shop_sea" in said
    assert "Creating service shop_web" in said
    _runs(shell, "2/2")
    nodes = shell("stack", "ps", "--filter", "desired-state=running", "--format", "{{.Node}}", "shop").split()
    assert sorted(nodes) == ["h1", "h2"]
    assert "web" in shell("node", "ps", "h2")
    assert "shop_web scaled to 3" in shell("service", "scale", "--detach", "shop_web=3")
    _runs(shell, "3/3")
    shell("service", "update", "--detach", "--env-add", "B=2", "shop_web")
    _state(shell, "completed")
    shell("service", "rollback", "--detach", "shop_web")
    _state(shell, "rollback_completed")
    shell("node", "update", "--availability", "drain", "h2")
    _runs(shell, "3/3", nodes={"h1"})
    shell("node", "update", "--availability", "active", "h2")
    assert "Removing network shop_sea" in shell("stack", "rm", "shop")
    assert shell("stack", "ls", "--format", "{{.Name}}") == ""
    until(lambda: "shop_sea" not in shell("network", "ls", "--format", "{{.Name}}"), "its network is gone")


def _runs(shell: Shell, replicas: str, nodes: set[str] | None = None) -> None:
    """Wait until so many tasks run, on these nodes."""

    def settled() -> bool:
        shown = shell("stack", "services", "--format", "{{.Replicas}}", "shop").strip()
        rows = shell(
            "stack", "ps", "--filter", "desired-state=running", "--format", "{{.Node}} {{.CurrentState}}", "shop"
        ).splitlines()
        there = {row.split()[0] for row in rows}
        return shown == replicas and all("Running" in row for row in rows) and (nodes is None or there == nodes)

    until(settled, f"{replicas} tasks run", _SETTLED_S)


def _state(shell: Shell, state: str) -> None:
    """Wait until the update is in a state."""
    until(
        lambda: shell("service", "inspect", "--format", "{{.UpdateStatus.State}}", "shop_web").strip() == state,
        f"the update is {state}",
        _SETTLED_S,
    )
