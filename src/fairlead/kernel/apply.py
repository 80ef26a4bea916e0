"""The front door of the room: ``Kernel``."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from fairlead.kernel import foreign, host, netns, observe, ports, strangers, tables, tunnels, xfrm
from fairlead.kernel.counters import Counters
from fairlead.kernel.errno import Refused, from_os
from fairlead.kernel.executor import PHASES, STAGES, Executor
from fairlead.kernel.ipsec import Ipsec
from fairlead.kernel.machine import Machine
from fairlead.kernel.netlink import Netlink
from fairlead.kernel.reckoning import Ledger, everything, inverse
from fairlead.kernel.repair import mend, repair, theirs_in
from fairlead.kernel.strangers import Strangers
from fairlead.kernel.watch import Damage, DamageWatch, Listener, together
from fairlead.kernel.worker import Worker
from fairlead.model.events import HostChanged
from fairlead.model.faults import Reach, pass_by
from fairlead.plan.diff import Create, Delete, Step
from fairlead.plan.objects import Exact, Plan, Veth
from fairlead.plan.xfrm import ExactXfrm

log = logging.getLogger(__name__)

_R = TypeVar("_R")
#: What ``sockets_in`` makes: family, type, address, port.
SocketSpec = tuple[int, int, str, int]
#: Connections of a TCP socket of ours that may wait to be accepted.
_BACKLOG = 128
#: Fault points: before each stage of each kind of run, and after its last.
POINTS = tuple(f"{phase}.{stage}" for phase in PHASES for stage in (*STAGES, "done"))


class Kernel:
    """The Linux of one node: its own namespace (that of the thread that makes this) and the sandboxes in ``netns_dir``.

    Everything that is awaited here runs, in the order of the calls, in one worker thread. Raises ``Refused`` or
    ``HostPortInUse`` (both ``NetError`` with the failing plan object as ``object``) and, when the firewall library is
    missing, ``OSError``.
    """

    def __init__(self, netns_dir: str, reach: Reach = pass_by) -> None:
        ports.raise_file_limit()
        self._machine = Machine(netns_dir, reach)
        self._ledger = Ledger()
        self._watch: host.HostWatch | None = None
        self._damage_watch: DamageWatch | None = None
        self._worker = Worker(self._patience, self._tidy)
        self.ipsec = Ipsec(self._ask, self._machine, self._ledger)
        self.counters = Counters(self._ask, self._machine)

    async def apply(self, plans: Mapping[str, Plan]) -> None:
        """Each owner named has the plan given from now on, instead of the one it had (empty: nothing any more). When
        something fails, what was done is undone, the old plans stand, and the first failure is raised."""
        await self._ask(lambda: self._apply(plans))

    async def repair(self, plans: Mapping[str, Plan] | None = None) -> list[str]:
        """These plans (None: those that stand) are the whole truth: make it so without disturbing what is so already,
        take leftovers of ours away; what was done, in words. What cannot be mended is told in a line that begins with
        ``could not``."""
        return await self._ask(lambda: self._repair(plans))

    async def observe(self) -> Plan:
        """Everything of ours that stands; settings and acts are not state that can be told ours, so they are not in it."""
        return await self._ask(self._observe)

    async def host_facts(self) -> HostChanged:
        """The host's own prefixes and addresses."""
        return await self._ask(self._facts)

    async def watch(self, callback: Callable[[HostChanged], None]) -> None:
        """Call back on this event loop whenever the host's facts have changed, until ``close``."""
        if self._watch is not None:
            self._watch.close()
        events = await self._ask(lambda: Netlink(groups=host.GROUPS))
        known = await self.host_facts()
        self._watch = host.HostWatch(events, lambda: self._machine.own_indices, self.host_facts, callback, known)

    async def heed(self, mended: Callable[[list[str], str], None], changed: Callable[[], None]) -> None:
        """From now on what others damage is mended at once, and told on this event loop: what was done in words, as
        ``repair`` says it, and the program that did the damage (empty: unknown). ``changed`` is told that firewall
        tables of others have changed."""
        listener = await self._ask(self._listen)

        async def mend(damages: Sequence[Damage]) -> None:
            damage = together(damages)
            words = await self._ask(lambda: self._mend(damage))
            if words:
                mended(words, damage.by)

        self._damage_watch = DamageWatch(listener, mend, changed)

    async def sockets_in(self, netns_name: str, specs: Sequence[SocketSpec]) -> list[socket.socket]:
        """Bound, non-blocking sockets of a sandbox; those of type ``SOCK_STREAM`` listen. Each (family, type, address,
        port). When one cannot be made, none is left open."""
        return await self._ask(lambda: self._sockets(netns_name, specs))

    def fresh_sockets(self, netns_name: str, family: int, kind: int, count: int) -> list[socket.socket]:
        """Unbound sockets of a sandbox, made by the calling thread. Raises ``OSError``; then none is left open."""
        return netns.fresh_sockets(self._machine.path(netns_name), family, kind, count)

    async def find_foreign(self, target: str, *, pid: int = 0, path: str = "") -> foreign.Found:
        """What is found in the namespace of a process or behind a file; ``target`` is how the user calls it. Raises
        ``NotFound``, ``Invalid`` for what is no namespace or the host's own, ``Conflict`` for another Fairlead's."""
        return await self._ask(lambda: self._find_foreign(target, pid, path))

    async def strangers(self) -> Strangers:
        """Bridges and firewalls of the node's own namespace that are not ours."""
        return await self._ask(self._strangers)

    async def answer(self) -> None:
        """Return when the worker has done what was asked before: it lives."""
        await self._ask(lambda: None)

    async def close(self) -> None:
        """Delete what waits for deletion and let go of everything; what stands in Linux stays."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self._damage_watch is not None:
            self._damage_watch.close()
        await self._ask(self._machine.close)
        await asyncio.to_thread(self._worker.stop)

    async def _ask(self, job: Callable[[], _R]) -> _R:
        return await asyncio.wrap_future(self._worker.submit(job))

    def _patience(self) -> float | None:
        machine = self._machine
        waits = (machine.trash.patience(), machine.stale.patience(), machine.fading.patience())
        return min((wait for wait in waits if wait is not None), default=None)

    def _tidy(self) -> None:
        self._machine.stale.flush()
        self._machine.trash.purge_slice()
        self._machine.fading.settle()

    def _apply(self, plans: Mapping[str, Plan]) -> None:
        steps = self._ledger.steps(plans)
        if steps:
            executor = Executor(
                self._machine, whole=lambda ns: self._ledger.firewall(ns, plans), standing=self._ledger.keys
            )
            executor.run(steps)
            if executor.failures:
                self._undo(executor, plans)
                raise executor.failures[0]
        self._ledger.settle(plans)
        self._sweep(steps)

    def _sweep(self, steps: Sequence[Step]) -> None:
        """Tunnels of which everything is known now forget what is old. What they keep meanwhile is mended at the next
        repair."""
        links = [step.object for step in steps if isinstance(step, Create) and isinstance(step.object, Exact)]
        if links:
            try:
                for words in tunnels.sweep(self._machine, links, self._ledger.peers_of(links)):
                    log.info("%s: nobody has it any more", words)
            except OSError as error:
                log.warning("tunnels could not be compared with the records: %s", error)
        if any(isinstance(step, Create) and isinstance(step.object, ExactXfrm) for step in steps):
            try:
                for words in xfrm.sweep(self._ledger.keys):
                    log.info("%s: nobody needs it any more", words)
            except OSError as error:
                log.warning("encryption between nodes could not be compared with the records: %s", error)

    def _undo(self, failed: Executor, plans: Mapping[str, Plan]) -> None:
        before = self._ledger.objects(plans)
        # a pair whose sandbox was to be dropped lost its near end only; the far one still has its name
        lost = [step.object for step in failed.touched if isinstance(step, Delete)]
        with suppress(OSError):
            self._machine.trash.take([item for item in lost if isinstance(item, Veth)], ())
        back = Executor(
            self._machine,
            whole=lambda ns: self._ledger.firewall(ns, {}),
            go_on=True,
            phase="undo",
            standing=self._ledger.keys,
        )
        back.run(inverse(failed.touched, before))

    def _listen(self) -> Listener:
        listener = self._machine.listener = Listener()
        with self._machine.firewall("") as nft:
            listener.open_firewall(nft.port)
        with self._machine.enter("") as netlink:
            listener.open("", "", netlink.socket.getsockname()[0])
        for name in observe.namespaces(self._machine.netns_dir)[0]:
            self._machine.listen(name)
        return listener

    def _mend(self, damage: Damage) -> list[str]:
        words: list[str] = []
        try:
            if damage.all:
                words = repair(self._machine, self._ledger.everything())
            elif damage.tables:
                with self._machine.firewall("") as nft:
                    if self._machine.listener is not None:
                        # the library opens another socket when a listing was disturbed: our own work must not be heard
                        self._machine.listener.open_firewall(nft.port)
                    tables.remake(nft, "", self._ledger.firewall("", {}))
                words = [f"made table {name} anew" for name in sorted(damage.tables)]
            owners = [] if damage.all else self._ledger.concerned(damage.links, damage.spaces)
            if owners:
                words += mend(
                    self._machine, self._ledger.objects(owners), theirs_in(self._ledger.everything().values())
                )
        except (Refused, OSError) as failure:
            words.append(f"could not mend: {failure}")
        return words

    def _repair(self, plans: Mapping[str, Plan] | None) -> list[str]:
        if plans is None:
            return repair(self._machine, self._ledger.everything())
        words = repair(self._machine, everything(plans))
        self._ledger.replace(plans)
        return words

    def _observe(self) -> Plan:
        try:
            seen = observe.look(self._machine)
            spaces, _ = observe.namespaces(self._machine.netns_dir)
            firewall = observe.firewall(self._machine, ("", *spaces))
        except OSError as error:
            raise from_os(error, "look at the network") from error
        return Plan([*seen.objects, *firewall, *self._machine.holds.held])

    def _facts(self) -> HostChanged:
        try:
            with self._machine.enter("") as netlink:
                return host.facts(netlink)
        except OSError as error:
            raise from_os(error, "look at the host's addresses") from error

    def _find_foreign(self, target: str, pid: int, path: str) -> foreign.Found:
        try:
            return foreign.look(self._machine, target, pid, path)
        except OSError as error:
            raise from_os(error, f"look at {target}") from error

    def _strangers(self) -> Strangers:
        try:
            with self._machine.enter("") as netlink:
                bridges = host.foreign_bridges(netlink)
            with self._machine.firewall("") as nft:
                return strangers.look(bridges, nft.run_json_terse("list chains"))
        except OSError as error:
            raise from_os(error, "look at the host's bridges and firewalls") from error

    def _sockets(self, netns_name: str, specs: Sequence[SocketSpec]) -> list[socket.socket]:
        made: list[socket.socket] = []
        try:
            with netns.inside(self._machine.path(netns_name)):
                for family, kind, address, port in specs:
                    made.append(socket.socket(family, kind | socket.SOCK_CLOEXEC))
                    _prepare(made[-1], address, port)
        except OSError as error:
            for opened in made:
                opened.close()
            raise from_os(error, f"open a socket in network namespace {netns_name}") from error
        return made


def _prepare(fresh: socket.socket, address: str, port: int) -> None:
    fresh.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if fresh.family == socket.AF_INET6:
        fresh.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    fresh.bind((address, port))
    if fresh.type == socket.SOCK_STREAM:
        fresh.listen(_BACKLOG)
    fresh.setblocking(False)
