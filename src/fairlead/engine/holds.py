"""What operations under way may still have to put back, so that nobody builds on it meanwhile.

An operation is decided at once and stands only when disk and Linux have taken it. Until then whatever it changed (a
record, a name, an address, a host port) is its own, and whatever its records refer to must stay as it is: else putting
it back would put back more than its own, or give one thing two owners.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from fairlead.model.cluster import Lease
from fairlead.model.endpoint import Endpoint
from fairlead.model.sandbox import Sandbox
from fairlead.model.state import Change, Record


class Held(Exception):
    """The message wants to change what is part of ``operation``, whose end is not known: come again then. Nothing was
    changed."""

    def __init__(self, operation: int) -> None:
        super().__init__(f"operation {operation} is under way")
        self.operation = operation


class Starting(Exception):
    """The container that is meant is being started: come again when it runs, or does not, as Docker's clients wait for its
    lock. Nothing was changed."""

    def __init__(self, container_id: str, name: str) -> None:
        super().__init__(f"container {name} is being started")
        self.container_id = container_id


class Wanting(Exception):
    """A lease is needed that this node does not have: ask a manager, tell ``LeasesGranted``, and come again. Nothing was
    changed. ``count`` more leases of the network, or with ``address`` (bare) this very one."""

    def __init__(self, network_id: str, count: int = 1, address: str = "") -> None:
        super().__init__(f"network {network_id} wants {address or count}")
        self.network_id = network_id
        self.count = count
        self.address = address


class Holds:
    """What each operation under way keeps from others."""

    def __init__(self) -> None:
        self._writer: dict[str, int] = {}
        self._readers: dict[str, set[int]] = {}
        self._of: dict[int, tuple[set[str], set[str]]] = {}

    def check(self, changes: Iterable[Change], alone: Collection[str] = ()) -> None:
        """Raise ``Held`` if one of the changes is not free to be made. ``alone``: further keys that they want for
        themselves."""
        writes, reads = _claims(changes, alone)
        for key in writes | reads:
            if key in self._writer:
                raise Held(self._writer[key])
        for key in writes:
            if key in self._readers:
                raise Held(next(iter(self._readers[key])))

    def hold(self, operation: int, changes: Iterable[Change], alone: Collection[str] = ()) -> None:
        """The changes, and ``alone``, belong to the operation from now on."""
        writes, reads = self._of[operation] = _claims(changes, alone)
        self._writer.update(dict.fromkeys(writes, operation))
        for key in reads:
            self._readers.setdefault(key, set()).add(operation)

    def release(self, operation: int) -> None:
        """The end of the operation is known."""
        writes, reads = self._of.pop(operation, (set(), set()))
        for key in writes:
            if self._writer.get(key) == operation:
                del self._writer[key]
        for key in reads:
            self._readers[key].discard(operation)
            if not self._readers[key]:
                del self._readers[key]


def scope(network_id: str) -> str:
    """The key of a network's being in use on this node. The first endpoint and the last one want it for themselves, so
    that nobody joins what is just being made or taken away."""
    return f"scope {network_id}"


def _claims(changes: Iterable[Change], alone: Collection[str]) -> tuple[set[str], set[str]]:
    """Keys of what is changed, and of what is referred to and not changed."""
    writes: set[str] = set(alone)
    reads: set[str] = set()
    for change in changes:
        writes.add(change.id)
        before, after = _owned(change.before), _owned(change.after)
        writes |= before ^ after
        for record in (change.before, change.after):
            reads |= _referred(record)
    return writes, reads - writes - {""}


def _owned(record: Record | None) -> set[str]:
    """What only one record can have."""
    if record is None:
        return set()
    if isinstance(record, Lease):
        return set()
    if isinstance(record, Endpoint):
        ports = {f"port {binding.proto} {binding.host_port}" for binding in record.bindings}
        return ports | {f"address {record.network_id} {cidr}" for cidr in (record.ipv4, record.ipv6) if cidr}
    return {f"name {type(record).__name__} {record.name}"} if record.name else set()


def _referred(record: Record | None) -> set[str]:
    if isinstance(record, Endpoint):
        return {record.network_id, record.sandbox_id, record.container_id, scope(record.network_id)}
    if isinstance(record, Lease):
        return {record.network_id}
    return {record.container_id} if isinstance(record, Sandbox) else set()
