"""What is read out of an ICMP error: whatever it is, a packet or nothing."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from fairlead.daemon.cluster.checksums import VNI, inner_packet, is_right

CONTENT = b"odd"


def inner(checksum: int) -> bytes:
    """From 192.0.2.1 to 192.0.2.2, port 9 to 9."""
    header = bytes.fromhex("4500") + struct.pack("!H", 28 + len(CONTENT)) + bytes(5) + b"\x11" + bytes(2)
    return (
        header + bytes((192, 0, 2, 1, 192, 0, 2, 2)) + struct.pack("!HHHH", 9, 9, 8 + len(CONTENT), checksum) + CONTENT
    )


def quote(packet: bytes, *, port: int = 4789, vni: int = VNI, kind: int = 3) -> bytes:
    """As a raw socket hands it over: the answer's IP header, ICMP's, then the tunnel's packet from its IP header on."""
    outer = b"\x45" + bytes(19)
    vxlan = struct.pack("!BxxxI", 8, vni << 8)
    return (
        outer + bytes((kind, 3)) + bytes(6) + outer + struct.pack("!HHHH", 5, port, 0, 0) + vxlan + bytes(14) + packet
    )


def test_the_packet_within_is_found_and_no_other() -> None:
    packet = inner(1)
    assert inner_packet(quote(packet) + b"padding", 4789) == packet
    assert not inner_packet(quote(packet)[:-1], 4789)
    for other in (quote(packet, port=53), quote(packet, vni=4096), quote(packet, kind=11)):
        assert not inner_packet(other, 4789)


def test_a_checksum_is_right_wrong_or_was_never_computed() -> None:
    # 192.0.2.1 -> 192.0.2.2, protocol 17, length 11: the pseudo header's sum, then with ports, length and content
    pseudo = 0xC000 + 0x0201 + 0xC000 + 0x0202 + 17 + 11
    pseudo = (pseudo & 0xFFFF) + (pseudo >> 16)
    whole = pseudo + 9 + 9 + 11 + 0x6F64 + 0x6400
    whole = (whole & 0xFFFF) + (whole >> 16)
    assert is_right(inner(~whole & 0xFFFF)) is True
    assert is_right(inner(0xDEAD)) is False
    assert is_right(inner(pseudo)) is None


@given(st.binary(max_size=200), st.integers(0, 160))
def test_nothing_that_arrives_raises(noise: bytes, at: int) -> None:
    message = bytearray(quote(inner(1)))
    message[at : at + len(noise)] = noise
    for packet in (bytes(message), noise):
        found = inner_packet(packet, 4789)
        if found:
            assert is_right(found) in (True, False, None)
