"""The networks of a new container: ``--network`` (plain, or ``name=...,alias=...``) and the single flags for the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fairlead.cli.console import pairs
from fairlead.model import codes
from fairlead.model.errors import Invalid
from fairlead.model.network import PREDEFINED

_LISTS = {"alias": "Aliases", "link-local-ip": "LinkLocalIPs", "driver-opt": "DriverOpts"}
_SINGLES = ("name", "ip", "ip6", "mac-address", "gw-priority")


class Single(NamedTuple):
    """The flags that speak of the first network."""

    ip: str = ""
    ip6: str = ""
    mac: str = ""
    aliases: Sequence[str] = ()
    link_local: Sequence[str] = ()


def networking(networks: Sequence[str], single: Single) -> tuple[str, dict[str, object]]:
    """``HostConfig.NetworkMode`` and ``EndpointsConfig``; raises ``Invalid``."""
    asked = [_fields(text) for text in networks] or [{"name": ["default"]}]
    names = [fields["name"][0] for fields in asked]
    _check_mixture(names)
    _merge(asked[0], single)
    endpoints: dict[str, object] = {}
    for name, fields in zip(names, asked, strict=True):
        if name in endpoints:
            raise Invalid(f'network "{name}" is specified multiple times', code=codes.FLAG_INVALID)
        endpoints[name] = _endpoint(fields)
    mode = names[0]
    if mode.startswith("container:") and endpoints[mode] == _endpoint({}):
        endpoints = {}
    return mode, endpoints


def _fields(text: str) -> dict[str, list[str]]:
    """The fields of one ``--network``, each with its values."""
    if "=" not in text:
        return {"name": [text]}
    fields: dict[str, list[str]] = {}
    for part in text.split(","):
        key, equals, value = part.strip().partition("=")
        if not equals or key.lower() not in (*_LISTS, *_SINGLES):
            raise Invalid(f"invalid field {part!r} in network {text!r}", hint=_FIELDS_HINT, code=codes.FLAG_INVALID)
        fields.setdefault(key.lower(), []).append(value)
    if "name" not in fields:
        raise Invalid(f"network name or ID must be specified: {text!r}", hint=_FIELDS_HINT, code=codes.FLAG_INVALID)
    return fields


_FIELDS_HINT = "write name=NET,alias=A,ip=IP,ip6=IP,mac-address=MAC,link-local-ip=IP,driver-opt=K=V,gw-priority=N"


def _check_mixture(names: Sequence[str]) -> None:
    lone = [name for name in names if name in ("host", "none") or name.startswith("container:")]
    plain = [name for name in names if name not in (*PREDEFINED, "default") and name not in lone]
    if len(names) > 1 and (lone or (plain and len(plain) < len(names))):
        raise Invalid(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
            code=codes.MODES_CONFLICT,
        )


def _merge(fields: dict[str, list[str]], single: Single) -> None:
    """Put the single flags into the first network's fields; raises ``Invalid`` when both say something."""
    given = {
        "ip": ("--ip", [single.ip] if single.ip else []),
        "ip6": ("--ip6", [single.ip6] if single.ip6 else []),
        "mac-address": ("--mac-address", [single.mac] if single.mac else []),
        "alias": ("--network-alias", [*single.aliases]),
        "link-local-ip": ("--link-local-ip", [*single.link_local]),
    }
    for key, (flag, values) in given.items():
        if values and key in fields:
            raise Invalid(
                f"conflicting options: cannot specify both {flag} and per-network {key}", code=codes.MODES_CONFLICT
            )
        if values:
            fields[key] = values


def _endpoint(fields: Mapping[str, list[str]]) -> dict[str, object]:
    priority = fields.get("gw-priority", ["0"])[-1]
    if not priority.lstrip("-").isdigit():
        raise Invalid(f"invalid gw-priority {priority!r}", hint="write a whole number", code=codes.FLAG_INVALID)
    return {
        "IPAMConfig": {
            "IPv4Address": fields.get("ip", [""])[-1],
            "IPv6Address": fields.get("ip6", [""])[-1],
            "LinkLocalIPs": fields.get("link-local-ip", []),
        },
        "Aliases": fields.get("alias", []),
        "MacAddress": fields.get("mac-address", [""])[-1],
        "DriverOpts": pairs(fields.get("driver-opt", []), what="driver option"),
        "GwPriority": int(priority),
    }
