"""Values in labels: each is checked once, here, before it can become a part of a proxy's configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv6Address, ip_address

from fairlead.mesh.wish import HTTP1, OPTIONAL, PASSTHROUGH, REQUIRED, TO_TLS, HttpRoute

#: Characters of a host name at most (RFC 1035 section 2.3.4), and of a path or URL (our choice: longer ones are no routes).
HOST_CHARACTERS_MAX = 253
PATH_CHARACTERS_MAX = 1024
PORT_MAX = 65535
#: Segments of a path that is rewritten. Reason: the proxy has one rule for each number. Our choice.
REWRITTEN_SEGMENTS_MAX = 6

#: A label of a host name; the underscore is in use (RFC 1034 section 3.5 has none).
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
#: Visible ASCII that a path can have (RFC 3986 section 3.3): no blank, quote, backslash, ``|`` or other delimiter.
_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")
#: An absolute URL without user, query and fragment (RFC 3986 section 3).
_URL = re.compile(r"(https?)://(\[[0-9A-Fa-f:.]+\]|[^/:\[\]]+)(:[0-9]{1,5})?(/.*)?")
#: A cookie's name is a token (RFC 6265 section 4.1.1); the characters that HAProxy's language needs are left out.
_COOKIE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Fault(Exception):
    """A label that makes no sense: its key, and why."""

    def __init__(self, label: str, reason: str) -> None:
        super().__init__(f"{label}: {reason}")


def hosts(label: str, value: str) -> list[str]:
    """A list of hosts, separated by commas."""
    return [host(label, item.strip()) for item in value.split(",")]


def host(label: str, value: str) -> str:
    """A host as it is compared: in lower case, names of other scripts as IDNA, IPv6 in brackets."""
    if value == "*":
        return value
    wild, bare = ("*.", value[2:]) if value.startswith("*.") else ("", value)
    literal = _literal(bare)
    if literal and not wild:
        return literal
    name = _ascii(label, bare.removesuffix(".").lower())
    if ":" in name or "/" in name:
        raise Fault(label, f"{value!r} is no host name: leave port, scheme and path out")
    if len(name) > HOST_CHARACTERS_MAX or not all(_LABEL.fullmatch(part) for part in name.split(".")):
        raise Fault(label, f"{value!r} is no host name")
    return wild + name


def _literal(value: str) -> str:
    try:
        address = ip_address(value.removeprefix("[").removesuffix("]"))
    except ValueError:
        return ""
    return f"[{address}]" if isinstance(address, IPv6Address) else str(address)


def _ascii(label: str, name: str) -> str:
    if name.isascii():
        return name
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        raise Fault(label, f"{name!r} is no host name") from None


def path(label: str, value: str) -> str:
    """A path without a slash at its end (but ``/`` itself)."""
    if len(value) > PATH_CHARACTERS_MAX or not _PATH.fullmatch(value):
        raise Fault(label, f"{value!r} is no path: it begins with / and has no blanks, quotes, ? or #")
    parts = value[1:].removesuffix("/").split("/")
    if value != "/" and any(part in {"", ".", ".."} for part in parts):
        raise Fault(label, f"{value!r} is no path: write it without empty parts, . and ..")
    return value if value == "/" else value.removesuffix("/")


def port(label: str, value: str) -> int:
    """A port number."""
    if not value.isascii() or not value.isdigit() or not 0 < int(value[:6]) <= PORT_MAX:
        raise Fault(label, f"{value!r} is no port: a number from 1 to {PORT_MAX}")
    return int(value)


def boolean(label: str, value: str) -> bool:
    """``true`` or ``false``."""
    return one_of(label, value, {"true": "true", "false": ""}) == "true"


def one_of(label: str, value: str, known: Mapping[str, str]) -> str:
    """What a word means."""
    found = known.get(value.lower())
    if found is None:
        raise Fault(label, f"{value!r}: known are {', '.join(known)}")
    return found


def cookie(label: str, value: str) -> str:
    """The name of a cookie."""
    if not _COOKIE.fullmatch(value):
        raise Fault(label, f"{value!r} cannot be a cookie's name: 1 to 64 letters, digits, _ . -")
    return value


def url(label: str, value: str) -> tuple[str, str, str, str]:
    """The parts of an absolute URL: scheme, host, ``:port`` or nothing, path or nothing."""
    scheme, separator, rest = value.partition("://")
    found = _URL.fullmatch(f"{scheme.lower()}{separator}{rest}")
    if found is None or len(value) > PATH_CHARACTERS_MAX or (found[4] and not _PATH.fullmatch(found[4])):
        raise Fault(label, f"{value!r} is no URL like https://www.example.com/start")
    if found[3]:
        port(label, found[3][1:])
    name = host(label, found[2])
    if name.startswith("*"):
        raise Fault(label, f"{value!r} names no host")
    return found[1], name, found[3] or "", found[4] or ""


def redirect(label: str, value: str) -> str:
    """Where to send clients: an absolute URL. Without a path, that of the request is kept."""
    return "{}://{}{}{}".format(*url(label, value))


def fitting(label: str, route: HttpRoute) -> HttpRoute:
    """The route, if its parts go together. One that sends clients to the same host over TLS does so for those that came
    without."""
    if route.redirect.removeprefix("https://") == route.host:
        route = replace(route, redirect=TO_TLS)
    if route.redirect.removeprefix("http://") == route.host:
        raise Fault(label, f"the redirect from {route.host} leads to itself")
    if route.rewrite is not None and route.path.count("/") > REWRITTEN_SEGMENTS_MAX:
        raise Fault(label, f"{route.path}: a path that is rewritten has at most {REWRITTEN_SEGMENTS_MAX} parts")
    if route.tls == PASSTHROUGH:
        _passable(label, route)
    if route.redirect == TO_TLS and route.tls not in {OPTIONAL, REQUIRED}:
        raise Fault(label, f"a redirect to TLS needs tls={OPTIONAL} or tls={REQUIRED}")
    return route


def _passable(label: str, route: HttpRoute) -> None:
    """TLS that is not opened shows a name and nothing else."""
    asked = {
        "a path": route.path != "/",
        "a sticky cookie": bool(route.cookie),
        "a redirect": bool(route.redirect),
        "a health path": bool(route.health),
        "a rewrite": route.rewrite is not None,
        "a retry": route.retry,
        "a protocol": route.protocol != HTTP1,
        "every host": route.host == "*",
    }
    for what, wanted in asked.items():
        if wanted:
            raise Fault(label, f"tls={PASSTHROUGH} does not go with {what}")
