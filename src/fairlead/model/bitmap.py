"""Bitmap: an immutable set of positions that copies one path on each change.

Theory of operation. Positions are digits to base 256, most significant first: a tree of nodes with 256 children each.
A leaf is one integer of 256 bits. An inner node keeps the mask ``full`` of children in which everything is set (they
are not stored), the mask ``some`` of children in which something is set (stored, in order, in ``kids``), and how many
positions are set below it. A child in neither mask is empty. So both "nothing" and "everything" cost nothing, equal
sets are equal trees, and each operation touches one node for each digit, however many positions are set.

Could be better: a chain of single children (a lone bit in 2^64) is stored as eight nodes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

#: Bits of a position that one level of the tree decides, a choice: 8 levels reach 2^64, and the dearest copy of a node
#: is one tuple of 256 pointers, about 2 us (measured on the development machine).
_DIGIT_BITS = 8
_FANOUT = 1 << _DIGIT_BITS
_ALL = (1 << _FANOUT) - 1


class _Node(NamedTuple):
    set_below: int
    full: int
    some: int
    kids: tuple[_Tree, ...]


#: 0 is the empty tree at every level; any other integer is a leaf.
_Tree: TypeAlias = _Node | int
_EMPTY = _Node(0, 0, 0, ())


@dataclass(frozen=True, slots=True)
class Bitmap:
    """A set of positions from 0 up to, not including, ``size``. ``count`` is how many are set."""

    size: int
    count: int = 0
    _tree: _Tree = 0

    @classmethod
    def of(cls, size: int, positions: Iterable[int]) -> Bitmap:
        """The bitmap in which exactly these are set, made in one go; raises ``IndexError`` for one outside."""
        wanted = set(positions)
        made = cls(size)
        for end in (min(wanted, default=0), max(wanted, default=0)):
            made._check(end)
        return cls(size, len(wanted), _built(wanted, made._top))

    def get(self, position: int) -> bool:
        """Whether ``position`` is set; raises ``IndexError`` outside the bitmap."""
        self._check(position)
        tree, level = self._tree, self._top
        while isinstance(tree, _Node):
            slot, position = _split(position, level)
            if tree.full >> slot & 1:
                return True
            tree, level = _kid(tree, slot), level - 1
        return bool(tree) and bool(tree >> position & 1)

    def set(self, position: int) -> Bitmap:
        """The bitmap with ``position`` set; itself when it was."""
        if self.get(position):
            return self
        return Bitmap(self.size, self.count + 1, _set(self._tree, self._top, position))

    def clear(self, position: int) -> Bitmap:
        """The bitmap with ``position`` clear; itself when it was."""
        if not self.get(position):
            return self
        return Bitmap(self.size, self.count - 1, _clear(self._tree, self._top, position))

    def lowest_clear(self, start: int = 0, end: int | None = None) -> int | None:
        """The lowest clear position from ``start`` up to, not including, ``end`` (default: the size), or None."""
        end = self.size if end is None else min(end, self.size)
        start = max(start, 0)
        if start >= end:
            return None
        found = _lowest_clear(self._tree, self._top, start)
        return found if found is not None and found < end else None

    def count_in(self, start: int, end: int) -> int:
        """How many positions from ``start`` up to, not including, ``end`` are set."""
        start, end = max(start, 0), min(end, self.size)
        return self._below(end) - self._below(start) if start < end else 0

    def _below(self, position: int) -> int:
        return self.count if position >= self.size else _set_below(self._tree, self._top, position)

    @property
    def _top(self) -> int:
        return max(0, ((self.size - 1).bit_length() - 1) // _DIGIT_BITS)

    def _check(self, position: int) -> None:
        if not 0 <= position < self.size:
            raise IndexError(f"position {position} outside a bitmap of {self.size}")


def _split(position: int, level: int) -> tuple[int, int]:
    """The digit that ``level`` decides, and the digits below it."""
    shift = _DIGIT_BITS * level
    return position >> shift, position & ((1 << shift) - 1)


def _kid(node: _Node, slot: int) -> _Tree:
    bit = 1 << slot
    return node.kids[(node.some & (bit - 1)).bit_count()] if node.some & bit else 0


def _filled(level: int) -> _Tree:
    return _Node(_FANOUT ** (level + 1), _ALL, 0, ()) if level else _ALL


def _is_full(tree: _Tree) -> bool:
    return tree.full == _ALL if isinstance(tree, _Node) else tree == _ALL


def _with_kid(node: _Node, slot: int, kid: _Tree, change: int) -> _Tree:
    """The node with child ``slot`` replaced; ``change`` is by how many set positions it differs."""
    bit = 1 << slot
    at = (node.some & (bit - 1)).bit_count()
    before, after = node.kids[:at], node.kids[at + 1 if node.some & bit else at :]
    count = node.set_below + change
    if not count:
        return 0
    if _is_full(kid):
        return _Node(count, node.full | bit, node.some & ~bit, before + after)
    if kid == 0:
        return _Node(count, node.full & ~bit, node.some & ~bit, before + after)
    return _Node(count, node.full & ~bit, node.some | bit, (*before, kid, *after))


def _built(positions: Iterable[int], level: int) -> _Tree:
    """The tree in which exactly these, all different, are set."""
    if level == 0:
        leaf = 0
        for position in positions:
            leaf |= 1 << position
        return leaf
    groups: dict[int, list[int]] = {}
    for position in positions:
        slot, rest = _split(position, level)
        groups.setdefault(slot, []).append(rest)
    node: _Tree = 0
    for slot, rests in sorted(groups.items()):
        held = node if isinstance(node, _Node) else _EMPTY
        node = _with_kid(held, slot, _built(rests, level - 1), len(rests))
    return node


def _set(tree: _Tree, level: int, position: int) -> _Tree:
    """Precondition: ``position`` is clear."""
    node = tree if isinstance(tree, _Node) else _EMPTY
    if level == 0 and not isinstance(tree, _Node):
        return tree | 1 << position
    slot, rest = _split(position, level)
    return _with_kid(node, slot, _set(_kid(node, slot), level - 1, rest), 1)


def _clear(tree: _Tree, level: int, position: int) -> _Tree:
    """Precondition: ``position`` is set."""
    if not isinstance(tree, _Node):
        return tree & ~(1 << position)
    slot, rest = _split(position, level)
    kid = _filled(level - 1) if tree.full >> slot & 1 else _kid(tree, slot)
    return _with_kid(tree, slot, _clear(kid, level - 1, rest), -1)


def _lowest_clear(tree: _Tree, level: int, start: int) -> int | None:
    """The lowest clear position of this tree at or above ``start``; at most two descents, one of them sure to find."""
    if not isinstance(tree, _Node):
        if level or not tree:
            return start
        free = (~tree & _ALL) >> start
        return start + (free & -free).bit_length() - 1 if free else None
    slot, rest = _split(start, level)
    shift = _DIGIT_BITS * level
    if not tree.full >> slot & 1:
        found = _lowest_clear(_kid(tree, slot), level - 1, rest)
        if found is not None:
            return (slot << shift) + found
    later = ~tree.full & _ALL & ~((2 << slot) - 1)
    if not later:
        return None
    slot = (later & -later).bit_length() - 1
    found = _lowest_clear(_kid(tree, slot), level - 1, 0)
    return None if found is None else (slot << shift) + found


def _set_below(tree: _Tree, level: int, position: int) -> int:
    """How many positions of this tree below ``position`` are set."""
    total = 0
    while isinstance(tree, _Node):
        slot, position = _split(position, level)
        lower = (1 << slot) - 1
        total += (tree.full & lower).bit_count() << (_DIGIT_BITS * level)
        for kid in tree.kids[: (tree.some & lower).bit_count()]:
            total += kid.set_below if isinstance(kid, _Node) else kid.bit_count()
        if tree.full >> slot & 1:
            return total + position
        tree, level = _kid(tree, slot), level - 1
    return total + (tree & ((1 << position) - 1)).bit_count() if tree else total
