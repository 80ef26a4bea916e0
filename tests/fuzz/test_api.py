"""A short run of what ``./run fuzz api`` does for long."""

from __future__ import annotations

from tests.fuzz.api import fuzz
from tests.kernel.one_host.host import Host

#: Seconds; one round of every operation takes about that long.
_SECONDS = 20.0


def test_the_api_bears_whatever_its_own_description_makes_up(host: Host) -> None:
    tally = fuzz(host, _SECONDS, 4, 1)
    assert not tally.faults, "\n".join(dict.fromkeys(tally.faults))
    assert sum(tally.sent.values()) > 100
    assert "Traceback" not in host.log.read_text(errors="replace")
