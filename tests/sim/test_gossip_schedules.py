"""Random schedules of all faults at once end with all agreeing with the truth; the same seed replays to the bit.

``pytest tests/sim --schedules 100000`` lives through more of them (``./run bench gossip-sim`` too, on all processors);
``--first-seed`` begins at the one that failed.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from fairlead.testing.gossip_schedules import Schedule

#: Schedules in one test: a group is a line in the report, a dozen seconds long.
GROUP = 250
_REPLAY = "from fairlead.testing.gossip_schedules import Schedule; print(Schedule(%d).run().digest)"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """As many groups as were asked for."""
    if "first" in metafunc.fixturenames:
        count, begin = metafunc.config.getoption("--schedules"), metafunc.config.getoption("--first-seed")
        firsts = range(begin, begin + count, GROUP)
        metafunc.parametrize(("first", "count"), [(first, min(GROUP, begin + count - first)) for first in firsts])


def test_all_agree_with_the_truth_after_any_schedule(first: int, count: int) -> None:
    datagrams = 0
    for seed in range(first, first + count):
        try:
            outcome = Schedule(seed).run()
        except BaseException as fault:
            fault.add_note(f"seed {seed}: pytest tests/sim/test_gossip_schedules.py --first-seed {seed} --schedules 1")
            raise
        datagrams += outcome.datagrams
    # in a single schedule all may have gone before they said anything
    assert datagrams > 0


@pytest.mark.parametrize("seed", [3, 11])
def test_a_schedule_replays_to_the_bit_in_another_process(seed: int) -> None:
    here = Schedule(seed).run().digest
    for salt in ("1", "2"):
        # another order of all sets of texts and bytes
        done = subprocess.run(
            [sys.executable, "-c", _REPLAY % seed],
            env={**os.environ, "PYTHONHASHSEED": salt},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        assert int(done.stdout) == here
