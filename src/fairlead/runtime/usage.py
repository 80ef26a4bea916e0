"""How much room containers take."""

from __future__ import annotations

import os

from fairlead.model.settings import Paths
from fairlead.runtime.layout import files_of
from fairlead.runtime.mounts import is_mounted


class DiskUsage:
    """Asks the writable layers, each a file system of its own, so that no tree is walked."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def container_bytes(self, container_id: str) -> int:
        """Bytes in a container's writable layer; 0 while it has none, which is so when it never ran or only reads."""
        layer = files_of(self._paths, container_id).layer
        try:
            if not is_mounted(layer):
                return 0
            facts = os.statvfs(layer)
        except FileNotFoundError:
            return 0
        return (facts.f_blocks - facts.f_bfree) * facts.f_frsize
