"""``fairlead swarm``."""

from __future__ import annotations

from fairlead.cli.catalog import SWARM
from fairlead.cli.lazy import LazyGroup

command = LazyGroup("swarm", SWARM, "The cluster of this node.\n\n\b\nExample:\n  fairlead swarm init")
