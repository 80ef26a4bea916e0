"""``fairlead network``."""

from __future__ import annotations

from fairlead.cli.catalog import NETWORK
from fairlead.cli.lazy import LazyGroup

command = LazyGroup("network", NETWORK, "Networks.\n\n\b\nExample:\n  fairlead network create web")
