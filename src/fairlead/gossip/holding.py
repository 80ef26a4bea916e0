"""All that a node holds, members and tables, and what it believes of what it is told.

Cards, blocks and heads are checked here, once, before anything else sees them. What is forged changes nothing; it is
counted against whoever sent it, since a node that passes on what it has checked itself sends no forgery (SEC-27).
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fairlead.gossip.blocks import Block, Checked, Head, genuine
from fairlead.gossip.contract import (
    EpochTaken,
    Event,
    MemberChanged,
    MemberDown,
    MemberLeft,
    MemberUp,
    RecordChanged,
)
from fairlead.gossip.identity import Identity, NodeId
from fairlead.gossip.log import Change, Version
from fairlead.gossip.members import Card, Member, Members, Opinion, genuine_card
from fairlead.gossip.messages import Item
from fairlead.gossip.tables import Tables
from fairlead.gossip.views import CLUSTER

#: Blocks and heads kept whose owner's card has not come yet, and their bytes; an owner's share is a quarter. The oldest
#: owners' go first.
ORPHANS_MAX, ORPHANS_BYTES_MAX = 2048, 4 * 1024 * 1024
#: Senders of forgeries that are remembered by name.
FORGERS_MAX = 256


@dataclass(slots=True)
class Taken:
    """What of some items was news, what was said about this node or against others' life, and which logs moved."""

    news: list[Item] = field(default_factory=list)
    rumours: list[Opinion] = field(default_factory=list)
    logs: list[tuple[NodeId, str]] = field(default_factory=list)


class Holding:
    """Members, tables, and the events that their changes are."""

    def __init__(self, identity: Identity, members: Members, tables: Tables, counters: Counter[str]) -> None:
        self.own = identity.id
        self.members = members
        self.tables = tables
        self.networks: set[str] = set()
        self.events: list[Event] = []
        self.forgers: Counter[str] = Counter()
        self._counters = counters
        self._verify = identity.verified
        self._checked = Checked(identity.verified)
        self._orphans: OrderedDict[NodeId, list[tuple[Block | Head, str]]] = OrderedDict()
        self.orphaned = self.orphaned_bytes = 0
        self._outlived = -1

    def take(self, items: Sequence[Item], by: str) -> Taken:
        """Take what ``by`` sent: what is genuine and new is held from now on. Who has sealed one forgery is not listened to
        any further: each costs as much to find out as it costs to make a thousand."""
        taken, forged = Taken(), self._counters["forged"]
        for item in items:
            if self._counters["forged"] != forged:
                break
            if isinstance(item, Block):
                self._take_block(item, by, taken)
            elif isinstance(item, Head):
                self._take_head(item, by, taken)
            elif isinstance(item, Opinion):
                self._take_opinion(item, taken)
            else:
                self._take_card(item, by, taken)
        return taken

    def lacks(self, opinions: Iterable[Opinion]) -> tuple[list[NodeId], list[Opinion]]:
        """Whose cards somebody has newer, and which opinions that differ from what is held here."""
        cards: list[NodeId] = []
        others: list[Opinion] = []
        for opinion in opinions:
            known = self.members.get(opinion.id)
            if known is None or known.card.order < opinion.order:
                cards.append(opinion.id)
            elif known.card.order == opinion.order and known.level < opinion.level:
                others.append(opinion)
        return cards, others

    def stands(self, before: Member | None, after: Member) -> None:
        """Make of what is believed now what readers see, and tell the daemon."""
        was, card = before is not None and before.reachable, after.card
        if after.reachable:
            self.seen(self.tables.show(after.id))
            if before is None or not was or before.card.epoch != card.epoch:
                self.events.append(MemberUp(after.id, card.address, card.metadata, card.epoch))
            elif (before.card.address, before.card.metadata) != (card.address, card.metadata):
                self.events.append(MemberChanged(after.id, card.address, card.metadata))
            return
        if after.card.left:
            if before is None or not before.card.left:
                self.events.append(MemberLeft(after.id, card.address))
        elif was or before is None:
            self.events.append(MemberDown(after.id, card.address))
        self.seen(self.tables.hide(after.id))

    def seen(self, changes: Iterable[Change]) -> None:
        """Tell the daemon what readers see change."""
        for change in changes:
            record = change.after or change.before
            if record is None:
                continue
            name = (record.scope, record.table, record.key)
            self.events.append(RecordChanged(*name, record.owner, change.before, change.after))
        for identifier, epoch in self.tables.views.removals():
            removed = self.members.remove(identifier, epoch)
            if removed is not None:
                self.events.append(MemberLeft(identifier, removed.card.address))
                self.seen(self.tables.expel(identifier))

    def shared(self, with_node: NodeId) -> list[str]:
        """The scopes that a node and this one are both in, sorted."""
        both = (network for network in self.networks if self.tables.counts(with_node, network))
        return [CLUSTER, *sorted(network for network in both if self.tables.counts(self.own, network))]

    def forged(self, by: str, what: str) -> None:
        """Somebody sent what its owner never said."""
        self._counters["forged"] += 1
        self._counters[f"forged_{what}"] += 1
        if by in self.forgers or len(self.forgers) < FORGERS_MAX:
            self.forgers[by] += 1

    def _take_card(self, card: Card, by: str, taken: Taken) -> None:
        identifier = card.id
        known = self.members.get(identifier)
        if known is not None and card.order <= known.card.order:
            return
        if identifier == self.own:
            self._counters["twins"] += 1
            if genuine_card(card, self._verify):
                self._outlive(card.epoch)
            return
        if not genuine_card(card, self._verify):
            self.forged(by, "cards")
            return
        member = self.members.meet(card)
        if member is None:
            self._counters["cards_refused"] += 1
            return
        taken.news.append(card)
        self.stands(known, member)
        orphans = self._orphans.pop(identifier, None)
        if orphans:
            for item, source in orphans:
                self._unadopt(item)
                taken.logs += self.take([item], source).logs

    def _take_opinion(self, opinion: Opinion, taken: Taken) -> None:
        known = self.members.get(opinion.id)
        if known is None or known.card.left or opinion.order != known.card.order:
            return
        if opinion.suspect:
            if opinion.level == known.level and known.reachable and not known.suspected:
                taken.news.append(opinion)
                taken.rumours.append(opinion)
                if opinion.id != self.own:
                    self.members.suspect(opinion.id)
            return
        if opinion.level <= known.level:
            return
        taken.news.append(opinion)
        if opinion.dead and (known.reachable or opinion.id == self.own):
            taken.rumours.append(opinion)
            if opinion.id != self.own:
                # Until it is known, news (this above all) also goes to those behind it.
                self.members.suspect(opinion.id)
            return
        member = self.members.judge(opinion)
        if member is not None:
            self.stands(known, member)

    def _take_block(self, block: Block, by: str, taken: Taken) -> None:
        if block.owner == self.own:
            self._take_own(block)
        if not self._wanted(block) or self.tables.knows(block):
            self._counters["blocks_again"] += 1
            return
        member = self.members.get(block.owner)
        if member is None:
            self._adopt(block, by, taken)
            return
        if not genuine(block, member.card.public_key, self._checked):
            self.forged(by, "blocks")
            return
        self._counters["blocks"] += 1
        self._offer(block, None, [block], taken)

    def _take_own(self, block: Block) -> None:
        """Others have something of this node's own: perhaps what it did not say in this life."""
        card = self.members.card
        log = self.tables.log(self.own, block.scope)
        beyond = block.epoch > card.epoch or (block.epoch == card.epoch and log is not None and block.last > log.seq)
        if beyond and genuine(block, card.public_key, self._checked):
            self._outlive(block.epoch)

    def known_before(self, items: Iterable[Item]) -> None:
        """This node's first word has been answered by its own card: somebody has had that word, or a later one, before."""
        for item in items:
            own = isinstance(item, Card) and item.id == self.own and item.order >= self.members.card.order
            if isinstance(item, Card) and own and genuine_card(item, self._verify):
                self._outlive(item.epoch)

    def _outlive(self, epoch: int) -> None:
        if epoch > self._outlived:
            self._outlived = epoch
            self.events.append(EpochTaken(epoch))

    def _take_head(self, head: Head, by: str, taken: Taken) -> None:
        log = self.tables.log(head.owner, head.scope)
        known = log.version if log else Version()
        if not self._wanted(head) or (head.epoch, head.rank) <= (known.epoch, known.head):
            return
        member = self.members.get(head.owner)
        if member is None:
            self._adopt(head, by, taken)
            return
        if not genuine(head, member.card.public_key, self._checked):
            self.forged(by, "heads")
            return
        self._offer(head, head, [], taken)

    def _offer(self, item: Block | Head, head: Head | None, blocks: list[Block], taken: Taken) -> None:
        self.seen(self.tables.offer(item.owner, item.scope, head, blocks))
        taken.news.append(item)
        taken.logs.append((item.owner, item.scope))

    def _wanted(self, item: Block | Head) -> bool:
        if item.owner == self.own or item.epoch <= self.members.banned.get(item.owner, -1):
            return False
        return item.scope == CLUSTER or item.scope in self.networks

    def _adopt(self, item: Block | Head, by: str, taken: Taken) -> None:
        """Keep what cannot be checked yet; it is passed on, since others may know its owner."""
        mine = self._orphans.get(item.owner, [])
        if any(item == known for known, _ in mine):
            return
        size = len(item.body)
        if len(mine) >= ORPHANS_MAX // 4 or size > ORPHANS_BYTES_MAX // 4:
            self._counters["orphans_dropped"] += 1
            return
        taken.news.append(item)
        self._orphans.setdefault(item.owner, mine).append((item, by))
        self.orphaned += 1
        self.orphaned_bytes += size
        while self.orphaned > ORPHANS_MAX or self.orphaned_bytes > ORPHANS_BYTES_MAX:
            _, dropped = self._orphans.popitem(last=False)
            for old, _ in dropped:
                self._unadopt(old)
            self._counters["orphans_dropped"] += len(dropped)

    def _unadopt(self, item: Block | Head) -> None:
        self.orphaned -= 1
        self.orphaned_bytes -= len(item.body)
