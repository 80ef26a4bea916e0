"""Run a created container with this terminal joined to it; its exit code becomes ours."""

from __future__ import annotations

import json
from contextlib import ExitStack

from fairlead.api.client import Client, Reply
from fairlead.cli.console import path, record, text
from fairlead.cli.container.session import pump, raw_terminal, signals_to
from fairlead.model.detach import parse_detach_keys
from fairlead.model.errors import Internal


def run_attached(
    client: Client, container: str, *, tty: bool, stdin: bool, removed: bool, detach_keys: str = ""
) -> int:
    """Start a container and stay joined until it ends; its exit code, 0 when we left by the keys. ``removed`` waits for
    its removal too. Raises ``Invalid`` for keys that are none."""
    keys = parse_detach_keys(detach_keys)
    query = {"stream": True, "stdout": True, "stderr": True, "stdin": stdin, "detachKeys": detach_keys or None}
    with ExitStack() as stack:
        attached = stack.enter_context(client.hijack(path("containers", container, "attach"), query))
        condition = {"condition": "removed" if removed else "next-exit"}
        waiting = stack.enter_context(client.open("POST", path("containers", container, "wait"), condition))
        client.post(path("containers", container, "start"))
        if tty:
            stack.enter_context(raw_terminal(lambda height, width: _resize(client, container, height, width)))
        else:
            stack.enter_context(signals_to(client, container))
        if pump(attached, tty_mode=tty, stdin=stdin, detach_keys=keys):
            return 0
        return exit_code(waiting)


def exit_code(waiting: Reply) -> int:
    """The code in the answer of a wait; raises ``Internal`` when the wait failed."""
    answer = record(json.loads(waiting.read() or b"{}"))
    failure = record(answer.get("Error")).get("Message")
    code = answer.get("StatusCode")
    if failure or not isinstance(code, int):
        raise Internal(text(failure) or "the daemon ended before the container", hint="see `fairlead ps --all`")
    return code


def _resize(client: Client, container: str, height: int, width: int) -> None:
    client.post(path("containers", container, "resize"), query={"h": height, "w": width})
