"""``fairlead node``."""

from __future__ import annotations

from fairlead.cli.catalog import NODE
from fairlead.cli.lazy import LazyGroup

command = LazyGroup("node", NODE, "Nodes of the cluster.\n\n\b\nExample:\n  fairlead node ls")
