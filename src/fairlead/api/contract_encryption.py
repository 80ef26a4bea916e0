"""What the API needs to show of encryption between nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class EncryptionView(Protocol):
    """Networks that are encrypted between nodes."""

    async def dropped(self) -> Mapping[str, int]:
        """Clear packets of encrypted networks that were dropped, by direction: ``in``, ``out``."""
