"""/etc/hosts of a sandbox: base block, the user's extra hosts, a line for each address of its endpoints.

The file is bound into the container, so its owner writes changes in place; ``add`` and ``remove`` give the new text.
Lines that a user wrote survive: only exactly equal lines are removed (``cnm.md`` 1.13).
"""

from __future__ import annotations

from dataclasses import dataclass

from fairlead.model import codes
from fairlead.model.addresses import parse_address
from fairlead.model.errors import Invalid

#: Word in an extra host that stands for the host's addresses on the default bridge (Docker).
HOST_GATEWAY = "host-gateway"

_BASE_V4 = "127.0.0.1\tlocalhost\n"
_BASE_V6 = """\
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


@dataclass(frozen=True, slots=True)
class HostLine:
    """An address and the names it has, first the canonical one."""

    address: str
    names: tuple[str, ...]

    @property
    def text(self) -> str:
        """The line, with its end."""
        return f"{self.address}\t{' '.join(self.names)}\n"


def endpoint_line(address: str, hostname: str, domainname: str = "") -> HostLine:
    """The line for one address of an endpoint: ``hostname.domain hostname``, or the host name alone."""
    return HostLine(address, (f"{hostname}.{domainname}", hostname) if domainname else (hostname,))


def link_line(address: str, alias: str, hostname: str, name: str) -> HostLine:
    """The line of a legacy link; the name is left out if it equals the alias."""
    names = (alias, hostname) if name == alias else (alias, hostname, name)
    return HostLine(address, names)


def extra_lines(extra_hosts: tuple[str, ...], gateways: tuple[str, ...] = ()) -> tuple[HostLine, ...]:
    """The user's ``name:address`` or ``name=address`` entries as lines; an address may be in brackets, and
    ``host-gateway`` stands for ``gateways``. Raises ``Invalid`` for anything else."""
    lines: list[HostLine] = []
    for entry in extra_hosts:
        separator = "=" if "=" in entry else ":"
        name, found, value = entry.partition(separator)
        if not found or not name or any(character.isspace() for character in name):
            raise Invalid(
                f"bad format for add-host: {entry!r}", hint="write it like name:10.0.0.2", code=codes.DNS_INVALID
            )
        if value == HOST_GATEWAY:
            if not gateways:
                raise Invalid(
                    "unable to derive the IP value for host-gateway",
                    hint="name an address instead",
                    code=codes.DNS_INVALID,
                )
            lines += [HostLine(gateway, (name,)) for gateway in gateways]
            continue
        if value.startswith("[") and value.endswith("]"):
            value = value[1:-1]
        lines.append(HostLine(str(parse_address(value, "IP address in add-host")), (name,)))
    return tuple(lines)


def compose(endpoints: tuple[HostLine, ...] = (), extra: tuple[HostLine, ...] = (), *, v6: bool = True) -> str:
    """The whole file. Without ``v6`` (the namespace has no ``::1``) IPv6 lines of the base block and of endpoints are
    left out."""
    text = _BASE_V4 + (_BASE_V6 if v6 else "")
    return (
        text
        + "".join(line.text for line in extra)
        + "".join(line.text for line in endpoints if v6 or ":" not in line.address)
    )


def add(text: str, lines: tuple[HostLine, ...]) -> str:
    """The text with lines appended; a missing last line end is mended."""
    if text and not text.endswith("\n"):
        text += "\n"
    return text + "".join(line.text for line in lines)


def remove(text: str, lines: tuple[HostLine, ...]) -> str:
    """The text without those lines that are exactly equal to one of ``lines``."""
    gone = {line.text for line in lines}
    return "".join(line for line in _with_ends(text) if line not in gone)


def align(text: str, names: tuple[str, ...], lines: tuple[HostLine, ...], kept: tuple[HostLine, ...] = ()) -> str:
    """The text with ``lines`` as the only ones that give an address exactly ``names``, but for those of ``kept``."""
    wanted, stay = {line.text for line in lines}, {line.text for line in kept}
    ending = f"\t{' '.join(names)}\n"
    rest = [line for line in _with_ends(text) if line in wanted or line in stay or not line.endswith(ending)]
    return add("".join(rest), tuple(line for line in lines if line.text not in rest))


def _with_ends(text: str) -> list[str]:
    *lines, last = text.split("\n")
    return [line + "\n" for line in lines] + ([last] if last else [])
