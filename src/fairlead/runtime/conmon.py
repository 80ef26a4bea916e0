"""conmon: the small process that keeps a container's standard streams, log and exit status while the daemon is away.

It forks away from us at once, runs ``runc create`` and answers one line of JSON on the sync pipe: ``{"data": PID}``, or
``{"data": -1, "message": TEXT}`` with what runc said. At the container's end it writes the exit status into the state
folder and ends, too: its end is what we wait for.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from fairlead.model import codes
from fairlead.model.errors import Internal, Invalid, NetError
from fairlead.model.runspec import RunSpec
from fairlead.runtime.layout import Files
from fairlead.runtime.processes import STEP_TIMEOUT_S, Child, read_pid, readable_soon

#: Bytes that conmon's answer can have: its buffer for runc's message is 8 KiB (conmon: BUF_SIZE), escaped at worst to
#: six bytes each.
ANSWER_BYTES_MAX = 6 * 8192 + 1024
#: Docker's exit codes for a container that could not be started (moby: daemon/start.go, setExitCodeFromError).
EXIT_NOT_FOUND = 127
EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_STARTED = 128


def command(conmon: str, runc: str, root: Path, spec: RunSpec, files: Files) -> list[str]:
    """The command line. ``--full-attach`` puts the attach socket into the bundle itself, which has no length limit."""
    args = [conmon, "--api-version", "1", "--cid", spec.container_id, "--cuuid", spec.container_id]
    args += ["--name", spec.container_id, "--runtime", runc, "--runtime-arg", f"--root={root}"]
    args += ["--bundle", str(files.run), "--full-attach", "--persist-dir", str(files.state)]
    args += ["--container-pidfile", str(files.pid), "--conmon-pidfile", str(files.monitor_pid)]
    args += ["--log-path", f"k8s-file:{files.log}", "--no-sync-log", "--log-level", "error"]
    if spec.log_bytes_max > 0:
        args += ["--log-size-max", str(spec.log_bytes_max)]
    if spec.tty:
        args.append("--terminal")
    if spec.open_stdin:
        args.append("--stdin")
    if spec.tty:
        args.append("--leave-stdin-open")
    return args


async def create(args: list[str], files: Files) -> tuple[int, int]:
    """Create a container that waits for its start: (its process id, conmon's).

    Raises what runc complained about, see ``refusal``, or ``Internal`` when conmon does not answer.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        child = Child(args, pass_fds=(writing,), environment={"_OCI_SYNCPIPE": str(writing)}, folder=str(files.run))
    except Internal:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    try:
        async with asyncio.timeout(STEP_TIMEOUT_S):
            answer = await _read_line(reading)
            await asyncio.shield(child.ended)
    except TimeoutError:
        raise Internal(f"conmon did not answer within {STEP_TIMEOUT_S:.0f} s", code=codes.START_FAILED) from None
    finally:
        os.close(reading)
    pid, message = parse_answer(answer)
    monitor_pid = read_pid(files.monitor_pid)
    if pid <= 0 or monitor_pid <= 0:
        raise refusal(message or f"conmon ended with status {child.exit_code} and said nothing")
    return pid, monitor_pid


def parse_answer(line: bytes) -> tuple[int, str]:
    """The answer of conmon as (process id, message); (-1, the text itself) when it is no JSON."""
    text = line.decode("utf-8", "replace").strip()
    try:
        answer = json.loads(text, strict=False)
    except ValueError:
        return -1, text
    if not isinstance(answer, dict):
        return -1, text
    pid, message = answer.get("data"), answer.get("message")
    return (pid if isinstance(pid, int) else -1), (message if isinstance(message, str) else "")


def refusal(message: str) -> NetError:
    """An error for what runc said when it could not create a container, in Docker's words and with its exit code:
    127 for a command that is not there, 126 for one that cannot be run, 128 for the rest."""
    cause = readable(message)
    code = exit_code_of(cause)
    text = f"failed to create task for container: OCI runtime create failed: {cause}: unknown"
    fault: NetError
    if code == EXIT_NOT_FOUND:
        fault = Invalid(
            text,
            hint="name a command that the image has, with its full path if it is not in $PATH",
            code=codes.START_FAILED,
        )
    elif code == EXIT_NOT_EXECUTABLE:
        fault = Invalid(text, hint="name an executable file", code=codes.START_FAILED)
    else:
        fault = Internal(text, code=codes.START_FAILED)
    fault.exit_code = code
    return fault


def readable(message: str) -> str:
    """The last complaint in runc's output, without its log decoration ``time=… level=error msg="…"``."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if not lines:
        return "no reason given"
    decorated = [line for line in lines if "level=error" in line or "level=fatal" in line]
    last = (decorated or lines)[-1]
    if 'msg="' in last:
        last = last.partition('msg="')[2].rstrip('"').replace('\\"', '"')
    return last


def exit_code_of(cause: str) -> int:
    """Docker's exit code for a complaint of runc."""
    if 'exec: "' not in cause and "exec /" not in cause:
        return EXIT_NOT_STARTED
    if any(text in cause for text in ("executable file not found", "no such file or directory")):
        return EXIT_NOT_FOUND
    if any(text in cause for text in ("permission denied", "is a directory", "exec format error", "not a directory")):
        return EXIT_NOT_EXECUTABLE
    return EXIT_NOT_STARTED


async def _read_line(descriptor: int) -> bytes:
    """Everything up to a newline or the end, without blocking the loop."""
    os.set_blocking(descriptor, False)
    line = b""
    while not line.endswith(b"\n") and len(line) < ANSWER_BYTES_MAX:
        try:
            piece = os.read(descriptor, ANSWER_BYTES_MAX)
        except BlockingIOError:
            await readable_soon(descriptor)
            continue
        if not piece:
            break
        line += piece
    return line
