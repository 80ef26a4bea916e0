"""The grammar of ``--publish`` of services: ``[IP:][PUBLISHED:]TARGET[/PROTO]``, or ``published=P,target=T,…``."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping

from fairlead.cli.container.publish import bindings
from fairlead.model import codes
from fairlead.model.errors import Invalid

Port = dict[str, object]

#: Fields of the long form, and what they are called in the short one's terms.
_FIELDS = frozenset({"target", "published", "protocol", "mode", "host_ip", "name", "app_protocol"})
_HINT = "write [IP:][PUBLISHED:]TARGET[/PROTO], or published=P,target=T,protocol=tcp,mode=ingress|host,host_ip=IP"
MODES = ("ingress", "host")


def ports(texts: Iterable[str]) -> list[Port]:
    """``EndpointSpec.Ports`` for all ``--publish`` options, ranges as single ports; raises ``Invalid``."""
    return [port for text in texts for port in (_long(text) if "=" in text else short(text))]


def short(text: str, mode: str = "ingress") -> list[Port]:
    """The short form."""
    made = []
    for key, hosts in bindings([text]).items():
        target, _, protocol = key.partition("/")
        for host in hosts:
            published = host["HostPort"]
            if "-" in published:
                raise Invalid(
                    f"invalid ranges specified for container and host Ports: {text}",
                    hint="make both ranges as long as each other",
                    code=codes.PORT_INVALID,
                )
            made.append(_port(int(target), int(published or 0), protocol, mode, host["HostIp"]))
    return made


def of_fields(fields: Mapping[str, str], text: str) -> list[Port]:
    """The long form out of its fields; ``text`` is how the user wrote it. Raises ``Invalid``."""
    unknown = set(fields) - _FIELDS
    mode = fields.get("mode") or "ingress"
    if unknown or "target" not in fields or mode not in MODES:
        raise Invalid(f"invalid port {text!r}", hint=_HINT, code=codes.PORT_INVALID)
    protocol = fields.get("protocol") or "tcp"
    published, host_ip = fields.get("published", ""), fields.get("host_ip", "")
    if ":" in host_ip:
        host_ip = f"[{host_ip}]"
    ahead = f"{host_ip}:" if host_ip else ""
    plain = f"{ahead}{published}:{fields['target']}" if ahead or published else fields["target"]
    made = short(f"{plain}/{protocol}", mode)
    name = fields.get("name", "")
    return [{"Name": name, **port} for port in made] if name else made


def key(port: Mapping[str, object]) -> tuple[object, ...]:
    """What makes two ports the same one: an added port replaces it."""
    return port.get("PublishedPort") or 0, port.get("TargetPort"), port.get("Protocol") or "tcp"


def without(present: Iterable[Mapping[str, object]], texts: Iterable[str]) -> list[Mapping[str, object]]:
    """Ports less those of ``--publish-rm``: ``TARGET[/PROTO]``, or a whole specification; raises ``Invalid``."""
    kept = list(present)
    for removed in ports(texts):
        kept = [port for port in kept if not _fits(port, removed)]
    return kept


def _fits(port: Mapping[str, object], removed: Mapping[str, object]) -> bool:
    same = key(port)[1:] == key(removed)[1:]
    return same and removed.get("PublishedPort") in (None, port.get("PublishedPort"))


def _long(text: str) -> list[Port]:
    fields: dict[str, str] = {}
    for part in next(csv.reader([text]), []):
        name, equals, value = part.strip().partition("=")
        if not equals:
            raise Invalid(f"invalid port {text!r}: {part!r} has no value", hint=_HINT, code=codes.PORT_INVALID)
        fields[name.strip().lower().replace("-", "_")] = value.strip()
    return of_fields(fields, text)


def _port(target: int, published: int, protocol: str, mode: str, host_ip: str) -> Port:
    body: Port = {"Protocol": protocol, "TargetPort": target}
    if published:
        body["PublishedPort"] = published
    return {**body, "PublishMode": mode, "HostIP": host_ip}
