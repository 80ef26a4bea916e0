"""``fairlead image``."""

from __future__ import annotations

from fairlead.cli.catalog import IMAGE
from fairlead.cli.lazy import LazyGroup

command = LazyGroup("image", IMAGE, "Imported root file systems.\n\n\b\nExample:\n  fairlead image ls")
