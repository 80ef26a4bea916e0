"""``fairlead sandbox``."""

from __future__ import annotations

from fairlead.cli.catalog import SANDBOX
from fairlead.cli.lazy import LazyGroup

command = LazyGroup(
    "sandbox", SANDBOX, "Network namespaces of others.\n\n\b\nExample:\n  fairlead network connect web docker:redis"
)
