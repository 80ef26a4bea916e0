"""``fairlead volume``."""

from __future__ import annotations

from fairlead.cli.catalog import VOLUME
from fairlead.cli.lazy import LazyGroup

command = LazyGroup(
    "volume", VOLUME, "Volumes: directories that outlive containers.\n\n\b\nExample:\n  fairlead volume ls"
)
