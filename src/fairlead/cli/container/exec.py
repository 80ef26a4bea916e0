"""``fairlead exec``."""

from __future__ import annotations

from contextlib import ExitStack

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, path, record, text
from fairlead.cli.container.creation import environment
from fairlead.cli.container.session import pump, raw_terminal


@click.command(
    "exec", short_help="Run a command in a running container", context_settings={"allow_interspersed_args": False}
)
@click.option("-d", "--detach", is_flag=True, help="Leave it running.")
@click.option("-e", "--env", "env", multiple=True, metavar="K[=V]", help="A variable.")
@click.option("--env-file", multiple=True, metavar="FILE", help="Variables, one on each line.")
@click.option("-i", "--interactive", is_flag=True, help="Give it our input.")
@click.option("-t", "--tty", is_flag=True, help="Give it a terminal.")
@click.option("-u", "--user", default="", metavar="USER[:GROUP]", help="Who it runs as.")
@click.option("-w", "--workdir", default="", metavar="PATH", help="Where it starts.")
@click.argument("container")
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND...")
@pass_client
def command(client: Client, /, container: str, words: tuple[str, ...], **given: object) -> int:
    """Run a command in a running container; its exit code becomes ours.

    \b
    Example:
      fairlead exec -it c1 sh
    """
    lists = {key: tuple(map(str, value)) for key, value in given.items() if isinstance(value, tuple)}
    tty, detach = bool(given["tty"]), bool(given["detach"])
    request = {
        "Cmd": list(words),
        "Env": environment(lists["env_file"], lists["env"]),
        "WorkingDir": given["workdir"],
        "User": given["user"],
        "Tty": tty,
        "AttachStdin": bool(given["interactive"]) and not detach,
        "AttachStdout": not detach,
        "AttachStderr": not detach,
    }
    exec_id = text(record(client.post(path("containers", container, "exec"), request)).get("Id"))
    start = {"Detach": detach, "Tty": tty}
    if detach:
        client.post(path("exec", exec_id, "start"), start)
        return 0
    with ExitStack() as stack:
        reply = stack.enter_context(client.hijack(path("exec", exec_id, "start"), body=start))
        if tty:
            resize = path("exec", exec_id, "resize")
            stack.enter_context(raw_terminal(lambda h, w: client.post(resize, query={"h": h, "w": w})))
        pump(reply, tty_mode=tty, stdin=bool(given["interactive"]))
    code = record(client.get(path("exec", exec_id, "json"))).get("ExitCode")
    return code if isinstance(code, int) else 0
