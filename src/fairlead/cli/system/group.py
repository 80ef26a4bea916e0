"""``fairlead system``."""

from __future__ import annotations

from fairlead.cli.catalog import SYSTEM
from fairlead.cli.lazy import LazyGroup

command = LazyGroup("system", SYSTEM, "The node.\n\n\b\nExample:\n  fairlead system info")
