"""``fairlead run``."""

from __future__ import annotations

import sys

import click

from fairlead.api.client import Client
from fairlead.cli.console import dry_run_option, pass_client, path
from fairlead.cli.container.creation import create, creation_options
from fairlead.cli.container.foreground import run_attached
from fairlead.cli.faults import complain
from fairlead.model import codes
from fairlead.model.errors import Invalid, NetError

#: Exit codes when the container's own program did not run (chroot(1), Docker).
_REFUSED, _NOT_EXECUTABLE, _NOT_THERE = 125, 126, 127


@click.command("run", short_help="Create a container and start it", context_settings={"allow_interspersed_args": False})
@click.option("-d", "--detach", is_flag=True, help="Leave it running and print its id.")
@click.option("--detach-keys", default="", metavar="KEYS", help="Keys that leave (ctrl-p,ctrl-q).")
@creation_options
@dry_run_option("start")
@pass_client
def command(client: Client, /, *, detach: bool, detach_keys: str, **given: object) -> int:
    """Create a container and start it. IMAGE is `host`, a directory, or an imported name.

    \b
    Example:
      fairlead run -d --name web --network front -p 8080:80 host nginx -g 'daemon off;'
    """
    tty, stdin, removed = bool(given["tty"]), bool(given["interactive"]), bool(given["auto_remove"])
    if tty and stdin and not detach and not sys.stdin.isatty():
        raise Invalid("the input device is not a TTY", hint="leave -t out", code=codes.FLAG_INVALID)
    container = ""
    try:
        container = create(client, given)
        if not detach:
            return run_attached(client, container, tty=tty, stdin=stdin, removed=removed, detach_keys=detach_keys)
        client.post(path("containers", container, "start"))
    except NetError as error:
        complain(error)
        return failure_code(error.message) if container else _REFUSED
    print(container)
    return 0


def failure_code(message: str) -> int:
    """The exit code for a start that failed, by the words of the runtime (Docker does the same)."""
    if "executable file not found" in message or "no such file or directory" in message:
        return _NOT_THERE
    return _NOT_EXECUTABLE if "permission denied" in message or "is a directory" in message else _REFUSED
