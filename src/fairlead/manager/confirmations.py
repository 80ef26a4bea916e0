"""Confirmations: what several nodes must confirm, and who has not yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Confirmations:
    """Subject -> nodes that have not confirmed it. Each word of a node costs the same however many nodes there are."""

    missing: dict[str, set[str]] = field(default_factory=dict)
    _of_node: dict[str, set[str]] = field(default_factory=dict)

    def ask(self, subject: str, nodes: Iterable[str]) -> None:
        """Wait for these nodes, and nobody else, to confirm ``subject``."""
        self.forget(subject)
        self.missing[subject] = set(nodes)
        for node_id in self.missing[subject]:
            self._of_node.setdefault(node_id, set()).add(subject)

    def add(self, subject: str, node_id: str) -> None:
        """Wait for this node too, if ``subject`` is waited for at all."""
        if subject in self.missing:
            self.missing[subject].add(node_id)
            self._of_node.setdefault(node_id, set()).add(subject)

    def confirm(self, subject: str, node_id: str) -> bool:
        """A node confirms; answers whether it was the last one waited for."""
        nodes = self.missing.get(subject)
        if nodes is None or node_id not in nodes:
            return False
        nodes.discard(node_id)
        self._of_node[node_id].discard(subject)
        return not nodes

    def excuse(self, node_id: str) -> Iterator[str]:
        """Wait for a node no more; answers the subjects of which it was the last."""
        for subject in tuple(self._of_node.get(node_id, ())):
            if self.confirm(subject, node_id):
                yield subject
        self._of_node.pop(node_id, None)

    def forget(self, subject: str) -> None:
        """Wait for nobody any more."""
        for node_id in self.missing.pop(subject, ()):
            self._of_node[node_id].discard(subject)
