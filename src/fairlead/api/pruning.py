"""What all ``prune`` calls share: one at a time for each kind of object, age, and the event at the end."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from aiohttp import web

from fairlead.api.filters import Filters
from fairlead.api.moments import parse_moment
from fairlead.api.router import Call, answer
from fairlead.model import codes
from fairlead.model.errors import Conflict

#: The filters of a prune (Docker).
PRUNE_FILTERS = ("label", "label!", "until")


@dataclass(slots=True)
class Pruned:
    """What a prune has removed: names or ids for each field of the answer, and the bytes that it freed."""

    deleted: dict[str, Sequence[object]]
    reclaimed_bytes: int = 0


class Pruner:
    """The handler of one kind's prune. ``tell_space`` puts the freed bytes into the answer, which networks lack."""

    def __init__(self, kind: str, prune: Callable[[Call], Awaitable[Pruned]], *, tell_space: bool = True) -> None:
        self._kind = kind
        self._prune = prune
        self._tell_space = tell_space
        self._busy = False

    async def __call__(self, call: Call) -> web.StreamResponse:
        """Prune; 409 while another prune of the kind runs, as in Docker."""
        if self._busy:
            raise Conflict("a prune operation is already running", hint="wait for it to end", code=codes.PRUNE_BUSY)
        self._busy = True
        try:
            pruned = await self._prune(call)
        finally:
            self._busy = False
        call.node.notices.tell(self._kind, "prune", "", {"reclaimed": str(pruned.reclaimed_bytes)})
        body: dict[str, object] = {name: list(items) or None for name, items in pruned.deleted.items()}
        if self._tell_space:
            body["SpaceReclaimed"] = pruned.reclaimed_bytes
        return answer(body)


@dataclass(frozen=True, slots=True)
class Age:
    """The filter ``until``: only what was made before that moment."""

    before: float | None = field(default=None)

    @classmethod
    def asked(cls, filters: Filters) -> Age:
        """Out of the filters of a call; raises ``Invalid``."""
        return cls(min((parse_moment(text, time.time()) for text in filters.get("until")), default=None))

    def spares(self, created: float) -> bool:
        """Whether what was made at ``created`` (epoch seconds) is too young to go."""
        return self.before is not None and created >= self.before
