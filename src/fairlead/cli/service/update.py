"""``fairlead service update``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, record, text
from fairlead.cli.service.convergence import follow
from fairlead.cli.service.options import SINGLE, WAITING, update_lists
from fairlead.cli.service.specs import change, find, put, with_options
from fairlead.model import codes
from fairlead.model.errors import Invalid


@click.command("update", short_help="Change a service")
@with_options(
    *update_lists(),
    *SINGLE,
    click.option("--args", metavar="WORDS", help="The command's words."),
    click.option("--force", is_flag=True, help="Exchange the tasks although nothing changes."),
    click.option("--image", metavar="IMAGE", help="What the tasks run."),
    click.option("--rollback", "back", is_flag=True, help="Go back to the spec before."),
    *WAITING,
)
@click.argument("service")
@pass_client
def command(client: Client, /, service: str, *, back: bool, detach: bool, quiet: bool, **given: object) -> int:
    """Change a service; its tasks are exchanged as its update rule says.

    \b
    Example:
      fairlead service update --image nginx:2 --update-order start-first web
    """
    found = find(client, service)
    spec = record(found.get("Spec"))
    if back:
        said = [name for name, value in given.items() if value not in (None, (), False)]
        if said:
            raise Invalid(
                "other flags may not be combined with --rollback",
                hint=f"leave --{said[0].replace('_', '-')} out",
                code=codes.FLAG_INVALID,
            )
        put(client, found, spec, "previous")
    else:
        change(client, spec, given)
        put(client, found, spec)
    print(service, flush=True)
    return 0 if detach else follow(client, text(found.get("ID")), quiet=quiet)
