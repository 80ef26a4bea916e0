"""``fairlead service logs``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, path, record, text
from fairlead.cli.service.listing import node_names
from fairlead.cli.service.specs import find, tasks
from fairlead.model.errors import NetError

#: Characters of a task's id beside its name.
_SHORT_ID = 12


@click.command("logs", short_help="Show the output of a service or task")
@click.option("--details", is_flag=True, help="With what the daemon says of each line.")
@click.option("-f", "--follow", is_flag=True, help="Go on until interrupted.")
@click.option("--no-resolve", is_flag=True, help="Ids instead of names.")
@click.option("--no-task-ids", is_flag=True, help="Without the ids of tasks.")
@click.option("--no-trunc", is_flag=True, help="Do not shorten ids.")
@click.option("--raw", is_flag=True, help="Without saying whose each line is.")
@click.option("--since", default=None, metavar="TIME", help="Begin here: a time, or a span such as 10m.")
@click.option("-n", "--tail", default="all", metavar="N", help="Only the last N lines of each task.")
@click.option("-t", "--timestamps", is_flag=True, help="With the time of each line.")
@click.argument("name", metavar="SERVICE|TASK")
@pass_client
def command(
    client: Client,
    name: str,
    *,
    details: bool,
    follow: bool,
    no_resolve: bool,
    no_task_ids: bool,
    no_trunc: bool,
    raw: bool,
    since: str | None,
    tail: str,
    timestamps: bool,
) -> None:
    """Show what the tasks of a service, or one task, have written, on whatever nodes they are.

    \b
    Example:
      fairlead service logs --follow --tail 10 web
    """
    query: dict[str, str | int | bool | None] = {"stdout": True, "stderr": True, "follow": follow, "since": since}
    query |= {"tail": tail, "timestamps": timestamps, "details": not raw}
    noun, identifier = _target(client, name)
    whose = _Authors(client, resolve=not no_resolve, task_ids=not no_task_ids, full=no_trunc)
    with client.open("GET", path(noun, identifier, "logs"), query) as reply:
        for stream, data in reply.frames():
            sink = sys.stderr if stream == "stderr" else sys.stdout
            line = data.decode("utf-8", "replace")
            sink.write(line if raw else _attributed(line, whose.of, stamped=timestamps, details=details))
            sink.flush()


def _target(client: Client, name: str) -> tuple[str, str]:
    """The kind of what is meant, and its id; a service before a task (Docker)."""
    try:
        return "services", text(find(client, name).get("ID"))
    except NetError as missing:
        if getattr(missing, "status", 0) != 404:
            raise
        try:
            return "tasks", text(record(client.get(path("tasks", name))).get("ID"))
        except NetError as error:
            if getattr(error, "status", 0) != 404:
                raise
            raise missing from None


def _attributed(line: str, whose: Callable[[Mapping[str, str]], str], *, stamped: bool, details: bool) -> str:
    stamp, rest = line.split(" ", 1) if stamped else ("", line)
    said, _, words = rest.partition(" ")
    pairs = dict(pair.partition("=")[::2] for pair in said.split(","))
    ahead = f"{stamp} " if stamp else ""
    return f"{ahead}{whose(pairs)}    | {f'{said} ' if details else ''}{words}"


class _Authors:
    """Who wrote a line, as people say it: ``web.1.abc@node``."""

    def __init__(self, client: Client, *, resolve: bool, task_ids: bool, full: bool) -> None:
        self._client = client
        self._resolve = resolve
        self._task_ids = task_ids
        self._full = full
        self._known: dict[str, str] = {}
        self._nodes: dict[str, str] | None = None

    def of(self, pairs: Mapping[str, str]) -> str:
        """The author named by the details of a line."""
        task = pairs.get("com.docker.swarm.task.id", "")
        if task not in self._known:
            self._known[task] = self._name(task, pairs)
        return self._known[task]

    def _name(self, task: str, pairs: Mapping[str, str]) -> str:
        node, service = pairs.get("com.docker.swarm.node.id", ""), pairs.get("com.docker.swarm.service.id", "")
        if not self._resolve:
            return f"{task}@{node}"
        if self._nodes is None:
            self._nodes = node_names(self._client)
        title = text(record(find(self._client, service).get("Spec")).get("Name"))
        found = tasks(self._client, {"id": [task]})
        slot = text(found[0].get("Slot")) if found else ""
        short = task if self._full else task[:_SHORT_ID]
        name = f"{title}.{slot or (node if self._full else node[:_SHORT_ID])}"
        return (
            f"{name}.{short}@{self._nodes.get(node, node)}"
            if self._task_ids
            else f"{name}@{self._nodes.get(node, node)}"
        )
