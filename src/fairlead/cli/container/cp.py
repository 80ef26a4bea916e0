"""``fairlead cp``."""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path

import click

from fairlead.api.client import ApiError, Client
from fairlead.cli.console import pass_client, path
from fairlead.model.errors import Invalid

_NOT_FOUND = 404


@click.command("cp", short_help="Copy files into a container, or out of it")
@click.argument("source")
@click.argument("target")
@pass_client
def command(client: Client, source: str, target: str) -> None:
    """Copy a file or directory: CONTAINER:PATH on one side, a path of yours (or ``-`` for a tar stream) on the other.

    \b
    Example:
      fairlead cp c1:/etc/nginx ./nginx
      fairlead cp index.html c1:/usr/share/nginx/html/
    """
    (from_box, from_path), (to_box, to_path) = _side(source), _side(target)
    if bool(from_box) == bool(to_box):
        raise Invalid("must specify exactly one container source or destination", hint="write CONTAINER:PATH once")
    if from_box:
        _out(client, from_box, from_path, to_path)
    else:
        _into(client, from_path, to_box, to_path)


def _side(words: str) -> tuple[str, str]:
    """(container, path), with an empty container for a path of ours."""
    box, colon, place = words.partition(":")
    return (box, place) if colon and not words.startswith((".", "/")) else ("", words)


def _out(client: Client, box: str, place: str, target: str) -> None:
    with client.open("GET", path("containers", box, "archive"), {"path": place}) as reply:
        if target == "-":
            for piece in reply.pieces():
                sys.stdout.buffer.write(piece)
            return
        data = io.BytesIO(b"".join(reply.pieces()))
    with tarfile.open(fileobj=data) as archive:
        _extract(archive, Path(target))


def _extract(archive: tarfile.TarFile, goal: Path) -> None:
    """Unpack beside or into the goal: into it when it is a directory, else as it. Never outside, whatever the archive
    says (PEP 706)."""
    members = archive.getmembers()
    if not members:
        return
    if goal.is_dir():
        archive.extractall(goal, filter="data")
        return
    top = members[0].name
    for member in members:
        member.name = goal.name + member.name.removeprefix(top)
        archive.extract(member, goal.parent, filter="data")


def _into(client: Client, source: str, box: str, place: str) -> None:
    if source == "-":
        client.upload(path("containers", box, "archive"), sys.stdin.buffer, {"path": place}, method="PUT")
        return
    origin = Path(source)
    if not origin.exists():
        raise Invalid(f"no such file or directory: {source}", hint="check the path")
    folder, name = _goal(client, box, place, origin)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(origin, name)
    packed.seek(0)
    client.upload(path("containers", box, "archive"), packed, {"path": folder}, method="PUT")


def _goal(client: Client, box: str, place: str, origin: Path) -> tuple[str, str]:
    """(directory to unpack into, name there): into a directory that is there, else as the path itself."""
    try:
        client.open("HEAD", path("containers", box, "archive"), {"path": place.rstrip("/") + "/."}).close()
    except ApiError as error:
        if error.status != _NOT_FOUND:
            raise
        above, _, name = place.rstrip("/").rpartition("/")
        return above or "/", name
    return place, origin.resolve().name
