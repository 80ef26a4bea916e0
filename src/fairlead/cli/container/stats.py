"""``fairlead stats``."""

from __future__ import annotations

import time

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, path, record, records, text
from fairlead.cli.rows import human_size

#: Seconds between two looks.
_INTERVAL_S = 1.0
_TITLES = ("CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS")


@click.command("stats", short_help="Show what containers use")
@click.option("--no-stream", is_flag=True, help="Look once instead of every second.")
@click.argument("containers", nargs=-1, metavar="[CONTAINER]...")
@pass_client
def command(client: Client, containers: tuple[str, ...], *, no_stream: bool) -> None:
    """Show what containers use of the machine: all that run, or those named.

    \b
    Example:
      fairlead stats --no-stream c1
    """
    while True:
        refs = containers or tuple(text(row.get("Id")) for row in records(client.get("/containers/json")))
        rows = [_row(record(client.get(path("containers", ref, "stats"), {"stream": False}))) for ref in refs]
        table = [_TITLES, *rows]
        widths = [max(len(row[column]) for row in table) for column in range(len(_TITLES))]
        for row in table:
            print("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        if no_stream:
            return
        time.sleep(_INTERVAL_S)


def _row(stats: dict[str, object]) -> tuple[str, ...]:
    """One container's line, reckoned as Docker's client does."""
    memory, networks = record(stats.get("memory_stats")), record(stats.get("networks"))
    used, limit = _number(memory.get("usage")), _number(memory.get("limit"))
    received = sum(_number(record(item).get("rx_bytes")) for item in networks.values())
    sent = sum(_number(record(item).get("tx_bytes")) for item in networks.values())
    block = records(record(stats.get("blkio_stats")).get("io_service_bytes_recursive"))
    totals = [sum(_number(item.get("value")) for item in block if item.get("op") == op) for op in ("Read", "Write")]
    return (
        text(stats.get("id"))[:12],
        text(stats.get("name")).removeprefix("/"),
        f"{_cpu_percent(stats):.2f}%",
        f"{human_size(used)} / {human_size(limit)}",
        f"{100 * used / limit if limit else 0:.2f}%",
        f"{human_size(received)} / {human_size(sent)}",
        f"{human_size(totals[0])} / {human_size(totals[1])}",
        text(record(stats.get("pids_stats")).get("current")),
    )


def _cpu_percent(stats: dict[str, object]) -> float:
    now, before = record(stats.get("cpu_stats")), record(stats.get("precpu_stats"))
    used = _number(record(now.get("cpu_usage")).get("total_usage"))
    used -= _number(record(before.get("cpu_usage")).get("total_usage"))
    machine = _number(now.get("system_cpu_usage")) - _number(before.get("system_cpu_usage"))
    return 100 * used / machine * _number(now.get("online_cpus")) if machine > 0 and used > 0 else 0.0


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
