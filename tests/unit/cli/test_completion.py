"""Words that the shell is offered."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.api.living import living_api

from fairlead.cli.main import run


def words(line: str, host: str) -> list[str]:
    """What bash would be offered after this line (its last word is what was typed so far)."""
    typed = line.split(" ")
    asked = {"_FAIRLEAD_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(typed) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", "from fairlead.cli.main import main; main()"],
        env={**os.environ, **asked, "FAIRLEAD_HOST": host},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    return [entry.partition(",")[2] for entry in done.stdout.splitlines() if entry]


def test_commands_options_and_living_names(tmp_path: Path) -> None:
    with living_api(tmp_path) as living:
        for name in ("webfront", "webback", "other"):
            living.client.post("/networks/create", {"Name": name})
        assert words("fairlead net", living.host) == ["network"]
        assert "--subnet" in words("fairlead network create --", living.host)
        assert words("fairlead network inspect web", living.host) == ["webfront", "webback"]
        assert words("fairlead network connect webb", living.host) == ["webback"]
        assert words("fairlead run --network oth", living.host) == ["other"]
        assert words("fairlead inspect webf", living.host) == ["webfront"]


def test_without_a_daemon_there_are_no_names_and_no_complaints() -> None:
    assert words("fairlead network inspect w", "unix:///nowhere/at/all.sock") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert f"_FAIRLEAD_COMPLETE={shell}_complete" in capsys.readouterr().out
