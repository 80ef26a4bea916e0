"""Settings below ``/proc/sys``. Those below ``net/`` are the ones of the namespace that the calling thread is in."""

from __future__ import annotations

import os
from pathlib import Path

#: What routers and neighbours advertise must not reconfigure a link of ours.
_QUIET = ("accept_ra", "accept_redirects", "autoconf")


def write(path: str, value: str, *, lacking_is_off: bool = True) -> None:
    """Set it. A switch that this kernel does not have counts as off, unless told otherwise. A read-only setting that has
    the value already is set. Raises ``OSError``."""
    try:
        descriptor = os.open(f"/proc/sys/{path}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        if value != "0" or not lacking_is_off:
            raise
    except OSError:
        if read(path) != " ".join(value.split()):
            raise


def read(path: str) -> str | None:
    """Its value, or None when this kernel has no such setting."""
    try:
        return " ".join(Path(f"/proc/sys/{path}").read_text(encoding="ascii").split())
    except OSError:
        return None


def quieten(link: str) -> None:
    """Make a link that is still down deaf to advertisements. A link that is not there is nothing to do."""
    for name in _QUIET:
        write(f"net/ipv6/conf/{link}/{name}", "0")
