"""Lists on the screen: one declaration for each kind of object serves table, JSON and template alike."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import click

from fairlead.cli.template import Template
from fairlead.cli.watch import show_again

#: Blanks between columns, and the least width of a column's text: as Docker's tables (tabwriter 10, 1, 3).
_GAP = 3
_WIDTH_MIN = 7

_DIGITS = re.compile(r"(\d+)")
_FIELD = r"\{\{\s*(?:json\s+|upper\s+|lower\s+)?\.(\w+)[^}]*\}\}"

Row = Mapping[str, object]


class Kind(NamedTuple):
    """A kind of object in lists. ``headers`` maps every field to its heading, in the order of the docs; ``shown`` are
    the fields of the plain table; ``key`` is the field that ``--quiet`` prints; ``order`` sorts the rows."""

    headers: Mapping[str, str]
    shown: Sequence[str]
    key: str
    order: Callable[[Row], object] | None = None


def list_options(function: Callable[..., object]) -> Callable[..., object]:
    """The options that every list has. ``--watch`` is met here: the command is called again whenever something has
    happened on the node."""
    for option in (
        click.option("-w", "--watch", is_flag=True, help="Show again whenever something has changed, until Ctrl-C."),
        click.option("-q", "--quiet", is_flag=True, help="Show identifiers only."),
        click.option("--no-trunc", is_flag=True, help="Do not shorten anything."),
        click.option("--format", "form", default="table", help="table, json, or a template such as '{{.Name}}'."),
        click.option("-f", "--filter", "given", multiple=True, metavar="K=V", help="Show only what matches."),
    ):
        function = option(function)
    return _watching(function)


def _watching(function: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(function)
    def perhaps_again(*args: object, watch: bool = False, **kwargs: object) -> object:
        again = functools.partial(function, *args, **kwargs)
        return show_again(again) if watch else again()

    return perhaps_again


def natural(text: object) -> list[tuple[int, int, str]]:
    """A key that sorts ``web9`` before ``web10``, digits before letters."""
    parts = _DIGITS.split(str(text))
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts if part]


def render(kind: Kind, rows: Iterable[Row], form: str, *, quiet: bool = False) -> str:
    """All rows as text, with a final newline when there is any; raises ``Invalid`` for a faulty template."""
    ordered = sorted(rows, key=kind.order) if kind.order else list(rows)  # type: ignore[arg-type]  # keys compare
    if quiet:
        lines = [str(row[kind.key]) for row in ordered]
    elif form == "json":
        lines = [json.dumps({key: row[key] for key in sorted(kind.headers)}, ensure_ascii=False) for row in ordered]
    elif form == "table":
        lines = _columns([[kind.headers[name] for name in kind.shown]] + [_cells(row, kind.shown) for row in ordered])
    elif form.startswith("table "):
        lines = _template_table(kind, ordered, form.removeprefix("table "))
    else:
        template = Template(form, strict=True)
        lines = [template.render(row) for row in ordered]
    return "".join(f"{line}\n" for line in lines)


def _template_table(kind: Kind, rows: Sequence[Row], form: str) -> list[str]:
    template = Template(form, strict=True)
    heading = re.sub(_FIELD, lambda found: kind.headers.get(found[1], found[1].upper()), form.replace(r"\t", "\t"))
    return _columns([heading.split("\t"), *(template.render(row).split("\t") for row in rows)])


def _cells(row: Row, names: Sequence[str]) -> list[str]:
    return [str(row[name]) for name in names]


def _columns(lines: Sequence[Sequence[str]]) -> list[str]:
    """Cells padded so that columns stand under each other; the last column is not padded."""
    widths: dict[int, int] = {}
    for line in lines:
        for column, cell in enumerate(line[:-1]):
            widths[column] = max(widths.get(column, _WIDTH_MIN), len(cell))
    return [
        "".join([*(cell.ljust(widths[at] + _GAP) for at, cell in enumerate(line[:-1])), *line[-1:]]) for line in lines
    ]
