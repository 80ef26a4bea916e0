"""``fairlead events``."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime

import click

from fairlead.api.client import Client
from fairlead.cli.console import filters, pass_client, record, text
from fairlead.cli.template import Template


@click.command("events", short_help="Follow what happens")
@click.option("-f", "--filter", "given", multiple=True, metavar="K=V", help="type, event, container, network or label.")
@click.option("--format", "form", default="", help="json, or a template such as '{{.Action}}'.")
@click.option("--since", default=None, metavar="TIME", help="Begin here: a time, or a span such as 10m.")
@click.option("--until", default=None, metavar="TIME", help="End here.")
@pass_client
def command(client: Client, *, given: tuple[str, ...], form: str, since: str | None, until: str | None) -> None:
    """Follow what happens, one line for each event, until Ctrl-C or --until.

    \b
    Example:
      fairlead events --since 10m --until 0s --filter type=network
    """
    template = Template("{{json .}}" if form == "json" else form) if form else None
    with client.open("GET", "/events", {"filters": filters(given), "since": since, "until": until}) as reply:
        for line in reply.lines():
            event = record(json.loads(line))
            print(template.render(event) if template else _sentence(event))
            sys.stdout.flush()


def _sentence(event: dict[str, object]) -> str:
    actor = record(event.get("Actor"))
    attributes = ", ".join(f"{key}={text(value)}" for key, value in sorted(record(actor.get("Attributes")).items()))
    whole, part = divmod(int(text(event.get("timeNano")) or "0"), 10**9)
    words = (_stamp(whole, part), event.get("Type"), event.get("Action"), actor.get("ID"), f"({attributes})")
    return " ".join(filter(None, map(text, words)))


def _stamp(whole: int, part: int) -> str:
    """Local time as RFC 3339 with nanoseconds."""
    moment = datetime.fromtimestamp(whole, UTC).astimezone()
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{part:09d}{moment.isoformat()[19:]}"
