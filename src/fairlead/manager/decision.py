"""What the manager wants done, in the order in which it must be done: persist, push, tell."""

from __future__ import annotations

from dataclasses import dataclass

from fairlead.model.cluster import ClusterRecord
from fairlead.model.errors import NetError
from fairlead.model.events import Notice
from fairlead.model.session import ManagerMessage


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as the store has it, with the store's revision of its last change."""

    record: ClusterRecord
    revision: int


@dataclass(frozen=True, slots=True)
class Write:
    """Put ``record`` under (``kind``, ``id``), or delete it (None), if the store's revision of that key is ``revision`` (0:
    absent)."""

    kind: str
    id: str
    record: ClusterRecord | None
    revision: int


@dataclass(frozen=True, slots=True)
class Push:
    """Say ``message`` in ``session`` of ``node_id``; if that session has ended it is nothing."""

    node_id: str
    session: int
    message: ManagerMessage


@dataclass(frozen=True, slots=True)
class Answer:
    """What a ticket was waited for: ``reply``, or ``error`` to raise."""

    ticket: str
    reply: object = None
    error: NetError | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision. ``writes`` are one transaction, refused as a whole when a revision differs; nothing of ``pushes``,
    ``notices``, ``answers`` and ``reply`` may leave before it stands. With a ``ticket`` the caller's answer comes in the
    ``answers`` of a later decision. ``wake_at`` is when (monotonic seconds) ``Tick`` is due at the latest; it replaces the
    one before."""

    writes: tuple[Write, ...] = ()
    pushes: tuple[Push, ...] = ()
    notices: tuple[Notice, ...] = ()
    reply: object = None
    ticket: str = ""
    answers: tuple[Answer, ...] = ()
    wake_at: float | None = None
