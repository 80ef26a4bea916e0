"""How much of a packet is left inside a tunnel between nodes.

A tunnel adds an outer IPv4 header of 20 bytes or an IPv6 one of 40, UDP 8, VXLAN 8 and the inner Ethernet header 14 (RFC 7348
section 5; the outer Ethernet header is not counted in an MTU). Encrypted, the datagram is within ESP (RFC 4303, RFC 4106): SPI
4, sequence number 4, IV 8, then padding to a multiple of 4 with 2 bytes that tell of it, and a check value of 16.
"""

from __future__ import annotations

_OUTER = {False: 20, True: 40}
#: UDP, VXLAN and inner Ethernet headers.
_WITHIN = 8 + 8 + 14
_ESP_HEAD, _ESP_TAIL, _ESP_CHECK, _ESP_ALIGN = 16, 2, 16, 4


def inner_mtu(outer: int, *, v6: bool, encrypted: bool = False) -> int:
    """Bytes of the largest packet inside where the links between nodes carry packets of ``outer`` bytes; ``v6``: the nodes
    have IPv6 addresses."""
    room = outer - _OUTER[v6]
    if encrypted:
        room = (room - _ESP_HEAD - _ESP_CHECK) // _ESP_ALIGN * _ESP_ALIGN - _ESP_TAIL
    return room - _WITHIN
