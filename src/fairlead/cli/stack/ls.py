"""``fairlead stack ls``."""

from __future__ import annotations

from collections import Counter

import click

from fairlead.api.client import Client
from fairlead.cli.console import filters, pass_client, record, records, text
from fairlead.cli.stack.services import NAMESPACE
from fairlead.cli.table import Kind, list_options, natural, render

_STACK = Kind(
    headers={"Name": "NAME", "Services": "SERVICES"},
    shown=("Name", "Services"),
    key="Name",
    order=lambda row: natural(row["Name"]),
)


@click.command("ls", short_help="List stacks")
@list_options
@pass_client
def command(client: Client, *, given: tuple[str, ...], form: str, no_trunc: bool, quiet: bool) -> None:
    """List stacks, with how many services each has.

    \b
    Example:
      fairlead stack ls --format json
    """
    del no_trunc  # nothing is shortened
    wanted = filters((*given, f"label={NAMESPACE}"))
    services = records(client.get("/services", {"filters": wanted}))
    counts = Counter(text(record(record(one.get("Spec")).get("Labels")).get(NAMESPACE)) for one in services)
    rows = [{"Name": name, "Services": count} for name, count in counts.items()]
    print(render(_STACK, rows, form, quiet=quiet), end="")
