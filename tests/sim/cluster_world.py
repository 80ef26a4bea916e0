"""A cluster in one thread: a manager's brain, its disk, and nodes that keep to the session's rules, with crashes.

Each message to the manager goes through the steps of a real one: decide, persist, push one by one; a crash may come between
any two. What each node believes to hold is watched from outside, so that an address that two hold is seen at once,
whatever the manager's own records say.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from fairlead.manager.decision import Decision, Stored
from fairlead.manager.manager import Manager
from fairlead.model.cluster import (
    KINDS,
    MANAGER,
    WORKER,
    ClusterNetwork,
    ClusterNode,
    ClusterRecord,
    Lease,
    NodeDescription,
    Ring,
)
from fairlead.model.cluster_commands import (
    Admission,
    AdmitNode,
    ClusterCommand,
    ClusterEvent,
    CreateClusterNetwork,
    InitCluster,
    NodeSaid,
    SessionClosed,
    SessionOpened,
    Tick,
)
from fairlead.model.commands import CreateNetwork
from fairlead.model.errors import NetError
from fairlead.model.network import PoolRequest
from fairlead.model.session import (
    Assignments,
    Dismissed,
    Downward,
    Forgotten,
    Heartbeat,
    HeldKeys,
    Hello,
    KeyReport,
    LeaseReturn,
    LeaseUse,
    NodeMessage,
    Resync,
)
from fairlead.pki.authority import new_authority, trusted

EPOCH = 1_790_000_000.0


class Crashed(Exception):
    """The manager has died in the middle of a step."""


@dataclass
class Disk:
    """The store: records with revisions, and transactions that compare them."""

    records: dict[tuple[str, str], Stored] = field(default_factory=dict)
    revision: int = 0

    def commit(self, decision: Decision) -> int | None:
        """The revision at which the writes stand, None if one of them was refused."""
        for write in decision.writes:
            held = self.records.get((write.kind, write.id))
            if (held.revision if held else 0) != write.revision:
                return None
        self.revision += 1
        for write in decision.writes:
            if write.record is None:
                self.records.pop((write.kind, write.id), None)
            else:
                assert KINDS[type(write.record)] == write.kind
                self.records[write.kind, write.id] = Stored(write.record, self.revision)
        return self.revision

    def disturb(self, record: ClusterRecord) -> None:
        """Somebody else has written the record, as it is."""
        key = (KINDS[type(record)], record.id)
        if key in self.records:
            self.revision += 1
            self.records[key] = Stored(record, self.revision)


class Villager:
    """A node: holds leases, uses them, gives them back, and says so."""

    def __init__(self, world: World, node_id: str, description: NodeDescription, role: str) -> None:
        self.world, self.id, self.description, self.role = world, node_id, description, role
        self.session = 0
        self.is_online = False
        self.is_out = False
        self.leases: dict[str, Lease] = {}
        self.used: dict[str, str] = {}
        self.returning: set[str] = set()
        self.networks: dict[str, Ring] = {}
        self.removing: set[str] = set()
        self.sequence = ""
        self.rings: dict[str, Ring] = {"gossip": Ring(), "data": Ring()}
        self.inbox: deque[tuple[int, Downward]] = deque()
        self.does_keys = True
        #: Whether it has been told everything in this session.
        self.is_told = False
        self.told_role = role
        self.roots = ""

    def free(self, network_id: str) -> list[Lease]:
        """Leases of a network that are in reserve."""
        mine = (one for one in self.leases.values() if one.network_id == network_id)
        return [one for one in mine if one.id not in self.used and one.id not in self.returning]

    def connect(self) -> None:
        """Open a session."""
        self.session = self.world.next_session()
        self.is_online, self.is_told = True, False
        self.inbox.clear()
        mine = (self.leases[one] for one in self.leases if one not in self.returning)
        held = tuple(replace(one, node_id=self.id, holder=self.used.get(one.id, ""), resting=False) for one in mine)
        hello = Hello(self.description, self.report(), held)
        issuer = self.world.issuer
        self.world.ask(SessionOpened(self.id, self.session, hello, self.role, issuer, "192.0.2.1"))

    def disconnect(self) -> None:
        """Lose the session."""
        if self.is_online:
            self.is_online = False
            self.inbox.clear()
            self.world.ask(SessionClosed(self.id, self.session))

    def say(self, message: NodeMessage) -> object:
        """Say a word in the session; a refusal is an answer too."""
        if not self.is_online:
            return None
        return self.world.ask(NodeSaid(self.id, self.session, message))

    def report(self) -> KeyReport:
        """What is held of the shared keys."""
        gossip, data = (HeldKeys(tuple(key.tag for key in ring.keys), ring.primary) for ring in self.rings.values())
        return KeyReport(gossip, data)

    def use(self, lease: Lease, holder: str) -> None:
        """Take a lease out of the reserve."""
        self.used[lease.id] = holder
        self.say(LeaseUse(((lease.id, lease.generation, holder),)))

    def unuse(self, lease: Lease) -> None:
        """Put a lease back in the reserve: its last user is forgotten by all."""
        del self.used[lease.id]
        self.say(LeaseUse(((lease.id, lease.generation, ""),)))

    def give_back(self, lease: Lease) -> None:
        """The lease is free and forgotten by all."""
        self.used.pop(lease.id, None)
        if lease.id not in self.returning:
            self.returning.add(lease.id)
            self.world.drops(self, lease)
        self.say(LeaseReturn(((lease.id, lease.generation),)))

    def repeat(self) -> None:
        """Say again what has not been answered."""
        if self.returning:
            self.say(LeaseReturn(tuple((one, self.leases[one].generation) for one in sorted(self.returning))))

    def read(self) -> None:
        """Deal with everything that the manager has said."""
        while self.inbox and self.is_online:
            self.read_one()

    def read_one(self) -> None:
        """Deal with the next thing that the manager has said."""
        session, message = self.inbox.popleft()
        if session == self.session:
            self._hear(message)

    def _hear(self, message: Downward) -> None:
        match message:
            case Dismissed(removed=removed):
                self.is_online, self.is_out = False, self.is_out or removed
            case Assignments():
                self._assigned(message)

    def _assigned(self, said: Assignments) -> None:
        if not said.full and said.applies_to != self.sequence:
            self.sequence = ""
            self.say(Resync())
            return
        self.sequence = said.results_in
        if said.full:
            keep = {lease.id: lease.generation for lease in said.leases}
            for lease_id in [*self.leases]:
                if keep.get(lease_id) != self.leases[lease_id].generation:
                    self._lose(lease_id)
            for network_id in {*self.networks} - {one.network.id for one in said.networks}:
                del self.networks[network_id]
        for lease_id in said.leases_gone:
            self._lose(lease_id)
        for lease in said.leases:
            known = self.leases.get(lease.id)
            if known is not None and known.generation < lease.generation:
                self._lose(lease.id)
            if lease.id not in self.leases:
                self.world.holds(self, lease)
                self.leases[lease.id] = lease
        for network_id in said.networks_gone:
            self.networks.pop(network_id, None)
            self.removing.discard(network_id)
        self._told_more(said)
        self.is_told = self.is_told or said.full

    def _told_more(self, said: Assignments) -> None:
        for one in said.networks:
            self.networks[one.network.id] = one.ring
            (self.removing.add if one.removing else self.removing.discard)(one.network.id)
        if said.node is not None:
            self.told_role = said.node.role
        if said.settings is not None:
            self.roots = said.settings.roots
            for node_id in said.settings.removed:
                self.world.forgot(self, node_id)
        if said.keys is not None and self.does_keys:
            self.rings = {"gossip": said.keys.gossip, "data": said.keys.data}
            self.say(self.report())
        for network_id in self.removing:
            for lease in self.free(network_id):
                self.give_back(lease)
        for lease_id in said.recall:
            if lease_id in self.used:
                lease = self.leases[lease_id]
                self.say(LeaseUse(((lease_id, lease.generation, self.used[lease_id]),)))
            elif lease_id in self.leases:
                self.give_back(self.leases[lease_id])
        if said.forget:
            for forget in said.forget:
                self.world.forgot(self, forget.subject)
            self.say(Forgotten(tuple(forget.id for forget in said.forget)))

    def _lose(self, lease_id: str) -> None:
        if lease_id in self.leases:
            assert lease_id in self.returning, f"{self.id} uses {lease_id}, which is taken away"
            self.returning.discard(lease_id)
            self.used.pop(lease_id, None)
            del self.leases[lease_id]


class World:
    """A manager, its disk, its nodes, a clock by hand."""

    #: What nodes are.
    kind: type[Villager] = Villager

    def __init__(self, seed: int = 0) -> None:
        self.chance = random.Random(seed)
        self.disk = Disk()
        self.now = 0.0
        self.manager = Manager(self.chance)
        self.nodes: dict[str, Villager] = {}
        self.queue: deque[ClusterCommand | ClusterEvent] = deque()
        self.crash: Callable[[str], bool] = lambda step: False
        self.crashes = 0
        self.answers: dict[str, object] = {}
        self.notices: list[str] = []
        self.wake_at: float | None = None
        self.issuer = "root"
        self._sessions = 0
        #: Lease id -> who believes to hold it.
        self.holders: dict[str, str] = {}
        #: Lease id -> nodes that have not forgotten that a removed node had it.
        self.ghosts: dict[str, set[str]] = {}
        #: Removed node -> what it had.
        self._left: dict[str, list[str]] = {}
        self.secrets_told: dict[str, set[str]] = {}
        self.is_busy = False

    @property
    def at(self) -> float:
        """Epoch seconds."""
        return EPOCH + self.now

    def next_session(self) -> int:
        """A number for a session."""
        self._sessions += 1
        return self._sessions

    def found(self) -> Villager:
        """Make the cluster; answers the first manager."""
        description = NodeDescription("m", data_path="192.0.2.1", gossip_key="00")
        authority = new_authority(self.chance, self.at)
        node = self.must(InitCluster(authority, description, manager_address="192.0.2.1:2377"))
        assert isinstance(node, ClusterNode)
        villager = self.nodes[node.id] = self.kind(self, node.id, description, MANAGER)
        villager.connect()
        self.settle()
        return villager

    def join(self, name: str, *, role: str = WORKER, mtu: int = 1500, **more: Any) -> Villager:
        """Let a node join and open its session."""
        cluster = self.manager.state.cluster
        token = cluster.worker_token if role == WORKER else cluster.manager_token
        description = NodeDescription(name, data_path="192.0.2.2", gossip_key=f"key of {name}", mtu=mtu, **more)
        made = self.must(AdmitNode(token, f"public {name}", description))
        assert isinstance(made, Admission)
        villager = self.nodes[made.node_id] = self.kind(self, made.node_id, description, role)
        villager.connect()
        self.settle()
        return villager

    def network(self, name: str, *subnets: str, **more: object) -> ClusterNetwork:
        """Make an attachable network."""
        pools = tuple(PoolRequest(subnet) for subnet in subnets)
        request = CreateNetwork(name, "overlay", attachable=True, pools=pools, **more)  # type: ignore[arg-type]
        made = self.must(CreateClusterNetwork(request))
        assert isinstance(made, ClusterNetwork)
        return made

    def must(self, message: ClusterCommand | ClusterEvent) -> object:
        """The answer to a message; raises its refusal. A crash is asked again."""
        while True:
            try:
                return self._carry(message)
            except Crashed:
                self.restart()

    def ask(self, message: ClusterCommand | ClusterEvent) -> object:
        """As ``must``, but a word that is lost in a crash is lost, and a refusal is answered."""
        if self.is_busy:
            self.queue.append(message)  # who is told something answers after that
            return None
        self.is_busy = True
        try:
            return self._carry(message)
        except NetError as error:
            return error
        except Crashed:
            self.restart()
            return None
        finally:
            self.is_busy = False
            self._drain()

    def _drain(self) -> None:
        while self.queue and not self.is_busy:
            self.ask(self.queue.popleft())

    def tick(self, seconds: float = 0.0) -> None:
        """Let time go by, waking the manager whenever it wants."""
        end = self.now + seconds
        while self.wake_at is not None and self.wake_at <= end:
            self.now = max(self.now, self.wake_at)
            before = self.wake_at
            self.ask(Tick())
            if self.wake_at == before and self.wake_at <= self.now and not self.manager.core.swept:
                break
        self.now = max(end, self.now)

    def beat(self, seconds: float) -> None:
        """Let time go by with everybody's heartbeats."""
        left = seconds
        while left > 0:
            self.tick(min(left, 4.0))
            left -= 4.0
            for node in [*self.nodes.values()]:
                node.say(Heartbeat())
            self.settle()

    def settle(self) -> None:
        """Let everybody read until nobody has anything to say."""
        while any(node.inbox and node.is_online for node in self.nodes.values()):
            for node in [*self.nodes.values()]:
                node.read()
            self._drain()

    def restart(self) -> None:
        """The manager dies and starts anew: sessions are cut, what was not persisted has not happened."""
        self.crashes += 1
        self.queue.clear()
        for node in self.nodes.values():
            node.is_online = False
            node.inbox.clear()
        self.manager = Manager(self.chance)
        self._load()

    def _load(self) -> None:
        while True:
            decision = self.manager.restore(self.disk.records.values(), self.now, self.at)
            revision = self.disk.commit(decision)
            if revision is not None:
                self.manager.committed(decision, revision)
                self._deliver(decision)
                return

    def _carry(self, message: ClusterCommand | ClusterEvent) -> object:
        self._step("decide")
        while True:
            decision = self.manager.handle(message, self.now, self.at)
            self._step("persist")
            revision = self.disk.commit(decision)
            if revision is not None:
                break
            self._load()  # somebody else wrote: what was decided has not happened
        self._step("push")
        self.manager.committed(decision, revision)
        self._deliver(decision)
        return decision.ticket or decision.reply

    def _deliver(self, decision: Decision) -> None:
        self.wake_at = decision.wake_at
        for push in decision.pushes:
            node = self.nodes.get(push.node_id)
            if isinstance(push.message, Assignments):
                for one in push.message.networks:
                    self.secrets_told.setdefault(one.network.id, set()).add(push.node_id)
            if node is not None and node.is_online and node.session == push.session:
                node.inbox.append((push.session, push.message))
            self._step("pushed")
        for answer in decision.answers:
            self.answers[answer.ticket] = answer.error or answer.reply
        self.notices += [f"{notice.type} {notice.action}" for notice in decision.notices]

    def _step(self, name: str) -> None:
        if self.crash(name):
            raise Crashed

    def holds(self, node: Villager, lease: Lease) -> None:
        """A node believes from now on that it holds an address."""
        other = self.holders.get(lease.id)
        assert other in (None, node.id), f"{lease.id} is held by {other} and given to {node.id}"
        left = {one for one in self.ghosts.get(lease.id, ()) if one in self.nodes and self.nodes[one].is_online}
        assert not left, f"{lease.id} is given again before {left} have forgotten who had it"
        self.ghosts.pop(lease.id, None)
        self.holders[lease.id] = node.id

    def drops(self, node: Villager, lease: Lease) -> None:
        """A node does not hold an address any more."""
        assert self.holders.pop(lease.id) == node.id

    def remove(self, node: Villager) -> None:
        """A node was removed: what it had is forgotten by the others one by one."""
        del self.nodes[node.id]
        for lease_id in node.leases:
            if self.holders.get(lease_id) == node.id:
                del self.holders[lease_id]
                self.ghosts[lease_id] = {*self.nodes}
        self._left[node.id] = [*node.leases]

    def forgot(self, node: Villager, subject: str) -> None:
        """A node has forgotten a removed one."""
        for lease_id in self._left.get(subject, ()):
            self.ghosts.get(lease_id, set()).discard(node.id)

    def roots(self) -> str:
        """What is trusted now."""
        return trusted(self.manager.state.cluster.authority)

    def free_addresses(self, network_id: str) -> int:
        """IPv4 addresses that are left in a network."""
        return self.manager.usage(network_id, self.at).left
