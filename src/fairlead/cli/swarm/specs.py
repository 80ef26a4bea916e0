"""What the commands of ``swarm`` have in common: options of the cluster's spec, and the texts that tell how to join."""

from __future__ import annotations

import re
from collections.abc import Callable

import click

from fairlead.api.client import Client
from fairlead.cli.console import record, text
from fairlead.model import codes
from fairlead.model.errors import Invalid

_NANO = 1_000_000_000
#: Go's units of a duration in seconds.
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|us|µs|ns|m|s)")

_SPEC_OPTIONS = (
    click.option("--cert-expiry", default=None, metavar="DURATION", help="How long nodes' certificates are valid."),
    click.option("--dispatcher-heartbeat", default=None, metavar="DURATION", help="Time between two signs of life."),
    click.option("--task-history-limit", type=int, default=None, help="Ended tasks that are remembered."),
)

ADDRESS_OPTIONS = (
    click.option(
        "--listen-addr",
        default="0.0.0.0:2377",
        show_default=True,
        metavar="ADDR|IFACE[:PORT]",
        help="Where other nodes are heard.",
    ),
    click.option("--advertise-addr", default="", metavar="ADDR|IFACE[:PORT]", help="What other nodes are told."),
    click.option(
        "--data-path-addr", default="", metavar="ADDR|IFACE", help="Where containers' traffic comes and goes."
    ),
    click.option(
        "--availability",
        type=click.Choice(["active", "pause", "drain"]),
        default="active",
        show_default=True,
        help="Whether the node takes tasks.",
    ),
)


def with_options(*options: Callable[..., object]) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """A decorator for all of these options."""

    def decorate(function: Callable[..., object]) -> Callable[..., object]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def spec_options(function: Callable[..., object]) -> Callable[..., object]:
    """The options of the cluster's spec."""
    return with_options(*_SPEC_OPTIONS)(function)


def spec_body(given: dict[str, object], spec: dict[str, object] | None = None) -> dict[str, object]:
    """A spec with what was given; raises ``Invalid``."""
    body = dict(spec or {})
    if given.get("cert_expiry") is not None:
        body["CAConfig"] = {**record(body.get("CAConfig")), "NodeCertExpiry": duration(str(given["cert_expiry"]))}
    if given.get("dispatcher_heartbeat") is not None:
        body["Dispatcher"] = {"HeartbeatPeriod": duration(str(given["dispatcher_heartbeat"]))}
    if given.get("task_history_limit") is not None:
        body["Orchestration"] = {"TaskHistoryRetentionLimit": given["task_history_limit"]}
    if given.get("autolock") is not None:
        body["EncryptionConfig"] = {"AutoLockManagers": given["autolock"]}
    return body


def duration(written: str) -> int:
    """Nanoseconds of Go's ``72h30m``; raises ``Invalid``."""
    parts = _DURATION.findall(written)
    if not parts or "".join(number + unit for number, unit in parts) != written:
        raise Invalid(f"invalid duration {written!r}", hint="write it like 90m or 2160h0m0s", code=codes.FLAG_INVALID)
    return round(sum(float(number) * _UNITS[unit] for number, unit in parts) * _NANO)


def cluster(client: Client) -> dict[str, object]:
    """The cluster."""
    return record(client.get("/swarm"))


def version(thing: dict[str, object]) -> int:
    """The version of a cluster or node that a change is made on."""
    return int(text(record(thing.get("Version")).get("Index")) or "0")


def print_join(client: Client, role: str) -> None:
    """How a node joins in a role: the whole command."""
    token = text(record(cluster(client).get("JoinTokens")).get(role.capitalize()))
    swarm = record(record(client.get("/info")).get("Swarm"))
    node = record(client.get(f"/nodes/{text(swarm.get('NodeID'))}"))
    address = text(record(node.get("ManagerStatus")).get("Addr"))
    print(f"To add a {role} to this swarm, run the following command:\n")
    print(f"    fairlead swarm join --token {token} {address}\n")


def print_unlock_key(client: Client, *, quiet: bool = False) -> None:
    """The key that opens a manager after a restart."""
    key = text(record(client.get("/swarm/unlockkey")).get("UnlockKey"))
    if not key:
        raise Invalid("no unlock key is set", hint="`fairlead swarm update --autolock=true` sets one")
    if quiet:
        print(key)
        return
    print("To unlock a swarm manager after it restarts, run the `fairlead swarm unlock`")
    print(f"command and provide the following key:\n\n    {key}\n")
    print("Remember to store this key in a password manager, since without it you")
    print("will not be able to restart the manager.\n")
