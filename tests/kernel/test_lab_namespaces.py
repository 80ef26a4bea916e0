"""Hosts without daemons: namespaces, underlay, names, and that nothing is left."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fairlead.lab import sweep, underlay
from fairlead.lab.lab import Lab
from fairlead.lab.layout import layout_of
from fairlead.model.errors import Conflict, NotFound

Base = Path


@pytest.fixture
def base(tmp_path: Path) -> Iterator[Base]:
    yield tmp_path / "labs"
    for entry in (tmp_path / "labs").glob("*"):
        Lab(str(tmp_path / "labs"), entry.name, dict(os.environ)).down()


def lab_in(base: Base, name: str = "lab") -> Lab:
    return Lab(str(base), name, dict(os.environ))


def run(lab: Lab, host: str, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    entry = lab.entry(host, list(command), "/")
    return subprocess.run(
        entry.arguments, env=entry.environment, capture_output=True, text=True, check=check, timeout=60
    )


def links() -> str:
    return subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout


def test_hosts_reach_each_other_by_name_in_both_families(base: Base) -> None:
    lab = lab_in(base)
    before = links()
    lab.up(2, with_daemons=False)
    assert links() == before
    run(lab, "h1", "ping", "-4", "-c1", "-W30", "h2")
    run(lab, "h2", "ping", "-6", "-c1", "-W30", "h1")
    addresses = json.loads(run(lab, "h1", "ip", "-j", "address", "show", "dev", "eth0").stdout)
    assert {item["local"] for item in addresses[0]["addr_info"]} >= {"198.18.0.11", "fd98:18::11"}


def test_a_command_sees_its_host_and_keeps_its_exit_code_and_words(base: Base) -> None:
    lab = lab_in(base)
    lab.up(1, with_daemons=False)
    assert run(lab, "h1", "sh", "-c", "exit 7", check=False).returncode == 7
    assert run(lab, "h1", "hostname").stdout == "h1\n"
    assert run(lab, "h1", "printenv", "FAIRLEAD_HOST").stdout == lab.host("h1").url + "\n"
    assert run(lab, "h1", "printf", "%s|", "a b", "$HOME", "").stdout == "a b|$HOME||"
    assert sorted(os.listdir("/sys/fs/cgroup")) == run(lab, "h1", "ls", "/sys/fs/cgroup").stdout.split()
    assert run(lab, "h1", "ls", "/sys/class/net").stdout.split() == ["eth0", "lo"]


def test_two_labs_do_not_meet(base: Base) -> None:
    first, second = lab_in(base, "one"), lab_in(base, "two")
    first.up(1, with_daemons=False)
    second.up(2, with_daemons=False)
    assert run(first, "h1", "ping", "-c1", "-W1", "198.18.0.12", check=False).returncode != 0
    first.down()
    run(second, "h1", "ping", "-c1", "-W30", "h2")


def test_a_lab_that_is_up_is_not_made_again(base: Base) -> None:
    lab = lab_in(base)
    lab.up(1, with_daemons=False)
    with pytest.raises(Conflict, match="is up already"):
        lab.up(1, with_daemons=False)
    run(lab, "h1", "true")


def test_down_ends_what_runs_there_and_leaves_nothing(base: Base) -> None:
    lab = lab_in(base)
    lab.up(2, with_daemons=False)
    entry = lab.entry("h1", ["sleep", "1000"], "/")
    with subprocess.Popen(entry.arguments, env=entry.environment) as sleeper:
        while not sweep.processes([lab.host("h1").place], frozenset()):
            assert sleeper.poll() is None
        assert lab.down()
        assert sleeper.wait(timeout=60) != 0
    assert str(base) not in Path("/proc/self/mounts").read_text()
    assert not base.exists()
    assert not lab.down()
    with pytest.raises(NotFound):
        lab.status()


def test_a_lab_that_died_while_it_was_made_goes_down(base: Base) -> None:
    layout = layout_of(str(base), "lab")
    Path(layout.root).mkdir(parents=True)
    underlay.open_namespaces(layout)
    underlay.make_switch(layout)
    assert lab_in(base).down()
    assert not Path(layout.root).exists()
    assert layout.root not in Path("/proc/self/mounts").read_text()


def test_a_failure_half_way_takes_down_what_was_made(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Exception, match="missing"):
        lab_in(base).up(1, with_daemons=False)
    monkeypatch.undo()
    assert str(base) not in Path("/proc/self/mounts").read_text()


def test_a_sweep_spares_the_machine_and_itself(base: Base) -> None:
    lab = lab_in(base)
    lab.up(1, with_daemons=False)
    assert sweep.processes([lab.host("h1").place], frozenset()) == []
