"""SWIM as published (DSN 2002, with the suspicions of its section 4.2), to be compared with: nothing of Lifeguard.

One member of a shuffled list is probed each period: a ping, after half the period three others are asked, and who has not
answered at the period's end is *suspected* before all. Suspicions, like deaths, are believed by whoever hears them; a
suspicion that its subject has not refuted, by a greater incarnation, after a fixed time is a death. Nobody looks for
itself, nobody doubts itself, no refusal and no late clock is heeded, and who is accused hears of it like all others.

What memberlist adds beside Lifeguard is kept: the fixed time grows with log10 of the members, the dead are pinged on, and
told so, lest they stay dead for ever. News goes down our trees at once, not with the next ping: that favours SWIM.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from fairlead.gossip.identity import NodeId
from fairlead.gossip.members import Member, Opinion
from fairlead.gossip.swim import Probe, Stage, Swim

#: Others asked about a node that does not answer (memberlist's ``IndirectChecks``).
ASKED = 3
#: Periods for which a suspicion may be refuted, times log10 of the members (Lifeguard's alpha for its SWIM).
SUSPICION_PERIODS = 5


class PlainSwim(Swim):
    """Probes without Lifeguard."""

    def __init__(self, *arguments: Any, **callbacks: Any) -> None:
        super().__init__(*arguments, **callbacks)
        #: Whom somebody suspects: the order of which card, and when it is dead.
        self._suspicions: dict[NodeId, tuple[tuple[int, int], float]] = {}

    def deadline(self) -> float:
        """When ``tick`` is wanted next."""
        self._due = min([super().deadline(), *(due for _, due in self._suspicions.values())])
        return self._due

    def tick(self, now: float) -> None:
        """Do what is due."""
        for subject in [subject for subject, (_, due) in self._suspicions.items() if due <= now]:
            order, _ = self._suspicions.pop(subject)
            member = self._members.get(subject)
            if member is not None and member.suspected and member.card.order == order:
                self._lose(subject, 0, now)
        super().tick(now)

    def rumour(self, opinion: Opinion, now: float) -> None:
        """Others say that a node is suspected, or dead: so it is."""
        if opinion.suspect:
            self._suspect(opinion, now)
        else:
            self._lose(opinion.id, opinion.level, now)

    def sought(self, number: int, reached: bool, now: float) -> None:
        """An asked node has answered; that it could not reach the other is not said in SWIM."""
        if reached:
            super().sought(number, reached, now)

    def refused(self, subject: NodeId, now: float, *, sure: bool) -> None:
        """A refusal is no evidence here."""

    def forget(self, subject: NodeId) -> None:
        """A node has left."""
        super().forget(subject)
        self._suspicions.pop(subject, None)

    def _probe_some(self, now: float) -> None:
        subject = self._next_shuffled([])
        if subject is not None:
            self.suspicious(subject, now)

    def _timeout(self, subject: NodeId) -> float:
        return self._settings.probe_period_s / 2

    def _ask_others(self, probe: Probe, member: Member, now: float) -> None:
        probe.stage = Stage.INDIRECT
        self._have_sought(probe, ASKED, now)
        probe.deadline = now + probe.timeout

    def _accuse(self, probe: Probe, now: float) -> None:
        member = self._members.get(probe.subject)
        self._finish(probe, reached=False)
        if member is not None and member.reachable and not member.suspected:
            self._counters["suspicions"] += 1
            self._members.suspect(member.id)
            suspicion = replace(member.opinion, suspect=True)
            self._suspect(suspicion, now)
            self._tell([suspicion])

    def _suspect(self, opinion: Opinion, now: float) -> None:
        order, due = self._suspicions.get(opinion.id, ((-1, -1), now))
        if order < opinion.order:
            periods = SUSPICION_PERIODS * max(1.0, math.log10(len(self._members)))
            due = now + periods * self._settings.probe_period_s
            self._suspicions[opinion.id] = (opinion.order, due)

    def _reached(self, probe: Probe, now: float) -> None:
        self._finish(probe, reached=True)

    def _send(self, probe: Probe, now: float, accused: Opinion | None = None) -> None:
        member = self._members.get(probe.subject)
        super()._send(probe, now, member.opinion if member is not None and not member.reachable else None)

    def _stretch(self) -> int:
        return 1

    def _ran_late(self, late: float, now: float) -> None:
        pass

    def _worse(self) -> None:
        pass
