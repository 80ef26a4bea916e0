"""Encryption as the API sees it, said by hand."""

from __future__ import annotations


class FakeEncryption:
    """Fits ``fairlead.api.contract_encryption.EncryptionView``."""

    def __init__(self) -> None:
        self.drops = {"in": 3, "out": 0}

    async def dropped(self) -> dict[str, int]:
        return self.drops
