"""Messages on a stream: four bytes of length, then so many bytes; one there, one back."""

from __future__ import annotations

import struct

from fairlead.gossip.contract import STREAM_BYTES_MAX

_LENGTH = struct.Struct(">I")
#: Bytes before each message.
LENGTH_BYTES = _LENGTH.size


def frame(data: bytes) -> bytes:
    """A message as it is sent."""
    return _LENGTH.pack(len(data)) + data


class FrameReader:
    """Puts one message together out of what comes."""

    __slots__ = ("_parts", "held", "wanted")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        #: Bytes that have come.
        self.held = 0
        #: Bytes of the whole frame, its length included; 0 before that is known.
        self.wanted = 0

    def feed(self, data: bytes) -> bytes | None:
        """Take what came; the message when it is whole. Raises ``ValueError`` when it says to be longer than any of
        ours, or is followed by something."""
        self._parts.append(data)
        self.held += len(data)
        if not self.wanted and self.held >= LENGTH_BYTES:
            self._parts = [b"".join(self._parts)]
            self.wanted = LENGTH_BYTES + int(_LENGTH.unpack_from(self._parts[0])[0])
            if self.wanted > LENGTH_BYTES + STREAM_BYTES_MAX:
                raise ValueError(f"a message of {self.wanted} bytes")
        if not self.wanted or self.held < self.wanted:
            return None
        if self.held > self.wanted:
            raise ValueError("more than one message")
        return b"".join(self._parts)[LENGTH_BYTES:]
