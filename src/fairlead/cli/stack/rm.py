"""``fairlead stack rm``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, path, text
from fairlead.cli.faults import complain
from fairlead.cli.stack.parts import networks_of, services_of
from fairlead.cli.stack.project import check_stack_name
from fairlead.model.errors import NetError


@click.command("rm", short_help="Remove stacks")
@click.option("-d", "--detach/--no-detach", default=True, help="For Docker's sake: networks wait for tasks anyway.")
@click.argument("stacks", nargs=-1, required=True, metavar="STACK...")
@pass_client
def command(client: Client, stacks: tuple[str, ...], *, detach: bool) -> int:
    """Remove the services of stacks, then their networks.

    \b
    Example:
      fairlead stack rm shop
    """
    del detach
    code = 0
    for stack in stacks:
        check_stack_name(stack)
        services, networks = services_of(client, stack), networks_of(client, stack)
        if not services and not networks:
            print(f"Nothing found in stack: {stack}", file=sys.stderr)
        for name, service in services.items():
            code = max(code, _remove(f"service {name}", partial(_delete, client, "services", service, "ID")))
        for name, network in networks.items():
            code = max(code, _remove(f"network {name}", partial(_delete, client, "networks", network, "Id")))
    return code


def _remove(what: str, act: Callable[[], object]) -> int:
    """Remove one part; the exit code."""
    print(f"Removing {what}", flush=True)
    try:
        act()
    except NetError as error:
        return complain(error)
    return 0


def _delete(client: Client, noun: str, found: dict[str, object], key: str) -> object:
    return client.delete(path(noun, text(found.get(key))))
