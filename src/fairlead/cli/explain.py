"""``fairlead explain``."""

from __future__ import annotations

import json
import shutil
import textwrap

import click

from fairlead.model import codes
from fairlead.model.codes import Code
from fairlead.model.errors import NotFound

#: Widest text in columns; longer lines are hard to read.
_WIDTH_MAX = 96
#: What stands above the numbers in docs/errors.md.
_HEADING = """# Errors by number

Every error is shown with a number that never changes its meaning. `fairlead explain NUMBER` prints the same as this
page, which is made by `fairlead explain --format markdown`.
"""
_FORMS = ("text", "json", "markdown")


@click.command("explain", short_help="Explain an error's number")
@click.option("--format", "form", type=click.Choice(_FORMS), default="text", help="text, json or markdown.")
@click.argument("code", required=False)
def command(code: str | None, *, form: str) -> None:
    """Explain an error by the number that it was shown with; without a number, list all. Needs no daemon.

    \b
    Example:
      fairlead explain fairlead-1101
    """
    if code is None:
        found = codes.catalogue()
    else:
        one = codes.find(code)
        if one is None:
            raise NotFound(f"no error has the number {code}", hint="`fairlead explain` lists all numbers")
        found = (one,)
    if form == "json":
        print(json.dumps([_fields(item) for item in found], indent=4))
    elif form == "markdown":
        print(_HEADING, *(_section(item) for item in found), sep="\n", end="")
    elif code is None:
        for item in found:
            print(f"{item}  {item.title}")
    else:
        print(_text(found[0]))


def _text(code: Code) -> str:
    width = min(shutil.get_terminal_size().columns, _WIDTH_MAX)
    parts = [f"{code}: {code.title}", "", textwrap.fill(code.meaning, width), "", "What to do:"]
    for step in code.steps:
        parts.append(textwrap.fill(step, width, initial_indent="  - ", subsequent_indent="    "))
    return "\n".join(parts)


def _section(code: Code) -> str:
    steps = "".join(f"- {step}\n" for step in code.steps)
    return f"## {code}: {code.title}\n\n{code.meaning}\n\n{steps}"


def _fields(code: Code) -> dict[str, object]:
    return {"code": str(code), "title": code.title, "meaning": code.meaning, "steps": list(code.steps)}
