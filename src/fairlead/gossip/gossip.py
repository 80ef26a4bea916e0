"""The front door of the core: what comes from the wire, what goes to it, and when.

Sans-IO: whoever runs it gives bytes and the time, and after each call takes ``outgoing`` and ``events`` and sets a clock
for ``next_deadline``. Nothing here raises because of what others sent. What the daemon itself asks for (join, write, keys)
is in ``voice.py``; this class has both.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from fairlead.gossip.blocks import Said
from fairlead.gossip.contract import Event, FollowAsked, GossipSettings, Peer, Snapshot, Wish
from fairlead.gossip.identity import Address, Identity
from fairlead.gossip.keyring import Keyring, Opened, short, unseal
from fairlead.gossip.members import Member, Opinion
from fairlead.gossip.messages import (
    Ack,
    Back,
    Branches,
    Delta,
    Digest,
    Done,
    Flood,
    Follow,
    Followed,
    Got,
    Have,
    Join,
    Message,
    Miss,
    Ping,
    Seek,
    Sought,
    Spread,
    State,
    Sync,
    Ticket,
    Try,
    Vector,
    Want,
    Who,
)
from fairlead.gossip.views import CLUSTER
from fairlead.gossip.voice import Voice
from fairlead.gossip.wire import decode

#: Seconds by which a tick may be late before this node takes itself for slow; and for which it is patient then, at most.
LATE_S, LATE_S_MAX = 0.01, 0.2


class Gossip(Voice):
    """One node of the cluster."""

    def __init__(
        self,
        identity: Identity,
        epoch: int,
        address: Address,
        keyring: Keyring,
        settings: GossipSettings,
        chance: Random,
        now: float,
    ) -> None:
        super().__init__(identity, epoch, address, keyring, settings, chance, now)
        self._now = now
        #: When what others owe is asked for again, and until when it is waited for because this node was slow itself.
        self._asking: float | None = None
        self._patient_until = now
        swim, repair, links = self._swim, self._repair, self._links
        #: What a direct message of a member does.
        self._direct: dict[type, Callable[[Member, Any, float], object]] = {
            Ping: self._on_ping,
            Ack: self._on_ack,
            Have: self._on_have,
            Seek: lambda member, seek, then: swim.seek(member, seek.number, seek.subject, then),
            Sought: lambda _, sought, then: swim.sought(sought.number, sought.reached, then),
            Delta: lambda member, delta, then: repair.gain(delta.items, member, then),
            State: lambda member, state, then: repair.gain(state.items, member, then),
            Want: repair.want,
            Miss: self._gaps.miss,
            Digest: repair.digest,
            Branches: repair.branched,
            Vector: repair.vectored,
            Ticket: lambda member, ticket, _: links.give_back(member.id, ticket.number),
            Back: lambda member, back, then: links.back(member.id, back.number, then),
            Got: lambda member, got, then: links.got(member.id, got.names, then),
            Follow: lambda member, follow, _: self._on_follow(member, follow),
            Followed: lambda member, told, _: self.following.reached(member.id, told.scope, told.epoch, told.seq),
        }

    def describe(self, metadata: bytes, now: float) -> None:
        """Have the application's word about this node be another one; the others see it as a ``MemberChanged``."""
        if metadata != self._metadata:
            self._metadata = metadata
            self._introduce(now)

    def receive(self, data: bytes, sender: Address, now: float) -> None:
        """A datagram has come. Whatever it is, nothing is raised."""
        self.counters["packets_received"] += 1
        if self._guard.overdrawn(sender, now) and self.members.at(sender) is None:
            self.counters["over_budget"] += 1
            return
        self._accept(data, sender, self.members.at(sender), now)

    def serve(self, data: bytes, sender: Address, now: float) -> bytes:
        """A request has come by stream; the reply, empty when there is none."""
        opened, message = self._open(data, sender, now)
        if opened is None or message is None:
            return b""
        if not self._first(opened, message):
            return self._again(message)
        if isinstance(message, Join):
            return self._welcome(message, opened, sender, now)
        member = self.members.named(opened.sender)
        if member is None:
            self.counters["strangers"] += 1
            return b""
        reply: Message = Done()
        if isinstance(message, Sync):
            reply = self._repair.synced(message.vector)
        elif isinstance(message, Flood):
            for packet in message.packets:
                self._accept(packet, sender, member, now)
        elif not isinstance(message, Try):
            self._handle(message, member, now)
        return self._outbox.seal(reply, member)

    def _welcome(self, join: Join, opened: Opened, sender: Address, now: float) -> bytes:
        """A node joins: have all know it and what it says, and answer with what it lacks."""
        identifier = join.card.id
        if short(identifier) != opened.sender:
            return b""
        its = [item for item in join.items if isinstance(item, Said) and item.owner == identifier]
        taken = self._holding.take([join.card, *its], sender.host)
        self._gaps.took(taken, None, now)
        self._spreading.tell(taken.news)
        joined = self.members.get(identifier)
        if joined is None:
            return b""
        logs = {scope: self.tables.log(identifier, scope) for scope in self._holding.shared(identifier)}
        known = {scope: {identifier: log.version} if log else {} for scope, log in logs.items()}
        its_own = Opinion(identifier, *join.card.order, 0)
        return self._outbox.seal(self._repair.synced(Vector((its_own,), known, members=True, ask=False)), joined)

    def answered(self, request_id: int, data: bytes | None, now: float) -> None:
        """The reply to a ``Request`` has come; None: it failed."""
        self._outbox.answered(request_id, data, now)
        while self._joined and self._early:
            early, sender = self._early.popleft()
            self._accept(early, sender, self.members.at(sender), now)

    def known(self, host: str) -> bool:
        """Whether a member is at a host: its connections are not a stranger's."""
        return host in self.members.hosts

    def refused(self, peer: Address, now: float, *, sure: bool) -> None:
        """A host said that nobody listens at this address."""
        member = self.members.at(peer)
        if member is not None:
            self._swim.refused(member.id, now, sure=sure)

    def lifeline_lost(self, peer: Address, now: float) -> None:
        """A lifeline broke or could not be made: look at once."""
        self._lifelines.lost(peer, now)

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self._left:
            self._links.tick(now)
            return
        self._swim.tick(now)
        self._settling.tick(now, joined=self._joined)
        if not self._late(now):
            self._repair.tick(now)
            self._gaps.tick(now)
            self._confirmations.tick(now)
            self.following.tick(now)
        self._links.tick(now)
        if self._join_due is not None and self._join_due <= now:
            self._ask_seed(now)
        if self._quiet:
            self._say_signed(self._summed_up([scope for scope, due in self._quiet.items() if due <= now]))

    def next_deadline(self) -> float | None:
        """When ``tick`` is wanted, on the clock that ``now`` is of."""
        sending = self._links.deadline()
        if self._left:
            return sending
        answers = _soonest(self._confirmations.deadline(), self.following.deadline())
        asking = _soonest(self._repair.deadline(), self._gaps.deadline(), answers)
        self._asking = asking if asking is None else max(asking, self._patient_until)
        return _soonest(
            sending,
            self._asking,
            self._settling.deadline(joined=self._joined),
            self._swim.deadline(),
            self._join_due,
            min(self._quiet.values()) if self._quiet else None,
            self._spreading.deadline(unsaid=bool(self.tables.unsaid())),
        )

    def outgoing(self, now: float) -> list[Wish]:
        """What is to be sent; the caller's from now on."""
        self._now = now
        self._spreading.pass_on(now)
        if self._spreading.may_send(now):
            self._flush(now)
            self._spreading.flush(now)
        self._spreading.flush_hints(now)
        self._links.flush()
        if not self._left:
            self._lifelines.hold()
        return self._outbox.taken()

    def events(self) -> list[Event]:
        """What has happened since the last call, in order."""
        events, self._holding.events = self._holding.events, []
        return events

    def snapshot(self) -> Snapshot:
        """How this node stood at the last ``outgoing``; nothing in it changes any more."""
        now = self._now
        peers = tuple(
            Peer(
                member.id,
                member.card.address,
                member.standing,
                *member.card.order,
                member.card.metadata,
                self._swim.rtt.get(member.id),
                now - since if (since := self._swim.lost_since.get(member.id)) is not None else None,
            )
            for member in sorted(self.members, key=lambda member: member.id)
            if member.id != self.members.own
        )
        networks = tuple(sorted(self._holding.networks))
        scopes = (CLUSTER, *networks)
        return Snapshot(
            id=self.members.own,
            epoch=self._epoch,
            incarnation=self._card.incarnation,
            joined=self._joined,
            health=self._swim.health,
            peers=peers,
            networks=networks,
            versions={scope: self.tables.versions(scope) for scope in scopes},
            sums={scope: self.tables.digest([scope]) for scope in scopes},
            members_sum=self.members.sums.total,
            queued_packets=self._links.queued,
            orphaned_blocks=self._holding.orphaned,
            lag_s=self._confirmations.lag_s(now),
            keys=self._outbox.keyring.ids,
            counters=dict(self.counters),
            forgers=dict(self._holding.forgers),
        )

    def _late(self, now: float) -> bool:
        """Whether what others were asked for may have come, but was not read yet: this node did not run in time."""
        late = now - self._asking if self._asking is not None else 0.0
        if now < self._patient_until:
            return True
        if late > LATE_S:
            self.counters["late_ticks"] += 1
            self._patient_until = now + min(late, LATE_S_MAX)
            return True
        return False

    def _open(self, data: bytes, sender: Address, now: float) -> tuple[Opened | None, Message | None]:
        opened = unseal(self._outbox.keyring, data, self._outbox.own, self.members.lives)
        if opened is None:
            self.counters["unopened"] += 1
            self._guard.junk(sender, len(data), now)
            return None, None
        if opened.sender == self._outbox.own:
            self.counters["echoes"] += 1
            return None, None
        message = decode(opened.payload)
        if message is None:
            self.counters["malformed"] += 1
        return opened, message

    def _first(self, opened: Opened, message: Message) -> bool:
        """Whether a packet says this for the first time; what is passed on (``Spread``) may say it again."""
        if isinstance(message, Spread):
            return True
        member = self.members.named(opened.sender)
        if isinstance(message, Join) and (member is None or member.card.order < message.card.order):
            return True  # what its owner has signed anew is no repetition, whatever was sealed in its name
        if self._guard.fresh(opened, member.card.epoch if member else None):
            return True
        self.counters["replayed"] += 1
        return False

    def _again(self, message: Message) -> bytes:
        """The reply to a request that was here already, or is of a former life: whoever wants to join learns that it is
        known in this life or a later one."""
        member = self.members.get(message.card.id) if isinstance(message, Join) else None
        return self._outbox.seal(Delta((member.card,)), member) if member else b""

    def _doubted(self, opened: Opened, message: Message, now: float) -> None:
        """What a member seems to say again may be new, beside a forgery from the far future (``guard.py``): its answer to a
        question is proof, and for want of one it is asked."""
        member = self.members.named(opened.sender)
        if member is None or not opened.direct or self._left or not self._guard.past(opened):
            return
        if isinstance(message, Ack) and self._swim.awaits(message.number, member.id):
            self._guard.prove(opened)
            self._handle(message, member, now)
            return
        if isinstance(message, Ping):  # it may be in the same doubt of this node
            self._outbox.tell(member, Ack(message.number, self._repair.sum(member.id)))
        self._swim.look(member.id, now)

    def _accept(self, data: bytes, sender: Address, by: Member | None, now: float) -> None:
        opened, message = self._open(data, sender, now)
        if opened is None or message is None:
            return
        if not self._first(opened, message):
            self._doubted(opened, message, now)
            return
        if isinstance(message, Who):
            # also from one who is as unknown here: two that were each restarted would ask each other for ever
            self._outbox.send(sender, self._outbox.seal(Delta((self._card,))))
            return
        member = self.members.named(opened.sender)
        if member is None or member.card.epoch < opened.epoch:
            if isinstance(message, Delta):
                self._introduced(message, sender.host, now)
            elif opened.direct:
                self._outbox.send(sender, self._outbox.seal(Who()))
            if not isinstance(message, Spread):
                return
        if isinstance(message, Spread):
            if member is None and self._join_due is not None and not self._joined:
                # It goes on along the tree of a node that is known once the cluster's state has come.
                self._early.append((data, sender))
                return
            taken = self._spreading.passed(data, message, opened.sender, by or sender, now)
            source = by or member
            self._gaps.took(taken, source.id if source else None, now)
        elif member is not None and opened.epoch == member.card.epoch:
            if not opened.direct and not isinstance(message, Got):
                if isinstance(message, Delta):
                    self._introduced(message, sender.host, now)
                return
            self._handle(message, member, now)

    def _introduced(self, message: Delta, source: str, now: float) -> None:
        """Somebody whom one asked who it is has answered."""
        taken = self._holding.take(message.items[:1], source)
        self._gaps.took(taken, None, now)
        self._spreading.tell(taken.news)

    def _handle(self, message: Message, member: Member, now: float) -> None:
        """A direct message of a member."""
        handle = self._direct.get(type(message))
        if handle is None:
            self.counters["misplaced"] += 1
        elif not self._left:
            handle(member, message, now)

    def _on_ping(self, member: Member, ping: Ping, now: float) -> None:
        ours = self._repair.sum(member.id)
        same = ours == ping.sum
        self._outbox.tell(member, Ack(ping.number, None if same else ours))
        self._compared(member, now, same=same)
        if not member.reachable:
            self._swim.look(member.id, now)
        if ping.accused is not None:
            self._rumours([ping.accused], now)

    def _on_ack(self, member: Member, ack: Ack, now: float) -> None:
        if not self._swim.acked(ack.number, member.id, now):
            self.counters["late_acks"] += 1
            return
        if ack.sum is None:
            self._confirmations.same(ack.number, member.id)
        self._compared(member, now, same=ack.sum in {None, self._repair.sum(member.id)})

    def _compared(self, member: Member, now: float, *, same: bool) -> None:
        """A node has shown whether it holds the same."""
        self._repair.compared(member.id, now, same=same)
        if same:
            self._settling.agree(member.id)

    def _on_have(self, member: Member, have: Have, now: float) -> None:
        self._confirmations.has(member.id, have.versions)
        self._repair.have(member, have, now)

    def _on_follow(self, member: Member, follow: Follow) -> None:
        """What is not held yet cannot be followed: it is asked again."""
        log = self.tables.log(member.id, follow.scope)
        if log is not None and log.epoch == follow.epoch and log.seq >= follow.seq:
            self._holding.events.append(FollowAsked(member.id, follow.scope, follow.epoch, follow.seq))


def _soonest(*dues: float | None) -> float | None:
    found = None
    for due in dues:
        if due is not None and (found is None or due < found):
            found = due
    return found
