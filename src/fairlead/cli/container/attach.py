"""``fairlead attach``."""

from __future__ import annotations

from contextlib import ExitStack

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, path, record
from fairlead.cli.container.foreground import exit_code
from fairlead.cli.container.session import pump, raw_terminal, signals_to
from fairlead.model import codes
from fairlead.model.detach import parse_detach_keys
from fairlead.model.errors import Conflict


@click.command("attach", short_help="Join a running container's input and output")
@click.option("--no-stdin", is_flag=True, help="Give it no input.")
@click.option("--sig-proxy/--no-sig-proxy", default=True, help="Hand signals on (on unless said otherwise).")
@click.option("--detach-keys", default="", metavar="KEYS", help="Keys that leave (ctrl-p,ctrl-q).")
@click.argument("container")
@pass_client
def command(client: Client, container: str, *, no_stdin: bool, sig_proxy: bool, detach_keys: str) -> int:
    """Join a running container's input and output; its exit code becomes ours.

    \b
    Example:
      fairlead attach --no-stdin c1
    """
    about = record(client.get(path("containers", container, "json")))
    config = record(about.get("Config"))
    tty, stdin = bool(config.get("Tty")), bool(config.get("OpenStdin")) and not no_stdin
    if not record(about.get("State")).get("Running"):
        raise Conflict(
            "cannot attach to a stopped container, start it first",
            hint=f"fairlead start {container}",
            code=codes.CONTAINER_NOT_RUNNING,
        )
    keys = parse_detach_keys(detach_keys)
    query = {"stream": True, "stdout": True, "stderr": True, "stdin": stdin, "detachKeys": detach_keys or None}
    with ExitStack() as stack:
        waiting = stack.enter_context(client.open("POST", path("containers", container, "wait")))
        attached = stack.enter_context(client.hijack(path("containers", container, "attach"), query))
        if tty:
            resize = path("containers", container, "resize")
            stack.enter_context(raw_terminal(lambda h, w: client.post(resize, query={"h": h, "w": w})))
        elif sig_proxy:
            stack.enter_context(signals_to(client, container))
        if pump(attached, tty_mode=tty, stdin=stdin, detach_keys=keys):
            click.echo("read escape sequence", err=True)
            return 1
        return exit_code(waiting)
