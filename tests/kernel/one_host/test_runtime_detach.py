"""Leaving a terminal while its program goes on."""

from __future__ import annotations

import os
import pty
import select
import subprocess
from collections.abc import Sequence

import pytest
from tests.kernel.one_host.docker_client import clients
from tests.kernel.one_host.host import FAIRLEAD, Host
from tests.kernel.one_host.waiting import PATIENCE_S, until

PROGRAM = ("sh", "-c", "echo ready; while read line; do echo got $line; done")

#: Seconds without an answer after which a word is typed again.
RETYPE_S = 0.2


def typed(host: Host, words: Sequence[str], keys: bytes) -> tuple[int, str]:
    """Run a command at a terminal of its own, and type the keys once it hands on what is typed: its exit code and what
    it showed. What is typed before the terminal is raw is thrown away with the change, so a word is typed again."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "FAIRLEAD_HOST": host.url, "DOCKER_HOST": host.url, "HOME": str(host.folder)}
    with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        try:
            for _ in range(int(PATIENCE_S / RETYPE_S)):
                if b"got word" in shown:
                    break
                if select.select([ours], [], [], RETYPE_S)[0]:
                    shown += os.read(ours, 4096)
                else:
                    os.write(ours, b"word\r")
            assert b"got word" in shown, shown
            os.write(ours, keys)
            return process.wait(PATIENCE_S), shown.decode()
        finally:
            process.kill()
            os.close(ours)


@pytest.mark.parametrize("client", [FAIRLEAD, *clients()], ids=lambda path: str(path).replace("/", "_"))
def test_detach_keys_leave_and_the_program_goes_on(host: Host, client: str) -> None:
    code, _ = typed(host, [client, "run", "-it", "--name", "tty", "host", *PROGRAM], b"\x10\x11")
    assert code == 0
    assert host.cli("inspect", "--format", "{{.State.Running}}", "tty").stdout == "true\n"
    code, _ = typed(host, [client, "attach", "--detach-keys", "ctrl-a,x", "tty"], b"\x01x")
    assert code == 1
    assert host.cli("inspect", "--format", "{{.State.Running}}", "tty").stdout == "true\n"
    host.cli("rm", "-f", "tty")


def test_the_daemon_itself_looks_for_the_keys(host: Host) -> None:
    with host.create("tty", PROGRAM, Tty=True, OpenStdin=True) as box:
        query = {"stream": True, "stdin": True, "stdout": True}
        with host.api.hijack(f"/containers/{box.id}/attach", query) as reply:
            host.api.post(f"/containers/{box.id}/start")
            reply.connection.sendall(b"\x10\x11")
            assert b"got" not in b"".join(reply.pieces()), "the stream ends"
        until(lambda: box.inspect()["State"]["Running"], "it goes on")
