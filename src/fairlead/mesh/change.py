"""What makes a running proxy with one layout one with another: commands of HAProxy's runtime API, or a reload.

Commands are in such an order that every request on the way finds either what was or what is to be: tasks come before the
routes that lead to them, and go after them. (HAProxy's management guide 2.6, section 9.3.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fairlead.mesh.configuration import Place, server_line
from fairlead.mesh.layout import HEALTH, HEALTH_HOSTS, HOSTS, Layout, Server
from fairlead.mesh.routes import PLAIN, SECURE, SNI

#: Octets of one command at most. Reason: HAProxy reads one into a buffer of 16 KiB (tune.bufsize).
COMMAND_BYTES_MAX = 15_000


@dataclass(frozen=True, slots=True)
class Change:
    """``commands`` in their order; then ``gone`` are servers (``back end/name``) to be deleted once nothing uses them."""

    commands: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()


def change(before: Layout, after: Layout, place: Place, pems: Mapping[str, str]) -> Change | None:
    """What to say to a proxy; None if only a reload leads there: ports or pools differ, or something is too long to be
    said. ``pems`` are the certificates of ``after`` by name."""
    fixed = (before.frontends, before.pools, before.passing)
    if fixed != (after.frontends, after.pools, after.passing):
        return None
    old, new = _servers(before), _servers(after)
    gone = tuple(key for key in old if key not in new)
    commands = (
        *_certificates(before, after, place, pems),
        *_map(before, after, place, HEALTH_HOSTS),
        *_map(before, after, place, HEALTH),
        *_coming(before, after),
        *(line for name in (HOSTS, PLAIN, SECURE, SNI) for line in _map(before, after, place, name)),
        *(f"set server {key} state maint" for key in gone),
        *_certificates_gone(before, after, place),
    )
    return None if any(len(line) > COMMAND_BYTES_MAX for line in commands) else Change(commands, gone)


def _servers(layout: Layout) -> dict[str, Server]:
    return {f"{name}/{server.name}": server for name, slot in layout.slots.items() for server in slot.servers}


def _coming(before: Layout, after: Layout) -> Iterator[str]:
    """Servers that are new or weigh something else. One that was to be deleted and is in use still has the same name, and
    is taken back; new ones are in maintenance until they are told to be ready. What binds clients to one is made out of its
    address, but only for those of the text unless it is asked for (``enable dynamic-cookie``)."""
    old, new = _servers(before), _servers(after)
    bound = {name for name, slot in after.slots.items() if slot.upstream.kind.cookie}
    for key, server in new.items():
        if key not in old:
            slot = key.partition("/")[0]
            yield f"add server {key} {server_line(server)}"
            yield f"set server {key} weight {server.weight}"
            if slot in bound:
                yield f"enable dynamic-cookie backend {slot}"
            if server.checked:
                yield f"enable health {key}"
            yield f"set server {key} state ready"
        elif server.weight != old[key].weight:
            yield f"set server {key} weight {server.weight}"


def _map(before: Layout, after: Layout, place: Place, name: str) -> Iterator[str]:
    old, new, file = before.maps.get(name, {}), after.maps.get(name, {}), place.map(name)
    for key in sorted(new):
        if key not in old:
            yield f"add map {file} {_word(key)} {_word(new[key])}"
        elif old[key] != new[key]:
            yield f"set map {file} {_word(key)} {_word(new[key])}"
    for key in sorted(old):
        if key not in new:
            yield f"del map {file} {_word(key)}"


def _word(text: str) -> str:
    """Text as one word of a command."""
    return "".join(f"\\{letter}" if letter in "\\; " else letter for letter in text)


def _certificates(before: Layout, after: Layout, place: Place, pems: Mapping[str, str]) -> Iterator[str]:
    for name, digest in sorted(after.certificates.items()):
        if before.certificates.get(name) == digest:
            continue
        file = place.certificate(name)
        if name not in before.certificates:
            yield f"new ssl cert {file}"
        # A payload ends at the first empty line.
        yield f"set ssl cert {file} <<\n" + "".join(f"{line}\n" for line in pems[name].splitlines() if line.strip())
        yield f"commit ssl cert {file}"
        if name not in before.certificates:
            yield f"add ssl crt-list {place.certificates} {file}"


def _certificates_gone(before: Layout, after: Layout, place: Place) -> Iterator[str]:
    for name in sorted(before.certificates):
        if name not in after.certificates:
            yield f"del ssl crt-list {place.certificates} {place.certificate(name)}"
            yield f"del ssl cert {place.certificate(name)}"
