"""``fairlead gossip``."""

from __future__ import annotations

from fairlead.cli.catalog import GOSSIP
from fairlead.cli.lazy import LazyGroup

command = LazyGroup(
    "gossip", GOSSIP, "What the nodes of the cluster tell each other.\n\n\b\nExample:\n  fairlead gossip peers"
)
