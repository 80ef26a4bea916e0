"""Whole command lines against the API of a fake node: what is printed where, and the exit codes."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from tests.unit.api.living import Living, living_api

from fairlead.cli.catalog import CONTAINER, IMAGE, NETWORK, NODE, SWARM, SYSTEM, TOP
from fairlead.cli.lazy import Entry
from fairlead.cli.main import run
from fairlead.model.container import Container

ENTRIES = sorted({entry for table in (TOP, NETWORK, CONTAINER, IMAGE, SYSTEM, SWARM, NODE) for entry in table.values()})


class Shell:
    """Runs command lines in this process."""

    def __init__(self, living: Living, capture: pytest.CaptureFixture[str]) -> None:
        self.living = living
        self.out = ""
        self.err = ""
        self._capture = capture

    def __call__(self, *words: str) -> int:
        code = run(["--host", self.living.host, *words])
        self.out, self.err = self._capture.readouterr()
        return code


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    with living_api(tmp_path) as living:
        yield Shell(living, capsys)


def config_of(shell: Shell, name: str) -> Container:
    return shell.living.node.state.container(name)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.module)
def test_every_command_loads_and_its_help_has_an_example(entry: Entry) -> None:
    command = importlib.import_module(entry.module).command
    assert isinstance(command, click.Command)
    assert "Example:\n" in (command.help or ""), "write \\b, then Example:"


def test_start_loads_nothing_heavy() -> None:
    code = (
        "import sys; from fairlead.cli.main import run; run(['--host', 'unix:///nowhere', 'network', 'ls']);"
        "print(sorted({'aiohttp', 'msgspec', 'asyncio', 'http.client', 'dataclasses'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"


def test_network_round(shell: Shell) -> None:
    assert shell("network", "create", "--internal", "--label", "a=b", "-o", "x=y", "--ipv6", "web") == 0
    identifier = shell.out.strip()
    assert shell("network", "ls", "-q", "--no-trunc", "--filter", "name=web") == 0
    assert shell.out.strip() == identifier
    assert shell("network", "ls", "--format", "{{.Name}} {{.Internal}} {{.IPv6}}") == 0
    assert "web true true\n" in shell.out
    assert shell("network", "inspect", "web") == 0
    assert json.loads(shell.out)[0]["Options"] == {"x": "y"}
    assert shell("network", "rm", "web") == 0
    assert shell.out == "web\n"


def test_flags_that_are_not_given_are_not_sent(shell: Shell) -> None:
    shell("network", "create", "web")
    command = shell.living.node.seen[-1]
    assert getattr(command, "ipv4", "?") is None
    assert getattr(command, "ipv6", "?") is None


def test_missing_ones_go_to_standard_error_and_the_rest_goes_on(shell: Shell) -> None:
    shell("network", "create", "web")
    assert shell("network", "inspect", "nope", "web", "-f", "{{.Name}}") == 1
    assert shell.out == "web\n"
    assert shell.err.splitlines() == [
        "Error: network nope not found",
        "  `fairlead network ls` lists what is there",
        "  fairlead-1101: `fairlead explain 1101` tells more",
    ]
    assert shell("network", "rm", "nope", "web") == 1
    assert shell.out == "web\n"
    assert shell("network", "rm", "--force", "nope") == 0
    assert shell.err == ""


def test_run_passes_its_flags_on(shell: Shell) -> None:
    shell("network", "create", "web")
    words = ["run", "-d", "--name", "c1", "--network", "web", "--ip", "172.20.0.9", "--network-alias", "db"]
    words += ["-p", "127.0.0.1:8080:80", "-e", "A=1", "-h", "box", "--dns", "1.1.1.1", "--add-host", "x=10.0.0.1"]
    words += ["-v", "/tmp:/data:ro", "-w", "/data", "-u", "1:1", "-l", "k=v", "--stop-timeout", "3", "--read-only"]
    assert shell(*words, "host", "sleep", "-x", "9") == 0
    container = config_of(shell, "c1")
    assert shell.out.strip() == container.id
    config = container.config
    assert config.command == ("sleep", "-x", "9")
    assert config.endpoints["web"].ipv4 == "172.20.0.9"
    assert config.endpoints["web"].aliases == ("db",)
    assert (config.env, config.hostname, config.dns, config.extra_hosts) == (
        ("A=1",),
        "box",
        ("1.1.1.1",),
        ("x:10.0.0.1",),
    )
    assert (config.binds, config.working_dir, config.user, config.labels) == (
        ("/tmp:/data:ro",),
        "/data",
        "1:1",
        {"k": "v"},
    )
    assert (config.stop_timeout_s, config.read_only, config.ports[0].host_ip) == (3, True, "127.0.0.1")


def test_life_of_a_container(shell: Shell) -> None:
    assert shell("create", "--name", "c1", "-p", "8080:80", "host", "cat") == 0
    assert shell("start", "c1") == 0
    assert shell("ps", "--format", "{{.Names}} {{.Ports}}") == 0
    assert shell.out == "c1 0.0.0.0:8080->80/tcp\n"
    assert shell("port", "c1", "80") == 0
    assert shell.out == "0.0.0.0:8080\n"
    assert shell("inspect", "c1", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}") == 0
    assert shell("network", "connect", "host", "c1") == 0
    assert shell("network", "disconnect", "host", "c1") == 0
    assert shell("exec", "-d", "c1", "ls") == 0
    assert shell("rm", "c1") == 1
    assert shell.err == 'Error: cannot remove container "/c1": container is running\n  stop it first\n'
    assert shell("restart", "c1") == 0
    assert shell("kill", "-s", "TERM", "c1") == 0
    assert shell("wait", "c1") == 0
    assert shell.out == "137\n"
    assert shell("rename", "c1", "c2") == 0
    assert shell("ps", "-aq", "--no-trunc") == 0
    assert len(shell.out) == 65
    assert shell("rm", "c2") == 0
    assert shell("container", "prune", "--force") == 0


def test_dry_run_asks_for_the_plan_and_sends_no_command(shell: Shell) -> None:
    assert shell("network", "create", "--dry-run", "web") == 0
    assert shell.out == "+ CreateNetwork\n"
    assert shell("run", "-d", "--dry-run", "--name", "c1", "host", "true") == 0
    assert shell.out == "+ CreateContainer and start\n"
    assert shell("network", "rm", "--dry-run", "a", "b") == 0
    assert shell.out == "+ RemoveNetwork\n+ RemoveNetwork\n"
    assert shell.living.node.seen == []


def test_refused_run_ends_with_125(shell: Shell) -> None:
    assert shell("run", "-d", "absent", "true") == 125
    assert shell.err == "Error: No such image: absent:latest\n  import it\n"


def test_wishes_that_mean_nothing_are_refused_before_they_are_sent(shell: Shell) -> None:
    for words, said in (
        (("--restart", "on-failure:x"), "must be an integer"),
        (("--memory", "much"), "invalid size"),
        (("--health-interval", "soon"), "invalid duration"),
        (("--ulimit", "nofile"), "invalid ulimit"),
        (("--mount", "type=bind,src=/a"), "target is required"),
        (("--no-healthcheck", "--health-cmd", "x"), "conflicts"),
    ):
        assert shell("run", "-d", *words, "host", "true") == 125
        assert said in shell.err


def test_usage_errors_end_with_2(shell: Shell) -> None:
    assert shell("network", "create") == 2
    assert "Missing argument" in shell.err
    assert shell("nonsense") == 2
    assert shell("network", "ls", "--bogus") == 2


def test_no_daemon(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--host", "unix:///nowhere/x.sock", "ps"]) == 1
    expected = (
        "Error: Cannot connect to the Fairlead daemon at unix:///nowhere/x.sock. Is the daemon running?\n  start it"
    )
    assert capsys.readouterr().err.startswith(expected)


def test_environment_names_the_daemon(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FAIRLEAD_HOST", "unix:///elsewhere")
    assert run(["ps"]) == 1
    assert "unix:///elsewhere" in capsys.readouterr().err


def test_version_info_events_images(shell: Shell, tmp_path: Path) -> None:
    assert shell("version", "--format", "{{.Server.MinAPIVersion}}") == 0
    assert shell.out == "1.24\n"
    assert shell("info") == 0
    assert "Network Drivers: bridge host null\n" in shell.out
    shell("network", "create", "web")
    assert shell("events", "--since", "1", "--until", "1700001000", "--format", "{{.Type}} {{.Action}}") == 0
    assert shell.out == "network create\n"
    assert shell("system", "events", "--since", "1", "--until", "1700001000") == 0
    assert "network create" in shell.out
    (tmp_path / "x.tar").write_bytes(b"tar")
    assert shell("image", "import", "alpine", str(tmp_path / "x.tar")) == 0
    assert shell("image", "ls", "-q") == 0
    assert shell.out == "alpine\nhost\n"


def test_prune_asks_first(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell("network", "create", "idle")
    answers = iter(["n", "y"])
    monkeypatch.setattr(click, "confirm", lambda *_, **__: next(answers) == "y")
    assert shell("network", "prune") == 0
    assert shell.out == ""
    assert shell("network", "prune") == 0
    assert shell.out == "Deleted Networks:\nidle\n\n"


def test_attached_streams_in_a_program_of_its_own(shell: Shell) -> None:
    shell("run", "-d", "--name", "c1", "host", "cat")

    def outside(*words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        program = [sys.executable, "-m", "fairlead.cli.main", "--host", shell.living.host, *words]
        return subprocess.run(program, input=given, capture_output=True, timeout=120, check=False)

    done = outside("exec", "-i", "c1", "cat", given=b"typed")
    assert (done.returncode, done.stdout, done.stderr) == (3, b"typed", b"hello\n")
    done = outside("logs", "--tail", "2", "c1")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"three\n", b"two\n")
    done = outside("run", "-i", "--name", "c2", "absent", "cat")
    assert done.returncode == 125
