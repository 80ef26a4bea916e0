"""``fairlead system prune``."""

from __future__ import annotations

from collections.abc import Mapping

import click

from fairlead.api.client import Client
from fairlead.cli.console import agreed, filters, pass_client, record, records, text
from fairlead.cli.rows import human_size
from fairlead.model import codes
from fairlead.model.errors import Invalid

#: Digits of a size here (docker/go-units: HumanSize).
_DIGITS = 4


@click.command("prune", short_help="Remove all that nobody uses")
@click.option("-a", "--all", "every", is_flag=True, help="All images that no container uses, not only nameless ones.")
@click.option("--filter", "given", multiple=True, metavar="K=V", help="label=, label!= or until=.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("--volumes", is_flag=True, help="Volumes, too.")
@pass_client
def command(client: Client, *, every: bool, given: tuple[str, ...], force: bool, volumes: bool) -> None:
    """Remove all containers that do not run, and all networks and images that nobody uses.

    \b
    Example:
      fairlead system prune --all --force --filter until=24h
    """
    if volumes and any(text.partition("=")[0].strip() == "until" for text in given):
        raise Invalid('ERROR: The "until" filter is not supported with "--volumes"', code=codes.FLAG_INVALID)
    if not force and not agreed(_warning(given, every=every, volumes=volumes)):
        return
    query = {"filters": filters(given)}
    of_images = filters([*given, f"dangling={'false' if every else 'true'}"])
    freed = _pruned(client, "containers", query, "ContainersDeleted")
    freed += _pruned(client, "networks", query, "NetworksDeleted")
    if volumes:
        freed += _pruned(client, "volumes", query, "VolumesDeleted")
    freed += _pruned(client, "images", {"filters": of_images}, "ImagesDeleted")
    print(f"Total reclaimed space: {human_size(freed, _DIGITS)}")


def _warning(given: tuple[str, ...], *, every: bool, volumes: bool) -> str:
    lines = ["This will remove:", "  - all stopped containers"]
    lines.append("  - all networks not used by at least one container")
    if volumes:
        lines.append("  - all anonymous volumes not used by at least one container")
    lines.append(
        "  - all images without at least one container associated to them" if every else "  - all dangling images"
    )
    if given:
        lines += ["", "  Items to be pruned will be filtered with:", *(f"  - {text}" for text in given)]
    return "\n".join([*lines, ""])


def _pruned(client: Client, noun: str, query: Mapping[str, str | None], field: str) -> int:
    """Prune one kind and print what went; the bytes that this freed."""
    answer = record(client.post(f"/{noun}/prune", query=query))
    deleted = answer.get(field)
    if isinstance(deleted, list) and deleted:
        names = [text(item) for item in deleted if not isinstance(item, Mapping)]
        names += [f"{word.lower()}: {text(name)}" for item in records(deleted) for word, name in item.items()]
        print(f"Deleted {noun.capitalize()}:", *names, sep="\n", end="\n\n")
    return int(text(answer.get("SpaceReclaimed")) or "0")
