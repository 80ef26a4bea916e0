"""``fairlead service create``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, record, text
from fairlead.cli.service.convergence import follow
from fairlead.cli.service.options import SINGLE, WAITING, create_lists
from fairlead.cli.service.specs import made, tell_warnings, with_options


@click.command("create", short_help="Create a service", context_settings={"allow_interspersed_args": False})
@with_options(
    *create_lists(),
    *SINGLE,
    click.option("--mode", type=click.Choice(["replicated", "global"]), help="How tasks are counted (replicated)."),
    click.option("--name", help="Its name; chosen when none is given."),
    *WAITING,
)
@click.argument("image")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND]...")
@pass_client
def command(
    client: Client, /, image: str, words: tuple[str, ...], *, detach: bool, quiet: bool, **given: object
) -> int:
    """Create a service; prints its id, and unless --detach waits until its tasks are stable.

    \b
    Example:
      fairlead service create --name web --replicas 3 --network sea --ip 10.9.0.10-10.9.0.12 nginx
    """
    answer = client.post("/services/create", made(given, image, words))
    tell_warnings(answer)
    identifier = text(record(answer).get("ID"))
    print(identifier, flush=True)
    return 0 if detach else follow(client, identifier, quiet=quiet)
