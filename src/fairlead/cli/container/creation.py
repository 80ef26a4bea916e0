"""The flags of ``run`` and ``create``, and the request that they make."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import click

from fairlead.api.client import Client
from fairlead.cli.console import pairs, record, text
from fairlead.cli.container import wishes
from fairlead.cli.container.networks import Single, networking
from fairlead.cli.container.publish import bindings, exposed
from fairlead.model import codes
from fairlead.model.errors import Invalid

_OPTIONS = (
    click.option("--add-host", "hosts", multiple=True, metavar="NAME:IP", help="A line for /etc/hosts."),
    click.option("--dns", multiple=True, metavar="IP", help="A name server."),
    click.option(
        "--dns-option", "--dns-opt", "dns_options", multiple=True, metavar="TEXT", help="An option of the resolver."
    ),
    click.option("--dns-search", multiple=True, metavar="DOMAIN", help="A domain to search."),
    click.option("--domainname", default="", help="The domain of its own name."),
    click.option("--entrypoint", default=None, metavar="WORDS", help="What the command's words are given to."),
    click.option(
        "-e", "--env", "env", multiple=True, metavar="K[=V]", help="A variable; without = yours is handed on."
    ),
    click.option("--env-file", multiple=True, metavar="FILE", help="Variables, one on each line."),
    click.option(
        "--expose", multiple=True, metavar="PORT", help="A port that others may use; not published by itself."
    ),
    click.option("-h", "--hostname", default="", help="Its own name."),
    click.option("-i", "--interactive", is_flag=True, help="Keep standard input open."),
    click.option("--ip", default="", metavar="IP", help="IPv4 address in the first network."),
    click.option("--ip6", default="", metavar="IP", help="IPv6 address in the first network."),
    click.option("-l", "--label", "labels", multiple=True, metavar="K[=V]", help="A label."),
    click.option("--link-local-ip", "link_local", multiple=True, metavar="IP", help="Link-local address there."),
    click.option("--mac-address", "mac", default="", metavar="MAC", help="Ethernet address there."),
    click.option("--name", default="", help="Its name; chosen when none is given."),
    click.option(
        "--network", "--net", "networks", multiple=True, metavar="NET", help="NET, or name=NET,alias=A,ip=IP."
    ),
    click.option(
        "--network-alias", "aliases", multiple=True, metavar="NAME", help="Another name in the first network."
    ),
    click.option("-p", "--publish", multiple=True, metavar="[IP:][HOST:]PORT[/PROTO]", help="Publish a port."),
    click.option("-P", "--publish-all", is_flag=True, help="Publish all exposed ports on free ports of the host."),
    click.option("--read-only", is_flag=True, help="Let nothing write to its root file system."),
    click.option("--restart", default="no", metavar="POLICY", help="no, on-failure[:N], always, unless-stopped."),
    click.option("--rm", "auto_remove", is_flag=True, help="Remove it when it ends."),
    click.option("--stop-signal", default="", metavar="SIGNAL", help="The signal of a stop (SIGTERM)."),
    click.option("--stop-timeout", type=int, default=None, metavar="SECONDS", help="Patience of a stop (10)."),
    click.option("-t", "--tty", is_flag=True, help="Give it a terminal."),
    click.option("-u", "--user", default="", metavar="USER[:GROUP]", help="Who it runs as."),
    click.option("-v", "--volume", "volumes", multiple=True, metavar="SOURCE:TARGET[:ro]", help="Bind a host path."),
    click.option("-w", "--workdir", default="", metavar="PATH", help="Where it starts."),
    click.argument("image"),
    click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND]..."),
)


def creation_options(function: Callable[..., object]) -> Callable[..., object]:
    """Give a command the flags of a new container; they arrive as the keywords of ``create``."""
    for option in reversed((*wishes.OPTIONS, *_OPTIONS)):
        function = option(function)
    return function


def create(client: Client, given: Mapping[str, object]) -> str:
    """Create a container; its id. Warnings go to standard error. Raises ``Invalid`` or ``ApiError``."""
    name = text(given["name"])
    answer = record(client.post("/containers/create", body(given), {"name": name or None}))
    warnings = answer.get("Warnings")
    for warning in warnings if isinstance(warnings, list) else ():
        click.echo(f"WARNING: {warning}", err=True)
    return text(answer.get("Id"))


def body(given: Mapping[str, object]) -> dict[str, object]:
    """The request for the flags; raises ``Invalid``."""
    many = {key: tuple(map(str, value)) for key, value in given.items() if isinstance(value, tuple)}
    single = Single(text(given["ip"]), text(given["ip6"]), text(given["mac"]), many["aliases"], many["link_local"])
    mode, endpoints = networking(many["networks"], single)
    ports = bindings(many["publish"])
    entrypoint = given["entrypoint"]
    return {
        "Image": given["image"],
        "Cmd": list(many["words"]),
        "Entrypoint": shlex.split(str(entrypoint)) if entrypoint is not None else None,
        "Env": environment(many["env_file"], many["env"]),
        "WorkingDir": given["workdir"],
        "User": given["user"],
        "Hostname": given["hostname"],
        "Domainname": given["domainname"],
        "Tty": given["tty"],
        "OpenStdin": given["interactive"],
        "Labels": pairs(many["labels"], what="label"),
        "StopSignal": given["stop_signal"],
        "StopTimeout": given["stop_timeout"],
        "ExposedPorts": {**exposed(many["expose"]), **{key: {} for key in ports}},
        "HostConfig": _host(given, many, mode, ports),
        "NetworkingConfig": {"EndpointsConfig": endpoints},
        "Volumes": {volume: {} for volume in many["volumes"] if ":" not in volume},
        **wishes.health(given),
    }


def _host(
    given: Mapping[str, object], many: Mapping[str, Sequence[str]], mode: str, ports: object
) -> dict[str, object]:
    return {
        "NetworkMode": mode,
        "PortBindings": ports,
        "PublishAllPorts": given["publish_all"],
        "AutoRemove": given["auto_remove"],
        "Dns": list(many["dns"]),
        "DnsSearch": list(many["dns_search"]),
        "DnsOptions": list(many["dns_options"]),
        "ExtraHosts": [host_line(line) for line in many["hosts"]],
        "Binds": [_volume(volume) for volume in many["volumes"] if ":" in volume],
        "ReadonlyRootfs": given["read_only"],
        **wishes.host(given),
    }


def environment(files: Iterable[str], given: Iterable[str]) -> list[str]:
    """``K=V`` lines: those of files first; a name alone takes our own value, and is left out when we have none."""
    lines: list[str] = []
    for name in files:
        try:
            content = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Invalid(
                f"cannot read the variables in {name}: {error}", hint="check --env-file", code=codes.FLAG_INVALID
            ) from error
        lines += [line.lstrip() for line in content.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    result = []
    for line in [*lines, *given]:
        key, equals, _ = line.partition("=")
        if not key:
            raise Invalid(f"invalid environment variable: {line}", hint="write NAME=value", code=codes.FLAG_INVALID)
        if equals:
            result.append(line)
        elif key in os.environ:
            result.append(f"{key}={os.environ[key]}")
    return result


def host_line(line: str) -> str:
    """``NAME:IP`` out of that or ``NAME=IP``, with or without brackets; raises ``Invalid``."""
    separator = "=" if "=" in line else ":"
    name, found, address = line.partition(separator)
    if not found or not name or not address:
        raise Invalid(f'bad format for add-host: "{line}"', hint="write NAME:IP or NAME=IP", code=codes.FLAG_INVALID)
    return f"{name}:{address.removeprefix('[').removesuffix(']')}"


def _volume(volume: str) -> str:
    source, colon, rest = volume.partition(":")
    return f"{Path(source).absolute()}:{rest}" if colon and source.startswith(".") else volume
