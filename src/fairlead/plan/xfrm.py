"""Encryption by the kernel (IPsec) as values: what is sent how, and with which keys.

All of it is in the node's own namespace, where tunnels have their sockets. The algorithm is always AES-GCM (RFC 4106) in ESP
transport mode with the full check value of 16 bytes, extended sequence numbers and a replay window.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

#: Known to the kernel with each of our states and templates; it is how they are found again and strangers' left alone.
REQID = 0xFA171EAD
#: Of packets that must be encrypted. The low 24 bits are free of those that other software tests in marks.
MARK = 0xFA000000
#: Smallest SPI that may be chosen (RFC 4303 section 2.1: 1 to 255 are reserved, 0 is not sent).
SPI_MIN = 256


@dataclass(frozen=True, slots=True)
class XfrmState:
    """One direction between two nodes: packets from ``source`` to ``target`` (bare addresses) with this ``spi``. ``secret``
    is 16 bytes of key and 4 of salt in hexadecimal, in no representation. ``outbound``: this node sends; such a state is never
    made a second time, since its sequence numbers would begin anew under the same key."""

    rank: ClassVar[int] = 3
    ns: ClassVar[str] = ""
    source: str
    target: str
    spi: int
    secret: str = field(repr=False)
    outbound: bool = field(default=False, compare=False)

    @property
    def key(self) -> tuple[str, ...]:
        """Identity: as the receiving kernel looks it up."""
        return ("xfrm-state", self.target, f"{self.spi:#010x}")


@dataclass(frozen=True, slots=True)
class XfrmPolicy:
    """What becomes of UDP datagrams to ``port`` that carry ``MARK`` and go from ``source`` to ``target`` (prefixes): they are
    encrypted by the state with this ``spi``, or, if it is 0, dropped. Where several policies fit, one that encrypts wins."""

    rank: ClassVar[int] = 3
    ns: ClassVar[str] = ""
    source: str
    target: str
    port: int
    spi: int = 0

    @property
    def key(self) -> tuple[str, ...]:
        """Identity."""
        return ("xfrm-policy", self.source, self.target, str(self.port))


@dataclass(frozen=True, slots=True)
class ExactXfrm:
    """All nodes that this one encrypts for are in the plans. An act, like ``Exact``: when it appears, states and policies of
    ours that no plan has are taken away; without it a repair leaves them alone, for whom they serve may still be told."""

    rank: ClassVar[int] = 9
    ns: ClassVar[str] = ""

    @property
    def key(self) -> tuple[str, ...]:
        """Identity: there is one."""
        return ("exact-xfrm",)


Xfrm = XfrmState | XfrmPolicy
