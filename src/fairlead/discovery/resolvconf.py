"""/etc/resolv.conf: reading the host's, writing a sandbox's (resolv.conf(5), ``cnm.md`` 1.13).

Two forms. With the embedded resolver a sandbox gets ``nameserver 127.0.0.11``, and the servers of the host's file or
of the user become upstreams. Without it (default bridge) the servers are written out, less those it cannot reach.
There is no fallback to public servers: names are never sent to a third party that nobody asked for.

The host's search list is not handed on where names are served: it would complete the name of a container that is not
there to a name outside (docs/decisions/0010, SEC-20). It is in the plain form, and a user may name one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fairlead.discovery.names import DNS_ADDRESS
from fairlead.discovery.resolver import Upstream
from fairlead.model import codes
from fairlead.model.addresses import is_v6, parse_address
from fairlead.model.errors import Invalid
from fairlead.model.ids import check_name

#: Where systemd-resolved listens on the host; no container without the embedded resolver can ask it.
STUB_ADDRESS = "127.0.0.53"
#: Domain without any name (RFC 6761 section 6.4). Without a search list the C library takes the domain of the host
#: name for one; where that has a domain, this one stands in its place.
NO_DOMAIN = "invalid"
#: Dots that a name needs to be tried as it is first, when nobody says otherwise (resolv.conf(5): 1).
NDOTS_DEFAULT = 1
#: Largest ndots that the C library takes (resolv.conf(5)).
NDOTS_MAX = 15

#: An option of resolv.conf(5): a word, or a word and a number.
_OPTION = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,63}(:[0-9]{1,9})?")

_HEADER = """\
# Written by Fairlead for this container.
# It may be edited; a file that was edited is not written again.

"""


@dataclass(frozen=True, slots=True)
class ResolvConf:
    """What a resolv.conf says: server addresses, search domains, options, in order."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SandboxResolv:
    """A sandbox's file, and what its resolver must know: ``upstreams`` to forward to (empty without the embedded
    resolver), ``search`` and ``ndots`` as the programs inside will use them."""

    text: str
    upstreams: tuple[Upstream, ...]
    search: tuple[str, ...]
    ndots: int


def parse(text: str) -> ResolvConf:
    """Read a resolv.conf as the C library does: unknown and malformed lines are passed over, the last ``search`` or
    ``domain`` counts, options add up."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        word, *rest = line.split() or [""]
        if word[:1] in ("#", ";") or not rest:
            continue
        if word == "nameserver":
            if _is_address(rest[0]):
                servers.append(rest[0])
        elif word == "search":
            search = tuple(rest)
        elif word == "domain":
            search = (rest[0],)
        elif word == "options":
            options += rest
    return ResolvConf(tuple(servers), search, tuple(options))


def ndots(options: tuple[str, ...]) -> int | None:
    """The last well-formed ``ndots:n`` among options, None without one."""
    found = None
    for option in options:
        key, _, value = option.partition(":")
        if key == "ndots" and value.isascii() and value.isdigit():
            found = min(int(value), NDOTS_MAX)
    return found


def behind_stub(conf: ResolvConf) -> bool:
    """Whether the only server is the stub of systemd-resolved, whose own file then names the real ones (Docker)."""
    return conf.servers == (STUB_ADDRESS,)


def compose_internal(
    host: ResolvConf,
    *,
    dns: tuple[str, ...] = (),
    search: tuple[str, ...] = (),
    options: tuple[str, ...] = (),
    hostname: str = "",
    source: str = "/etc/resolv.conf",
) -> SandboxResolv:
    """The file of a sandbox with the embedded resolver. ``dns`` and ``options`` are the user's and each replaces the
    host's; ``search`` is the user's alone, and ``.`` in it means none. ``hostname`` is the sandbox's. Raises
    ``Invalid`` for a server that is no address."""
    check_servers(dns)
    if dns:
        upstreams = tuple(Upstream(server, from_host=False) for server in dns if server != DNS_ADDRESS)
    else:
        upstreams = tuple(Upstream(server, from_host=True) for server in host.servers)
    domains = tuple(domain for domain in search if domain != ".")
    options_written = options or host.options
    asked = ndots(options_written)
    origin = "override" if ndots(options) is not None else "host" if asked is not None else "internal"
    if asked is None:
        options_written = (*options_written, "ndots:0")
    written = domains or ((NO_DOMAIN,) if "." in hostname else ())
    shown = " ".join(f"host({up.address})" if up.from_host else up.address for up in upstreams)
    text = _HEADER + _lines(ResolvConf((DNS_ADDRESS,), written, options_written))
    text += f"\n# Based on host file: '{source}' (internal resolver)\n"
    text += f"# ExtServers: [{shown}]\n" if upstreams else "# NO EXTERNAL NAMESERVERS DEFINED\n"
    if host.search and not search:
        text += f"# Left out: [search {' '.join(host.search)}] (name domains with --dns-search)\n"
    text += f"# Overrides: [{_overrides(dns, search, options)}]\n# Option ndots from: {origin}\n"
    return SandboxResolv(text, upstreams, domains, asked or 0)


def compose_plain(
    host: ResolvConf,
    *,
    dns: tuple[str, ...] = (),
    search: tuple[str, ...] = (),
    options: tuple[str, ...] = (),
    v6: bool = False,
    source: str = "/etc/resolv.conf",
) -> SandboxResolv:
    """The file of a sandbox without the embedded resolver; what the user says replaces what the host's file says, and
    search ``.`` means none. Of the host's servers those on loopback are left out, and
    those with IPv6 addresses unless the sandbox has IPv6 (``v6``). Raises ``Invalid`` for a server that is no
    address."""
    check_servers(dns)
    servers = dns or tuple(server for server in host.servers if _reachable(server, v6=v6))
    domains = tuple(domain for domain in search if domain != ".") if search else host.search
    merged = ResolvConf(servers, domains, options or host.options)
    text = _HEADER + _lines(merged)
    if not merged.servers:
        text += "# No name server of the host can be reached from here; name one with --dns.\n"
    text += f"\n# Based on host file: '{source}' (without internal resolver)\n"
    text += f"# Overrides: [{_overrides(dns, search, options)}]\n"
    asked = ndots(merged.options)
    return SandboxResolv(text, (), merged.search, NDOTS_DEFAULT if asked is None else asked)


def check_servers(dns: tuple[str, ...]) -> None:
    """Raise ``Invalid`` unless each is the address of a server."""
    for server in dns:
        if not _is_address(server):
            raise Invalid(
                f"invalid DNS server {server!r}: not an IP address",
                hint="write it like 10.0.0.53",
                code=codes.DNS_INVALID,
            )


def check_search(search: tuple[str, ...]) -> None:
    """Raise ``Invalid`` unless each can be a search domain; ``.`` alone clears the list."""
    for domain in search:
        if domain != ".":
            check_name("search domain", domain.removesuffix("."))


def check_options(options: tuple[str, ...]) -> None:
    """Raise ``Invalid`` unless each can stand in a line of options."""
    for option in options:
        if not _OPTION.fullmatch(option):
            raise Invalid(
                f"invalid DNS option {option!r}", hint="write it like ndots:1 or rotate", code=codes.DNS_INVALID
            )


def _overrides(dns: tuple[str, ...], search: tuple[str, ...], options: tuple[str, ...]) -> str:
    named = (("nameservers", dns), ("search", search), ("options", options))
    return " ".join(word for word, values in named if values)


def _lines(conf: ResolvConf) -> str:
    text = "".join(f"nameserver {server}\n" for server in conf.servers)
    if conf.search:
        text += f"search {' '.join(conf.search)}\n"
    if conf.options:
        text += f"options {' '.join(conf.options)}\n"
    return text


def _is_address(text: str) -> bool:
    try:
        parse_address(text.partition("%")[0])
    except Invalid:
        return False
    return True


def _reachable(server: str, *, v6: bool) -> bool:
    return not parse_address(server.partition("%")[0]).is_loopback and (v6 or not is_v6(server))
