"""Memory that was needed for a while is given back."""

from __future__ import annotations

import subprocess
import sys

#: A burst of small blocks, of which every hundredth stays: what is free lies between what is in use.
BURST = """
from fairlead.daemon import memory

def resident_kib():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS"))

memory.limit()
blocks = [bytes(2000) for _ in range(20_000)]
blocks = blocks[::100]
full = resident_kib()
memory.give_back()
print(full - resident_kib())
"""


def test_pages_between_blocks_in_use_are_returned() -> None:
    done = subprocess.run([sys.executable, "-c", BURST], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 20_000, "of 40,000 KiB"
