"""Slots: the list from which one is chosen for each connection. A task has as many as its weight says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from hashlib import blake2b

#: Slots of one service at most: as many marks as we use have room for.
SLOTS_MAX = 1 << 16
#: Values of a hash, as a power of two: what a float tells apart.
_HASH_BITS = 52


def arrange(before: Sequence[str], weights: Mapping[str, int]) -> tuple[str, ...]:
    """Slots for tasks of these weights; those of ``before`` stay where they are as far as can be. Weights share their
    greatest common divisor; when there would be too many slots all weigh the same."""
    due = {task: weight for task, weight in weights.items() if weight > 0}
    divisor = math.gcd(*due.values())
    due = {task: weight // divisor for task, weight in due.items()}
    if sum(due.values()) > SLOTS_MAX:
        due = dict.fromkeys(sorted(due)[:SLOTS_MAX], 1)
    slots: list[str] = []
    for task in before[: sum(due.values())]:
        kept = due.get(task, 0) > 0
        slots.append(task if kept else "")
        if kept:
            due[task] -= 1
    missing = [task for task in sorted(due) for _ in range(due[task])]
    missing.reverse()
    for place, task in enumerate(slots):
        if not task:
            slots[place] = missing.pop()
    return (*slots, *reversed(missing))


def choose(source: str, weights: Mapping[str, int]) -> str:
    """The task for a client, always the same: the one with the highest score of client and task (weighted rendezvous
    hashing), so that a task which comes or goes moves only its own share of the clients. Empty text when all weigh
    nothing."""
    due = [task for task, weight in weights.items() if weight > 0]
    return max(due, key=lambda task: (_score(source, task, weights[task]), task), default="")


def _score(source: str, task: str, weight: int) -> float:
    digest = blake2b(f"{source} {task}".encode(), digest_size=8).digest()
    share = ((int.from_bytes(digest, "big") >> (64 - _HASH_BITS)) + 0.5) / (1 << _HASH_BITS)
    return -weight / math.log(share)
