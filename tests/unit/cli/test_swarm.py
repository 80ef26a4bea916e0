"""The commands of ``swarm`` and ``node`` against the API of a fake node with a real brain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.api.living import Living, living_api

from fairlead.cli.main import run
from fairlead.cli.swarm.specs import duration
from fairlead.model.errors import Invalid


class Shell:
    """Runs command lines in this process."""

    def __init__(self, living: Living, capture: pytest.CaptureFixture[str]) -> None:
        self.living, self._capture = living, capture
        self.err = ""

    def __call__(self, *words: str, code: int = 0) -> str:
        """What it prints; it ends with ``code``."""
        ended = run(["--host", self.living.host, *words])
        out, self.err = self._capture.readouterr()
        assert ended == code, f"{words}: {out}{self.err}"
        return out


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    with living_api(tmp_path) as living:
        yield Shell(living, capsys)


@pytest.mark.parametrize(
    ("written", "seconds"), [("90m", 5400), ("2160h0m0s", 90 * 86400), ("1.5h", 5400), ("500ms", 0.5), ("1m1s", 61)]
)
def test_durations_are_gos(written: str, seconds: float) -> None:
    assert duration(written) == round(seconds * 1e9)


@pytest.mark.parametrize("written", ["", "5", "h", "5 h", "5d", "-5h", "5h5"])
def test_what_is_no_duration_is_refused(written: str) -> None:
    with pytest.raises(Invalid, match="invalid duration"):
        duration(written)


def test_a_cluster_from_the_first_to_the_last_command(shell: Shell) -> None:
    said = shell("swarm", "init", "--autolock", "--cert-expiry", "1000h")
    node = str(shell.living.node.swarm.status.node_id)
    token = shell("swarm", "join-token", "-q", "worker").strip()
    assert said.startswith(
        f"Swarm initialized: current node ({node}) is now a manager.\n\n"
        "To add a worker to this swarm, run the following command:\n\n"
        f"    fairlead swarm join --token {token} 192.0.2.1:2377\n\n"
        "To add a manager to this swarm, run 'fairlead swarm join-token manager' and follow the instructions.\n\n"
        "To unlock a swarm manager after it restarts, run the `fairlead swarm unlock`\n"
        "command and provide the following key:\n\n    SWMKEY-1-"
    )
    assert shell("swarm", "update", "--no-autolock", "--task-history-limit", "2") == "Swarm updated.\n"
    shell("swarm", "unlock-key", code=1)
    assert "no unlock key is set" in shell.err
    assert shell("swarm", "update", "--autolock").startswith("Swarm updated.\nTo unlock a swarm manager")
    former = shell("swarm", "unlock-key", "-q")
    assert shell("swarm", "unlock-key", "--rotate").startswith("Successfully rotated manager unlock key.\n\n")
    assert shell("swarm", "unlock-key", "-q") != former
    assert shell("swarm", "join-token", "--rotate", "worker").startswith("Successfully rotated worker join token.\n\n")
    assert shell("swarm", "join-token", "-q", "worker").strip() != token
    assert shell("swarm", "ca").startswith("-----BEGIN CERTIFICATE-----\n")
    shell("swarm", "ca", "--cert-expiry", "5h", code=1)
    assert "`--rotate` is required" in shell.err
    assert shell("swarm", "ca", "--rotate", "--detach") == ""
    shell("swarm", "leave", code=1)
    assert shell("swarm", "leave", "--force") == "Node left the swarm.\n"


def test_nodes_are_listed_changed_and_removed(shell: Shell) -> None:
    shell("swarm", "init")
    shell.living.do(lambda: shell.living.node.swarm.admit("second"))
    lines = shell("node", "ls").splitlines()
    assert lines[0].split() == ["ID", "HOSTNAME", "STATUS", "AVAILABILITY", "MANAGER", "STATUS", "ENGINE", "VERSION"]
    assert lines[1].split()[1:6] == ["*", "fakehost", "Unknown", "Active", "Leader"]
    assert lines[2].split()[1:] == ["second", "Unknown", "Active"]
    assert shell("node", "ls", "--format", "{{.Hostname}} {{.Self}}") == "fakehost true\nsecond false\n"
    assert '"ManagerStatus": "Leader"' in shell("node", "ls", "--format", "json")
    assert len(shell("node", "ls", "-q").split()) == 2
    assert shell("node", "update", "--label-add", "rack=7", "--availability", "drain", "second") == "second\n"
    assert shell("node", "inspect", "second", "--format", "{{.Spec.Availability}}") == "drain\n"
    shell("node", "update", "--label-rm", "none", "second", code=1)
    assert "key none doesn't exist" in shell.err
    assert shell("node", "promote", "second") == "Node second promoted to a manager in the swarm.\n"
    assert shell("node", "promote", "second") == "Node second is already a manager.\n"
    assert shell("node", "demote", "second") == "Manager second demoted in the swarm.\n"
    assert shell("node", "ps").startswith("ID ")
    assert shell("node", "rm", "--force", "second") == "second\n"
    shell("node", "rm", "second", code=1)
    assert "node second not found" in shell.err


def test_a_network_of_the_cluster_grows(shell: Shell) -> None:
    shell("swarm", "init")
    shell("network", "create", "-d", "overlay", "--attachable", "--subnet", "10.77.0.0/24", "blue")
    assert shell("network", "update", "--subnet", "10.77.1.0/24", "blue") == "blue\n"
    assert "10.77.1.0/24" in shell("network", "inspect", "blue")
    shell("network", "update", "--subnet", "10.77.1.0/24", "blue", code=1)
    assert shell("info").count("Swarm: active") == 1
