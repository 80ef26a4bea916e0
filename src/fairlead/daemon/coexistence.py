"""Living beside others on one host: what they damage is mended and told, what they have is found and told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterator, Sequence

from fairlead.daemon.notices import Notices
from fairlead.engine.engine import Engine
from fairlead.kernel.apply import Kernel
from fairlead.kernel.hooks import HOOKS
from fairlead.kernel.strangers import Strangers
from fairlead.model.errors import Invalid, NetError
from fairlead.plan.objects import Bridge

log = logging.getLogger(__name__)

#: Lines of one mending that are logged each; a stranger who removes everything gives thousands.
_LINES_MAX = 20


class Coexistence:
    """Watches over what others do, on one event loop. ``repairs`` counts the times that something was mended."""

    def __init__(
        self, kernel: Kernel, engine: Engine, notices: Notices, node_id: str, hooks: Sequence[str] = ()
    ) -> None:
        unknown = sorted(set(hooks) - set(HOOKS))
        if unknown:
            raise Invalid(f"unknown firewall hook: {', '.join(unknown)}", hint=f"there are {', '.join(HOOKS)}")
        self.repairs = 0
        self.strangers = Strangers()
        self._kernel = kernel
        self._engine = engine
        self._notices = notices
        self._node_id = node_id
        self._hooks = [HOOKS[name]() for name in hooks]
        self._unwanted = [hook() for name, hook in HOOKS.items() if name not in hooks]
        self._hooked: tuple[str, ...] = ()
        self._hooking = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Look around, and listen from now on; hooks of a life before that are not wanted now are taken out."""
        await self._survey()
        self._spawn(self._unhook())
        await self._kernel.heed(self._mended, self._changed)
        if self._hooks:
            self._spawn(self._follow())

    async def close(self) -> None:
        """Listen no more; what hooks let through goes on, as the containers do."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def driver(self) -> str:
        """The firewall in Docker's word for it (``info``)."""
        return "nftables+firewalld" if self.strangers.firewalld else "nftables"

    @property
    def asks(self) -> bool:
        """Whether the host's own filters decide about published ports."""
        return self._engine.core.node.ask_host_firewall

    def rows(self) -> list[tuple[str, str]]:
        """What ``info`` tells of the firewall."""
        others = [name for name in ("docker", "firewalld", "ufw") if getattr(self.strangers, name)]
        found = [("Repairs", str(self.repairs)), ("Beside", ", ".join(others) or "none")]
        found += [("Hook", name) for name in self._hooked]
        return found

    def warnings(self) -> tuple[str, ...]:
        """What an operator should do."""
        return tuple(_warnings(self.strangers, self._hooked))

    def _mended(self, words: list[str], by: str) -> None:
        self.repairs += 1
        who = by or "another program"
        for text in words[:_LINES_MAX]:
            log.log(logging.ERROR if text.startswith("could not") else logging.WARNING, "%s, after %s", text, who)
        attributes = {"by": by, "count": str(len(words)), "what": words[0]}
        self._notices.tell("daemon", "repair", self._node_id, attributes)

    def _changed(self) -> None:
        self._spawn(self._survey())

    async def _hook(self) -> None:
        """See that hooks are in place; nobody waits for it, since others' programs take their time."""
        async with self._hooking:
            hooked = [hook.name for hook in self._hooks if await hook.put(self.strangers, self._bridges())]
        self._hooked = tuple(hooked)

    async def _unhook(self) -> None:
        async with self._hooking:
            for hook in self._unwanted:
                if hook.name in self.strangers.hooked:
                    await hook.take()

    async def _follow(self) -> None:
        """Keep hooks in step with our bridges."""
        async for notice in self._notices.subscribe(None):
            if notice.type == "network" and notice.action in ("create", "destroy"):
                await self._survey()

    def _bridges(self) -> list[str]:
        core = self._engine.core
        plans = map(core.network_plan, core.state.networks.values())
        return sorted({item.name for plan in plans for item in plan.values() if isinstance(item, Bridge)})

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _survey(self) -> None:
        try:
            before, self.strangers = self.strangers, await self._kernel.strangers()
        except NetError as error:
            log.warning("cannot look at other firewalls: %s", error)
            return
        self._spawn(self._hook())
        if self.strangers != before:
            for text in self.warnings():
                log.warning("%s", text)


def _warnings(strangers: Strangers, hooked: tuple[str, ...]) -> Iterator[str]:
    if strangers.dropping_forward and not ({"docker-user", "firewalld"} & set(hooked)):
        chains = ", ".join(strangers.dropping_forward)
        advice = "start the daemon with --firewall-hook docker-user" if strangers.docker else "allow our bridges there"
        if strangers.ufw:
            advice += ", or `ufw route allow in on BRIDGE`"
        yield f"{chains} drops forwarded packets, those of containers among them: {advice} (docs/firewall.md)"
    if strangers.firewalld and "firewalld" not in hooked:
        yield (
            "firewalld refuses what containers send to other hosts unless their bridges are in a zone that may: start "
            "the daemon with --firewall-hook firewalld (docs/firewall.md)"
        )
    if strangers.legacy:
        yield "rules of the old iptables are in use, which cannot be seen here: `iptables-legacy -S` shows them"
