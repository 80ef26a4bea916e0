"""``fairlead container``."""

from __future__ import annotations

from fairlead.cli.catalog import CONTAINER
from fairlead.cli.lazy import LazyGroup

command = LazyGroup("container", CONTAINER, "Containers.\n\n\b\nExample:\n  fairlead container ls --all")
