"""One node for each state directory."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fairlead.daemon.lock import StateLock
from fairlead.model.errors import Conflict

#: Takes the lock, says so, and keeps it until its input ends.
HOLD = """
import sys
from fairlead.daemon.lock import StateLock
with StateLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[bytes]:
    """Another process that has it."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_another_process_is_refused_until_it_is_gone(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with pytest.raises(Conflict, match="another daemon uses"), StateLock(str(tmp_path)):
            pass
        process.kill()
        process.wait()
    with StateLock(str(tmp_path)):
        pass


def test_another_node_of_the_same_process_is_refused_and_takes_nothing_away(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with StateLock(str(tmp_path)):
        with pytest.raises(Conflict), StateLock(str(tmp_path / "link")):
            pass
        done = subprocess.run(
            [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        assert b"another daemon uses" in done.stderr
    with StateLock(str(tmp_path)):
        pass


def test_a_child_on_its_way_to_its_program_is_waited_for(tmp_path: Path) -> None:
    with StateLock(str(tmp_path)):
        pass
    child = os.open(tmp_path / "lock", os.O_RDWR | os.O_CLOEXEC)  # what a child of a killed daemon still has open
    fcntl.flock(child, fcntl.LOCK_EX)
    gone: list[float] = []

    def let_go() -> None:
        time.sleep(0.1)
        gone.append(time.monotonic())
        os.close(child)

    thread = threading.Thread(target=let_go)
    thread.start()
    with StateLock(str(tmp_path)):
        assert gone, "it was not waited for"
    thread.join()
