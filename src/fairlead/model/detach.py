"""The keys that leave a terminal while its program goes on."""

from __future__ import annotations

from fairlead.model.errors import Invalid

#: Docker's default.
DETACH_KEYS = "ctrl-p,ctrl-q"
#: Names of keys with control held -> bytes (moby: pkg/term, ToBytes).
_CONTROL = {**{chr(97 + index): index + 1 for index in range(26)}, "@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def parse_detach_keys(text: str) -> bytes:
    """``ctrl-p,ctrl-q`` or single characters, with commas between; empty is the default. Raises ``Invalid``."""
    keys = bytearray()
    for word in (text or DETACH_KEYS).split(","):
        control = word.lower().removeprefix("ctrl-")
        if len(word) == 1 and word.isascii():
            keys.append(ord(word))
        elif word.lower().startswith("ctrl-") and control in _CONTROL:
            keys.append(_CONTROL[control])
        else:
            raise Invalid(f"Invalid escape keys ({text}) provided", hint="write them like ctrl-p,ctrl-q")
    return bytes(keys)


class Escape:
    """Looks for the keys in what is typed. What may be their beginning is held back until it is clear."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """(what is typed to the program, whether the keys were seen; nothing behind them is handed on)."""
        text = self._held + data
        self._held = b""
        at = text.find(self._keys)
        if at >= 0:
            return text[:at], True
        for length in range(min(len(self._keys) - 1, len(text)), 0, -1):
            if text.endswith(self._keys[:length]):
                self._held = text[-length:]
                return text[:-length], False
        return text, False
