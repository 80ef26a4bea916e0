"""``fairlead http-mesh``."""

from __future__ import annotations

from fairlead.cli.catalog import HTTP_MESH
from fairlead.cli.lazy import LazyGroup

command = LazyGroup(
    "http-mesh",
    HTTP_MESH,
    "Many services behind one port of every node, by host name and path.\n\n\b\nExample:\n  fairlead http-mesh enable",
)
