"""Numbers, texts and bytes on the wire; the letters that every message is written in.

Unsigned numbers are LEB128 varints, texts and bytes have their length before them. Reading never trusts a length: each
field has a limit, and what is not there raises ``Malformed``, which only decoders catch: to callers they are total.
"""

from __future__ import annotations

from collections.abc import Iterable

#: Bytes of the longest varint that is read: 64 bits in groups of seven.
_VARINT_BYTES_MAX = 10
_U64_MAX = 2**64 - 1


class Malformed(Exception):
    """These bytes are no message of ours. Never leaves the room."""


def varint(number: int) -> bytes:
    """An unsigned number below 2**64."""
    if number < 0x80:
        return bytes((number,))
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def blob(data: bytes) -> bytes:
    """Bytes with their length."""
    return varint(len(data)) + data


def text(words: str) -> bytes:
    """A text in UTF-8 with its length."""
    return blob(words.encode())


def ranges(spans: Iterable[tuple[int, int]]) -> bytes:
    """Inclusive spans, ascending and apart from each other, as the gaps and lengths between their ends."""
    parts, last, count = [], 0, 0
    for low, high in spans:
        parts += [varint(low - last), varint(high - low)]
        last, count = high, count + 1
    return b"".join([varint(count), *parts])


class Reader:
    """Reads fields one after the other; every method raises ``Malformed``. Each block of a burst passes through here, so
    the short cuts are worth their lines: nearly all numbers have one byte."""

    __slots__ = ("_at", "_data", "_end")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._end = len(data)

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return self._end - self._at

    def byte(self) -> int:
        """One byte."""
        at = self._at
        if at >= self._end:
            raise Malformed
        self._at = at + 1
        return self._data[at]

    def take(self, count: int) -> bytes:
        """Exactly so many bytes."""
        at = self._at
        if count < 0 or at + count > self._end:
            raise Malformed
        self._at = at + count
        return self._data[at : at + count]

    def varint(self, limit: int = _U64_MAX) -> int:
        """An unsigned number up to ``limit``."""
        at = self._at
        if at < self._end and (number := self._data[at]) < 0x80:
            if number > limit:
                raise Malformed
            self._at = at + 1
            return number
        number = 0
        for place in range(_VARINT_BYTES_MAX):
            byte = self.byte()
            number |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                if number > limit or (place and not byte):
                    raise Malformed
                return number
        raise Malformed

    def blob(self, limit: int) -> bytes:
        """Bytes, at most ``limit``."""
        return self.take(self.varint(limit))

    def text(self, limit: int) -> str:
        """A text of at most ``limit`` bytes."""
        try:
            return self.blob(limit).decode()
        except UnicodeDecodeError:
            raise Malformed from None

    def ranges(self, count_max: int) -> tuple[tuple[int, int], ...]:
        """Spans as ``ranges`` writes them: ascending, from 1 up, with a gap between neighbours."""
        found: list[tuple[int, int]] = []
        last = 0
        for _ in range(self.varint(min(count_max, self.left // 2))):
            low = last + self.varint()
            high = low + self.varint()
            if high > _U64_MAX or low <= last + (1 if found else 0):
                raise Malformed
            found.append((low, high))
            last = high
        return tuple(found)

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(self.left)

    def end(self) -> None:
        """Nothing may be left."""
        if self.left:
            raise Malformed
