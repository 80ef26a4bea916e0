"""Who is alive: probing, asking others, believing what one sees more than what one hears.

Theory of operation. Each period a node probes two others: its successor on the ring of ids, so that everybody is probed
once a period whatever N is, and the next of a shuffled list (SWIM section 4.3), so that two nodes that cannot reach each
other find out. A probe goes through these stages:

    stage      entered when                       what is done                                 left when
    direct     the period begins                  ping                                         an ack; or time-out T
    indirect   no ack within T                    ping again, ask up to 4 others, try TCP      an ack; somebody reached it; all asked
                                                                                               could not; or 4 T
    suspect    nobody reached it                  tell it (buddy), twice                       an ack; or 2 T: dead
    alone      nobody answered at all             suspect, and doubt oneself                   an ack; or ALONE_S: dead
    rumour     another says that it is dead       ping three times; where packets get lost     an ack: contradicted; or all
                                                  six times, and try TCP                       unanswered: dead

T comes from measured round trips. A connection that is refused (nobody listens on the
port) ends a probe at once; a datagram that is refused has one tried, for any stranger can say so of a datagram. Lifeguard (arXiv
1707.00788): a node that finds itself slow, by answers that others do not miss or by clock ticks that come late, stretches
its periods and time-outs; whoever is accused is told first.

The dead are pinged on, all nodes together about ``LOST_PINGS_PER_S`` times a second each, so a partition heals at the
first contact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from random import Random

from fairlead.gossip.contract import GossipSettings
from fairlead.gossip.identity import NodeId
from fairlead.gossip.members import Member, Members, Opinion
from fairlead.gossip.messages import Done, Message, Ping, Seek, Sought, Try
from fairlead.gossip.outbox import Outbox

#: Time-out of a probe: three round trips, but no less than what a scheduler takes its time for, and no more than leaves
#: detection within 2 s (seconds).
TIMEOUT_S_MIN, TIMEOUT_S_MAX, TIMEOUT_S_UNKNOWN = 0.05, 0.2, 0.1
#: Others asked about a node that does not answer (SWIM's k; memberlist asks 3).
OBSERVERS = 4
#: Pings to one who is said to be dead, and to one whom another seeks.
RUMOUR_PINGS, LOOK_PINGS = 3, 3
#: Pings, those before included, to one who is suspected; twice as many where packets get lost.
SUSPECT_PINGS = 4
#: Seconds for which a node that hears nobody at all still holds the others to be alive.
ALONE_S = 3.0
#: Lifeguard's largest local health score.
HEALTH_MAX = 8
#: Pings that all nodes together send the dead.
LOST_PINGS_PER_S = 2.5
LOST_PERIOD_S_MIN = 0.4
#: A clock tick later than this (seconds) tells that this node did not run: its time-outs are extended by as much.
LATE_S = 0.05
#: Seconds over which the nodes of a cluster spread their own look at an accused one, and what each node adds to it.
LOOK_S_MAX, LOOK_S_EACH = 0.05, 0.0005
#: Looks under way for which a node spreads the next ones over twice the time, and so on: where many are said to be dead at
#: once (halves of a cluster meet again) each says itself that it lives before all others have asked.
LOOKS_SPREAD = 8
#: So many numbers are there for pings: nobody who does not hear the question guesses one (32 bits).
NUMBERS = 2**32
#: Seconds for which pings are expected to be lost when one was.
LOSSY_S = 30.0
#: Pings whose answer is still of use, at most: even a late one tells how long answers take.
NUMBERS_MAX = 4096
#: Answers of others that are under way at most.
SEEKS_MAX = 1024


class Stage(Enum):
    """How far a probe has come; the table is at the head of this module."""

    DIRECT = 1
    INDIRECT = 2
    SUSPECT = 3
    ALONE = 4
    RUMOUR = 5
    #: For another node that asked, or to see whether a dead one is back.
    LOOK = 6


@dataclass(slots=True)
class Probe:
    """One question whether ``subject`` lives."""

    subject: NodeId
    stage: Stage
    deadline: float
    timeout: float
    pings: int = 0
    asked: int = 0
    failed: int = 0
    level: int = 0
    #: Whether a connection is being tried, or was.
    tried: bool = False
    #: When a probe that nobody answers is given up (``ALONE``).
    until: float = 0.0
    sent: set[int] = field(default_factory=set)
    askers: list[tuple[NodeId, int]] = field(default_factory=list)


class Swim:
    """Probes. ``turned`` is called with what is believed before and after, ``tell`` with what all should hear."""

    def __init__(
        self,
        members: Members,
        outbox: Outbox,
        settings: GossipSettings,
        chance: Random,
        counters: Counter[str],
        now: float,
        *,
        ping: Callable[[Member, int, Opinion | None], Ping],
        turned: Callable[[Member, Member, float], None],
        tell: Callable[[Iterable[Opinion]], None],
        lossy: Callable[[float], bool],
    ) -> None:
        self._members = members
        self._outbox = outbox
        self._settings = settings
        self._chance = chance
        self._counters = counters
        self._ping = ping
        self._turned = turned
        self._tell = tell
        self._lossy = lossy
        self._lossy_until = float("-inf")
        self.health = 0
        self.rtt: dict[NodeId, float] = {}
        self.lost_since: dict[NodeId, float] = {}
        self._probes: dict[NodeId, Probe] = {}
        #: Number of a ping or a question -> whom it is about, when it was sent, and whether it was a probe's first.
        self._numbers: dict[int, tuple[NodeId, float, bool]] = {}
        #: What round trips take of late, whoever answers: when this node or its host is busy, all are slow.
        self.pace = 0.0
        self._order: list[NodeId] = []
        self._next_probe = now + chance.random() * settings.probe_period_s
        self._next_lost = now
        self._due = self._next_probe

    def deadline(self) -> float:
        """When ``tick`` is wanted next."""
        due = self._next_probe
        if self._members.lost:
            due = min(due, self._next_lost)
        if self._probes:
            due = min(due, *(probe.deadline for probe in self._probes.values()))
        self._due = due
        return due

    def tick(self, now: float) -> None:
        """Do what is due."""
        late = now - self._due
        if late > LATE_S:
            self._ran_late(late, now)
        self._due = now
        for probe in [probe for probe in self._probes.values() if probe.deadline <= now]:
            self._go_on(probe, now)
        if now >= self._next_probe:
            period = self._settings.probe_period_s * self._stretch()
            self._next_probe = max(self._next_probe + period, now + period / 2)
            self._probe_some(now)
        if self._members.lost and now >= self._next_lost:
            self._next_lost = now + self._lost_period() * (0.5 + self._chance.random())
            lost = sorted(self._members.lost)
            self.look(lost[self._chance.randrange(len(lost))], now)

    def awaits(self, number: int, sender: NodeId) -> bool:
        """Whether a ping of this number to a node is not answered yet."""
        return self._numbers.get(number, (None,))[0] == sender

    def acked(self, number: int, sender: NodeId, now: float) -> bool:
        """A node has answered a ping; whether it was one that was under way."""
        subject, sent, first = self._numbers.get(number, (None, now, True))
        if subject != sender:
            return False
        del self._numbers[number]
        rtt = now - sent
        self.rtt[sender] = rtt if sender not in self.rtt else 0.8 * self.rtt[sender] + 0.2 * rtt
        self.pace += (rtt - self.pace) * (0.5 if rtt > self.pace else 0.1)
        probe = self._probes.get(sender)
        if probe is None or number not in probe.sent:
            # It comes late, but it comes: who was given up for dead meanwhile is looked at again.
            member = self._members.get(sender)
            if member is not None and not member.reachable:
                self.look(sender, now)
            return True
        if not first:
            # Answers come in order: the one to the first ping will not come any more.
            self._lossy_until = now + LOSSY_S
        elif probe.stage is Stage.DIRECT and self.health:
            self.health -= 1
        self._reached(probe, now)
        return True

    def seek(self, asker: Member, number: int, subject: NodeId, now: float) -> None:
        """Another node asks whether one can reach ``subject``."""
        if self._members.get(subject) is None or subject == self._members.own or len(self._probes) >= SEEKS_MAX:
            return
        self.look(subject, now)
        probe = self._probes[subject]
        if len(probe.askers) < 2 * OBSERVERS:
            probe.askers.append((asker.id, number))
        if probe.stage in {Stage.SUSPECT, Stage.ALONE}:
            self._answer(probe, reached=False)

    def sought(self, number: int, reached: bool, now: float) -> None:
        """An asked node has answered."""
        subject = self._numbers.get(number, (None, now, True))[0]
        probe = self._probes.get(subject) if subject else None
        if probe is None or number not in probe.sent:
            return
        if reached:
            self._reached(probe, now)
            return
        probe.failed += 1
        if probe.stage is Stage.INDIRECT and probe.failed >= probe.asked:
            self._accuse(probe, now)
        elif probe.stage is Stage.ALONE:
            # An answer that took longer than the wait for it: the fault is not here.
            probe.stage, probe.deadline = Stage.SUSPECT, min(probe.deadline, now + probe.timeout)

    def rumour(self, opinion: Opinion, now: float) -> None:
        """Others say that a node is dead: look oneself before it is believed."""
        probe = self._probes.get(opinion.id)
        if probe is not None and probe.stage is not Stage.LOOK:
            probe.level = max(probe.level, opinion.level)
            if probe.stage in {Stage.SUSPECT, Stage.ALONE}:
                self._bury(probe, now)
            elif probe.stage is not Stage.RUMOUR:
                probe.stage, probe.deadline = Stage.RUMOUR, min(probe.deadline, now + probe.timeout)
            return
        spread = min(LOOK_S_MAX, LOOK_S_EACH * len(self._members)) * (1 + len(self._probes) / LOOKS_SPREAD)
        wait = spread * self._chance.random()
        askers = probe.askers if probe else []
        fresh = Probe(opinion.id, Stage.RUMOUR, now + wait, self._timeout(opinion.id), level=opinion.level)
        fresh.askers = askers
        self._probes[opinion.id] = fresh

    def look(self, subject: NodeId, now: float) -> None:
        """Ping a node now, to see whether it answers."""
        if subject not in self._probes and subject != self._members.own:
            probe = self._probes[subject] = Probe(subject, Stage.LOOK, now, self._timeout(subject))
            self._send(probe, now)
            probe.deadline = now + probe.timeout

    def suspicious(self, subject: NodeId, now: float) -> None:
        """There is reason to probe a node out of its turn: a lifeline broke, or somebody who is lost has spoken."""
        member = self._members.get(subject)
        probe = self._probes.get(subject)
        if member is None or not member.reachable or (probe is not None and probe.stage is not Stage.LOOK):
            return
        self._probes[subject] = Probe(subject, Stage.DIRECT, now, self._timeout(subject))
        self._send(self._probes[subject], now)
        self._probes[subject].deadline = now + self._probes[subject].timeout

    def refused(self, subject: NodeId, now: float, *, sure: bool) -> None:
        """Nobody listens where a node should: when it is being probed, it is dead. Who is not ``sure`` connects to be."""
        member, probe = self._members.get(subject), self._probes.get(subject)
        if member is None or probe is None:
            return
        self._counters["refusals"] += 1
        if not sure:
            if not probe.tried:
                self._try(probe, member)
        elif member.reachable and (probe.stage is not Stage.LOOK or probe.askers):
            self._bury(probe, now)
        elif probe.stage is Stage.LOOK:
            self._finish(probe, reached=False)

    def doubted(self) -> None:
        """Others doubt this node: it is likely to be slow (Lifeguard)."""
        self._worse()

    def forget(self, subject: NodeId) -> None:
        """A node has left: it is not probed any more."""
        self._probes.pop(subject, None)
        for table in (self.rtt, self.lost_since):
            table.pop(subject, None)

    def _probe_some(self, now: float) -> None:
        chosen = [member.id for member in self._members.successors(1)]
        if (other := self._next_shuffled(chosen)) is not None:
            chosen.append(other)
        for subject in chosen:
            if subject not in self._probes:
                self.suspicious(subject, now)

    def _next_shuffled(self, but: list[NodeId]) -> NodeId | None:
        for _ in range(2):
            while self._order:
                subject = self._order.pop()
                member = self._members.get(subject)
                if member is not None and member.reachable and subject not in but:
                    return subject
            self._order = [member for member in self._members.ring if member != self._members.own]
            self._chance.shuffle(self._order)
        return None

    def _go_on(self, probe: Probe, now: float) -> None:
        """A probe's deadline has passed without an answer."""
        member = self._members.get(probe.subject)
        if member is None or member.card.left:
            self.forget(probe.subject)
        elif probe.stage is Stage.RUMOUR and not (probe.pings or probe.askers) and member.level > probe.level:
            # Another has looked already and seen it alive: a thousand need not.
            self._finish(probe, reached=True)
        elif probe.stage is Stage.DIRECT:
            self._ask_others(probe, member, now)
        elif probe.stage is Stage.INDIRECT:
            self._accuse(probe, now)
        elif probe.stage is Stage.SUSPECT and probe.pings < SUSPECT_PINGS * self._patience(now):
            self._send(probe, now, member.opinion)
            probe.deadline = now + probe.timeout
        elif probe.stage is Stage.ALONE and now < probe.until:
            self._send(probe, now, member.opinion)
            probe.deadline = min(now + probe.timeout, probe.until)
        elif probe.stage in {Stage.RUMOUR, Stage.LOOK} and probe.pings < self._pings_wanted(probe, now):
            if probe.stage is Stage.RUMOUR and probe.pings == RUMOUR_PINGS and not probe.tried:
                self._try(probe, member)
            self._send(probe, now)
            probe.deadline = now + probe.timeout
        elif probe.stage is Stage.LOOK:
            self._finish(probe, reached=False)
        else:
            self._bury(probe, now)

    def _patience(self, now: float) -> int:
        """How many times as many pings must go unanswered, as packets get lost of late or do not."""
        return 2 if now < self._lossy_until or self._lossy(now) else 1

    def _pings_wanted(self, probe: Probe, now: float) -> int:
        """How many go unanswered until a rumour is believed, or a look is over. Where packets get lost of late it is twice
        as many, and a stream is tried: at 10 % loss one rumour in 150 would else be believed for nothing."""
        if probe.stage is Stage.RUMOUR:
            return RUMOUR_PINGS * self._patience(now)
        return LOOK_PINGS if probe.askers else 1

    def _ask_others(self, probe: Probe, member: Member, now: float) -> None:
        probe.stage = Stage.INDIRECT
        self._send(probe, now)
        self._have_sought(probe, OBSERVERS, now)
        self._try(probe, member)
        probe.deadline = now + 4 * probe.timeout

    def _have_sought(self, probe: Probe, count: int, now: float) -> None:
        others = [
            node
            for node in self._members.ring
            if node not in self._members.lost and node not in {probe.subject, self._members.own}
        ]
        asked = self._chance.sample(others, min(count, len(others)))
        probe.asked = len(asked)
        number = self._number(probe, now)
        for node in asked:
            observer = self._members.get(node)
            if observer is not None:
                self._outbox.tell(observer, Seek(number, probe.subject))

    def _try(self, probe: Probe, member: Member) -> None:
        probe.tried = True
        packet = self._outbox.seal(Try(), member)
        subject = probe.subject
        self._outbox.ask(
            member.card.address, packet, lambda answer, then: self._tried(subject, answer, then), 4 * probe.timeout
        )

    def _tried(self, subject: NodeId, answer: Message | None, now: float) -> None:
        probe = self._probes.get(subject)
        if isinstance(answer, Done) and probe is not None:
            self._counters["reached_by_stream"] += 1
            self._reached(probe, now)

    def _accuse(self, probe: Probe, now: float) -> None:
        """Nobody whom one asked could reach it; or nobody answered at all, then the fault may be here."""
        member = self._members.get(probe.subject)
        if member is None:
            return
        self._worse_by_silence(probe)
        # Two that ask each other about a third would both wait for the other's answer, and each think itself alone.
        self._answer(probe, reached=False)
        alone = bool(probe.asked) and not probe.failed
        probe.stage = Stage.ALONE if alone else Stage.SUSPECT
        self._members.suspect(probe.subject)
        self._counters["suspicions"] += 1
        probe.pings = 2
        self._send(probe, now, member.opinion)
        probe.until = now + ALONE_S
        probe.deadline = now + probe.timeout

    def _bury(self, probe: Probe, now: float) -> None:
        self._finish(probe, reached=False)
        self._lose(probe.subject, probe.level, now)

    def _lose(self, subject: NodeId, level: int, now: float) -> None:
        before = self._members.get(subject)
        after = self._members.lose(subject, level)
        if before is not None and after is not None:
            self.lost_since[subject] = now
            self._counters["deaths"] += 1
            self._turned(before, after, now)
            if after.level > level:
                # What others have said is on its way to all by their trees: each telling it again would be N trees.
                self._tell([after.opinion])

    def _reached(self, probe: Probe, now: float) -> None:
        before = self._members.get(probe.subject)
        after = self._members.see(probe.subject, probe.level)
        self._finish(probe, reached=True)
        if before is not None and after is not None and after.level != before.level:
            self.lost_since.pop(probe.subject, None)
            self._turned(before, after, now)
            self._tell([after.opinion])

    def _finish(self, probe: Probe, *, reached: bool) -> None:
        self._probes.pop(probe.subject, None)
        self._answer(probe, reached=reached)

    def _answer(self, probe: Probe, *, reached: bool) -> None:
        """Tell those who asked what one has seen."""
        askers, probe.askers = probe.askers, []
        for asker, number in askers:
            member = self._members.get(asker)
            if member is not None:
                self._outbox.tell(member, Sought(number, reached))

    def _send(self, probe: Probe, now: float, accused: Opinion | None = None) -> None:
        member = self._members.get(probe.subject)
        if member is not None:
            probe.pings += 1
            self._outbox.tell(member, self._ping(member, self._number(probe, now), accused))

    def _number(self, probe: Probe, now: float) -> int:
        number = self._chance.randrange(NUMBERS)
        while number in self._numbers:
            number = (number + 1) % NUMBERS
        self._numbers[number] = (probe.subject, now, not probe.sent)
        probe.sent.add(number)
        while len(self._numbers) > NUMBERS_MAX:
            del self._numbers[next(iter(self._numbers))]
        return number

    def _timeout(self, subject: NodeId) -> float:
        rtt = self.rtt.get(subject)
        wanted = TIMEOUT_S_UNKNOWN if rtt is None else 3 * max(rtt, self.pace)
        return min(max(wanted, TIMEOUT_S_MIN), TIMEOUT_S_MAX) * self._stretch()

    def _stretch(self) -> int:
        return 1 + self.health

    def _ran_late(self, late: float, now: float) -> None:
        self._counters["late_ticks"] += 1
        self._worse()
        for probe in self._probes.values():
            # not longer than one more question takes: it must go on asking, not just wait
            probe.deadline = min(probe.deadline + late, max(probe.deadline, now) + probe.timeout)
            probe.until += late

    def _worse(self) -> None:
        self.health = min(self.health + 1, HEALTH_MAX)

    def _worse_by_silence(self, probe: Probe) -> None:
        if probe.asked > probe.failed:
            self._worse()

    def _lost_period(self) -> float:
        living = len(self._members.ring) - len(self._members.lost)
        return max(LOST_PERIOD_S_MIN, living / LOST_PINGS_PER_S / max(1, len(self._members.lost)))
