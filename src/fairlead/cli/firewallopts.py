"""The daemon's options that are about the host's own firewall."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

_F = TypeVar("_F", bound=Callable[..., Any])
_OPEN, _ASK = "open", "ask-host-firewall"


def _split(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """``a,b`` and two options mean the same."""
    return tuple(dict.fromkeys(name for value in values for name in value.split(",") if name))


def firewall_options(command: _F) -> _F:
    """Give a command ``--firewall-hook``, ``--publish-policy`` and ``--ip``, under the names that ``NodeOptions`` has."""
    hook = click.option(
        "--firewall-hook",
        "firewall_hooks",
        multiple=True,
        metavar="NAME",
        callback=_split,
        help="Let containers' packets pass another firewall: docker-user, firewalld.",
    )
    policy = click.option(
        "--publish-policy",
        "ask_host_firewall",
        type=click.Choice((_OPEN, _ASK)),
        default=_OPEN,
        show_default=True,
        callback=lambda _, __, value: value == _ASK,
        help="Who decides about published ports.",
    )
    address = click.option(
        "--ip", "publish_address", default="", metavar="ADDR", help="Where ports are published that name no address."
    )
    return hook(policy(address(command)))
