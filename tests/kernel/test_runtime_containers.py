"""Containers under the real runc and conmon, in a network namespace of their own."""

# ruff: noqa: ASYNC220, ASYNC240  (a story has its loop for itself)

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from tests.kernel.runtime_bench import PATIENCE_S, Bench, Story, collect, ended, make_play

from fairlead.model.errors import Conflict, Internal, Invalid, NotFound
from fairlead.model.mount import Mount, parse_volume
from fairlead.model.runspec import ExecSpec
from fairlead.model.settings import Paths
from fairlead.runtime.containers import Exited, Running, Runtime
from fairlead.runtime.layout import files_of
from fairlead.runtime.processes import wait_end

MISSING = [name for name in ("runc", "conmon") if shutil.which(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (apt install runc conmon)")

play = pytest.fixture(make_play)
Play = Callable[[Story], None]


def test_exit_code_and_both_streams_are_kept(play: Play) -> None:
    async def story(bench: Bench) -> None:
        code, out, err = await bench.output("sh", "-c", "echo out; echo err >&2; printf end; exit 7")
        assert (code, out, err) == (7, "out\nend", "err\n")

    play(story)


def test_container_sees_exactly_three_descriptors(play: Play) -> None:
    async def story(bench: Bench) -> None:
        count = "ls /proc/$$/fd; exit 0"  # the exit keeps the shell from becoming ls
        leaked = os.open("/", os.O_RDONLY)
        os.set_inheritable(leaked, True)
        try:
            code, out, _ = await bench.output("bash", "-c", count)
            assert (code, out.split()) == (0, ["0", "1", "2"])
            spec = bench.spec("sleep", "60")
            await bench.runtime.start(spec)
            exec_id = bench.runtime.exec_create(spec.container_id, ExecSpec(args=("bash", "-c", count)))
            assert (await collect(await bench.runtime.exec_start(exec_id)))["stdout"].split() == [b"0", b"1", b"2"]
        finally:
            os.close(leaked)

    play(story)


def test_container_is_alone_in_the_prepared_network_namespace(play: Play) -> None:
    async def story(bench: Bench) -> None:
        _, out, _ = await bench.output("sh", "-c", "readlink /proc/self/ns/net; hostname; ps -e | wc -l")
        net, name, processes = out.split()
        assert net == os.readlink(bench.netns) != os.readlink("/proc/self/ns/net")
        assert name == "box"
        assert int(processes) <= 5

    play(story)


def test_host_image_is_copy_on_write_and_hides_our_directories(play: Play) -> None:
    async def story(bench: Bench) -> None:
        secret = Path(bench.paths.state) / "secret"
        secret.parent.mkdir(parents=True)
        secret.write_text("do not show")
        name = f"fairlead-test-{secrets.token_hex(8)}"
        script = f"echo x > /etc/{name} && cat /etc/{name}; rm /etc/hostname; ls -A /run /tmp; cat {secret}; ls /root"
        _, out, err = await bench.output("sh", "-c", script)
        assert out.startswith("x\n")
        assert "do not show" not in out
        assert "No such file" in err
        assert not Path(f"/etc/{name}").exists()
        assert Path("/etc/hostname").exists()

    play(story)


def test_state_directory_outside_of_tmp_is_masked(play: Play) -> None:
    async def story(bench: Bench) -> None:
        folder = Path(f"/var/lib/fairlead-test-{secrets.token_hex(8)}")
        folder.mkdir()
        try:
            (folder / "secret").write_text("do not show")
            runtime = Runtime(Paths(state=str(folder), run=bench.paths.run))
            spec = bench.spec("sh", "-c", f"ls -A {folder}; echo x > {folder}/y || exit 3")
            await runtime.start(spec)
            assert await ended(runtime, spec.container_id) == 3
            assert [line.data async for line in runtime.logs(spec.container_id) if line.stream == "stdout"] == []
            await runtime.remove(spec.container_id)
        finally:
            shutil.rmtree(folder)

    play(story)


def test_our_files_are_bound_over_the_images(play: Play) -> None:
    async def story(bench: Bench) -> None:
        names = {name: bench.folder / name for name in ("hosts", "resolv", "hostname", "data")}
        for name, path in names.items():
            path.write_text(f"{name} of ours\n")
        _, out, err = await bench.output(
            "sh",
            "-c",
            "cat /etc/hosts /etc/resolv.conf /etc/hostname /data/x; echo no > /data/x",
            hosts=str(names["hosts"]),
            resolv_conf=str(names["resolv"]),
            hostname_file=str(names["hostname"]),
            mounts=(parse_volume(f"{names['data']}:/data/x:ro"),),
        )
        assert out == "hosts of ours\nresolv of ours\nhostname of ours\ndata of ours\n"
        assert "Read-only" in err

    play(story)


def test_user_directory_and_environment_are_as_asked(play: Play) -> None:
    async def story(bench: Bench) -> None:
        code, out, _ = await bench.output(
            "sh", "-c", "id -u; id -g; pwd; echo $A $HOME", user="nobody", working_dir="/usr/bin", env=("A=1",)
        )
        assert code == 0
        assert out.split()[0] == "65534"
        assert out.split()[2:4] == ["/usr/bin", "1"]
        with pytest.raises(Invalid, match="unable to find user"):
            await bench.runtime.start(bench.spec("true", user="no-such-user"))

    play(story)


@pytest.mark.parametrize(
    ("command", "exit_code", "text"),
    [("no-such-command", 127, "executable file not found in $PATH"), ("/etc/passwd", 126, "permission denied")],
)
def test_command_that_cannot_run_leaves_nothing(play: Play, command: str, exit_code: int, text: str) -> None:
    async def story(bench: Bench) -> None:
        spec = bench.spec(command)
        waiting = await bench.runtime.attach(spec.container_id)
        with pytest.raises(Invalid, match="failed to create task for container") as caught:
            await bench.runtime.start(spec)
        assert caught.value.exit_code == exit_code
        assert text in caught.value.message
        assert await asyncio.wait_for(waiting.read(), PATIENCE_S) is None
        assert not Path(bench.paths.run, "containers", spec.container_id).exists()
        bench.made.append(spec.container_id)
        assert [entry for entry in bench.leftovers() if "/state/" not in entry] == []

    play(story)


def test_what_cannot_be_found_or_is_done_twice_is_refused(play: Play) -> None:
    async def story(bench: Bench) -> None:
        with pytest.raises(NotFound, match="No such image"):
            await bench.runtime.start(bench.spec("true", image="nothing"))
        with pytest.raises(Invalid, match="bind source path does not exist"):
            await bench.runtime.start(bench.spec("true", mounts=(Mount("bind", "/x", "/no/such/file"),)))
        with pytest.raises(Internal):
            await bench.runtime.start(bench.spec("true", netns="/no/such/netns"))
        spec = bench.spec("sleep", "60")
        with pytest.raises(Conflict, match="not running"):
            await bench.runtime.signal(spec.container_id, "SIGTERM")
        await bench.runtime.start(spec)
        with pytest.raises(Conflict, match="running already"):
            await bench.runtime.start(spec)
        with pytest.raises(Conflict, match="is running"):
            await bench.runtime.release(spec.container_id)

    play(story)


def test_signal_reaches_the_first_process(play: Play) -> None:
    async def story(bench: Bench) -> None:
        spec = bench.spec("bash", "-c", "trap 'echo got; exit 5' TERM; echo ready; while :; do sleep 0.1; done")
        _, monitor_pid = await bench.runtime.start(spec)
        lines = []
        async with asyncio.timeout(PATIENCE_S):
            async for line in bench.runtime.logs(spec.container_id, follow=True):
                lines.append(line.data)
                if line.data == b"ready\n":
                    await bench.runtime.signal(spec.container_id, "SIGTERM")
        assert lines == [b"ready\n", b"got\n"]
        assert await ended(bench.runtime, spec.container_id, monitor_pid) == 5

    play(story)


def test_killed_container_tells_the_signal(play: Play) -> None:
    async def story(bench: Bench) -> None:
        spec = bench.spec("sleep", "60")
        await bench.runtime.start(spec)
        await bench.runtime.signal(spec.container_id, "KILL")
        assert await ended(bench.runtime, spec.container_id) == 137
        assert isinstance(await bench.runtime.recover(spec.container_id), Exited)

    play(story)


def test_restarted_container_keeps_its_layer_and_its_log(play: Play) -> None:
    async def story(bench: Bench) -> None:
        spec = bench.spec("sh", "-c", "echo line >> /root/kept; cat /root/kept; echo --")
        for _ in range(2):
            await bench.runtime.start(spec)
            assert await ended(bench.runtime, spec.container_id) == 0
        await bench.runtime.release(spec.container_id)
        text = b"".join([line.data async for line in bench.runtime.logs(spec.container_id)])
        assert text == b"line\n--\nline\nline\n--\n"
        assert [line.data async for line in bench.runtime.logs(spec.container_id, tail=2)] == [b"line\n", b"--\n"]

    play(story)


def test_directory_image_is_not_changed(play: Play) -> None:
    async def story(bench: Bench) -> None:
        image = bench.folder / "image, with: marks"
        for name in ("usr", "proc", "sys", "dev", "etc"):
            (image / name).mkdir(parents=True)
        for name in ("bin", "lib", "lib64"):
            (image / name).symlink_to(f"usr/{name}")
        code, out, _ = await bench.output(
            "sh", "-c", "echo x > /etc/new; cat /etc/new", image=str(image), mounts=(parse_volume("/usr:/usr:ro"),)
        )
        assert (code, out) == (0, "x\n")
        assert list((image / "etc").iterdir()) == []

    play(story)


def test_removal_may_be_repeated_and_takes_what_is_half_made(play: Play) -> None:
    async def story(bench: Bench) -> None:
        spec = bench.spec("sleep", "60")
        await bench.runtime.start(spec)
        await bench.runtime.remove(spec.container_id)
        await bench.runtime.remove(spec.container_id)
        assert bench.leftovers() == []
        half = bench.spec("true")
        await bench.runtime._prepare(half, files_of(bench.paths, half.container_id))
        assert bench.leftovers() != []
        await bench.runtime.remove(half.container_id)
        assert bench.leftovers() == []

    play(story)


def test_start_that_is_called_off_leaves_nothing(play: Play) -> None:
    async def story(bench: Bench) -> None:
        for steps in range(1, 6):
            spec = bench.spec("sleep", "60")
            task = asyncio.ensure_future(bench.runtime.start(spec))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert [entry for entry in bench.leftovers() if "/state/" not in entry] == []

    play(story)


def test_another_daemon_finds_the_container_and_its_end(play: Play) -> None:
    async def story(bench: Bench) -> None:
        spec = bench.spec("sh", "-c", "read x; echo $x; exit 9", open_stdin=True)
        pid, monitor_pid = await bench.runtime.start(spec)
        second = Runtime(bench.paths)
        assert await second.recover(spec.container_id) == Running(pid, monitor_pid)
        stream = await second.attach(spec.container_id)
        told = asyncio.ensure_future(ended(second, spec.container_id, monitor_pid))
        await stream.write(b"hello\n")
        assert (await collect(stream))["stdout"] == b"hello\n"
        assert await told == 9
        third = Runtime(bench.paths)
        outcome = await third.recover(spec.container_id)
        assert isinstance(outcome, Exited)
        assert outcome.exit_code == 9
        assert await ended(third, spec.container_id, monitor_pid) == 9

    play(story)


STARTER = """
import asyncio, json, sys
from fairlead.model.runspec import RunSpec
from fairlead.model.settings import Paths
from fairlead.runtime.containers import Runtime

async def main():
    told = json.loads(sys.argv[1])
    spec = RunSpec(**{**told["spec"], "args": tuple(told["spec"]["args"]), "env": ()})
    pids = await Runtime(Paths(**told["paths"])).start(spec)
    print(json.dumps(pids), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_container_outlives_a_killed_daemon(play: Play) -> None:
    async def story(bench: Bench) -> None:
        spec = bench.spec("sh", "-c", "read x; exit 11", open_stdin=True)
        plain = {name: value for name, value in asdict(spec).items() if name not in ("mounts", "limits", "powers")}
        told = {"spec": plain, "paths": asdict(bench.paths)}
        source = str(Path(__file__).parents[2] / "src")
        with subprocess.Popen(
            [sys.executable, "-c", STARTER, json.dumps(told)], stdout=subprocess.PIPE, env={"PYTHONPATH": source}
        ) as daemon:
            assert daemon.stdout is not None
            pids = json.loads(daemon.stdout.readline())
            daemon.kill()
        assert await bench.runtime.recover(spec.container_id) == Running(*pids)
        stream = await bench.runtime.attach(spec.container_id)
        await stream.close_stdin()
        assert await ended(bench.runtime, spec.container_id) == 11
        await stream.close()

    play(story)


def test_killed_monitor_means_an_unknown_exit_code(play: Play) -> None:
    async def story(bench: Bench) -> None:
        spec = bench.spec("sleep", "60")
        pid, monitor_pid = await bench.runtime.start(spec)
        told = asyncio.ensure_future(ended(bench.runtime, spec.container_id, monitor_pid))
        await asyncio.sleep(0)
        os.kill(monitor_pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            await asyncio.wait_for(wait_end(os.pidfd_open(monitor_pid)), PATIENCE_S)
        assert await bench.runtime.recover(spec.container_id) == Running(pid, 0)
        await bench.runtime.signal(spec.container_id, "SIGKILL")
        assert await told == 255

    play(story)


def test_process_id_used_again_is_not_taken_for_the_container(play: Play) -> None:
    async def story(bench: Bench) -> None:
        spec = bench.spec("true")
        await bench.runtime.start(spec)
        await ended(bench.runtime, spec.container_id)
        folder = Path(bench.paths.run, "containers", spec.container_id)
        (folder / "pid").write_text(str(os.getpid()))
        (folder / "conmon.pid").write_text(str(os.getpid()))
        Path(bench.paths.containers, spec.container_id, "exit").unlink()
        assert isinstance(await bench.runtime.recover(spec.container_id), Exited)
        with pytest.raises(Conflict):
            await bench.runtime.signal(spec.container_id, "SIGKILL")

    play(story)
