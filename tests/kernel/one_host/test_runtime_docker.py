"""Everything about containers but their networks, through the real docker clients."""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.kernel.one_host.docker_client import Docker, clients, docker_of
from tests.kernel.one_host.host import Host
from tests.kernel.one_host.programs import IDLE
from tests.kernel.one_host.waiting import until


@pytest.fixture(params=clients() or [""], ids=lambda path: path.replace("/", "_").strip("_") or "none")
def docker(request: pytest.FixtureRequest, host: Host) -> Iterator[Docker]:
    """Each client, against the daemon of the module; what a test made is removed."""
    if not request.param:
        pytest.skip("no docker client is installed: ./run test installs Debian's docker.io")
    run = docker_of(request.param, host)
    yield run
    for row in host.get("/containers/json?all=1"):
        run("rm", "-fv", row["Id"])


def inspected(docker: Docker, name: str) -> dict[str, Any]:
    found = json.loads(docker("inspect", name).stdout)[0]
    assert isinstance(found, dict)
    return found


def state_of(docker: Docker, name: str) -> dict[str, Any]:
    found = inspected(docker, name)["State"]
    assert isinstance(found, dict)
    return found


def test_health_is_asked_for_and_told(docker: Docker, host: Host) -> None:
    check = ["--health-cmd", "test -e /tmp/well", "--health-interval", "100ms", "--health-retries", "2"]
    docker("run", "-d", "--name", "h", *check, "host", *IDLE)
    until(lambda: state_of(docker, "h")["Health"]["Status"] == "unhealthy", "unhealthy")
    health = state_of(docker, "h")["Health"]
    assert health["FailingStreak"] >= 2
    assert {entry["ExitCode"] for entry in health["Log"]} == {1}
    assert "(unhealthy)" in docker("ps").stdout
    docker("exec", "h", "touch", "/tmp/well")
    until(lambda: state_of(docker, "h")["Health"]["Status"] == "healthy", "healthy")
    assert "(healthy)" in docker("ps", "--filter", "health=healthy").stdout
    assert docker("ps", "-q", "--filter", "health=unhealthy").stdout == ""
    until(lambda: len(state_of(docker, "h")["Health"]["Log"]) == 5, "five answers")

    def told() -> set[str]:
        asked = ("--since", "1m", "--until", "0s", "--format", "{{.Status}}", "--filter", "container=h")
        return set(docker("events", *asked).stdout.splitlines())

    # What is told comes after what can be seen: in between lies the disk.
    until(lambda: {"health_status: unhealthy", "health_status: healthy"} <= told(), "both events")
    docker("run", "-d", "--name", "no", "--no-healthcheck", "host", *IDLE)
    assert "Health" not in state_of(docker, "no")


def test_a_health_command_that_takes_too_long_fails(docker: Docker) -> None:
    check = ["--health-cmd", "echo slow; sleep 30", "--health-interval", "50ms", "--health-timeout", "200ms"]
    docker("run", "-d", "--name", "h", *check, "--health-retries", "1", "host", *IDLE)
    until(lambda: state_of(docker, "h")["Health"]["Status"] == "unhealthy", "unhealthy")
    answer = state_of(docker, "h")["Health"]["Log"][0]
    assert answer["ExitCode"] == -1
    assert "Health check exceeded timeout (0.2s)" in answer["Output"]


def test_restart_policies(docker: Docker) -> None:
    docker("run", "-d", "--name", "often", "--restart", "on-failure:2", "host", "sh", "-c", "exit 3")
    until(lambda: state_of(docker, "often")["Status"] == "exited", "the policy gives up")
    found = inspected(docker, "often")
    assert (found["RestartCount"], found["State"]["ExitCode"]) == (2, 3)
    assert found["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
    docker("run", "-d", "--name", "good", "--restart", "on-failure", "host", "true")
    until(lambda: state_of(docker, "good")["Status"] == "exited", "success is no failure")
    assert inspected(docker, "good")["RestartCount"] == 0
    docker("run", "-d", "--name", "always", "--restart", "always", "host", "sh", "-c", "sleep 0.2")
    until(lambda: inspected(docker, "always")["RestartCount"] >= 2, "two restarts")
    until(lambda: state_of(docker, "always")["Restarting"], "it waits for the next start")
    docker("stop", "-t", "0", "always")
    assert state_of(docker, "always")["Status"] == "exited"
    docker("update", "--restart", "no", "always")
    assert inspected(docker, "always")["HostConfig"]["RestartPolicy"]["Name"] == "no"
    assert "onflicting options" in docker("run", "--rm", "--restart", "always", "host", "true", code=125).stderr
    docker("run", "-d", "--name", "killed", "--restart", "always", "host", *IDLE)
    docker("kill", "killed")
    until(lambda: state_of(docker, "killed")["Status"] == "exited", "a kill by hand is the end")


def test_volumes_and_binds(docker: Docker, host: Host, tmp_path: Path) -> None:
    missing = tmp_path / "made" / "here"
    script = (
        "echo data > /v/x; echo bound > /b/y; grep ' /t ' /proc/mounts; df -k /t | tail -1; echo no > /ro/z || true"
    )
    (tmp_path / "ro").mkdir()
    done = docker(
        "run", "--rm", "-v", "vol:/v", "-v", f"{missing}:/b", "-v", f"{tmp_path}/ro:/ro:ro",
        "--tmpfs", "/t:size=1m", "host", "sh", "-c", script,
    )  # fmt: skip
    assert (missing / "y").read_text() == "bound\n"
    assert "size=1024k" in done.stdout
    assert "noexec" in done.stdout
    assert "Read-only" in done.stderr
    assert docker("run", "--rm", "--mount", "type=volume,src=vol,dst=/w", "host", "cat", "/w/x").stdout == "data\n"
    assert docker("volume", "ls", "-q").stdout.split() == ["vol"]
    assert json.loads(docker("volume", "inspect", "vol").stdout)[0]["Driver"] == "local"
    refused = docker("run", "--rm", "--mount", f"type=bind,src={tmp_path}/nothing,dst=/x", "host", "true", code=125)
    assert "bind source path does not exist" in refused.stderr
    docker("create", "--name", "user", "-v", "vol:/v", "host", "true")
    assert "volume is in use" in docker("volume", "rm", "vol", code=1).stderr
    docker("rm", "user")
    docker("volume", "rm", "vol")
    assert "no such volume" in docker("volume", "inspect", "vol", code=1).stderr.lower()


def test_anonymous_volumes_go_with_their_container(docker: Docker) -> None:
    assert docker("run", "--rm", "-v", "/data", "host", "sh", "-c", "echo x > /data/y; cat /data/y").stdout == "x\n"
    until(lambda: docker("volume", "ls", "-q").stdout == "", "it is gone with --rm")
    docker("run", "--name", "kept", "-v", "/data", "host", "true")
    assert re.fullmatch(r"[0-9a-f]{64}\n", docker("volume", "ls", "-q").stdout)
    docker("rm", "kept")
    assert "Total reclaimed space" in docker("volume", "prune", "-f").stdout
    assert docker("volume", "ls", "-q").stdout == ""
    docker("run", "--name", "gone", "-v", "/data", "host", "true")
    docker("rm", "-v", "gone")
    assert docker("volume", "ls", "-q").stdout == ""


def test_an_empty_volume_gets_what_the_image_has(docker: Docker) -> None:
    names = set(os.listdir("/etc/apt"))
    seen = docker("run", "--rm", "-v", "seed:/etc/apt", "host", "ls", "-A", "/etc/apt").stdout.split()
    assert set(seen) == names
    assert docker("run", "--rm", "-v", "bare:/etc/apt:nocopy", "host", "ls", "-A", "/etc/apt").stdout == ""
    docker("volume", "rm", "seed", "bare")


def test_limits_are_kept(docker: Docker) -> None:
    limits = ["--memory", "64m", "--cpus", "0.5", "--cpu-shares", "512", "--pids-limit", "33", "--cpuset-cpus", "0"]
    limits += ["--ulimit", "nofile=100:200", "--shm-size", "5m", "--oom-score-adj", "500"]
    docker("run", "-d", "--name", "c", *limits, "host", *IDLE)
    pid = state_of(docker, "c")["Pid"]
    groups = dict(line.split(":", 2)[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())

    def setting(controller: str, name: str) -> str:
        return Path(f"/sys/fs/cgroup/{controller}{groups[controller]}/{name}").read_text().strip()

    assert setting("memory", "memory.limit_in_bytes") == str(64 << 20)
    assert setting("cpu", "cpu.cfs_quota_us") == "50000"
    assert setting("cpu", "cpu.shares") == "512"
    assert setting("pids", "pids.max") == "33"
    assert setting("cpuset", "cpuset.cpus") == "0"
    # `runc exec` before 1.2 now and then has the soft limit raised by Go's start-up (opencontainers/runc 4195)
    asked = ("exec", "c", "sh", "-c", "ulimit -Sn; ulimit -Hn")
    until(lambda: docker(*asked).stdout.split() == ["100", "200"], "limits of files")
    assert docker("exec", "c", "df", "-k", "--output=size", "/dev/shm").stdout.split()[-1] == "5120"
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "500\n"
    docker("update", "--memory", "96m", "--memory-swap", "200m", "--cpus", "0.25", "--pids-limit", "44", "c")
    assert setting("memory", "memory.limit_in_bytes") == str(96 << 20)
    assert setting("cpu", "cpu.cfs_quota_us") == "25000"
    assert setting("pids", "pids.max") == "44"
    assert inspected(docker, "c")["HostConfig"]["Memory"] == 96 << 20
    assert "Minimum memory limit allowed is 6MB" in docker("run", "-m", "1m", "host", "true", code=125).stderr
    assert "range of CPUs" in docker("run", "--cpus", "1000", "host", "true", code=125).stderr


def test_blkio_weight_is_kept_or_warned_of(docker: Docker) -> None:
    done = docker("run", "-d", "--name", "w", "--blkio-weight", "300", "host", *IDLE)
    group = Path("/sys/fs/cgroup/blkio/fairlead", inspected(docker, "w")["Id"])
    files = [path for name in ("blkio.weight", "blkio.bfq.weight") if (path := group / name).exists()]
    if files:
        assert files[0].read_text().split()[-1] == "300"
    else:
        assert "Block I/O weight" in done.stderr


def test_out_of_memory_is_told(docker: Docker) -> None:
    eat = "import time; x = bytearray(200 << 20); time.sleep(60)"
    docker("run", "-d", "--name", "big", "-m", "32m", "--memory-swap", "32m", "host", "python3", "-c", eat)
    assert docker("wait", "big").stdout.strip() == "137"
    until(lambda: state_of(docker, "big")["OOMKilled"], "the kernel's deed is told")
    assert not Path("/oom").exists()


def test_stats_and_top(docker: Docker) -> None:
    docker("run", "-d", "--name", "s", "host", "sh", "-c", "sleep 1000 & exec sleep 2000")
    form = "{{.Name}} {{.MemUsage}} {{.NetIO}} {{.PIDs}}"
    shown = docker("stats", "--no-stream", "--format", form, "s").stdout.split()
    assert shown[0] == "s"
    assert shown[-1] == "2"
    rows = docker("top", "s").stdout.splitlines()
    assert rows[0].split()[:2] == ["UID", "PID"]
    assert sorted(row.split()[-1] for row in rows[1:]) == ["1000", "2000"]
    assert "sleep" in docker("top", "s", "-o", "pid,comm").stdout
    docker("exec", "s", "sh", "-c", "ping -c1 -w1 172.17.0.1 || true", code=None)
    docker("kill", "s")
    until(lambda: "is not running" in docker("top", "s", code=None).stderr, "its end")


def test_users_and_powers(docker: Docker, tmp_path: Path) -> None:
    def run(*words: str, code: int | None = 0) -> str:
        done = docker("run", "--rm", *words, code=code)
        return (done.stdout + done.stderr).strip()

    assert run("--user", "nobody", "--group-add", "daemon", "--group-add", "777", "host", "id", "-G").split() == [
        "65534",
        "1",
        "777",
    ]
    assert run("-u", "12:34", "host", "id").startswith("uid=12")
    assert "unable to find user nosuch" in run("-u", "nosuch", "host", "true", code=None)
    assert run("--cap-drop", "ALL", "host", "grep", "CapEff", "/proc/self/status").endswith("0000000000000000")
    bound = int(run("--cap-add", "NET_ADMIN", "host", "grep", "CapEff", "/proc/self/status").split()[-1], 16)
    assert bound & (1 << 12)
    assert "unknown capability" in run("--cap-add", "FLY", "host", "true", code=None)
    assert run("--privileged", "host", "sh", "-c", "mkdir /m && mount -t tmpfs x /m && echo mounted") == "mounted"
    assert "mounted" not in run("host", "sh", "-c", "mkdir /m && mount -t tmpfs x /m && echo mounted", code=None)
    assert run("--device", "/dev/zero:/dev/nil", "host", "sh", "-c", "test -c /dev/nil && echo there") == "there"
    assert run("--security-opt", "no-new-privileges", "host", "grep", "NoNewPrivs", "/proc/self/status")[-1] == "1"
    assert run("--security-opt", "seccomp=unconfined", "host", "grep", "Seccomp:", "/proc/self/status")[-1] == "0"
    assert run("--init", "host", "sh", "-c", "tr '\\0' ' ' < /proc/1/cmdline").startswith("/sbin/docker-init -- sh")
    assert run("--pid", "host", "host", "readlink", "/proc/self/ns/pid") == os.readlink("/proc/self/ns/pid")
    assert run("--ipc", "host", "host", "readlink", "/proc/self/ns/ipc") == os.readlink("/proc/self/ns/ipc")
    assert run("--uts", "host", "host", "readlink", "/proc/self/ns/uts") == os.readlink("/proc/self/ns/uts")
    assert run("--sysctl", "net.ipv4.tcp_syncookies=0", "host", "cat", "/proc/sys/net/ipv4/tcp_syncookies") == "0"
    assert "sysctl" in run("--sysctl", "vm.swappiness=1", "host", "true", code=None)
    assert "Read-only" in run("--read-only", "host", "touch", "/etc/x", code=None)
    assert run("--hostname", "box", "--domainname", "example.org", "host", "cat", "/proc/sys/kernel/domainname") == (
        "example.org"
    )
    variables = tmp_path / "env"
    variables.write_text("A=1\nB=two words\n")
    assert run("--env-file", str(variables), "-w", "/usr", "host", "sh", "-c", "echo $A $B $PWD") == "1 two words /usr"
    assert run("--entrypoint", "echo", "host", "hello") == "hello"


def test_namespaces_of_another_container(docker: Docker) -> None:
    docker("run", "-d", "--name", "one", "host", "sleep", "4321")
    assert "sleep 4321" in docker("run", "--rm", "--pid", "container:one", "host", "ps", "-ef").stdout
    assert "No such container" in docker("run", "--rm", "--pid", "container:none", "host", "true", code=125).stderr


def test_wait_kill_and_stop_signals(docker: Docker) -> None:
    script = "trap 'echo got usr1' USR1; trap 'exit 5' INT; while :; do sleep 0.05; done"
    docker("run", "-d", "--name", "k", "--stop-signal", "SIGINT", "host", "sh", "-c", script)
    until(lambda: docker("kill", "-s", "SIGUSR1", "k").returncode == 0 and docker("logs", "k").stdout, "the signal")
    for form in ("USR1", "10", "sigusr1"):
        docker("kill", "--signal", form, "k")
    assert "nvalid signal" in docker("kill", "-s", "SIGNONE", "k", code=1).stderr
    docker("stop", "k")
    assert docker("wait", "k").stdout.strip() == "5"


def test_pause_and_unpause(docker: Docker) -> None:
    docker("run", "-d", "--name", "p", "host", *IDLE)
    docker("pause", "p")
    assert "(Paused)" in docker("ps").stdout
    assert state_of(docker, "p")["Status"] == "paused"
    assert "already paused" in docker("pause", "p", code=1).stderr
    assert "is paused" in docker("exec", "p", "true", code=None).stderr
    docker("unpause", "p")
    assert docker("exec", "p", "echo", "on").stdout == "on\n"
    docker("pause", "p")
    docker("stop", "-t", "0", "p")
    assert state_of(docker, "p")["Status"] == "exited"


def test_exec_in_every_way(docker: Docker) -> None:
    docker("run", "-d", "--name", "e", "host", *IDLE)
    assert docker(
        "exec", "-e", "A=b", "-w", "/usr", "-u", "nobody", "e", "sh", "-c", "echo $A $PWD; id -un"
    ).stdout == ("b /usr\nnobody\n")
    assert docker("exec", "-i", "e", "cat", text="through\n").stdout == "through\n"
    docker("exec", "-d", "e", "touch", "/tmp/detached")
    until(lambda: docker("exec", "e", "test", "-e", "/tmp/detached", code=None).returncode == 0, "the detached command")
    assert docker("exec", "--privileged", "e", "grep", "CapEff", "/proc/self/status").stdout.split()[-1] > "000001"
    docker("exec", "e", "/no/such", code=127)


def test_copy_both_ways(docker: Docker, tmp_path: Path) -> None:
    docker("run", "-d", "--name", "cp", "-v", "cpvol:/vol", "host", *IDLE)
    (tmp_path / "tree/deep").mkdir(parents=True)
    (tmp_path / "tree/deep/file").write_text("in\n")
    (tmp_path / "tree/link").symlink_to("deep/file")
    docker("cp", str(tmp_path / "tree"), "cp:/opt/copied")
    assert docker("exec", "cp", "cat", "/opt/copied/link").stdout == "in\n"
    docker("cp", str(tmp_path / "tree/deep/file"), "cp:/vol/file")
    assert docker("exec", "cp", "cat", "/vol/file").stdout == "in\n"
    docker("exec", "cp", "sh", "-c", "mkdir /out && echo out > /out/a && ln -s a /out/b && chmod 750 /out")
    docker("cp", "cp:/out", str(tmp_path / "got"))
    assert (tmp_path / "got/a").read_text() == "out\n"
    assert os.readlink(tmp_path / "got/b") == "a"
    assert docker("cp", "cp:/out/a", "-").stdout.startswith("a\0")
    refused = docker("cp", "cp:/nothing", str(tmp_path), code=1).stderr
    assert "Could not find the file /nothing in container" in refused or "No such container:path" in refused
    docker("stop", "-t", "0", "cp")
    docker("cp", "cp:/out/a", str(tmp_path / "stopped"))
    assert (tmp_path / "stopped").read_text() == "out\n"
    docker("cp", "cp:/vol/file", str(tmp_path / "volfile"))
    assert (tmp_path / "volfile").read_text() == "in\n"
    docker("cp", str(tmp_path / "stopped"), "cp:/out/again")
    docker("start", "cp")
    assert docker("exec", "cp", "cat", "/out/again").stdout == "out\n"
    docker("rm", "-f", "cp")
    docker("volume", "rm", "cpvol")


def tarball(folder: Path, **files: bytes) -> Path:
    """A root file system with a static program in it."""
    path = folder / "root.tar"
    with tarfile.open(path, "w") as archive:
        for name, data in {"bin/tini": Path("/usr/bin/tini-static").read_bytes(), **files}.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            archive.addfile(entry, io.BytesIO(data))
    return path


@pytest.mark.skipif(not Path("/usr/bin/tini-static").exists(), reason="tini-static is missing: apt install tini")
def test_images_are_imported_used_named_and_removed(docker: Docker, tmp_path: Path) -> None:
    path = tarball(tmp_path)
    changes = ["-c", 'ENTRYPOINT ["/bin/tini", "--version"]', "-c", "ENV A=b", "-c", "WORKDIR /bin", "-c", "EXPOSE 80"]
    identifier = docker("import", *changes, str(path), "team/tiny:1").stdout.strip()
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", identifier)
    listed = docker("images", "--format", "{{.Repository}} {{.Tag}} {{.ID}}").stdout.splitlines()
    assert f"team/tiny 1 {identifier[7:19]}" in listed
    shown = json.loads(docker("image", "inspect", "team/tiny:1").stdout)[0]
    assert (shown["Config"]["Env"], shown["Config"]["WorkingDir"]) == (["A=b"], "/bin")
    assert docker("run", "--name", "t", "team/tiny:1").stdout.startswith("tini version")
    assert inspected(docker, "t")["Config"]["Env"] == ["A=b"]
    assert "is using its referenced image" in docker("rmi", "team/tiny:1", code=1).stderr
    docker("tag", "team/tiny:1", "other")
    assert "Untagged: team/tiny:1" in docker("rmi", "team/tiny:1").stdout
    docker("rm", "t")
    assert docker("run", "--rm", identifier[7:19]).stdout.startswith("tini version")
    assert "Deleted: sha256:" in docker("rmi", "other").stdout
    assert "No such image" in docker("image", "inspect", "other", code=1).stderr
    docker("import", str(path), "unused")
    assert "unused" in docker("image", "prune", "-af").stdout
    gone = docker("run", "--rm", "unused", "true", code=125).stderr
    assert "No such image" in gone or "not found" in gone


def test_export_is_the_root_file_system(docker: Docker, tmp_path: Path) -> None:
    docker("import", str(tarball(tmp_path)), "plain")
    docker("create", "--name", "x", "plain", "/bin/tini")
    docker("export", "-o", str(tmp_path / "out.tar"), "x")
    with tarfile.open(tmp_path / "out.tar") as archive:
        assert {"bin", "bin/tini"} <= set(archive.getnames())
    docker("rm", "x")
    docker("rmi", "plain")


def test_logs_are_bounded_and_chosen(docker: Docker, host: Host) -> None:
    bound = ["--log-opt", "max-size=20k", "--log-opt", "max-file=3"]
    docker("run", "--name", "loud", *bound, "host", "seq", "-w", "1", "20000")
    folder = host.state / "containers" / inspected(docker, "loud")["Id"]
    sizes = {facts.st_ino: facts.st_size for facts in (path.stat() for path in folder.glob("log*"))}
    assert len(sizes) <= 3
    assert sum(sizes.values()) <= 3 * 20 * 1024
    lines = docker("logs", "loud").stdout.splitlines()
    assert lines[-1] == "20000"
    assert lines == sorted(set(lines))
    assert len(lines) > 600, "more than one file is kept"
    assert docker("logs", "--tail", "2", "loud").stdout.splitlines() == ["19999", "20000"]
    stamped = docker("logs", "-t", "--tail", "1", "loud").stdout
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z 20000", stamped)
    assert docker("logs", "--since", "1h", "--until", "30m", "loud").stdout == ""
    script = "for i in 1 2 3 4 5 6 7 8; do seq 1 300; sleep 0.05; done; echo end"
    docker("run", "-d", "--name", "slow", *bound, "host", "sh", "-c", script)
    followed = docker("logs", "-f", "slow").stdout.splitlines()
    assert followed[-1] == "end"
    assert len(followed) > 1000, "following goes on in the next file"


def test_what_has_no_meaning_here_says_so(docker: Docker) -> None:
    for words in (
        ("--link", "a:b"),
        ("--runtime", "kata"),
        ("--userns", "private"),
        ("--cgroup-parent", "x"),
        ("--log-driver", "syslog"),
        ("--storage-opt", "size=1G"),
    ):
        said = docker("run", "--rm", *words, "host", "true", code=125).stderr
        assert re.search("not implemented|no log driver|invalid USER mode", said), said
