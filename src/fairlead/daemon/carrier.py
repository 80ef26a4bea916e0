"""Carrying outcomes out: persist, apply, act, tell, in this order, and feeding back how it went.

Outcomes of different commands overlap: while one is written to disk, another may be in the kernel. Their order is kept
at each stage, so what was decided on the ground of an earlier decision is also persisted and applied after it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar, get_args

from fairlead.daemon.contract import (
    Containers,
    Crews,
    Kernel,
    Leases,
    Namespaces,
    NoCluster,
    Resolvers,
    Scoped,
    Scopes,
    Store,
)
from fairlead.daemon.errands import Errands
from fairlead.daemon.files import NameFiles
from fairlead.daemon.notices import Notices
from fairlead.daemon.repairs import tell_repairs
from fairlead.engine.engine import Engine
from fairlead.engine.holds import Held, Starting, Wanting
from fairlead.engine.outcome import (
    AlignHosts,
    CloseResolver,
    Crew,
    Discard,
    EditHosts,
    ForgetNamespace,
    JoinScope,
    LeaveScope,
    Message,
    OpenResolver,
    Outcome,
    Probe,
    Publish,
    PublishNames,
    Register,
    Release,
    Retract,
    RetractNames,
    Run,
    Signal,
    Suspend,
    Terminate,
    Unregister,
    Wake,
    WatchNamespace,
    WriteFiles,
)
from fairlead.model import codes
from fairlead.model.commands import Command, ConnectNetwork, StartContainer
from fairlead.model.errors import Conflict, Exhausted, Internal, NetError, NotFound
from fairlead.model.events import (
    Applied,
    ContainerExited,
    ContainerFailed,
    ContainerRunning,
    Event,
    Failed,
    NamespaceGone,
    Notice,
)
from fairlead.model.faults import Reach, pass_by
from fairlead.model.state import Change, NoSuchNetwork

log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: Seconds that operations get to end when the daemon stops; a stop of a container may legally wait for longer, and
#: goes on by itself (the signal was sent).
CLOSE_GRACE_S = 5.0
#: Exit code that stands for "could not be started" when the runtime says nothing better (Docker: 128).
EXIT_NOT_STARTED = 128
#: Times that a manager is asked for what one command wants; each time somebody else may have been quicker.
WANTS_MAX = 16
#: What may name a network of the cluster that this node has no part in yet.
_JOINING = (ConnectNetwork, StartContainer)

#: Fault points: an outcome is decided, persisted, applied, refused; before each act; all is done but told; a container
#: was started and nobody knows it yet; its running is recorded and nobody watches it yet; its end is known here only.
POINTS = (
    "carrier.decided",
    "carrier.written",
    "carrier.applied",
    "carrier.refused",
    *(f"act.{message.__name__}" for message in get_args(Message) if message not in (*get_args(Scoped), Crew)),
    "carrier.acted",
    "carrier.started",
    "carrier.running",
    "carrier.ended",
)

#: The acts that only members of a cluster come by.
CLUSTER_POINTS = tuple(f"act.{message.__name__}" for message in (*get_args(Scoped), Crew))

#: Does what a message of one type says; what it returns, if anything, is awaited.
Action = Callable[[Any], Awaitable[None] | None]


class Carrier:
    """Hands messages to the engine and carries its outcomes out."""

    def __init__(
        self,
        engine: Engine,
        store: Store,
        kernel: Kernel,
        resolvers: Resolvers,
        runtime: Containers,
        files: NameFiles,
        namespaces: Namespaces,
        reach: Reach = pass_by,
    ) -> None:
        self.engine = engine
        #: Where the engine's part in the cluster goes, and who gets addresses of its networks for it.
        self.gossip: Scopes = NoCluster()
        self.leases: Leases = NoCluster()
        #: Who leads requests to the tasks of services, by what they say.
        self.crews: Crews = NoCluster()
        self._reach = reach
        self._store = store
        self._kernel = kernel
        self._runtime = runtime
        self._namespaces = namespaces
        self._errands = Errands(runtime, self.feed)
        self._actions = self._table(resolvers, runtime, files)
        self._tasks: set[asyncio.Task[None]] = set()
        self._concluded: dict[int, list[asyncio.Future[None]]] = {}
        self._exits: dict[str, list[asyncio.Future[int]]] = {}
        self._removals: dict[str, list[asyncio.Future[None]]] = {}
        self._starts: dict[str, list[asyncio.Future[None]]] = {}
        self.notices = Notices()

    async def submit(self, command: Command) -> object:
        """Carry a command out and return its answer; goes on to the end even if the caller stops waiting."""
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._spawn(self._answer(self._submit(command), answer))
        return await asyncio.shield(answer)

    async def feed(self, event: Event) -> None:
        """Tell the engine a fact and carry out what it decides. What is decided is carried out to its end even if the
        caller stops waiting: an operation without an end would hold its records for ever."""
        outcome = await self._decide_in_turn(event)
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._spawn(self._answer(self.carry(outcome), answer))
        await asyncio.shield(answer)

    async def carry(self, outcome: Outcome) -> object:
        """Carry an outcome out and return its answer, or raise the error that it carries."""
        self._reach("carrier.decided")
        try:
            await self._store.write(outcome.changes)
            self._reach("carrier.written")
            if outcome.plans:
                await self._kernel.apply(self.engine.newest(outcome))
            if outcome.repair:
                await self._repair()
        except NetError as error:
            self._reach("carrier.refused")
            return await self.carry(self._decide(Failed(outcome.operation, error)))
        except Exception:  # a supervisor: what a fault of our own left half done must not stand in the records
            log.exception("an operation could not be carried out")
            fault = Internal("an error inside Fairlead", hint="the daemon's log has the details", code=codes.FAULT)
            return await self.carry(self._decide(Failed(outcome.operation, fault)))
        self._reach("carrier.applied")
        self._decide(Applied(outcome.operation))
        if _concern_leases(outcome.changes):
            self.leases.changed()
        await self.act(outcome)
        if outcome.error is not None:
            raise outcome.error
        if outcome.wait_exit:
            await self.exit_of(outcome.wait_exit)
        return outcome.reply

    async def _repair(self) -> None:
        """What cannot be mended now is told, and mended at the next occasion; nobody waits for it."""
        tell_repairs(await self._kernel.repair(self.engine.plans()))

    async def act(self, outcome: Outcome) -> None:
        """Do what comes after the kernel, and tell what happened."""
        for message in outcome.messages:
            self._reach(f"act.{type(message).__name__}")
            await self._act(self.engine.newest_message(message))
        self._reach("carrier.acted")
        for notice in outcome.notices:
            self._tell(notice)

    def exit_of(self, container_id: str) -> asyncio.Future[int]:
        """The exit code of a container when it next ends and all of its end is carried out."""
        return _expect(self._exits, container_id)

    def removal_of(self, container_id: str) -> asyncio.Future[None]:
        """Done when the container has been removed."""
        return _expect(self._removals, container_id)

    def watch(self, container_id: str, monitor_pid: int) -> None:
        """Learn of a running container's end."""
        self._runtime.watch(container_id, monitor_pid, lambda code, at: self._ended(container_id, code, at))

    async def close(self) -> None:
        """Let what is under way come to its end, for a while; who waits for a container's end is let go."""
        self._errands.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_GRACE_S)
        for task in self._tasks:
            task.cancel()

    async def _submit(self, command: Command) -> object:
        try:
            return await self.carry(await self._decide_in_turn(command))
        except NetError:
            raise
        except Exception:
            log.exception("a command failed in a way that nobody foresaw", extra={"command": repr(command)})
            raise

    async def _answer(self, work: Coroutine[object, object, object], answer: asyncio.Future[object]) -> None:
        """What work comes to is the answer."""
        try:
            reply = await work
        except asyncio.CancelledError:
            answer.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - it is the caller's
            answer.set_exception(error)
            # Whoever asked may be gone; then nobody takes the error from the future, and that is no fault.
            answer.exception()
        else:
            answer.set_result(reply)

    def _decide(self, message: Command | Event) -> Outcome:
        outcome = self.engine.handle(message, time.monotonic(), time.time())
        if isinstance(message, Applied | Failed):
            for future in self._concluded.pop(message.operation, ()):
                if not future.done():
                    future.set_result(None)
        for container_id in [one for one in self._starts if not self._is_starting(one)]:
            for future in self._starts.pop(container_id):
                if not future.done():
                    future.set_result(None)
        return outcome

    def _is_starting(self, container_id: str) -> bool:
        container = self.engine.state.containers.get(container_id)
        return container is not None and container.state.status == "starting"

    async def _decide_in_turn(self, message: Command | Event) -> Outcome:
        """Decide as soon as no operation under way has what the message wants to change, and what it wants of the
        cluster is there."""
        admitted: set[str] = set()
        wants = 0
        while True:
            try:
                return self._decide(message)
            except Held as held:
                concluded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._concluded.setdefault(held.operation, []).append(concluded)
                await concluded
            except Starting as starting:
                await _expect(self._starts, starting.container_id)
            except Wanting as wanting:
                wants += 1
                try:
                    if wants > WANTS_MAX:
                        raise Exhausted(f"network {wanting.network_id} has no address for this node") from wanting
                    await self.leases.want(wanting.network_id, wanting.count, wanting.address)
                except NetError as error:
                    return self._refuse(message, error)
            except NoSuchNetwork as missing:
                if not isinstance(message, _JOINING) or missing.ref in admitted:
                    return self._refuse(message, missing)
                admitted.add(missing.ref)
                try:
                    known = await self.leases.admit(missing.ref)
                except NetError as error:
                    return self._refuse(message, error)
                if not known:
                    return self._refuse(message, missing)

    def _refuse(self, message: Command | Event, error: NetError) -> Outcome:
        return self.engine.refuse(message, error, time.monotonic(), time.time())

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _tell(self, notice: Notice) -> None:
        self.notices.add(notice)
        if notice.type == "container" and notice.action == "destroy":
            for future in self._removals.pop(notice.id, ()):
                if not future.done():
                    future.set_result(None)

    def _table(self, resolvers: Resolvers, runtime: Containers, files: NameFiles) -> dict[type, Action]:
        """What is done at each message."""
        names = resolvers.server
        return {
            Register: lambda m: names.register(
                m.network_id, m.network_name, m.endpoint_id, m.names, m.ipv4, m.ipv6, m.ttl_s, m.ports
            ),
            Unregister: lambda m: names.unregister(m.network_id, m.endpoint_id),
            OpenResolver: resolvers.open,
            CloseResolver: resolvers.close,
            WriteFiles: lambda m: files.write(m.container_id, m.files, anew="hosts" in m.files),
            EditHosts: lambda m: files.edit_hosts(m.container_id, m.add, m.remove),
            AlignHosts: lambda m: files.align_hosts(m.container_id, m.names, m.lines, m.kept),
            WatchNamespace: self._watch_namespace,
            ForgetNamespace: lambda m: self._namespaces.forget(m.sandbox_id),
            Run: self._run,
            Signal: lambda m: runtime.signal(m.container_id, m.signal),
            Terminate: lambda m: self._spawn(self._terminate(m)),
            Release: lambda m: runtime.release(m.container_id),
            Suspend: self._errands.suspend,
            Wake: self._errands.wake,
            Probe: self._errands.probe,
            Discard: self._errands.discard,
            Crew: lambda m: self.crews.crew(m.network_id, m.service_id),
            **dict.fromkeys((JoinScope, LeaveScope, Publish, PublishNames, Retract, RetractNames), self._speak),
        }

    async def _act(self, message: Message) -> None:
        doing = self._actions[type(message)](message)
        if doing is not None:
            await doing

    def _speak(self, message: Scoped) -> None:
        self.gossip.tell(message)

    def _watch_namespace(self, message: WatchNamespace) -> None:
        identifier = message.sandbox_id
        self._namespaces.watch(identifier, message.foreign, lambda: self._spawn(self._namespace_gone(identifier)))

    async def _namespace_gone(self, sandbox_id: str) -> None:
        try:
            await self.feed(NamespaceGone(sandbox_id))
        except NetError as error:
            log.error("the end of a namespace could not be carried out", extra={"error": str(error)})

    async def _run(self, message: Run) -> None:
        container_id = message.spec.container_id
        try:
            pid, monitor_pid = await self._runtime.start(message.spec)
        except NetError as error:
            code = getattr(error, "exit_code", 0)
            code = code if code > 1 else EXIT_NOT_STARTED
            await self.feed(ContainerFailed(container_id, error.message, code, time.time()))
            return
        self._reach("carrier.started")
        await self.feed(ContainerRunning(container_id, pid, monitor_pid, time.time()))
        self._reach("carrier.running")
        self.watch(container_id, monitor_pid)

    async def _terminate(self, message: Terminate) -> None:
        """The signal, then SIGKILL when the time is over and the end has not come. The signal waits until no node sends
        anything to the container any more, but no longer than the container itself may take."""
        ended = self.exit_of(message.container_id)
        try:
            if message.networks and message.timeout_s > 0:
                await self._told_of_end(message, ended)
            await self._runtime.signal(message.container_id, message.signal)
            if message.timeout_s >= 0 and message.signal != "SIGKILL":
                done, _ = await asyncio.wait({ended}, timeout=message.timeout_s)
                if not done:
                    await self._runtime.signal(message.container_id, "SIGKILL")
        except (Conflict, NotFound):
            log.debug("process is gone already", extra={"container": message.container_id})
        except NetError as error:
            log.error("cannot signal", extra={"container": message.container_id, "error": str(error)})

    async def _told_of_end(self, message: Terminate, ended: asyncio.Future[int]) -> None:
        told = asyncio.ensure_future(self.gossip.followed(message.networks))
        either: tuple[asyncio.Future[Any], ...] = (ended, told)
        _, late = await asyncio.wait(either, timeout=message.timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if told in late:
            told.cancel()
        elif not told.cancelled() and (error := told.exception()) is not None:
            log.warning(
                "not all nodes have said that they send nothing more: %s",
                error,
                extra={"container": message.container_id},
            )

    def _ended(self, container_id: str, code: int, at: float) -> None:
        self._spawn(self._end(container_id, code, at))

    async def _end(self, container_id: str, code: int, at: float) -> None:
        self._reach("carrier.ended")
        try:
            # not by ``feed``: who waits for the removal that this may be is woken by it, and wants to find the code then
            exited = ContainerExited(container_id, code, at, self._runtime.oom_killed(container_id))
            await self.carry(await self._decide_in_turn(exited))
        except NetError as error:
            log.error("the end of a container could not be carried out", extra={"error": str(error)})
        finally:
            for future in self._exits.pop(container_id, ()):
                if not future.done():
                    future.set_result(code)


def _concern_leases(changes: tuple[Change, ...]) -> bool:
    return any(change.kind == "lease" for change in changes)


def _expect(table: dict[str, list[asyncio.Future[_T]]], container_id: str) -> asyncio.Future[_T]:
    """A future in a container's row of the table, until it is done or nobody waits for it any more."""
    future: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
    row = table.setdefault(container_id, [])
    row.append(future)

    def leave(done: asyncio.Future[_T]) -> None:
        row.remove(done)
        if not row and table.get(container_id) is row:
            del table[container_id]

    future.add_done_callback(leave)
    return future
