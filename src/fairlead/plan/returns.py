"""Ways back as a value: how answers leave a sandbox by the node through which their connection came in.

A task of a service sees its clients' own addresses, wherever they are, so routes cannot tell which node their connections came
through; a mark of the connection can. Everything of this kind looks the same in every sandbox, but for the link.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

#: Marks of packets that leave this way: these bits are so, the others say which node. Not those of ``balance`` (0x0FA1….).
MARK, MASK = 0x4D000000, 0xFF000000


@dataclass(frozen=True, slots=True)
class ReturnPaths:
    """Packets of the namespace whose mark is one of ``MARK`` leave by ``link``, to the MAC that the mark stands for in ``ways``
    ((mark, MAC), ordered). ``ipv4``, ``ipv6``: the families that the link has. Where nothing else leads out of a namespace in a
    family of the link, all packets are routed so, that answers may find a route before they are marked. Not seen when
    observed; made anew at each repair."""

    rank: ClassVar[int] = 9
    ns: str
    link: str
    ipv4: bool
    ipv6: bool
    ways: tuple[tuple[int, str], ...]

    @property
    def key(self) -> tuple[str, ...]:
        """Identity."""
        return ("returns", self.ns, self.link)
