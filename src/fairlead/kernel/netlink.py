"""A small blocking netlink socket: batches out, acknowledgements back, matched by sequence number.

It belongs to the namespace that the calling thread is in when it is made, and is used by one thread.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType

from fairlead.kernel.messages import HEADER, NLM_F_ACK, raw_attributes

#: Protocols of the netlink family, <linux/netlink.h>.
ROUTE = 0
NETFILTER = 12
#: Messages in one send. 1,000 acknowledgements overflow a default receive buffer; 500 fit ours many times over.
BATCH_MAX = 500
#: Bytes of both buffers: room for 500 acknowledgements of about 1 KiB each, and for bursts of events.
BUFFER_BYTES = 8 << 20
#: Seconds to wait for an answer. The kernel answers at once; only its own lock (bulk deletion of thousands of links
#: holds it for seconds) can delay that, so this is far above and yet finite.
_ANSWER_S = 30
#: Bytes to receive at once: the kernel's largest dump chunk is 32 KiB.
_CHUNK_BYTES = 65536

_SOL_NETLINK = 270
_NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK = 10, 11, 12
_NETLINK_ADD_MEMBERSHIP = 1
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_DUMP_INTR = 0x10
_NLM_F_ACK_TLVS = 0x200
_NLMSGERR_ATTR_MSG = 1
_DUMP_ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class Fault:
    """What the kernel said no with: an errno, and words when it had some."""

    code: int
    text: str = ""


class Netlink:
    """An open socket. Raises ``OSError`` when the kernel cannot be asked at all."""

    def __init__(self, protocol: int = ROUTE, groups: Sequence[int] = ()) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._sequence = 0
        try:
            for option in (_SO_SNDBUFFORCE, _SO_RCVBUFFORCE):
                self.socket.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
            for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK):
                self.socket.setsockopt(_SOL_NETLINK, option, 1)
            timeout = struct.pack("ll", _ANSWER_S, 0)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
            self.socket.bind((0, 0))
            for group in groups:
                self.socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
        except OSError:
            self.socket.close()
            raise

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the socket."""
        self.socket.close()

    def request(self, messages: Sequence[bytearray]) -> list[Fault | None]:
        """Send all, in as few sends as allowed; the answers, in order, None where the kernel agreed. A fault does not
        stop the messages after it."""
        answers: list[Fault | None] = []
        for start in range(0, len(messages), BATCH_MAX):
            answers.extend(self._batch(messages[start : start + BATCH_MAX]))
        return answers

    def dump(self, request: bytes) -> list[bytes]:
        """Every message that answers a dump request; asked again when the kernel says that things moved meanwhile.
        Raises ``OSError``."""
        message = bytearray(request)
        for _ in range(_DUMP_ATTEMPTS):
            self._sequence += 1
            HEADER.pack_into(message, 0, len(message), *self._head(message, 0), self._sequence, 0)
            self.socket.send(message)
            found, torn = self._collect_dump()
            if not torn:
                return found
        raise OSError(errno.EINTR, os.strerror(errno.EINTR))

    def _head(self, message: bytearray, extra: int) -> tuple[int, int]:
        _, kind, flags, _, _ = HEADER.unpack_from(message)
        return kind, flags | extra

    def _batch(self, messages: Sequence[bytearray]) -> list[Fault | None]:
        first = self._sequence + 1
        for message in messages:
            self._sequence += 1
            HEADER.pack_into(message, 0, len(message), *self._head(message, NLM_F_ACK), self._sequence, 0)
        self.socket.send(b"".join(messages))
        answers: list[Fault | None] = [None] * len(messages)
        waiting = len(messages)
        while waiting:
            for kind, flags, sequence, data in self._receive():
                place = sequence - first
                if kind == _NLMSG_ERROR and 0 <= place < len(messages):
                    answers[place] = _fault(flags, data)
                    waiting -= 1
        return answers

    def _collect_dump(self) -> tuple[list[bytes], bool]:
        found: list[bytes] = []
        torn = False
        while True:
            for kind, flags, sequence, data in self._receive():
                if sequence != self._sequence:
                    continue
                torn = torn or bool(flags & _NLM_F_DUMP_INTR)
                if kind == _NLMSG_DONE:
                    return found, torn
                if kind == _NLMSG_ERROR:
                    fault = _fault(flags, data)
                    if fault is None:
                        return found, torn
                    raise OSError(fault.code, fault.text or os.strerror(fault.code))
                found.append(data)

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        return split(self.socket.recv(_CHUNK_BYTES))


def split(chunk: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """The messages of one datagram: type, flags, sequence number, bytes with header."""
    offset = 0
    while offset + HEADER.size <= len(chunk):
        length, kind, flags, sequence, _ = HEADER.unpack_from(chunk, offset)
        if length < HEADER.size or offset + length > len(chunk):
            return
        yield kind, flags, sequence, chunk[offset : offset + length]
        offset += (length + 3) & ~3


def _fault(flags: int, data: bytes) -> Fault | None:
    code = -int.from_bytes(data[16:20], "little", signed=True)
    if code == 0:
        return None
    text = ""
    if flags & _NLM_F_ACK_TLVS:
        # struct nlmsgerr: the errno, then the header of the request (its body is left out by NETLINK_CAP_ACK)
        text = raw_attributes(data, 36).get(_NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode(errors="replace")
    return Fault(code, text)
