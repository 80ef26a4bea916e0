"""What the API needs to show of services as this node sends to them."""

from __future__ import annotations

from typing import Protocol

from fairlead.model.balance import Follower, ServiceSeen


class BalanceView(Protocol):
    """Services with virtual addresses in the networks that this node takes part in."""

    async def services(self, network_id: str = "") -> tuple[ServiceSeen, ...]:
        """Those of a network, or (empty) of all."""

    async def followers(self, network_id: str) -> tuple[Follower, ...]:
        """The other nodes in a network, and whether each does what this one has said there. Those that do not say so within
        a second do not. None where this node takes no part."""
