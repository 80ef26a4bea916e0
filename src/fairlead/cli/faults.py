"""How errors look to the user."""

from __future__ import annotations

import os
import sys

from fairlead.model import codes
from fairlead.model.errors import NetError

#: Bold red and back to normal (ECMA-48 SGR).
_RED, _PLAIN = "\x1b[1;31m", "\x1b[0m"


def complain(error: NetError) -> int:
    """Write an error to standard error: what, why, what to do next, its number; the exit code for it."""
    sys.stdout.flush()
    label = f"{_RED}Error:{_PLAIN}" if _coloured() else "Error:"
    print(f"{label} {error.message}", file=sys.stderr)
    cause = getattr(error, "cause", "")
    if cause:
        print(f"  cause: {cause}", file=sys.stderr)
    if error.hint:
        print(f"  {error.hint}", file=sys.stderr)
    if error.code.number >= codes.NARROW_FROM:
        print(f"  {error.code}: `fairlead explain {error.code.number}` tells more", file=sys.stderr)
    return error.exit_code


def _coloured() -> bool:
    """Whether standard error is a terminal that shows colours and nobody minds (https://no-color.org)."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
