"""``fairlead system df``."""

from __future__ import annotations

from collections.abc import Iterable

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, record, records, text
from fairlead.cli.rows import human_size
from fairlead.cli.table import Kind, Row, render

#: Digits of a size here (docker/go-units: HumanSize).
_DIGITS = 4

_USAGE = Kind(
    headers={
        "Type": "TYPE",
        "TotalCount": "TOTAL",
        "Active": "ACTIVE",
        "Size": "SIZE",
        "Reclaimable": "RECLAIMABLE",
    },
    shown=("Type", "TotalCount", "Active", "Size", "Reclaimable"),
    key="Type",
)


@click.command("df", short_help="Show how much room things take")
@click.option("--format", "form", default="table", help="table, json, or a template such as '{{.Size}}'.")
@pass_client
def command(client: Client, *, form: str) -> None:
    """Show how much room images, containers and volumes take, and how much of it a prune would free.

    \b
    Example:
      fairlead system df
    """
    usage = record(client.get("/system/df"))
    images, containers, volumes = (records(usage.get(key)) for key in ("Images", "Containers", "Volumes"))
    rows = [
        _row("Images", images, [image for image in images if _number(image.get("Containers")) > 0], "Size"),
        _row("Containers", containers, [row for row in containers if row.get("State") == "running"], "SizeRw"),
        _row("Local Volumes", *_volumes(volumes), "Size"),
    ]
    print(render(_USAGE, rows, form), end="")


def _volumes(volumes: list[dict[str, object]]) -> tuple[list[Row], list[Row]]:
    """Volumes by their usage: all, and those that a container uses."""
    every: list[Row] = [record(volume.get("UsageData")) for volume in volumes]
    return every, [usage for usage in every if _number(usage.get("RefCount")) > 0]


def _row(kind: str, every: Iterable[Row], active: Iterable[Row], size: str) -> dict[str, object]:
    every, active = list(every), list(active)
    total = sum(_number(item.get(size)) for item in every)
    free = total - sum(_number(item.get(size)) for item in active)
    share = f" ({100 * free // total}%)" if total else ""
    return {
        "Type": kind,
        "TotalCount": str(len(every)),
        "Active": str(len(active)),
        "Size": human_size(total, _DIGITS),
        "Reclaimable": f"{human_size(free, _DIGITS)}{share}",
    }


def _number(value: object) -> int:
    return max(0, int(text(value) or "0"))
