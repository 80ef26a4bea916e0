"""What the links between nodes carry: seen as it is on the wire, and forged."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator

from tests.kernel.one_host.namespace import Namespace

#: UDP port of VXLAN.
PORT = 4789
#: Packets with ESP that are kept to be looked at.
KEPT_MAX = 64
_EVERYTHING, _IPV4, _IPV6, _UDP, _ESP = 0x0003, 0x0800, 0x86DD, 17, 50
_BUFFER_BYTES = 32 << 20
#: Seconds after which a reader looks whether it is to end.
_LOOK_S = 0.1
_SO_RCVBUFFORCE = 33
#: <linux/if_packet.h>.
_PACKET_OUTGOING = 4


class Capture:
    """Packets of one link. ``clear`` counts datagrams by VXLAN number, ``sent`` those of them that go out there, ``encrypted``
    ESP packets; the first of those are in ``esp``, from the IP header on. ``missed`` are packets that came too fast to be
    looked at: then nothing is proven."""

    def __init__(self) -> None:
        self.clear: Counter[int] = Counter()
        self.sent: Counter[int] = Counter()
        self.encrypted = 0
        self.esp: list[bytes] = []
        self.missed = 0

    def take(self, frame: bytes, *, outgoing: bool) -> None:
        """Look at one."""
        kind = int.from_bytes(frame[12:14], "big")
        packet = frame[14:]
        if kind == _IPV4:
            protocol, body, is_later = packet[9], packet[(packet[0] & 15) * 4 :], bool(packet[6] & 0x1F or packet[7])
        elif kind == _IPV6:
            protocol, body, is_later = packet[6], packet[40:], False
        else:
            return
        if protocol == _ESP:
            self.encrypted += 1
            if len(self.esp) < KEPT_MAX:
                self.esp.append(packet)
        elif protocol == _UDP and not is_later and int.from_bytes(body[2:4], "big") == PORT:
            number = int.from_bytes(body[12:15], "big")
            self.clear[number] += 1
            self.sent[number] += outgoing


@contextlib.contextmanager
def capturing(ns: Namespace, link: str = "eth0") -> Iterator[Capture]:
    """Everything that a link of a namespace carries during the block."""
    seen, over = Capture(), threading.Event()
    with ns.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_EVERYTHING)) as tap:
        tap.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        ns.call(lambda: tap.bind((link, _EVERYTHING)))
        tap.settimeout(_LOOK_S)

        def read() -> None:
            while True:
                try:
                    frame, (_, _, kind, *_) = tap.recvfrom(65536)
                    seen.take(frame, outgoing=kind == _PACKET_OUTGOING)
                except TimeoutError:
                    if over.is_set():
                        return

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield seen
        finally:
            over.set()
            reader.join()
            statistics = tap.getsockopt(263, 6, 8)  # SOL_PACKET, PACKET_STATISTICS: struct tpacket_stats
            seen.missed = struct.unpack("=II", statistics)[1]


def frame(vni: int, mac: str, source: str, target: str, port: int, said: bytes) -> bytes:
    """What a tunnel of this number would carry to the link with this MAC: a datagram between two IPv4 addresses."""
    udp = struct.pack("!HHHH", 9, port, 8 + len(said), 0) + said
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, _UDP, 0)
    header += ipaddress.ip_address(source).packed + ipaddress.ip_address(target).packed
    header = header[:10] + _checksum(header).to_bytes(2, "big") + header[12:]
    ethernet = bytes.fromhex(mac.replace(":", "")) + bytes.fromhex("020000000066") + _IPV4.to_bytes(2, "big")
    return b"\x08\0\0\0" + vni.to_bytes(3, "big") + b"\0" + ethernet + header + udp


def inject(ns: Namespace, node: str, tunnelled: bytes) -> None:
    """Send a clear datagram to a node's end of tunnels."""
    with ns.socket(socket.AF_INET6 if ":" in node else socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(tunnelled, (node, PORT))


def inject_in_pieces(ns: Namespace, node: str, tunnelled: bytes, first_bytes: int = 8) -> None:
    """The same as two IPv4 fragments, of which the first has no more than the UDP header: the number is in the second."""
    udp = struct.pack("!HHHH", 4242, PORT, 8 + len(tunnelled), 0) + tunnelled
    with ns.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sender:
        for offset, piece, more in ((0, udp[:first_bytes], 0x2000), (first_bytes, udp[first_bytes:], 0)):
            header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(piece), 77, more | offset // 8, 64, _UDP, 0)
            header += bytes(4) + ipaddress.ip_address(node).packed  # the kernel fills in source and checksum
            sender.sendto(header + piece, (node, 0))


def _checksum(header: bytes) -> int:
    """RFC 1071."""
    total = sum(struct.unpack(f"!{len(header) // 2}H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
