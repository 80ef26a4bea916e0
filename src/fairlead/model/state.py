"""Everything a node knows of its own networks, endpoints, sandboxes and containers, with look-ups of constant cost.

``put`` and ``drop`` are the only ways to change it; both are recorded in a journal until ``settle`` takes the changes
out or ``revert`` undoes them, so a command that raises in the middle leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Generic, TypeVar

from fairlead.model import codes
from fairlead.model.cluster import Lease
from fairlead.model.container import Container
from fairlead.model.endpoint import Endpoint
from fairlead.model.errors import Ambiguous, NotFound
from fairlead.model.ids import ID_LENGTH
from fairlead.model.network import Network
from fairlead.model.sandbox import Sandbox

Record = Network | Endpoint | Sandbox | Container | Lease
_R = TypeVar("_R", Network, Container, Sandbox)
_K = TypeVar("_K", str, tuple[str, str])

#: Names of the kinds of records, as in the store.
KINDS: dict[type, str] = {
    Network: "network",
    Endpoint: "endpoint",
    Sandbox: "sandbox",
    Container: "container",
    Lease: "lease",
}


class NoSuchNetwork(NotFound):
    """No network here is meant by ``ref``; the cluster may have one."""

    def __init__(self, ref: str) -> None:
        super().__init__(
            f"network {ref} not found",
            hint="`fairlead network ls` lists what is there",
            code=codes.NETWORK_NOT_FOUND,
        )
        self.ref = ref


@dataclass(frozen=True, slots=True)
class Change:
    """One record before and after; None means absent."""

    kind: str
    id: str
    before: Record | None
    after: Record | None


@dataclass(slots=True)
class _Index(Generic[_K]):
    """Groups of record ids by some other key, kept as insertion-ordered dicts."""

    members: dict[_K, dict[str, None]] = field(default_factory=dict)

    def add(self, owner: _K, member: str) -> None:
        if owner:
            self.members.setdefault(owner, {})[member] = None

    def discard(self, owner: _K, member: str) -> None:
        group = self.members.get(owner)
        if group is not None:
            group.pop(member, None)
            if not group:
                del self.members[owner]


class State:
    """The records of one node."""

    def __init__(self) -> None:
        self.networks: dict[str, Network] = {}
        self.endpoints: dict[str, Endpoint] = {}
        self.sandboxes: dict[str, Sandbox] = {}
        self.containers: dict[str, Container] = {}
        #: Addresses of the cluster's networks that this node may use, by id.
        self.leases: dict[str, Lease] = {}
        #: Network id -> ids of this node's leases there; endpoint id -> ids of leases that it has, or had; to read.
        self.leases_by_network = _Index[str]()
        self.leases_by_holder = _Index[str]()
        #: (network id, either address of a lease) -> its id; to read.
        self.leased: dict[tuple[str, str], str] = {}
        self._network_names: dict[str, str] = {}
        self._container_names: dict[str, str] = {}
        #: Network id -> ids of endpoints there; to read.
        self.endpoints_by_network = _Index[str]()
        self._by_container = _Index[str]()
        self._by_port = _Index[str]()
        #: (sandbox id, network id) -> id of the endpoint there; to read.
        self.places: dict[tuple[str, str], str] = {}
        #: (network as a container names it, address that it asks for) -> ids of such containers; to read.
        self.asked_addresses = _Index[tuple[str, str]]()
        self._sandbox_of: dict[str, str] = {}
        #: Sandboxes without a container, by id, and their ids by name.
        self.bare_sandboxes: dict[str, Sandbox] = {}
        self.sandbox_names: dict[str, str] = {}
        self._journal: list[Change] = []

    def put(self, record: Record) -> None:
        """Store a record, new or changed."""
        kind = KINDS[type(record)]
        before = self._table(kind).get(record.id)
        if before != record:
            self._write(Change(kind, record.id, before, record))

    def drop(self, record: Record) -> None:
        """Remove a record; removing what is not there is nothing."""
        kind = KINDS[type(record)]
        before = self._table(kind).get(record.id)
        if before is not None:
            self._write(Change(kind, record.id, before, None))

    def settle(self, *, keep: bool = False) -> tuple[Change, ...]:
        """Take the changes since the last settle out of the journal, one for each record, oldest first; with ``keep``
        only tell them, so that ``revert`` can still undo them."""
        merged: dict[tuple[str, str], Change] = {}
        for change in self._journal:
            key = (change.kind, change.id)
            first = merged.get(key)
            merged[key] = change if first is None else Change(change.kind, change.id, first.before, change.after)
        if not keep:
            self._journal = []
        return tuple(change for change in merged.values() if change.before != change.after)

    def revert(self) -> None:
        """Undo everything since the last settle."""
        journal, self._journal = self._journal, []
        for change in reversed(journal):
            self._apply(Change(change.kind, change.id, change.after, change.before))

    def network(self, ref: str) -> Network:
        """The network that ``ref`` (id, name or id prefix) means; raises ``NotFound`` or ``Ambiguous``."""
        return _resolve("network", ref, self.networks, self._network_names)

    def container(self, ref: str) -> Container:
        """The container that ``ref`` (id, name or id prefix) means; raises ``NotFound`` or ``Ambiguous``."""
        return _resolve("container", ref.removeprefix("/"), self.containers, self._container_names)

    def network_named(self, name: str) -> Network | None:
        """The network of exactly this name."""
        identifier = self._network_names.get(name)
        return self.networks[identifier] if identifier else None

    def container_named(self, name: str) -> Container | None:
        """The container of exactly this name."""
        identifier = self._container_names.get(name)
        return self.containers[identifier] if identifier else None

    def endpoints_of_network(self, network_id: str) -> list[Endpoint]:
        """Endpoints in a network, in the order in which they came."""
        return [self.endpoints[member] for member in self.endpoints_by_network.members.get(network_id, ())]

    def endpoints_of_container(self, container_id: str) -> list[Endpoint]:
        """Endpoints of a container, in the order in which they came."""
        return [self.endpoints[member] for member in self._by_container.members.get(container_id, ())]

    def endpoints_with_port(self, proto: str, port: int) -> list[Endpoint]:
        """Endpoints that publish this host port on any address."""
        return [self.endpoints[member] for member in self._by_port.members.get(f"{proto}/{port}", ())]

    def sandbox_of(self, container_id: str) -> Sandbox | None:
        """The sandbox that a container owns."""
        identifier = self._sandbox_of.get(container_id)
        return self.sandboxes[identifier] if identifier else None

    def _table(self, kind: str) -> Mapping[str, Record]:
        tables: dict[str, Mapping[str, Record]] = {
            "network": self.networks,
            "endpoint": self.endpoints,
            "sandbox": self.sandboxes,
            "container": self.containers,
            "lease": self.leases,
        }
        return tables[kind]

    def _write(self, change: Change) -> None:
        self._journal.append(change)
        self._apply(change)

    def _apply(self, change: Change) -> None:
        """A record that only changes keeps its place in the order; its index entries move only if they differ."""
        before, after = change.before, change.after
        if isinstance(before, Endpoint) and isinstance(after, Endpoint):
            self.endpoints[after.id] = after
            self._move(before, after)
            return
        if isinstance(before, Container) and isinstance(after, Container) and _same_to_others(before, after):
            self.containers[after.id] = after
            return
        if before is not None:
            self._unindex(before, keep=after is not None)
        if after is not None:
            self._index(after)

    def _move(self, before: Endpoint, after: Endpoint) -> None:
        if before.network_id != after.network_id:
            self.endpoints_by_network.discard(before.network_id, before.id)
            self.endpoints_by_network.add(after.network_id, after.id)
        if before.container_id != after.container_id:
            self._by_container.discard(before.container_id, before.id)
            self._by_container.add(after.container_id, after.id)
        if before.bindings != after.bindings:
            for binding in before.bindings:
                self._by_port.discard(f"{binding.proto}/{binding.host_port}", before.id)
            for binding in after.bindings:
                self._by_port.add(f"{binding.proto}/{binding.host_port}", after.id)

    def _index(self, record: Record) -> None:
        match record:
            case Network():
                self.networks[record.id] = record
                self._network_names[record.name] = record.id
            case Container():
                self.containers[record.id] = record
                self._container_names[record.name] = record.id
                for asked in _asked_addresses(record):
                    self.asked_addresses.add(asked, record.id)
            case Sandbox():
                self.sandboxes[record.id] = record
                if record.container_id:
                    self._sandbox_of[record.container_id] = record.id
                else:
                    self.bare_sandboxes[record.id] = record
                    self.sandbox_names[record.name] = record.id
            case Endpoint():
                self.endpoints[record.id] = record
                self.places[record.sandbox_id, record.network_id] = record.id
                self.endpoints_by_network.add(record.network_id, record.id)
                self._by_container.add(record.container_id, record.id)
                for binding in record.bindings:
                    self._by_port.add(f"{binding.proto}/{binding.host_port}", record.id)
            case Lease():
                self.leases[record.id] = record
                self.leases_by_network.add(record.network_id, record.id)
                self.leases_by_holder.add(record.holder, record.id)
                for address in filter(None, (record.address, record.ipv6)):
                    self.leased[record.network_id, address] = record.id

    def _unindex(self, record: Record, *, keep: bool) -> None:
        """Take the names and groups of a record out; the record itself too unless it is to ``keep`` its place."""
        match record:
            case Network():
                if not keep:
                    self.networks.pop(record.id, None)
                self._network_names.pop(record.name, None)
            case Container():
                if not keep:
                    self.containers.pop(record.id, None)
                self._container_names.pop(record.name, None)
                for asked in _asked_addresses(record):
                    self.asked_addresses.discard(asked, record.id)
            case Sandbox():
                if not keep:
                    self.sandboxes.pop(record.id, None)
                    self.bare_sandboxes.pop(record.id, None)
                if record.container_id:
                    self._sandbox_of.pop(record.container_id, None)
                else:
                    self.sandbox_names.pop(record.name, None)
            case Endpoint():
                self.endpoints.pop(record.id, None)
                self.places.pop((record.sandbox_id, record.network_id), None)
                self.endpoints_by_network.discard(record.network_id, record.id)
                self._by_container.discard(record.container_id, record.id)
                for binding in record.bindings:
                    self._by_port.discard(f"{binding.proto}/{binding.host_port}", record.id)
            case Lease():
                if not keep:
                    self.leases.pop(record.id, None)
                    self.leases_by_network.discard(record.network_id, record.id)
                self.leases_by_holder.discard(record.holder, record.id)
                for address in filter(None, (record.address, record.ipv6)):
                    self.leased.pop((record.network_id, address), None)


def _same_to_others(before: Container, after: Container) -> bool:
    """Most changes of a container are of its state, which nobody looks up."""
    return before.config is after.config and before.name == after.name


def _asked_addresses(container: Container) -> Iterator[tuple[str, str]]:
    for network, settings in container.config.endpoints.items():
        for text in filter(None, (settings.ipv4, settings.ipv6)):
            try:
                yield network, str(ip_address(text))
            except ValueError:
                continue  # refused when the container starts


def find_network(ref: str, networks: Mapping[str, Network]) -> Network:
    """The one of these networks, by id, that ``ref`` (id, name or id prefix) means; raises ``NotFound``, ``Ambiguous``."""
    return _resolve("network", ref, networks, {network.name: network.id for network in networks.values()})


_CODES = {"container": codes.CONTAINER_NOT_FOUND}


def bare_sandbox(state: State, ref: str) -> Sandbox:
    """The sandbox without a container that ``ref`` (id, name or id prefix) means; raises ``NotFound``, ``Ambiguous``."""
    return _resolve("sandbox", ref, state.bare_sandboxes, state.sandbox_names)


def leases_of_network(state: State, network_id: str) -> list[Lease]:
    """This node's leases of a network of the cluster, in the order in which they came."""
    return [state.leases[member] for member in state.leases_by_network.members.get(network_id, ())]


def lease_of(state: State, endpoint_id: str) -> Lease | None:
    """The lease that an endpoint holds."""
    held = (state.leases[member] for member in state.leases_by_holder.members.get(endpoint_id, ()))
    return next((lease for lease in held if not lease.resting), None)


def lease_at(state: State, network_id: str, address: str) -> Lease | None:
    """This node's lease of a bare address, of either family."""
    identifier = state.leased.get((network_id, address))
    return state.leases[identifier] if identifier else None


_LISTINGS = {"container": "fairlead ps --all", "sandbox": "fairlead sandbox ls"}


def _resolve(what: str, ref: str, records: Mapping[str, _R], names: Mapping[str, str]) -> _R:
    if ref in records:
        return records[ref]
    if ref in names:
        return records[names[ref]]
    matches = [identifier for identifier in records if identifier.startswith(ref)] if _is_prefix(ref) else []
    if len(matches) == 1:
        return records[matches[0]]
    if matches:
        raise Ambiguous(
            f"{len(matches)} matches found based on ID prefix: {what} {ref} is ambiguous",
            hint="write more characters of the id, or the name",
        )
    if what == "network":
        raise NoSuchNetwork(ref)
    raise NotFound(f"No such {what}: {ref}", hint=f"`{_LISTINGS[what]}` lists what is there", code=_CODES.get(what))


def _is_prefix(ref: str) -> bool:
    return 0 < len(ref) < ID_LENGTH and all(digit in "0123456789abcdef" for digit in ref)
