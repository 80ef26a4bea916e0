"""What the API needs to show of the HTTP mesh on a node."""

from __future__ import annotations

from typing import Protocol

from fairlead.model.http_mesh import HttpMeshSeen


class HttpMeshView(Protocol):
    """A node's part in the HTTP mesh, to look at."""

    def seen(self) -> HttpMeshSeen:
        """How it stands."""

    async def metrics(self) -> str:
        """The proxy's numbers in Prometheus' text format; empty without one."""
