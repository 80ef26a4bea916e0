"""/etc/resolv.conf: reading the host's, writing a sandbox's (resolv.conf(5), ``cnm.md`` 1.13).

Two forms. With the embedded resolver a sandbox gets ``nameserver 127.0.0.11``, and the servers of the host's file or
of the user become upstreams. Without it (default bridge) the servers are written out, less those it cannot reach.
There is no fallback to public servers: names are never sent to a third party that nobody asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from fairlead.discovery.names import DNS_ADDRESS
from fairlead.discovery.resolver import Upstream
from fairlead.model.addresses import is_v6, parse_address
from fairlead.model.errors import Invalid

#: Dots that a name needs to be tried as it is first, when nobody says otherwise (resolv.conf(5): 1).
NDOTS_DEFAULT = 1
#: Largest ndots that the C library takes (resolv.conf(5)).
NDOTS_MAX = 15

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


def compose_internal(
    host: ResolvConf,
    *,
    dns: tuple[str, ...] = (),
    search: tuple[str, ...] = (),
    options: tuple[str, ...] = (),
    source: str = "/etc/resolv.conf",
) -> SandboxResolv:
    """The file of a sandbox with the embedded resolver. ``dns``, ``search`` and ``options`` are the user's and each
    replaces the host's; search ``.`` means none. Raises ``Invalid`` for a server that is no address."""
    check_servers(dns)
    merged = _merge(host, dns, search, options)
    if dns:
        upstreams = tuple(Upstream(server, from_host=False) for server in dns if server != DNS_ADDRESS)
    else:
        upstreams = tuple(Upstream(server, from_host=True) for server in host.servers)
    asked = ndots(merged.options)
    origin = "override" if ndots(options) is not None else "host" if asked is not None else "internal"
    if asked is None:
        merged = ResolvConf((), merged.search, (*merged.options, "ndots:0"))
    shown = " ".join(f"host({up.address})" if up.from_host else up.address for up in upstreams)
    text = _HEADER + _lines(ResolvConf((DNS_ADDRESS,), merged.search, merged.options))
    text += f"\n# Based on host file: '{source}' (internal resolver)\n"
    text += f"# ExtServers: [{shown}]\n" if upstreams else "# NO EXTERNAL NAMESERVERS DEFINED\n"
    text += f"# Overrides: [{_overrides(dns, search, options)}]\n# Option ndots from: {origin}\n"
    return SandboxResolv(text, upstreams, merged.search, asked or 0)


def compose_plain(
    host: ResolvConf,
    *,
    dns: tuple[str, ...] = (),
    search: tuple[str, ...] = (),
    options: tuple[str, ...] = (),
    v6: bool = False,
    source: str = "/etc/resolv.conf",
) -> SandboxResolv:
    """The file of a sandbox without the embedded resolver. Of the host's servers those on loopback are left out, and
    those with IPv6 addresses unless the sandbox has IPv6 (``v6``). Raises ``Invalid`` for a server that is no
    address."""
    check_servers(dns)
    merged = _merge(host, dns, search, options)
    if not dns:
        merged = ResolvConf(
            tuple(server for server in host.servers if _reachable(server, v6=v6)), merged.search, merged.options
        )
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
            raise Invalid(f"invalid DNS server {server!r}: not an IP address", hint="write it like 10.0.0.53")


def _merge(host: ResolvConf, dns: tuple[str, ...], search: tuple[str, ...], options: tuple[str, ...]) -> ResolvConf:
    domains = tuple(domain for domain in search if domain != ".") if search else host.search
    return ResolvConf(dns or host.servers, domains, options or host.options)


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
