"""The manager's front door: one message in, one decision out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial

from fairlead.manager import (
    charter,
    dispatcher,
    forgetting,
    http_mesh,
    keys,
    leases,
    networks,
    nodes,
    orchestrator,
    services,
    tasks,
)
from fairlead.manager.core import Core, Session, Turn, Waiting
from fairlead.manager.decision import Answer, Decision, Stored, Write
from fairlead.manager.state import Change, State, merged
from fairlead.manager.usage import Usage, sample, usage
from fairlead.model.cluster import KINDS, MANAGER, Lease
from fairlead.model.cluster_commands import (
    AdmitNode,
    CancelTicket,
    ClusterCommand,
    ClusterEvent,
    CreateClusterNetwork,
    CreateService,
    DisableHttpMesh,
    EnableHttpMesh,
    GrowNetwork,
    InitCluster,
    NodeSaid,
    RemoveClusterNetwork,
    RemoveNode,
    RemoveService,
    RenewNode,
    ReplaceAuthority,
    RotateKeys,
    SessionClosed,
    SessionOpened,
    Tick,
    UpdateCluster,
    UpdateNode,
    UpdateService,
)
from fairlead.model.commands import CreateNetwork
from fairlead.model.errors import NetError
from fairlead.model.events import Notice
from fairlead.model.ids import Chance
from fairlead.model.session import (
    Forgotten,
    Heartbeat,
    KeyReport,
    LeaseReturn,
    LeaseUse,
    LeaseWish,
    Leaving,
    NetworkWish,
    Resync,
    StatusReport,
    TaskReport,
)

#: Leases that are dealt with of one word of a node; the rest it says again (the store takes 1,024 writes at once).
_LEASES_AT_ONCE = 400


@dataclass(slots=True)
class _Draft:
    """A decision in the making: the changes so far, who is told everything, and the answer."""

    changes: list[Change] = field(default_factory=list)
    fresh: set[str] = field(default_factory=set)
    reply: object = None


class Manager:
    """The brain of a cluster. Not thread-safe; every call is quick and pure.

    The caller carries each decision out in order: persist (one transaction), tell ``committed``, then push, answer and
    tell. The next decision is made after that; or several are made one after the other and persisted as one
    transaction, where of several writes of one record the last counts. When the store refuses, nothing of them has happened: load all
    records, ``restore`` and decide anew. A store that did not say what has become of a transaction is the same case.
    """

    def __init__(self, chance: Chance) -> None:
        self.core = Core(chance)
        self._revisions: dict[tuple[str, str], int] = {}

    @property
    def state(self) -> State:
        """The records, to read."""
        return self.core.state

    def usage(self, network_id: str, at: float) -> Usage:
        """How full a network is. ``at`` is epoch seconds."""
        return usage(self.core, self.state.networks[network_id], at)

    def laggards(self) -> tuple[str, ...]:
        """Nodes that a rotation of keys waits for."""
        return keys.laggards(self.core)

    def restore(self, stored: Iterable[Stored], now: float, at: float) -> Decision:
        """Take up the records, forgetting what was known of them; sessions that are open stay so and are told
        everything anew. Nodes that were ready are unknown until they are heard of. Who waited for a ticket is answered
        with the tickets' error: he asks again."""
        former = self.core
        self.core = core = Core(former.chance, samples=former.samples, tickets=former.tickets)
        self._revisions = {}
        turn = Turn(core, now, at)
        for one in stored:
            core.state.put(one.record)
            self._revisions[KINDS[type(one.record)], one.record.id] = one.revision
        core.state.settle()
        turn.answers.extend(Answer(ticket, error=_lost(waiting)) for ticket, waiting in former.waiting.items())
        draft = _Draft()
        if core.state.clusters:
            self._take_up(turn)
            core.sessions = {one: session for one, session in former.sessions.items() if one in core.state.nodes}
            nodes.restart(turn)
            forgetting.resume(turn)
            keys.resume(turn)
            orchestrator.resume(turn)
            orchestrator.follow(turn, ())
            draft.fresh.update(core.sessions)
            draft.changes.extend(core.state.settle())
        return self._decided(turn, draft)

    def _take_up(self, turn: Turn) -> None:
        """Hold what the records hold. One that makes no sense hinders nobody: it is told, and kept as it is."""
        core = turn.core
        core.ipam = charter.address_space(core.state.cluster)
        core.generation = core.state.counters.generation
        for network in core.state.networks.values():
            held = [*core.state.places.within(network.id), *core.state.places.resting(network.id)]
            try:
                networks.hold(turn, network, leases.by_pool(network, held))
            except NetError:  # something of it makes no sense: find out what, one by one
                if _held(turn, "network", network.id, partial(networks.hold, turn, network, {})):
                    for lease in held:
                        _held(turn, "lease", lease.id, partial(leases.hold, turn, lease))
        sample(turn, set(core.state.networks))

    def handle(self, message: ClusterCommand | ClusterEvent, now: float, at: float) -> Decision:
        """Decide. ``now`` is monotonic seconds, ``at`` epoch seconds. A command, or a node's wish, that cannot be met
        raises ``NetError`` and changes nothing; other events never do."""
        turn, draft = Turn(self.core, now, at), _Draft()
        reply = self._attempt(turn, draft, message)
        ticket = ""
        if isinstance(reply, leases.Later):
            self.core.tickets += 1
            ticket = f"{self.core.tickets}"
            assert isinstance(message, RemoveClusterNetwork | NodeSaid)
            self.core.waiting[ticket] = Waiting(
                ticket, reply.network_id, message, now + reply.patience_s, {*reply.doubts}
            )
        else:
            draft.reply = reply
        orchestrator.follow(turn, merged(draft.changes))
        draft.changes.extend(self.core.state.settle())
        self._look_again(turn, draft)
        return replace(self._decided(turn, draft), ticket=ticket)

    def committed(self, decision: Decision, revision: int) -> None:
        """The decision's writes stand, at this revision of the store."""
        for write in decision.writes:
            if write.record is None:
                self._revisions.pop((write.kind, write.id), None)
            else:
                self._revisions[write.kind, write.id] = revision

    def _attempt(
        self, turn: Turn, draft: _Draft, message: ClusterCommand | ClusterEvent, *, is_last: bool = False
    ) -> object:
        """Decide one message; if it raises nothing of it is left. With ``is_last`` it may not wait any longer."""
        core = turn.core
        before = (core.ipam, core.vnis, core.ports, core.generation)
        told = (len(turn.pushes), len(turn.notices), len(turn.answers))
        try:
            reply = self._dispatch(turn, draft, message)
            if is_last and isinstance(reply, leases.Later):
                raise reply.error
        except NetError:
            core.state.revert()
            core.ipam, core.vnis, core.ports, core.generation = before
            core.first_free.clear()
            del turn.pushes[told[0] :], turn.notices[told[1] :], turn.answers[told[2] :]
            raise
        draft.changes.extend(core.state.settle())
        return reply

    def _dispatch(self, turn: Turn, draft: _Draft, message: ClusterCommand | ClusterEvent) -> object:
        match message:
            case NodeSaid():
                return self._said(turn, draft, message)
            case SessionOpened():
                session = nodes.opened(turn, message)
                if session is not None:
                    draft.fresh.add(session.node_id)
                return None
            case SessionClosed():
                session = self.core.sessions.get(message.node_id)
                if session is not None and session.number == message.session:
                    del self.core.sessions[message.node_id]
                return None
            case Tick():
                self._tick(turn)
                return None
            case _:
                return self._command(turn, message)

    def _command(self, turn: Turn, command: ClusterCommand) -> object:
        match command:
            case InitCluster():
                return _found(turn, command)
            case UpdateCluster():
                return charter.update(turn, command)
            case ReplaceAuthority():
                return charter.replace_authority(turn, command)
            case RotateKeys():
                return keys.rotate_now(turn)
            case AdmitNode():
                return nodes.admit(turn, command)
            case RenewNode():
                return nodes.renew(turn, command)
            case UpdateNode():
                return nodes.update(turn, command)
            case RemoveNode():
                return nodes.remove(turn, command)
            case CreateClusterNetwork():
                return networks.create(turn, command)
            case GrowNetwork():
                return networks.grow(turn, command)
            case RemoveClusterNetwork():
                return networks.remove(turn, command)
            case CreateService():
                return services.create(turn, command)
            case UpdateService():
                return services.update(turn, command)
            case RemoveService():
                return services.remove(turn, command)
            case EnableHttpMesh():
                return http_mesh.enable(turn, command)
            case DisableHttpMesh():
                return http_mesh.disable(turn)
            case CancelTicket():
                waiting = self.core.waiting.pop(command.ticket, None)
                if waiting is not None:
                    self._give_up(turn, waiting)
                return None

    def _said(self, turn: Turn, draft: _Draft, said: NodeSaid) -> object:
        """A node's word; one of an earlier session is nothing."""
        session, node = self.core.sessions.get(said.node_id), self.state.nodes.get(said.node_id)
        if session is None or node is None or session.number != said.session:
            return None
        nodes.heard(turn, node)
        match said.message:
            case NetworkWish() as wish:
                return leases.take_part(turn, node, wish)
            case LeaseWish() as wish:
                return leases.wish(turn, node, wish)
            case LeaseReturn(returned):
                leases.returned(turn, node, returned[:_LEASES_AT_ONCE])
            case LeaseUse(uses):
                leases.used(turn, node, uses[:_LEASES_AT_ONCE])
            case KeyReport() as report:
                keys.reported(turn, session, report)
            case StatusReport(description):
                nodes.described(turn, node, description)
            case Forgotten(subjects):
                forgetting.confirmed(turn, node.id, subjects)
            case TaskReport(statuses):
                tasks.reported(turn, node.id, statuses)
            case Resync():
                draft.fresh.add(node.id)
            case Leaving():
                nodes.lost(turn, node.id, "the node has left")
            case Heartbeat():
                pass
        return None

    def _tick(self, turn: Turn) -> None:
        """What is due by the clock."""
        if not self.state.clusters:
            return
        for node_id in self.core.heartbeats.overdue(turn.now):
            nodes.lost(turn, node_id, "heartbeat failure")
        cluster = self.state.cluster
        if turn.at >= keys.due_at(cluster) and not keys.is_rotating(cluster):
            keys.rotate(turn)
        forgetting.sweep(turn)
        turn.retry.update(one.network_id for one in self.core.waiting.values() if one.deadline <= turn.now)

    def _look_again(self, turn: Turn, draft: _Draft) -> None:
        """Decide anew what waits for networks in which something has changed."""
        touched = {change.after.network_id for change in draft.changes if isinstance(change.after, Lease)}
        if self.core.waiting and turn.retry:
            for waiting in [*self.core.waiting.values()]:
                waiting.doubts.difference_update(turn.reported)
                is_due = turn.now >= waiting.deadline
                if waiting.network_id in turn.retry and (is_due or not waiting.doubts):
                    self._try_waiting(turn, draft, waiting)
        sample(turn, touched)

    def _try_waiting(self, turn: Turn, draft: _Draft, waiting: Waiting) -> None:
        turn.is_sure = True
        try:
            reply = self._attempt(turn, draft, waiting.message, is_last=turn.now >= waiting.deadline)
        except NetError as error:
            del self.core.waiting[waiting.ticket]
            turn.answers.append(Answer(waiting.ticket, error=error))
            self._give_up(turn, waiting)
            draft.changes.extend(self.core.state.settle())
            return
        if not isinstance(reply, leases.Later):
            del self.core.waiting[waiting.ticket]
            turn.answers.append(Answer(waiting.ticket, reply))

    def _give_up(self, turn: Turn, waiting: Waiting) -> None:
        if isinstance(waiting.message, RemoveClusterNetwork):
            networks.stay(turn, waiting.network_id)

    def _decided(self, turn: Turn, draft: _Draft) -> Decision:
        core = turn.core
        changes = merged(draft.changes)
        dispatcher.tell(turn, changes, frozenset(draft.fresh))
        for node_id in draft.fresh:
            session = core.sessions.get(node_id)
            if isinstance(session, Session):
                dispatcher.full(turn, session)
        return Decision(
            writes=tuple(self._write(change) for change in changes),
            pushes=tuple(turn.pushes),
            notices=tuple(turn.notices),
            reply=draft.reply,
            answers=tuple(turn.answers),
            wake_at=self._wake_at(turn),
        )

    def _write(self, change: Change) -> Write:
        return Write(change.kind, change.id, change.after, self._revisions.get((change.kind, change.id), 0))

    def _wake_at(self, turn: Turn) -> float | None:
        core = turn.core
        if not core.state.clusters:
            return None
        if core.swept or core.entries.due:
            return turn.now
        due = [waiting.deadline for waiting in core.waiting.values()]
        if (due_work := core.work.next(turn.now)) is not None:
            due.append(due_work)
        if core.heartbeats.next is not None:
            due.append(core.heartbeats.next)
        if not keys.is_rotating(core.state.cluster):
            due.append(turn.now + max(0.0, keys.due_at(core.state.cluster) - turn.at))
        return min(due, default=None)


def _found(turn: Turn, command: InitCluster) -> object:
    """A new cluster with its first manager and, as in Docker, the network of published ports."""
    charter.found(turn, command)
    node = nodes.make(turn, MANAGER, command.description, "", command.address, command.availability)
    turn.state.put(replace(node, manager_address=command.manager_address, leader=True))
    networks.create(turn, CreateClusterNetwork(CreateNetwork(networks.INGRESS, "overlay", ipv6=True), ingress=True))
    return turn.state.nodes[node.id]


def _held(turn: Turn, kind: str, identifier: str, hold: Callable[[], None]) -> bool:
    """Whether a record could be taken up; if not it is told."""
    try:
        hold()
    except NetError as error:
        turn.notices.append(Notice(kind, "unusable", identifier, {"reason": error.message}, turn.at))
        return False
    return True


def _lost(waiting: Waiting) -> NetError:
    return NetError("the manager has started anew", hint="ask again")
