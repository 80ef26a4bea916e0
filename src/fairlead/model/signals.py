"""Signals by name or number, as Linux has them on every architecture that Debian supports (signal(7))."""

from __future__ import annotations

from fairlead.model import codes
from fairlead.model.errors import Invalid

_NAMES = (
    "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG "
    "XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"
)
_NUMBERS = {name: number for number, name in enumerate(_NAMES.split(), 1)} | {"IOT": 6, "CLD": 17, "POLL": 29}
SIGKILL = 9
#: First and last real-time signal that programs may use (the C library keeps 32 and 33 for itself).
RTMIN, RTMAX = 34, 64


def signal_number(text: str) -> int:
    """The number of ``SIGTERM``, ``term``, ``15``, ``SIGRTMIN+3`` or ``RTMAX-1``; raises ``Invalid``."""
    name = text.upper().removeprefix("SIG")
    if name.isascii() and name.isdecimal() and len(name) < 4 and 0 < int(name) <= RTMAX:
        return int(name)
    if name in _NUMBERS:
        return _NUMBERS[name]
    for base, sign, start in (("RTMIN", "+", RTMIN), ("RTMAX", "-", RTMAX)):
        word, found, distance = name.partition(sign)
        if word == base and (not found or (distance.isascii() and distance.isdecimal() and len(distance) < 3)):
            number = start + (int(distance) if sign == "+" else -int(distance)) if found else start
            if RTMIN <= number <= RTMAX:
                return number
    raise Invalid(f"invalid signal: {text}", hint="use a name such as SIGTERM, or a number", code=codes.LIMIT_INVALID)
