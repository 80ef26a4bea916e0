"""Table: an immutable map that copies one path on each change (a hash trie, Bagwell 2001, "Ideal Hash Trees").

Each branch decides five bits of a key's hash; only present slots are stored, in order, under a mask. A leaf holds the
pairs whose hashes are wholly equal, nearly always one. A change copies one branch for each level on the way, about
``log32`` of the number of pairs; the old table stays valid. The order of iteration has no meaning.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

#: Bits of the hash that one level decides: 32 slots, as in Bagwell's paper; a branch to copy is at most 256 bytes.
_STEP_BITS = 5
_STEP_MASK = (1 << _STEP_BITS) - 1
#: Python's hashes are 64 bits wide on the machines that we run on; as unsigned they shift to the end.
_HASH_MASK = (1 << 64) - 1


class _Leaf(NamedTuple, Generic[K, V]):
    hash: int
    pairs: tuple[tuple[K, V], ...]


class _Branch(NamedTuple, Generic[K, V]):
    mask: int
    slots: tuple[_Leaf[K, V] | _Branch[K, V], ...]


@dataclass(frozen=True, slots=True)
class Table(Generic[K, V]):
    """An immutable map from ``K`` to ``V``."""

    _root: _Branch[K, V] | None = None
    _length: int = 0

    def __len__(self) -> int:
        return self._length

    def get(self, key: K) -> V | None:
        """The value of ``key``, or None."""
        wanted = hash(key) & _HASH_MASK
        node: _Leaf[K, V] | _Branch[K, V] | None = self._root
        rest = wanted
        while isinstance(node, _Branch):
            bit = 1 << (rest & _STEP_MASK)
            if not node.mask & bit:
                return None
            node = node.slots[(node.mask & (bit - 1)).bit_count()]
            rest >>= _STEP_BITS
        if node is None or node.hash != wanted:
            return None
        return next((value for known, value in node.pairs if known == key), None)

    def put(self, key: K, value: V) -> Table[K, V]:
        """The table in which ``key`` has ``value``."""
        leaf = _Leaf(hash(key) & _HASH_MASK, ((key, value),))
        root: _Branch[K, V] = _Branch(0, ()) if self._root is None else self._root
        grown, root = _put(root, 0, leaf)
        return Table(root, self._length + grown)

    def drop(self, key: K) -> Table[K, V]:
        """The table without ``key``; itself when it was absent."""
        if self._root is None or self.get(key) is None:
            return self
        root = _drop(self._root, 0, hash(key) & _HASH_MASK, key)
        return Table(root if isinstance(root, _Branch) else None, self._length - 1)

    def items(self) -> Iterator[tuple[K, V]]:
        """Every pair, in no order that means anything."""
        stack: list[_Leaf[K, V] | _Branch[K, V]] = [] if self._root is None else [self._root]
        while stack:
            node = stack.pop()
            if isinstance(node, _Branch):
                stack.extend(node.slots)
            else:
                yield from node.pairs


def _put(node: _Branch[K, V], shift: int, leaf: _Leaf[K, V]) -> tuple[bool, _Branch[K, V]]:
    """Whether the leaf's key is new, and the branch with the leaf."""
    bit = 1 << (leaf.hash >> shift & _STEP_MASK)
    mask, slots = node
    at = (mask & (bit - 1)).bit_count()
    if not mask & bit:
        return True, _Branch(mask | bit, (*slots[:at], leaf, *slots[at:]))
    held = slots[at]
    grown, deeper = True, held
    if isinstance(held, _Branch):
        grown, deeper = _put(held, shift + _STEP_BITS, leaf)
    elif held.hash == leaf.hash:
        key = leaf.pairs[0][0]
        others = tuple(pair for pair in held.pairs if pair[0] != key)
        grown, deeper = len(others) == len(held.pairs), _Leaf(leaf.hash, (*others, *leaf.pairs))
    else:
        under = shift + _STEP_BITS
        _, deeper = _put(_Branch(1 << (held.hash >> under & _STEP_MASK), (held,)), under, leaf)
    return grown, _Branch(mask, (*slots[:at], deeper, *slots[at + 1 :]))


def _drop(node: _Branch[K, V], shift: int, wanted: int, key: K) -> _Leaf[K, V] | _Branch[K, V] | None:
    """What is left of ``node``, in which ``key`` is known to be; None when nothing is left."""
    bit = 1 << (wanted >> shift & _STEP_MASK)
    at = (node.mask & (bit - 1)).bit_count()
    held = node.slots[at]
    left: _Leaf[K, V] | _Branch[K, V] | None
    if isinstance(held, _Branch):
        left = _drop(held, shift + _STEP_BITS, wanted, key)
    else:
        pairs = tuple(pair for pair in held.pairs if pair[0] != key)
        left = _Leaf(wanted, pairs) if pairs else None
    if left is not None:
        slots = (*node.slots[:at], left, *node.slots[at + 1 :])
        mask = node.mask
    else:
        slots = (*node.slots[:at], *node.slots[at + 1 :])
        mask = node.mask & ~bit
    if shift and len(slots) == 1 and isinstance(slots[0], _Leaf):
        return slots[0]
    return _Branch(mask, slots) if slots else None
