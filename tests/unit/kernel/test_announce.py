"""Frames of announcements, byte by byte as the RFCs have them."""

from __future__ import annotations

import socket
import struct

from fairlead.kernel.announce import frames
from fairlead.plan.objects import Announce

MAC = bytes.fromhex("02aabbccddee")


def announce(ipv4: str = "", ipv6: str = "") -> list[bytes]:
    return frames(Announce("box", "eth0", "02:aa:bb:cc:dd:ee", ipv4, ipv6, 3, 1000))


def test_gratuitous_arp_is_a_broadcast_request_for_ones_own_address() -> None:
    (frame,) = announce("10.0.0.9")
    address = bytes([10, 0, 0, 9])
    assert frame[:14] == b"\xff" * 6 + MAC + b"\x08\x06"
    assert frame[14:22] == bytes.fromhex("0001080006040001")
    assert (frame[22:28], frame[28:32], frame[38:42]) == (MAC, address, address)
    assert len(frame) == 42


def test_unsolicited_advertisement_overrides_what_neighbours_remember() -> None:
    (frame,) = announce(ipv6="fd00::9")
    address = socket.inet_pton(socket.AF_INET6, "fd00::9")
    assert frame[:14] == bytes.fromhex("333300000001") + MAC + b"\x86\xdd"
    length, proto, hops = struct.unpack("!HBB", frame[18:22])
    assert (length, proto, hops) == (32, 58, 255)
    assert frame[22:54] == address + socket.inet_pton(socket.AF_INET6, "ff02::1")
    message = frame[54:]
    assert message[:2] == b"\x88\x00"
    assert message[4:24] == b"\x20\x00\x00\x00" + address
    assert message[24:] == b"\x02\x01" + MAC
    words = struct.unpack("!36H", frame[22:54] + struct.pack("!II", length, proto) + message)
    total = sum(words)
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF, "the checksum over pseudo-header and message"


def test_each_family_that_is_there_has_its_frame() -> None:
    assert [frame[12:14] for frame in announce("10.0.0.9", "fd00::9")] == [b"\x08\x06", b"\x86\xdd"]
    assert announce() == []
