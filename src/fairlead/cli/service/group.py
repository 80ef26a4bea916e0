"""``fairlead service``."""

from __future__ import annotations

from fairlead.cli.catalog import SERVICE
from fairlead.cli.lazy import LazyGroup

command = LazyGroup("service", SERVICE, "Services of the cluster.\n\n\b\nExample:\n  fairlead service ls")
