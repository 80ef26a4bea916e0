"""What goes on after the daemon, or the machine, was restarted; and our own command line for containers."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.kernel.one_host.host import Host
from tests.kernel.one_host.programs import IDLE
from tests.kernel.one_host.waiting import until

BRIDGE = {"NetworkMode": "bridge"}


def restarting(policy: str) -> dict[str, Any]:
    return {"host_config": {**BRIDGE, "RestartPolicy": {"Name": policy}}}


def restart_daemon(host: Host) -> None:
    host.stop(signal.SIGKILL)
    host.start()


def test_health_is_asked_on_after_a_daemons_restart(host: Host) -> None:
    health = {"Test": ["CMD", "test", "-e", "/tmp/well"], "Interval": 100_000_000, "Retries": 1}
    with host.run("asked", IDLE, Healthcheck=health) as box:
        until(lambda: box.inspect()["State"]["Health"]["Status"] == "unhealthy", "unhealthy")
        restart_daemon(host)
        assert box.inspect()["State"]["Health"]["Status"] == "unhealthy"
        box.exec("touch", "/tmp/well")
        until(lambda: box.inspect()["State"]["Health"]["Status"] == "healthy", "healthy")


def test_policies_decide_about_what_ended_while_nobody_watched(host: Host) -> None:
    with (
        host.run("again", IDLE, **restarting("always")) as again,
        host.run("failure", IDLE, **restarting("on-failure")) as failure,
        host.run("never", IDLE) as never,
        host.run("stopped", IDLE, **restarting("unless-stopped")) as stopped,
        host.run("always", IDLE, **restarting("always")) as always,
    ):
        stopped.stop()
        always.stop()
        pids = {box.name: box.pid for box in (again, failure, never)}
        host.stop(signal.SIGKILL)
        for pid in pids.values():
            os.kill(pid, signal.SIGKILL)
        host.start()
        for box in (again, failure, always):
            until(lambda box=box: box.inspect()["State"]["Status"] == "running", f"{box.name} runs again")  # type: ignore[misc]
        assert again.inspect()["RestartCount"] == 1
        assert never.inspect()["State"]["Status"] == "exited"
        assert stopped.inspect()["State"]["Status"] == "exited"
        assert again.pid != pids["again"]


def test_a_start_that_was_put_off_comes_after_a_daemons_restart(host: Host, tmp_path: Path) -> None:
    script = "echo x >> /out/runs; test $(wc -l < /out/runs) -gt 4"
    config = {**BRIDGE, "RestartPolicy": {"Name": "on-failure"}, "Binds": [f"{tmp_path}:/out"]}
    with host.create("patient", ["sh", "-c", script], host_config=config) as box:
        host.api.post(f"/containers/{box.id}/start")
        until(
            lambda: box.inspect()["State"]["Status"] == "restarting" and box.inspect()["RestartCount"] > 1, "it waits"
        )
        restart_daemon(host)
        until(lambda: box.inspect()["State"]["Status"] == "exited", "it has done its work")
        assert (tmp_path / "runs").read_text().count("x") == 5


def test_a_stop_and_a_removal_that_meet_a_start_come_after_it(host: Host) -> None:
    """Docker's clients wait for a container's lock: what they ask for is neither lost nor refused."""
    with ThreadPoolExecutor() as pool:
        for number in range(3):
            for ask in (
                lambda box: host.api.post(f"/containers/{box.id}/stop", query={"t": 0}),
                lambda box: host.api.delete(f"/containers/{box.id}", {"force": True}),
            ):
                box = host.create(f"met{number}", IDLE)
                started = pool.submit(host.api.post, f"/containers/{box.id}/start")
                until(lambda box=box, started=started: _begun(host, box.id) or started.done(), "it begins")  # type: ignore[misc]
                ask(box)
                started.result()
                left = [row["State"] for row in host.get("/containers/json?all=1") if row["Id"] == box.id]
                assert left in ([], ["exited"])
                box.remove()


def _begun(host: Host, identifier: str) -> bool:
    """Whether anything of a start is to be seen."""
    return (host.run_dir / "containers" / identifier).exists()


def test_our_command_line_for_containers(host: Host, tmp_path: Path) -> None:
    cli = host.cli
    (tmp_path / "file").write_text("mine\n")
    health = ("--health-cmd", "true", "--health-interval", "100ms")
    cli(
        "run", "-d", "--name", "all", "--restart", "unless-stopped", "-m", "64m", "--cpus", "0.5", *health,
        "--mount", "type=tmpfs,dst=/mem,tmpfs-size=1m", "-v", "clivol:/data", "--cap-drop", "NET_RAW",
        "--ulimit", "nofile=64:128", "--log-opt", "max-size=1m", "host", *IDLE,
    )  # fmt: skip
    found = json.loads(cli("inspect", "all").stdout)[0]
    assert (found["HostConfig"]["Memory"], found["HostConfig"]["NanoCpus"]) == (64 << 20, 500_000_000)
    assert found["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    until(lambda: "(healthy)" in cli("ps").stdout, "healthy")
    cli("cp", str(tmp_path / "file"), "all:/data/")
    assert cli("exec", "all", "cat", "/data/file").stdout == "mine\n"
    cli("cp", "all:/data/file", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "mine\n"
    cli("pause", "all")
    assert "(Paused)" in cli("ps").stdout
    cli("unpause", "all")
    cli("update", "--memory", "80m", "--memory-swap", "160m", "all")
    assert "80" in cli("stats", "--no-stream", "all").stdout or "83.9" in cli("stats", "--no-stream", "all").stdout
    assert "PID" in cli("top", "all").stdout.splitlines()[0]
    cli("export", "-o", str(tmp_path / "empty.tar"), "nothing", check=False)
    assert "clivol" in cli("volume", "ls", "-q").stdout
    assert "in use" in cli("volume", "rm", "clivol", check=False).stderr
    cli("rm", "-fv", "all")
    cli("volume", "rm", "clivol")
    assert cli("volume", "create", "made").stdout == "made\n"
    assert json.loads(cli("volume", "inspect", "made").stdout)[0]["Name"] == "made"
    assert "made" in cli("volume", "prune", "--all", "--force").stdout
