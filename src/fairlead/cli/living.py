"""Words for the shell's completion that only the daemon knows: names of networks, containers, images.

Asked for while a key is pressed, so a daemon that does not answer means no words, never an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import click
from click.shell_completion import CompletionItem

from fairlead.api.client import Client
from fairlead.cli.console import record, records, text
from fairlead.model.errors import NetError

#: Label by which the parts of a stack know each other (Docker).
_STACK = "com.docker.stack.namespace"

Words = Callable[[Client], Iterator[str]]


def attach(command: click.Command, ctx: click.Context) -> click.Command:
    """Let the parameters of a command that stand for an object complete to the names that are there."""
    for parameter in command.params:
        words = _SOURCES.get(_stands_for(parameter, ctx))
        if words is not None and isinstance(parameter.type, click.types.StringParamType):
            parameter.type = _Name(words)
    return command


class _Name(click.types.StringParamType):
    """A text that completes to names which the daemon knows."""

    def __init__(self, words: Words) -> None:
        self._words = words

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Names that begin so."""
        host = str(ctx.find_root().params.get("host"))
        try:
            return [CompletionItem(word) for word in self._words(Client(host)) if word.startswith(incomplete)]
        except NetError:
            return []


def _stands_for(parameter: click.Parameter, ctx: click.Context) -> str:
    if isinstance(parameter, click.Option):
        return f"--{parameter.name}" if not parameter.metavar else f"-{parameter.metavar}"
    return parameter.make_metavar(ctx).strip("[].").removesuffix("]...").upper()


def _networks(client: Client) -> Iterator[str]:
    return (text(item.get("Name")) for item in records(client.get("/networks")))


def _containers(client: Client) -> Iterator[str]:
    for item in records(client.get("/containers/json", {"all": True})):
        names = item.get("Names")
        if isinstance(names, list) and names:
            yield text(names[0]).removeprefix("/")


def _images(client: Client) -> Iterator[str]:
    yield "host"
    for item in records(client.get("/images/json")):
        tags = item.get("RepoTags")
        yield from (text(tag) for tag in tags) if isinstance(tags, list) else ()


def _volumes(client: Client) -> Iterator[str]:
    return (text(item.get("Name")) for item in records(record(client.get("/volumes")).get("Volumes")))


def _nodes(client: Client) -> Iterator[str]:
    yield "self"
    yield from (text(record(item.get("Description")).get("Hostname")) for item in records(client.get("/nodes")))


def _services(client: Client) -> Iterator[str]:
    return (text(record(item.get("Spec")).get("Name")) for item in records(client.get("/services")))


def _wishes(client: Client) -> Iterator[str]:
    return (f"{name}=" for name in _services(client))


def _stacks(client: Client) -> Iterator[str]:
    labels = (record(record(item.get("Spec")).get("Labels")) for item in records(client.get("/services")))
    return iter(dict.fromkeys(text(found[_STACK]) for found in labels if _STACK in found))


def _objects(client: Client) -> Iterator[str]:
    yield from _containers(client)
    yield from _networks(client)


#: What a parameter's metavar (for options after a hyphen) stands for.
_SOURCES: dict[str, Words] = {
    "NETWORK": _networks,
    "CONTAINER": _containers,
    "TARGET": _containers,
    "IMAGE": _images,
    "VOLUME": _volumes,
    "NODE": _nodes,
    "SERVICE": _services,
    "SERVICE|TASK": _services,
    "SERVICE=REPLICAS": _wishes,
    "STACK": _stacks,
    "NAME|ID": _objects,
    "-NET": _networks,
    "-NETWORK": _networks,
}
