"""``fairlead stack deploy``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import click

from fairlead.api.client import ApiError, Client
from fairlead.cli.console import pass_client, path, record, text
from fairlead.cli.service.convergence import follow
from fairlead.cli.service.specs import put, tell_warnings
from fairlead.cli.stack.parts import networks_of, services_of
from fairlead.cli.stack.project import Project, check_stack_name, merged, project
from fairlead.model.errors import Invalid, NotFound

Body = dict[str, object]

#: Drivers whose networks are the node's own: an external one of them is not looked for in the cluster.
_LOCAL = ("host", "bridge", "none")


@click.command("deploy", short_help="Make or change a stack as Compose files say")
@click.option(
    "-c", "--compose-file", "files", multiple=True, metavar="FILE", help="A Compose file; - is standard input."
)
@click.option("-d", "--detach/--no-detach", default=True, help="Do not wait until the tasks are stable (as usual).")
@click.option("--dry-run", is_flag=True, help="Print what would change, and change nothing.")
@click.option("--prune", is_flag=True, help="Remove services that the files do not have any more.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@click.option("--resolve-image", default="always", metavar="WHEN", help="Nothing: there is no registry.", hidden=True)
@click.option("--with-registry-auth", is_flag=True, help="Nothing: there is no registry.", hidden=True)
@click.argument("stack")
@pass_client
def command(
    client: Client,
    /,
    stack: str,
    *,
    files: tuple[str, ...],
    detach: bool,
    dry_run: bool,
    prune: bool,
    quiet: bool,
    **_: object,
) -> int:
    """Make or change a stack as Compose files say. Later files say more than earlier ones, or otherwise. Each key that is
    not honoured is named with its file and line.

    \b
    Example:
      fairlead stack deploy --compose-file compose.yaml --prune shop
    """
    notes: list[str] = []
    check_stack_name(stack)
    wanted = project(stack, merged(files, notes), notes)
    for note in wanted.notes:
        click.echo(f"WARNING: {note}", err=True)
    act = _Deployment(client, wanted, dry=dry_run)
    act.networks()
    changed = act.services(prune=prune)
    if detach or dry_run:
        return 0
    return max([0, *(follow(client, identifier, quiet=quiet) for identifier in changed)])


@dataclass(slots=True)
class _Deployment:
    """One deployment under way; with ``dry`` it only says what it would do."""

    client: Client
    wanted: Project
    dry: bool

    def networks(self) -> None:
        """Make the networks that are not there; raises ``Invalid`` for an external one that is missing."""
        for name in self.wanted.external:
            self._check_external(name)
        present = networks_of(self.client, self.wanted.stack)
        for body in self.wanted.networks:
            name = text(body["Name"])
            if name not in present:
                self._do("Creating", f"network {name}", partial(self.client.post, "/networks/create", body))

    def services(self, *, prune: bool) -> list[str]:
        """Make and change services; ids of those."""
        present = services_of(self.client, self.wanted.stack)
        names = {text(spec["Name"]) for spec in self.wanted.services.values()}
        if prune:
            self._remove(name for name in present if name not in names)
        changed: list[str] = []
        for spec in self.wanted.services.values():
            name = text(spec["Name"])
            if name in present:
                self._update(name, present[name], spec)
                changed.append(text(present[name].get("ID")))
            else:
                answer = self._do("Creating", f"service {name}", partial(self.client.post, "/services/create", spec))
                tell_warnings(answer)
                changed.append(text(record(answer).get("ID")))
        return changed

    def _update(self, name: str, service: Mapping[str, object], spec: Mapping[str, object]) -> None:
        """Give a service its new spec; what counts forced updates stays, or all tasks would be exchanged."""
        before = record(record(service.get("Spec")).get("TaskTemplate")).get("ForceUpdate")
        body = {**spec, "TaskTemplate": {**record(spec["TaskTemplate"]), "ForceUpdate": before or 0}}
        said = f"service {name} (id: {text(service.get('ID'))})"
        self._do("Updating", said, partial(put, self.client, service, body))

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            self._do("Removing", f"service {name}", partial(self.client.delete, path("services", name)))

    def _check_external(self, name: str) -> None:
        if name in _LOCAL:
            return
        try:
            found = record(self.client.get(path("networks", name)))
        except ApiError as error:
            if error.status != NotFound.status:
                raise
            raise Invalid(
                f'network "{name}" is declared as external, but could not be found. You need to create a swarm-scoped '
                "network before the stack is deployed",
                hint=f"fairlead network create --driver overlay {name}",
            ) from error
        if found.get("Scope") != "swarm":
            raise Invalid(
                f'network "{name}" is declared as external, but it is not in the right scope: '
                f'"{text(found.get("Scope"))}" instead of "swarm"',
                hint="name a network of the cluster",
            )

    def _do(self, doing: str, what: str, act: Callable[[], object]) -> object:
        if self.dry:
            print(f"{doing} {what} (dry run)")
            return None
        print(f"{doing} {what}")
        sys.stdout.flush()
        return act()
