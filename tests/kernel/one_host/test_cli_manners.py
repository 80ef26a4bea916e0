"""The command line at a terminal and in scripts: previews, lists that follow, numbers of errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

from tests.kernel.one_host.host import FAIRLEAD, Host
from tests.kernel.one_host.waiting import PATIENCE_S, until


def test_a_dry_run_shows_the_plan_and_changes_nothing(host: Host) -> None:
    host.network("dry")
    before = host.seen()
    shown = host.cli("network", "create", "--subnet", "10.231.0.0/24", "--dry-run", "wet").stdout
    assert "+ record network wet bridge 10.231.0.0/24 gateway 10.231.0.1" in shown
    assert "+ address 10.231.0.1/24 on br-" in shown
    shown = host.cli("run", "-d", "--dry-run", "--network", "dry", "-p", "8099:80", "host", "sleep", "100").stdout
    assert "+ veth veth" in shown
    assert "+ port 0.0.0.0:8099/tcp" in shown
    shown = host.cli("network", "rm", "--dry-run", "dry").stdout
    assert "- bridge br-" in shown
    refused = host.cli("network", "create", "--dry-run", "dry", check=False)
    assert refused.returncode == 1
    assert "network with name dry already exists" in refused.stderr
    assert host.seen() == before
    host.remove_network("dry")


def test_a_watched_list_follows(host: Host, tmp_path: Path) -> None:
    pages = tmp_path / "pages"
    shown = pages.open("wb")
    watcher = subprocess.Popen(
        # who runs the tests in the background has them ignore interrupts, and with them what they start
        ["env", "--default-signal=INT", FAIRLEAD, "network", "ls", "--watch", "--format", "{{.Name}}"],
        env={**os.environ, "FAIRLEAD_HOST": host.url},
        stdout=shown,
    )

    def page(word: str) -> bool:
        return word in pages.read_text().rpartition("\n\n")[2].split()

    try:
        until(lambda: page("none"), "the first page")
        host.network("followed")
        until(lambda: page("followed"), "the page after the change")
        host.remove_network("followed")
        until(lambda: not page("followed"), "the page after it has gone")
    finally:
        watcher.send_signal(signal.SIGINT)
        watcher.wait(PATIENCE_S)
        shown.close()
    assert watcher.returncode == 130


def test_errors_have_numbers_that_are_explained_without_a_daemon(host: Host) -> None:
    refused = host.cli("network", "inspect", "absent", check=False)
    number = next(line.split(":")[0].strip() for line in refused.stderr.splitlines() if "fairlead-" in line)
    explained = host.cli("--host", "unix:///nowhere", "explain", number).stdout
    assert explained.startswith(f"{number}: no such network")
    told = json.loads(host.cli("explain", number, "--format", "json").stdout)
    assert told[0]["code"] == number
