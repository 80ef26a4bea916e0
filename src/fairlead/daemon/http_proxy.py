"""A node's proxy: what it is to do (room ``mesh``) is brought to the HAProxy that does it (room ``runtime``).

Changes are said to it while it runs; only what cannot be said is loaded. A marker on disk stands while something is being
said, so that a daemon that finds it after a crash loads everything anew. When HAProxy ends by itself it is started again at
once, with the sockets that it had: who connects meanwhile waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from fairlead.mesh import configuration, metrics
from fairlead.mesh.change import Change, change
from fairlead.mesh.configuration import Place
from fairlead.mesh.layout import Layout, lay
from fairlead.mesh.routes import PLAIN, SECURE
from fairlead.mesh.wish import Frontends, Wish
from fairlead.model import codes
from fairlead.model.errors import NetError, Unavailable
from fairlead.runtime.haproxy import Haproxy, connections_max, user, write

log = logging.getLogger(__name__)

#: Seconds between two looks after servers that could not be deleted while requests were under way, and after the log.
_TIDY_S = 5.0
#: Seconds until a HAProxy that ended is started a second time; doubled with each further time, up to the most.
_AGAIN_S, _AGAIN_MAX_S = 0.1, 5.0
#: What HAProxy answers to commands that it has carried out (its 2.6 source; empty answers are not among them).
_DONE = (
    "New server registered",
    "Already exists a server with the same name",
    "New empty certificate store",
    "Transaction created for certificate",
    "Transaction updated for certificate",
    "Committing ",
    "Inserting certificate",
    "Success!",
    "Entry ",
    "Certificate ",
)


@dataclass(slots=True)
class ProxyStatus:
    """How the proxy is: counts are since the daemon's start; ``warnings`` are for people."""

    running: bool = False
    pid: int = 0
    changes: int = 0
    reloads: int = 0
    restarts: int = 0
    routes: int = 0
    services: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Kept:
    """What a later daemon must know of a HAProxy that it finds."""

    layout: Layout
    binds: dict[str, tuple[str, ...]] = field(default_factory=dict)
    generation: int = 0


class HttpProxy:
    """One proxy with its files in ``directory``, which reaches tasks out of the namespace at ``netns`` (a path; empty: our
    own) and listens in ours. What is asked for meanwhile waits its turn."""

    def __init__(self, directory: Path, netns: str = "") -> None:
        self._program = Haproxy(directory, netns, self._has_ended)
        self._turn = asyncio.Lock()
        self._place = Place(str(directory), {}, user(), connections_max())
        self._layout: Layout | None = None
        #: What a former daemon had it do, or was about to: only the ports are certain.
        self._recalled: Layout | None = None
        self._wish: Wish | None = None
        self._pems: dict[str, str] = {}
        self._leftovers: dict[str, None] = {}
        self._status = ProxyStatus()
        self._fault = ""
        self._wanted = False
        self._healing: asyncio.Task[None] | None = None
        self._tidying: asyncio.Task[None] | None = None

    async def start(self, wish: Wish | None) -> None:
        """Take over the HAProxy that runs; with a wish start one if none does, and have it do that. Raises ``PortInUse`` and
        ``Unavailable``."""
        async with self._turn:
            if not self._program.pid and self._program.adopt() and not self._recall():
                await self._program.stop()
            self._wanted = bool(self._program.pid)
            self._tidying = self._tidying or asyncio.get_running_loop().create_task(self._tidy())
        if wish is not None:
            await self.apply(wish)

    async def apply(self, wish: Wish) -> None:
        """Do this from now on; returns when it is done. Raises ``NetError``: then it goes on with what it did."""
        async with self._turn:
            self._wanted = True
            if wish == self._wish and self._program.pid:
                return
            digests = {one.name: hashlib.sha256(one.pem.encode()).hexdigest() for one in wish.certificates}
            pems = {one.name: one.pem for one in wish.certificates}
            layout = lay(wish, digests, self._layout)
            try:
                await self._bring(layout, pems)
            except NetError as fault:
                self._fault = str(fault)
                raise
            self._wish, self._layout, self._pems, self._fault = wish, layout, pems, ""

    async def stop(self) -> None:
        """End it, with its connections."""
        async with self._turn:
            self._wanted = False
            await self._idle()
            await self._program.stop()
            self._kept.unlink(missing_ok=True)
            self._layout = self._recalled = self._wish = None

    async def release(self) -> None:
        """Let it run on without us; a later daemon takes it over."""
        async with self._turn:
            self._wanted = False
            await self._idle()
            self._program.release()
            self._program.close_listeners()

    def status(self) -> ProxyStatus:
        """How it is."""
        layout = self._layout
        clashes = tuple(str(clash) for clash in layout.clashes) if layout else ()
        status = self._status
        status.running, status.pid = bool(self._program.pid), self._program.pid
        status.routes = sum(len(layout.maps.get(face, ())) for face in (PLAIN, SECURE, "sni")) if layout else 0
        status.services = len({slot.upstream.service_id for slot in layout.slots.values()}) if layout else 0
        status.warnings = (*clashes, *((self._fault,) if self._fault else ()))
        return status

    async def metrics(self) -> str:
        """Its numbers for Prometheus, with the names of services. Raises ``Unavailable``."""
        if self._layout is None or not self._program.pid:
            raise Unavailable("the proxy does not run", code=codes.HAPROXY_FAILED)
        return metrics.named(await self._program.metrics(), self._layout)

    # -- from one layout to the next

    async def _bring(self, layout: Layout, pems: dict[str, str]) -> None:
        before, runs = self._layout, self._layout or self._recalled
        if not self._program.pid or runs is None:
            await self._launch(layout, pems)
        elif _ports(runs.frontends) != _ports(layout.frontends):
            await self._move(runs, layout, pems)
        elif before is None:
            await self._load(layout, pems)
        else:
            step = change(before, layout, self._place, pems)
            if step is None:
                await self._load(layout, pems)
            else:
                await self._say(step, layout, pems)

    async def _launch(self, layout: Layout, pems: dict[str, str]) -> None:
        """Start it, with the sockets that we still have or new ones."""
        self._place = replace(self._place, binds=self._program.listen(_ports(layout.frontends)))
        self._write(layout, pems)
        await self._program.start(self._place.generation)
        self._leftovers.clear()
        self._keep(layout)

    async def _move(self, before: Layout, layout: Layout, pems: dict[str, str]) -> None:
        """Other ports: HAProxy cannot be handed sockets while it runs. If they cannot be had, it stays where it was."""
        await self._program.stop()
        try:
            await self._launch(layout, pems)
        except NetError:
            self._program.close_listeners()
            await self._launch(before, self._pems)
            raise

    async def _load(self, layout: Layout, pems: dict[str, str]) -> None:
        """Load everything anew, without losing a connection."""
        self._write(layout, pems)
        await self._program.reload(self._place.generation)
        self._leftovers.clear()
        self._status.reloads += 1
        self._keep(layout)

    async def _say(self, step: Change, layout: Layout, pems: dict[str, str]) -> None:
        """Tell it what has changed; if it does not understand, everything is loaded anew."""
        if not step.commands and not step.gone:
            return
        self._marker.touch()
        try:
            answers = await self._program.say(self._place.generation, step.commands)
        except Unavailable as fault:
            answers = [str(fault)]
        strange = [answer for answer in answers if not answer.startswith(_DONE)]
        if strange:
            log.warning("HAProxy answered %r: its configuration is loaded anew", strange[0])
            await self._load(layout, pems)
            return
        self._status.changes += 1
        for name, slot in layout.slots.items():
            for server in slot.servers:
                self._leftovers.pop(f"{name}/{server.name}", None)
        self._leftovers.update(dict.fromkeys(step.gone))
        self._keep(layout)

    # -- what lies on disk

    @property
    def _kept(self) -> Path:
        return Path(self._place.directory, "layout.json")

    @property
    def _marker(self) -> Path:
        return Path(self._place.directory, "changing")

    def _write(self, layout: Layout, pems: dict[str, str]) -> None:
        """The next configuration. From here on it is not certain what runs."""
        self._place = replace(self._place, generation=self._place.generation + 1)
        found = configuration.files(layout, self._place)
        found |= {self._place.certificate(name): pem for name, pem in pems.items()}
        found[f"{self._place.directory}/haproxy.cfg"] = configuration.text(layout, self._place)
        self._program.lay_out(found)
        self._marker.touch()
        self._remember(layout)

    def _keep(self, layout: Layout) -> None:
        """This is what runs."""
        self._remember(layout)
        self._marker.unlink(missing_ok=True)

    def _remember(self, layout: Layout) -> None:
        kept = _Kept(layout, self._place.binds, self._place.generation)
        write(self._kept, msgspec.json.encode(kept).decode())

    def _recall(self) -> bool:
        """What the HAProxy that was taken over does; False if nothing is known of it, not even its ports. If it is not certain
        what it does, everything is loaded anew with the first wish."""
        try:
            kept = msgspec.json.decode(self._kept.read_bytes(), type=_Kept)
            pems = {name: Path(self._place.certificate(name)).read_text() for name in kept.layout.certificates}
        except (OSError, msgspec.MsgspecError):
            return False
        self._place = replace(self._place, binds=kept.binds, generation=kept.generation)
        self._recalled, self._pems = kept.layout, pems
        if not self._marker.exists():
            self._layout = kept.layout
        return True

    # -- when it ends by itself

    def _has_ended(self) -> None:
        if self._wanted and self._healing is None:
            log.error("HAProxy has ended; it is started again")
            self._healing = asyncio.get_running_loop().create_task(self._heal())

    async def _heal(self) -> None:
        pause = _AGAIN_S
        try:
            while self._wanted:
                async with self._turn:
                    if self._program.pid or self._layout is None:
                        return
                    try:
                        await self._launch(self._layout, self._pems)
                    except NetError as fault:
                        self._fault = str(fault)
                        log.error("HAProxy cannot be started: %s", fault)
                    else:
                        self._status.restarts += 1
                        self._fault = ""
                        return
                await asyncio.sleep(pause)
                pause = min(2 * pause, _AGAIN_MAX_S)
        finally:
            self._healing = None

    async def _tidy(self) -> None:
        """Delete servers that nothing uses any more."""
        while True:
            await asyncio.sleep(_TIDY_S)
            async with self._turn:
                if self._program.pid:
                    self._program.trim_log()
                    await self._sweep()

    async def _sweep(self) -> None:
        for key in list(self._leftovers):
            with contextlib.suppress(Unavailable):
                answers = await self._program.say(self._place.generation, [f"del server {key}"])
                if not any("still has" in answer for answer in answers):
                    del self._leftovers[key]

    async def _idle(self) -> None:
        """Stop looking after it."""
        chores = [chore for chore in (self._healing, self._tidying) if chore is not None]
        self._tidying = None
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*chores, return_exceptions=True)


def _ports(frontends: Frontends) -> dict[str, int]:
    ports = {PLAIN: frontends.http_port, SECURE: frontends.https_port}
    return {face: port for face, port in ports.items() if port}
