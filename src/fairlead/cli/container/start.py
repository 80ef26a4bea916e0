"""``fairlead start``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import dry_run_option, each, pass_client, path, record
from fairlead.cli.container.foreground import run_attached
from fairlead.model import codes
from fairlead.model.errors import Invalid


@click.command("start", short_help="Start containers")
@click.option("-a", "--attach", is_flag=True, help="Show its output, and end with its exit code.")
@click.option("-i", "--interactive", is_flag=True, help="Give it our input too.")
@click.argument("containers", nargs=-1, required=True, metavar="CONTAINER...")
@dry_run_option()
@pass_client
def command(client: Client, containers: tuple[str, ...], *, attach: bool, interactive: bool) -> int:
    """Start containers that do not run.

    \b
    Example:
      fairlead start --attach c1
    """
    if not (attach or interactive):

        def start(ref: str) -> str:
            client.post(path("containers", ref, "start"))
            return ref

        return each(containers, start, doing="starting")
    if len(containers) > 1:
        raise Invalid(
            "you cannot start and attach multiple containers at once",
            hint="name one container",
            code=codes.FLAG_INVALID,
        )
    about = record(client.get(path("containers", containers[0], "json")))
    tty = bool(record(about.get("Config")).get("Tty"))
    removed = bool(record(about.get("HostConfig")).get("AutoRemove"))
    return run_attached(client, containers[0], tty=tty, stdin=interactive, removed=removed)
