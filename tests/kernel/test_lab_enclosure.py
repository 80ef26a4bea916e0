"""The enclosure of demo, tests and benchmarks: it hides, it passes on, and it tells what is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ENCLOSURE = str(Path(__file__).resolve().parent.parent / "enclosure.py")


def enclosed(script: str, settle_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run a shell script enclosed, in a network namespace that plays the machine's own; ``$PPID`` is the enclosure.
    ``settle_s``: how long it waits for what may go by itself."""
    command = ["unshare", "--net", sys.executable, ENCLOSURE, "sh", "-c", script]
    environment = {**os.environ, "FAIRLEAD_SETTLE_S": str(settle_s)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def test_what_happens_inside_stays_inside_and_the_exit_code_comes_out() -> None:
    done = enclosed("ip link add inside type bridge; mount -t tmpfs none /mnt; touch /run/mine; exit 7")
    assert (done.returncode, done.stderr) == (7, "")
    assert not Path("/run/mine").exists()
    assert " /mnt " not in Path("/proc/self/mounts").read_text()


def test_a_link_and_a_setting_left_on_the_machine_are_told() -> None:
    done = enclosed(
        "nsenter --net=/proc/$PPID/ns/net sh -c 'ip link add left type bridge; sysctl -qw net.ipv4.ip_forward=1'",
        settle_s=0.5,
    )
    assert done.returncode == 1
    assert "+ link" in done.stderr
    assert '"left"' in done.stderr
    assert "+ sysctl: /proc/sys/net/ipv4/ip_forward = 1" in done.stderr


def test_a_process_that_outlives_its_command_is_told_and_ended() -> None:
    done = enclosed("setsid sleep 12345 >/dev/null 2>&1 &", settle_s=0.5)
    assert done.returncode == 1
    assert "sleep 12345" in done.stderr
    number = int(done.stderr.split("+ process ")[1].split(":")[0])
    assert not Path(f"/proc/{number}").exists()
