"""The engine's front door: one message in, one outcome out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from fairlead.drivers.contract import Node
from fairlead.drivers.registry import Registry
from fairlead.engine import (
    attachments,
    balancing,
    cluster,
    connections,
    containers,
    endpoints,
    entries,
    health,
    ingress,
    leases,
    networks,
    pairs,
    peers,
    presence,
    restarts,
    sandboxes,
)
from fairlead.engine.core import (
    BALANCE,
    INTERIOR,
    NODE_OWNER,
    PAIR,
    PAIRS,
    PEER,
    Core,
    Turn,
    endpoint_owner,
    network_owner,
    sandbox_owner,
)
from fairlead.engine.holds import Held, Holds, Starting, Wanting
from fairlead.engine.outcome import Message, Outcome, Preview
from fairlead.ipam.default import Ipam
from fairlead.model import codes
from fairlead.model.commands import (
    Command,
    ConnectNetwork,
    CreateContainer,
    CreateNetwork,
    CreateSandbox,
    DisconnectNetwork,
    InstallNetwork,
    KillContainer,
    PauseContainer,
    RemoveContainer,
    RemoveNetwork,
    RemoveSandbox,
    RenameContainer,
    StartContainer,
    StopContainer,
    UpdateContainer,
    WithdrawNetwork,
)
from fairlead.model.container import Container
from fairlead.model.endpoint import Endpoint, PortRequest
from fairlead.model.errors import Conflict, NetError, PortInUse, Unavailable
from fairlead.model.events import (
    AddressForgotten,
    Applied,
    BalancersFound,
    ContainerExited,
    ContainerFailed,
    ContainerRunning,
    DataPath,
    EntryDue,
    Event,
    Failed,
    HealthProbed,
    HostChanged,
    LeasesGranted,
    LeasesRevoked,
    NamespaceGone,
    NamesSeen,
    PeersComplete,
    PeersSeen,
    ProbeDue,
    ResolverFileChanged,
    RestartDue,
    RestartFailed,
    StationsSeen,
    TunnelSecrets,
)
from fairlead.model.ids import Chance
from fairlead.model.network import Network
from fairlead.model.sandbox import Sandbox
from fairlead.model.settings import EngineSettings, Paths
from fairlead.model.state import Change, NoSuchNetwork, Record, State
from fairlead.plan.diff import diff
from fairlead.plan.objects import NOTHING, Plan

#: Tries of another free host port when the kernel says that one is taken (Docker: maxAllocatePortAttempts).
PORT_ATTEMPTS = 10
#: Events that tell what is so, whether Linux lets us follow or not.
_FACTS = (
    ContainerRunning,
    ContainerFailed,
    ContainerExited,
    HealthProbed,
    NamespaceGone,
    DataPath,
    BalancersFound,
    PeersSeen,
    PeersComplete,
    NamesSeen,
    TunnelSecrets,
    StationsSeen,
)
#: The ports (protocol, number) of one try that the kernel refused.
Busy = frozenset[tuple[str, int]]


@dataclass(slots=True)
class _Pending:
    """An operation between its decision and the word that it stands."""

    message: Command | Event
    busy: tuple[Busy, ...]
    outcome: Outcome


class Engine:
    """The CNM on one node. Not thread-safe; every call is quick and pure.

    After each ``handle`` the caller carries the outcome out (persist, apply, act, tell) and, if anything was to be
    applied, answers with ``Applied`` or ``Failed`` under the outcome's operation number.
    """

    def __init__(
        self, settings: EngineSettings, paths: Paths, drivers: Registry, chance: Chance, node: Node, ula_seed: str
    ) -> None:
        ipam = Ipam.create(settings.default_pools, ula_seed, settings.quarantine_s)
        self.core = Core(settings, paths, drivers, chance, node, ipam)
        self._pending: dict[int, _Pending] = {}
        self._holds = Holds()
        self._operation = 0

    @property
    def state(self) -> State:
        """The records, to read."""
        return self.core.state

    def restore(self, records: Iterable[Record], now: float, at: float, gone: frozenset[str] = frozenset()) -> Outcome:
        """Take up stored records at a start, and make the predefined networks that are missing. ``gone`` are sandboxes
        whose namespace, made by others, has ended since."""
        turn = Turn(self.core, now, at)
        for record in records:
            turn.state.put(record)
        turn.state.settle()
        self._hold(turn)
        for name, driver in (("bridge", "bridge"), ("host", "host"), ("none", "null")):
            wanted = name != "bridge" or turn.core.settings.default_bridge
            if wanted and turn.state.network_named(name) is None:
                networks.add(turn, CreateNetwork(name, driver))
        for sandbox_id in gone:
            attachments.gone(turn, NamespaceGone(sandbox_id))
        cluster.resume(turn)
        for endpoint in turn.state.endpoints.values():
            presence.register(turn, endpoint)  # all, before any query is answered
        for sandbox in turn.state.sandboxes.values():
            sandboxes.follow(turn, sandbox)
            sandboxes.align_hosts(turn, sandbox)
            attachments.watch(turn, sandbox)
        for container in list(turn.state.containers.values()):
            containers.resume(turn, container)
        self._operation += 1
        return Outcome(self._operation, turn.state.settle(), self.plans(), tuple(turn.messages), tuple(turn.notices))

    def _hold(self, turn: Turn) -> None:
        """Lease what stored networks and endpoints have. One that makes no sense, since it was stored by a version that
        did not check it or was changed by hand, is unusable and hinders nobody."""
        core = self.core
        for network in core.state.networks.values():
            if network.config_only:
                continue
            try:
                core.driver(network).check(network)
                core.network_plan(network)
                networks.hold(turn, network)
            except NetError as error:
                core.unusable[network.id] = error.message
        for endpoint in core.state.endpoints.values():
            try:
                endpoints.hold(turn, endpoint)
                sandboxes.endpoint_plan(core, endpoint)
            except NetError as error:
                core.unusable[endpoint.id] = error.message

    def unusable(self) -> list[str]:
        """What is stored or published and cannot be used, and why, in words."""
        state = self.core.state
        found = [
            f"port {port}/{proto} of a service is not answered by this node: {reason}"
            for (proto, port), reason in self.core.busy.items()
        ]
        for identifier, reason in self.core.unusable.items():
            if identifier in state.networks:
                found.append(f"network {state.networks[identifier].name} is unusable: {reason}")
            elif identifier in state.endpoints:
                endpoint = state.endpoints[identifier]
                network = state.networks[endpoint.network_id]
                found.append(f"{endpoint.name} cannot be in network {network.name}: {reason}")
        return found

    def plans(self) -> dict[str, Plan]:
        """Everything that must exist in Linux, by owner."""
        core = self.core
        plans = {NODE_OWNER: core.node_plan()}
        plans |= {network_owner(network.id): core.network_plan(network) for network in core.state.networks.values()}
        plans |= {sandbox_owner(box.id): sandboxes.plan(core, box) for box in core.state.sandboxes.values()}
        plans |= {endpoint_owner(one.id): sandboxes.endpoint_plan(core, one) for one in core.state.endpoints.values()}
        return plans | peers.plans(core) | pairs.plans(core) | balancing.plans(core) | ingress.interior_plans(core)

    def newest(self, outcome: Outcome) -> dict[str, Plan]:
        """The plans of an outcome as they are to be applied now. What hangs on others' words, and not on records that are
        kept from others meanwhile, may have been decided anew since: then the older plan must not come after the newer."""
        if outcome.operation == self._operation:
            return outcome.plans
        return {
            owner: self._plan_of(owner) if owner.startswith((BALANCE, INTERIOR, PEER, PAIR, PAIRS)) else plan
            for owner, plan in outcome.plans.items()
        }

    def newest_message(self, message: Message) -> Message:
        """A message as it is to be acted on now; see ``newest``."""
        return balancing.newest(self.core, message)

    def handle(self, message: Command | Event, now: float, at: float) -> Outcome:
        """Decide. ``now`` is monotonic seconds, ``at`` epoch seconds. A command that cannot be met raises ``NetError``
        and changes nothing; events never do. ``Held`` or ``Starting`` is raised with nothing changed if it must wait."""
        match message:
            case Applied():
                self._pending.pop(message.operation, None)
                self._holds.release(message.operation)
                return Outcome(0)
            case Failed():
                return self._undo(message, now, at)
            case HostChanged():
                return Outcome(0, messages=entries.moved(self.core, message))
            case _:
                return self._decide(message, now, at)

    def preview(self, command: Command, now: float, at: float, *, start: bool = False) -> Preview:
        """What a command would do (with ``start``: and starting the container that it makes); nothing is changed.
        Raises what it would raise."""
        turn, ipam = Turn(self.core, now, at), self.core.ipam
        cursor = dict(self.core.port_cursor)
        try:
            made, _, _ = self._dispatch(turn, command)
            if start and isinstance(made, Container):
                self._dispatch(turn, StartContainer(made.id))
            changes = turn.state.settle(keep=True)
            after = {owner: self._plan_of(owner) for owner in _owners(turn, changes)}
        except Wanting as wanting:
            raise Unavailable(
                "which address it would get is for a manager to say, and none is in reserve here",
                hint="without --dry-run one is asked for",
                code=codes.ADDRESSES_EXHAUSTED,
            ) from wanting
        except Starting as starting:
            raise Conflict(
                str(starting),
                hint="try again when it runs; without --dry-run that is waited for",
                code=codes.CONTAINER_BUSY,
            ) from starting
        finally:
            self._take_back(turn, ipam)
            self.core.port_cursor = cursor
        return Preview(changes, {owner: diff(self._plan_of(owner), plan) for owner, plan in after.items()})

    def _take_back(self, turn: Turn, ipam: Ipam) -> None:
        """Leave no trace of a turn."""
        self.core.state.revert()
        self.core.ipam = ipam
        for undo in reversed(turn.undo):
            undo()

    def _decide(self, message: Command | Event, now: float, at: float, busy: tuple[Busy, ...] = ()) -> Outcome:
        turn = Turn(self.core, now, at, busy_ports=frozenset().union(*busy))
        ipam = self.core.ipam
        try:
            reply, error, wait_exit = self._dispatch(turn, message)
            self._holds.check(turn.state.settle(keep=True) if not busy else (), turn.alone if not busy else ())
        except (Held, Starting, Wanting, NoSuchNetwork):
            self._take_back(turn, ipam)
            raise
        except NetError as fault:
            self._take_back(turn, ipam)
            removal = None if busy else self._removal(message, now, at)
            if removal is None:
                raise
            return self._conclude(removal, message, busy, error=fault)
        return self._conclude(turn, message, busy, reply=reply, error=error, wait_exit=wait_exit)

    def refuse(self, message: Command | Event, error: NetError, now: float, at: float) -> Outcome:
        """A message that raised ``Wanting`` or ``NoSuchNetwork`` cannot be met, as ``error`` says, and no manager can help:
        what is to be done instead, the error with it; raises the error when nothing is."""
        removal = self._removal(message, now, at)
        if removal is None:
            raise error
        return self._conclude(removal, message, (), error=error)

    def _conclude(
        self,
        turn: Turn,
        message: Command | Event,
        busy: tuple[Busy, ...],
        reply: object = None,
        error: NetError | None = None,
        wait_exit: str = "",
    ) -> Outcome:
        changes = turn.state.settle()
        self.core.forget(changes)
        plans = {owner: self._plan_of(owner) for owner in _owners(turn, changes)}
        self._operation += 1
        messages, notices = tuple(turn.messages), tuple(turn.notices)
        outcome = Outcome(self._operation, changes, plans, messages, notices, reply, error, wait_exit)
        if plans or changes:
            self._pending[self._operation] = _Pending(message, busy, outcome)
            self._holds.hold(self._operation, changes, turn.alone)
        return outcome

    def _dispatch(self, turn: Turn, message: Command | Event) -> tuple[object, NetError | None, str]:
        """(answer, error for the caller, container to wait for)."""
        match message:
            case StopContainer():
                reply, container_id = containers.stop(turn, message)
                return reply, None, container_id
            case RemoveContainer():
                return None, None, containers.remove(turn, message)
            case ContainerFailed():
                return None, containers.failed(turn, message), ""
            case ResolverFileChanged():
                sandboxes.follow_host(turn, message)
            case ContainerRunning():
                containers.running(turn, message)
            case ContainerExited():
                containers.exited(turn, message)
            case _:
                return _PLAIN[type(message)](turn, message), None, ""
        return None, None, ""

    def _plan_of(self, owner: str) -> Plan:
        kind, _, identifier = owner.partition(":")
        state = self.core.state
        if kind == "network" and identifier in state.networks:
            return self.core.network_plan(state.networks[identifier])
        if kind == "sandbox" and identifier in state.sandboxes:
            return sandboxes.plan(self.core, state.sandboxes[identifier])
        if kind == "endpoint" and identifier in state.endpoints:
            return sandboxes.endpoint_plan(self.core, state.endpoints[identifier])
        if kind == "peer":
            network_id, _, address = identifier.partition(":")
            return peers.plan(self.core, network_id, address)
        if kind == "pair":
            return pairs.plan(self.core, identifier)
        if kind == PAIRS:
            return pairs.exact(self.core)
        if kind == "interior":
            return ingress.interior_plan(self.core, identifier)
        if kind == "balance":
            _, endpoint_id, service_id = identifier.split(":")
            return balancing.plan(self.core, endpoint_id, service_id)
        return NOTHING

    def _undo(self, failure: Failed, now: float, at: float) -> Outcome:
        """Put the records back as they were before the operation; try again if only a free port was unlucky. What has
        happened in the world cannot be put back: its records stand, and Linux is repaired by them."""
        pending = self._pending.pop(failure.operation, None)
        self._holds.release(failure.operation)
        if pending is None:
            return Outcome(0, error=failure.error)
        turn = Turn(self.core, now, at)
        if isinstance(pending.message, (*_FACTS, EntryDue)) and entries.in_use(turn, failure.error):
            return self._without_port(pending, turn)
        if isinstance(pending.message, _FACTS):
            return replace(pending.outcome, operation=0, plans={}, repair=True)
        for change in reversed(pending.outcome.changes):
            _revert(turn, change)
        presence.realign(turn, pending.outcome.plans)
        chosen = _chosen_ports(pending) if isinstance(failure.error, PortInUse) else None
        if chosen and len(pending.busy) < PORT_ATTEMPTS:
            undone = turn.state.settle()
            try:
                again = self._decide(pending.message, now, at, (*pending.busy, chosen))
            except NetError:
                return self._give_up(undone, pending, failure.error, now, at)
            return replace(again, changes=(*undone, *again.changes))
        given_up = self._give_up(turn.state.settle(), pending, failure.error, now, at)
        if isinstance(pending.message, EntryDue):
            return replace(given_up, messages=(*given_up.messages, entries.again(pending.message)))
        return given_up

    def _without_port(self, pending: _Pending, turn: Turn) -> Outcome:
        """The same again, but for a published port that a program of this host has."""
        self._operation += 1
        outcome = replace(
            pending.outcome,
            operation=self._operation,
            plans={owner: self._plan_of(owner) for owner in pending.outcome.plans},
            messages=(*pending.outcome.messages, *turn.messages),
            notices=(*pending.outcome.notices, *turn.notices),
        )
        self._pending[self._operation] = replace(pending, outcome=outcome)
        self._holds.hold(self._operation, outcome.changes)
        return outcome

    def _give_up(
        self, undone: tuple[Change, ...], pending: _Pending, error: NetError, now: float, at: float
    ) -> Outcome:
        plans = {owner: self._plan_of(owner) for owner in pending.outcome.plans}
        removal = self._removal(pending.message, now, at)
        if removal is None:
            return Outcome(0, undone, plans, error=error)
        changes = (*undone, *removal.state.settle())
        return Outcome(0, changes, plans, tuple(removal.messages), tuple(removal.notices), error=error)

    def _removal(self, message: Command | Event, now: float, at: float) -> Turn | None:
        """A container that was to be removed at its end, and could not even start, is removed (Docker)."""
        if not isinstance(message, StartContainer):
            return None
        try:
            container = self.core.state.container(message.container)
        except NetError:
            return None
        if not container.config.auto_remove or container.state.status not in ("created", "exited"):
            return None
        turn = Turn(self.core, now, at)
        containers.forget(turn, container)
        return turn


_PLAIN: dict[type, Callable[..., object]] = {
    CreateNetwork: networks.create,
    RemoveNetwork: networks.remove,
    ConnectNetwork: connections.connect,
    DisconnectNetwork: connections.disconnect,
    CreateSandbox: attachments.create,
    RemoveSandbox: attachments.remove,
    NamespaceGone: attachments.gone,
    CreateContainer: containers.create,
    StartContainer: containers.start,
    KillContainer: containers.kill,
    RenameContainer: containers.rename,
    PauseContainer: containers.pause,
    RestartDue: containers.restart,
    RestartFailed: restarts.failed,
    ProbeDue: health.due,
    HealthProbed: health.probed,
    UpdateContainer: containers.update,
    InstallNetwork: cluster.install,
    WithdrawNetwork: cluster.withdraw,
    DataPath: cluster.data_path,
    BalancersFound: balancing.found,
    LeasesGranted: cluster.granted,
    LeasesRevoked: cluster.revoked,
    AddressForgotten: leases.forgotten,
    PeersSeen: peers.seen,
    PeersComplete: peers.complete,
    NamesSeen: peers.named,
    EntryDue: entries.align,
    TunnelSecrets: pairs.secrets,
    StationsSeen: pairs.seen,
}


def _owners(turn: Turn, changes: tuple[Change, ...]) -> list[str]:
    """Whose plans are to be derived anew: those that were touched, every endpoint whose record changed, and those in a
    sandbox whose namespace was found to be another than it was."""
    found = dict(turn.owners)
    for change in changes:
        before, after = change.before, change.after
        if change.kind == "endpoint":
            found[endpoint_owner(change.id)] = None
        elif isinstance(before, Sandbox) and isinstance(after, Sandbox) and before.foreign != after.foreign:
            found |= {endpoint_owner(endpoint_id): None for endpoint_id in after.endpoints}
    return list(found)


def _revert(turn: Turn, change: Change) -> None:
    before, after = change.before, change.after
    if before is None and isinstance(after, Network):
        networks.forget(turn, after)
    elif before is None and isinstance(after, Endpoint):
        endpoints.forget(turn, after)
    elif before is None and after is not None:
        turn.state.drop(after)
    elif before is not None:
        if after is None and isinstance(before, Network):
            networks.hold(turn, before)
        if after is None and isinstance(before, Endpoint):
            endpoints.hold(turn, before)
        turn.state.put(before)


def _chosen_ports(pending: _Pending) -> Busy:
    """The ports of the operation that were chosen by us, so that others may do."""
    made = [change.after for change in pending.outcome.changes if isinstance(change.after, Endpoint)]
    asked = [change.after for change in pending.outcome.changes if change.kind in ("container", "sandbox")]
    requests = [request for record in asked for request in _requests(record)]
    fixed = {(request.proto, request.host_port) for request in requests if request.host_port_end <= request.host_port}
    return frozenset((binding.proto, binding.host_port) for endpoint in made for binding in endpoint.bindings) - fixed


def _requests(record: Record | None) -> Sequence[PortRequest]:
    match record:
        case Container():
            return record.config.ports
        case Sandbox():
            return record.settings.ports
        case _:
            return ()
