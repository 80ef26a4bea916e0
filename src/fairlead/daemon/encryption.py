"""Encrypted networks as people see them: what their guards have dropped."""

from __future__ import annotations

from fairlead.drivers.overlay import config
from fairlead.drivers.overlay.encryption import CHAINS
from fairlead.kernel.ipsec import Ipsec


class Encryptions:
    """Implements ``api.contract_encryption.EncryptionView``."""

    def __init__(self, ipsec: Ipsec) -> None:
        self._ipsec = ipsec

    async def dropped(self) -> dict[str, int]:
        """What the kernel has counted; 0 where no encrypted network is."""
        counts = await self._ipsec.counted(config.TABLE)
        return {direction: counts.get(chain, 0) for direction, chain in CHAINS.items()}
