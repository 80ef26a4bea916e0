"""When a node asks for its next certificate."""

from __future__ import annotations

from fairlead.model.ids import Chance

#: Part of a certificate's time between which it is renewed: spread, so that nodes that joined together do not come
#: together, and early, so that managers may be away for long (swarmkit: ca.calculateRandomExpiry).
_EARLIEST, _LATEST = 0.5, 0.8
#: Seconds before a renewal that failed is tried again: doubled each time from the first to the last (swarmkit: 5 s, 1 h).
_RETRY_S, _RETRY_MAX_S = 5.0, 3600.0
#: Seconds that a renewal which was asked for by the managers waits, so that what they said with it arrives first
#: (swarmkit: 500 ms).
FORCED_DELAY_S = 0.5

#: Bits of a drawn fraction: those of a float's significand.
_DRAW_BITS = 53


def renew_at(not_before: float, not_after: float, chance: Chance) -> float:
    """The moment (epoch seconds) to renew a certificate of this time: a random point between half and four fifths."""
    share = _EARLIEST + (_LATEST - _EARLIEST) * _fraction(chance)
    return not_before + share * (not_after - not_before)


def retry_after_s(failures: int, chance: Chance) -> float:
    """Seconds to wait after so many failures in a row (at least 1): doubling, with the last half left to chance."""
    longest = min(_RETRY_S * 2.0 ** min(failures - 1, 32), _RETRY_MAX_S)
    return longest * (0.5 + 0.5 * _fraction(chance))


def _fraction(chance: Chance) -> float:
    """A number from 0 to below 1."""
    return chance.getrandbits(_DRAW_BITS) / (1 << _DRAW_BITS)
