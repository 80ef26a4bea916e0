"""Certificates are renewed early, and not all at the same moment."""

from __future__ import annotations

import random

import pytest
from tests.unit.pki.world import AT, DAY_S

from fairlead.model.cluster import CERTIFICATE_S
from fairlead.pki.renewal import renew_at, retry_after_s


def test_renewals_are_spread_between_half_and_four_fifths_of_the_time() -> None:
    chance = random.Random(1)
    moments = [renew_at(AT, AT + CERTIFICATE_S, chance) - AT for _ in range(2000)]
    assert 45 * DAY_S <= min(moments) < 46 * DAY_S
    assert 71 * DAY_S < max(moments) < 72 * DAY_S
    assert 57.5 * DAY_S < sum(moments) / len(moments) < 59.5 * DAY_S


@pytest.mark.parametrize(("failures", "longest_s"), [(1, 5.0), (2, 10.0), (10, 2560.0), (11, 3600.0), (10**6, 3600.0)])
def test_failures_wait_longer_each_time_up_to_an_hour(failures: int, longest_s: float) -> None:
    chance = random.Random(2)
    waits = [retry_after_s(failures, chance) for _ in range(200)]
    assert longest_s / 2 <= min(waits) < max(waits) < longest_s
