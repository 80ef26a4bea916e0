"""``fairlead stack``."""

from __future__ import annotations

from fairlead.cli.catalog import STACK
from fairlead.cli.lazy import LazyGroup

command = LazyGroup(
    "stack", STACK, "Sets of services and networks out of Compose files.\n\n\b\nExample:\n  fairlead stack ls"
)
