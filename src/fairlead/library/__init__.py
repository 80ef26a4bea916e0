"""Fairlead in a program of one's own: networks, sandboxes and names without daemon and API.

Layer 5, a face like the command line, that puts a node together itself. It must not know the API, the container runtime
or another face. Front door: ``Node`` and ``AsyncNode``, which ``import fairlead`` shows too.
"""

from __future__ import annotations

from fairlead.library.asynchronous import AsyncNode
from fairlead.library.node import LiveNetwork, LiveSandbox, Node
from fairlead.model.endpoint import Endpoint, PortBinding, PortRequest
from fairlead.model.errors import NetError
from fairlead.model.network import Network
from fairlead.model.sandbox import Sandbox

__all__ = [
    "AsyncNode",
    "Endpoint",
    "LiveNetwork",
    "LiveSandbox",
    "NetError",
    "Network",
    "Node",
    "PortBinding",
    "PortRequest",
    "Sandbox",
]
