"""``fairlead stack config``."""

from __future__ import annotations

import click
import yaml

from fairlead.cli.compose.document import Items, Section
from fairlead.cli.stack.project import merged, project

#: Name of the stack for which the files are looked through when only their form is asked for.
_NAMELESS = "stack"


@click.command("config", short_help="Show Compose files as they are understood")
@click.option(
    "-c", "--compose-file", "files", multiple=True, metavar="FILE", help="A Compose file; - is standard input."
)
def command(*, files: tuple[str, ...]) -> None:
    """Show Compose files as one, with variables put in. Faults end it; each key that is not honoured is named with its
    file and line.

    \b
    Example:
      fairlead stack config --compose-file compose.yaml --compose-file production.yaml
    """
    notes: list[str] = []
    whole = merged(files, notes)
    for note in project(_NAMELESS, whole, notes).notes:
        click.echo(f"WARNING: {note}", err=True)
    print(yaml.safe_dump(_plain(whole), sort_keys=True, default_flow_style=False, allow_unicode=True), end="")


def _plain(value: object) -> object:
    """The same without places."""
    if isinstance(value, Section):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, Items) else value
