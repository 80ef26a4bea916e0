"""How errors look to the user."""

from __future__ import annotations

import sys

from fairlead.model.errors import NetError


def complain(error: NetError) -> int:
    """Write an error to standard error: what, then what to do next; the exit code for it."""
    sys.stdout.flush()
    print(f"Error: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"  {error.hint}", file=sys.stderr)
    return error.exit_code
