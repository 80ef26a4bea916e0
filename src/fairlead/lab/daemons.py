"""The daemons of a lab: started as programs in their host's namespaces, waited for, stopped."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from fairlead.lab import identity
from fairlead.lab.layout import Host
from fairlead.lab.patience import PATIENCE
from fairlead.lab.underlay import enter
from fairlead.model import codes
from fairlead.model.errors import Unavailable

#: Seconds until a daemon must answer: the goal is 0.6 s, and a laden machine may be fifty times slower;
#: above that something is wrong.
READY_S_MAX = 60.0 * PATIENCE
#: Seconds between two knocks at the door of a daemon that is starting; its end is noticed at once.
KNOCK_S = 0.02
#: Seconds a daemon has to end by itself: it stops no container, so it has nothing to wait for.
STOP_S_MAX = 10.0 * PATIENCE
#: Seconds for one request while a lab is taken down; stopping a container by force takes a fraction of one.
REQUEST_S_MAX = 20.0 * PATIENCE
#: Lines of a log worth showing when a start failed.
TAIL_LINES = 15


class _Door(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(
    host: Host, method: str, path: str, timeout_s: float = REQUEST_S_MAX, body: object = None
) -> tuple[int, bytes] | None:
    """(status, body) of one API request, which carries ``body`` as JSON unless it is None; None if nobody answers."""
    door = _Door(host.socket, timeout_s)
    try:
        if body is None:
            door.request(method, path)
        else:
            door.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        answer = door.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        door.close()


def is_ready(host: Host) -> bool:
    """Whether the daemon answers."""
    answer = ask(host, "GET", "/_ping", timeout_s=2.0 * PATIENCE)
    return answer is not None and answer[0] == http.client.OK


def start(host: Host, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start the daemon of a host in a session of its own; ``wait_ready`` says when it serves."""
    flags = ["--state-dir", host.state, "--run-dir", host.run, "--resolv-conf", host.resolv_conf]
    program = [sys.executable, "-m", "fairlead.cli.main", "daemon", *flags]
    Path(host.socket).unlink(missing_ok=True)
    with open(host.log, "ab") as log:
        process = subprocess.Popen(
            enter(host.place, "/", program),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    known = identity.identify(process.pid)
    if known is not None:
        identity.save(host.pid, known)
    return process


def wait_ready(host: Host, process: subprocess.Popen[bytes]) -> None:
    """Return when the daemon answers; raises ``Unavailable`` with the end of its log when it ends or takes too long."""
    deadline = time.monotonic() + READY_S_MAX
    descriptor = os.pidfd_open(process.pid)
    try:
        while not is_ready(host):
            if identity.wait_end(descriptor, KNOCK_S):
                raise Unavailable(
                    f"the daemon of {host.name} ended with status {process.wait()}",
                    hint=f"it said:\n{tail(host)}",
                    code=codes.LAB,
                )
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"the daemon of {host.name} did not answer within {READY_S_MAX:.0f} s",
                    hint=f"it said:\n{tail(host)}",
                    code=codes.LAB,
                )
    finally:
        os.close(descriptor)
    process.returncode = 0  # it runs on without us: nothing to reap here, and no warning about that


def stop(host: Host, what: signal.Signals = signal.SIGTERM) -> bool:
    """End the daemon: ask by ``what``, insist by SIGKILL. False if none was running. Containers run on."""
    known = identity.load(host.pid)
    descriptor = known.open() if known is not None else None
    if descriptor is None:
        return False
    try:
        identity.send(descriptor, what)
        if not identity.wait_end(descriptor, STOP_S_MAX):
            identity.send(descriptor, signal.SIGKILL)
            identity.wait_end(descriptor, STOP_S_MAX)
    finally:
        os.close(descriptor)
    return True


def remove_containers(host: Host) -> None:
    """Ask the daemon to remove every container by force; what it cannot do, the sweep does."""
    answer = ask(host, "GET", "/containers/json?all=1")
    if answer is None or answer[0] != http.client.OK:
        return
    for container in json.loads(answer[1]):
        ask(host, "DELETE", f"/containers/{container['Id']}?force=1&v=1")


def tail(host: Host) -> str:
    """The last lines of the daemon's log."""
    try:
        return "\n".join(Path(host.log).read_text(errors="replace").splitlines()[-TAIL_LINES:])
    except OSError:
        return "(nothing)"
