"""``fairlead service scale``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, record, text
from fairlead.cli.faults import complain
from fairlead.cli.service.convergence import follow
from fairlead.cli.service.specs import find, put
from fairlead.model import codes
from fairlead.model.errors import Invalid, NetError


@click.command("scale", short_help="Set the number of tasks of services")
@click.option("-d", "--detach/--no-detach", default=False, help="Do not wait until the tasks are stable.")
@click.argument("wishes", nargs=-1, required=True, metavar="SERVICE=REPLICAS...")
@pass_client
def command(client: Client, wishes: tuple[str, ...], *, detach: bool) -> int:
    """Set the number of tasks of replicated services.

    \b
    Example:
      fairlead service scale web=5 worker=2
    """
    code, scaled = 0, []
    for service, replicas in map(_wish, wishes):
        try:
            found = find(client, service)
            spec = record(found.get("Spec"))
            if "Replicated" not in record(spec.get("Mode")):
                raise Invalid(
                    f"{service}: scale can only be used with replicated mode",
                    hint="a global service has one task on each node",
                    code=codes.FLAG_INVALID,
                )
            put(client, found, {**spec, "Mode": {"Replicated": {"Replicas": replicas}}})
        except NetError as error:
            code = complain(error)
        else:
            print(f"{service} scaled to {replicas}", flush=True)
            scaled.append(text(found.get("ID")))
    return max([code, *(follow(client, identifier, quiet=False) for identifier in scaled if not detach)])


def _wish(words: str) -> tuple[str, int]:
    service, equals, replicas = words.rpartition("=")
    if not equals or not service or not replicas.isascii() or not replicas.isdigit():
        raise Invalid(
            f"invalid scale specifier '{words}'; expected format: service=replicas",
            hint="write it like web=5",
            code=codes.FLAG_INVALID,
        )
    return service, int(replicas)
