"""Hosts with daemons: ready when ``up`` returns, replaced after a crash, gone with all they started."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fairlead.lab import daemons, sweep
from fairlead.lab.lab import Lab
from fairlead.lab.layout import Host
from fairlead.model.errors import Conflict, Unavailable


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(str(tmp_path), "lab", dict(os.environ))
    yield lab
    lab.down()


def ask(host: Host, method: str, path: str, body: object = None) -> object:
    """One request to a host's daemon; its answer must be a success."""
    door = http.client.HTTPConnection("localhost", timeout=60)
    door.sock = socket.socket(socket.AF_UNIX)
    door.sock.connect(host.socket)
    door.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"})
    answer = door.getresponse()
    text = answer.read()
    door.close()
    assert answer.status < 300, text
    return json.loads(text) if text.strip().startswith((b"{", b"[")) else text


def sleeper(host: Host, name: str) -> str:
    """A container that does nothing for long; its identifier."""
    answer = ask(host, "POST", f"/containers/create?name={name}", {"Image": "host", "Cmd": ["sleep", "1000"]})
    assert isinstance(answer, dict)
    ask(host, "POST", f"/containers/{answer['Id']}/start")
    return str(answer["Id"])


def groups(identifier: str) -> list[Path]:
    return list(Path("/sys/fs/cgroup").glob(f"*/fairlead/{identifier}"))


def test_every_daemon_answers_when_up_returns(lab: Lab) -> None:
    lab.up(2)
    assert [status.state for status in lab.status()] == ["ready", "ready"]
    entry = lab.entry("h1", ["sh", "-c", "curl -s --unix-socket ${FAIRLEAD_HOST#unix://} http://x/info"], "/")
    said = subprocess.run(
        entry.arguments, env=entry.environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(said.stdout)["Name"] == "h1"


def test_a_killed_daemon_is_replaced_and_its_container_runs_on(lab: Lab) -> None:
    (host,) = lab.up(1)
    identifier = sleeper(host, "a")
    (before,) = lab.status()
    lab.stop("h1", signal.SIGKILL)
    assert lab.status()[0].state == "stopped"
    assert len(sweep.processes([], frozenset({identifier}))) == 1
    with pytest.raises(Conflict, match="does not run"):
        lab.stop("h1")
    lab.start("h1")
    (after,) = lab.status()
    assert after.state == "ready"
    assert after.pid != before.pid
    running = ask(host, "GET", "/containers/json")
    assert isinstance(running, list)
    assert [item["Id"] for item in running] == [identifier]
    with pytest.raises(Conflict, match="runs already"):
        lab.start("h1")


@pytest.mark.parametrize("crashed", [False, True])
def test_down_removes_containers_with_or_without_a_daemon(lab: Lab, tmp_path: Path, crashed: bool) -> None:
    (host,) = lab.up(1)
    identifier = sleeper(host, "a")
    assert groups(identifier)
    places = [host.place]
    if crashed:
        lab.stop("h1", signal.SIGKILL)
    assert lab.down()
    assert not groups(identifier)
    assert sweep.processes(places, frozenset({identifier})) == []
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
    assert not Path(host.root).exists()


def test_a_daemon_that_cannot_start_is_told_with_its_words_and_nothing_is_left(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemons.sys, "executable", "/bin/false")
    with pytest.raises(Unavailable, match="ended with status 1") as caught:
        lab.up(1)
    assert "it said" in caught.value.hint
    assert not (tmp_path / "lab").exists()


def test_the_command_line_does_it_all(tmp_path: Path) -> None:
    environment = dict(os.environ) | {"FAIRLEAD_LAB_DIR": str(tmp_path)}

    def lab(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [daemons.sys.executable, "-m", "fairlead.cli.main", "lab", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    try:
        up = lab("up", "--hosts", "1")
        assert up.returncode == 0, up.stderr
        again = lab("up", "--hosts", "1")
        assert (again.returncode, "is up already" in again.stderr, "lab down" in again.stderr) == (1, True, True)
        status = json.loads(lab("status", "--format", "json").stdout)
        assert (status["host"], status["address"], status["state"]) == ("h1", "198.18.0.11", "ready")
        assert lab("exec", "h1", "--", "sh", "-c", "exit 5").returncode == 5
        assert lab("exec", "h9", "--", "true").returncode == 1
        assert lab("stop", "--signal", "KILL", "h1").returncode == 0
        assert "stopped" in lab("status").stdout
        assert lab("start", "h1").returncode == 0
    finally:
        down = lab("down")
    assert (down.returncode, down.stderr) == (0, "")
    assert lab("down").returncode == 0
    assert "is not up" in lab("status").stderr


def test_down_removes_directories_that_the_lab_made_and_no_others(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    for base, left in ((there, True), (tmp_path / "a" / "b", False)):
        lab = Lab(str(base), "lab", dict(os.environ))
        lab.up(1, with_daemons=False)
        lab.down()
        assert base.exists() == left
        assert base.parent.exists() == (base.parent == tmp_path)
    assert tmp_path.exists()
