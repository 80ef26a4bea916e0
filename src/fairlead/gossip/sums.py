"""Sums over many owners, kept as a small hash tree: where two nodes differ is found in a few steps.

Each owner adds a number of 64 bits that says what is held of it; who holds the same has the same sums. Ids are hashes, so
their first bits share owners out evenly: a *branch* is a number of a heap with 16 children each, 1 the root with the sum
over all, 16 to 31 its children, 256 to 511 the leaves. Whoever differs in one owner of ten thousand compares 1, 16 and 16
sums, and then forty names, which fit a packet.
"""

from __future__ import annotations

from collections.abc import Iterable

from fairlead.gossip.identity import NodeId

#: Children of a branch: one hexadecimal digit of an id.
CHILDREN = 16
#: The branch of all, the first leaf, and the first number that is no branch any more.
ROOT, LEAF_MIN, BRANCH_MAX = 1, CHILDREN**2, 2 * CHILDREN**2
_MASK = 2**64 - 1


class Sums:
    """The sums over all branches that have any owner."""

    __slots__ = ("_sums",)

    def __init__(self) -> None:
        self._sums: dict[int, int] = {}

    @property
    def total(self) -> int:
        """The sum over all."""
        return self._sums.get(ROOT, 0)

    def add(self, owner: NodeId, more: int) -> None:
        """An owner adds so much more than before; less than nothing: it adds less."""
        branch, sums = LEAF_MIN + owner[0], self._sums
        while branch:
            total = (sums.get(branch, 0) + more) & _MASK
            if total:
                sums[branch] = total
            else:
                sums.pop(branch, None)
            branch //= CHILDREN

    def children(self, branch: int) -> tuple[int, ...]:
        """The sums over a branch's children."""
        first = CHILDREN * branch
        return tuple(self._sums.get(child, 0) for child in range(first, first + CHILDREN))

    def copy(self) -> Sums:
        """The same sums, from now on apart."""
        other = Sums()
        other._sums = self._sums.copy()
        return other


def is_branch(number: int) -> bool:
    """Whether there is a branch of this number."""
    return number == ROOT or CHILDREN <= number < 2 * CHILDREN or LEAF_MIN <= number < BRANCH_MAX


def under(branches: Iterable[int]) -> frozenset[int]:
    """The first bytes of the ids that stand under some branches."""
    found: set[int] = set()
    for branch in branches:
        low, high = branch, branch + 1
        while low < LEAF_MIN:
            low, high = CHILDREN * low, CHILDREN * high
        found.update(range(low - LEAF_MIN, high - LEAF_MIN))
    return frozenset(found)
