"""The node's agent: holds a session with a manager and carries out what it is assigned.

What a node has of the cluster (networks, leases, keys, who the managers are) is kept here, in the store and in one file,
so that without managers everything goes on, also over a restart. Towards a manager the agent says levels, never steps:
what is held, what is wanted, what is free. So it does not matter which manager hears it, or how often.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from fairlead.daemon.carrier import Carrier
from fairlead.daemon.cluster import checksums, datapath, keepsake, stock
from fairlead.daemon.cluster.contract import Managers, Mesh, MeshOrders, Place, Session
from fairlead.daemon.cluster.encryption import Encryption, Ipsec
from fairlead.daemon.cluster.gossiping import GOSSIP_PORT, Gossiping
from fairlead.daemon.cluster.tasks import Host, Tasks
from fairlead.daemon.cluster.tasks_output import Telling
from fairlead.daemon.contract import NoCluster
from fairlead.gossip.identity import Address
from fairlead.model import codes
from fairlead.model.cluster import HEARTBEAT_S, NodeDescription, Ring
from fairlead.model.commands import InstallNetwork, WithdrawNetwork
from fairlead.model.errors import Exhausted, Forbidden, NetError, Unavailable
from fairlead.model.events import BalancersFound, DataPath, LeasesGranted, LeasesRevoked
from fairlead.model.faults import Reach, pass_by
from fairlead.model.http_mesh import RoutedService
from fairlead.model.session import (
    Assignments,
    Dismissed,
    Forget,
    Forgotten,
    Heartbeat,
    Hello,
    KeyReport,
    Keys,
    LeaseReturn,
    LeaseUse,
    LeaseWish,
    Leaving,
    NetworkGrant,
    NetworkWish,
    NodeView,
    Resync,
    Settings,
    StatusReport,
    TaskReport,
)

log = logging.getLogger(__name__)

#: What the agent keeps, in the node's folder of the cluster.
KEPT_FILE = "agent.json"
#: Seconds until a session is tried for again; doubled each time, up to the second number (swarmkit's agent).
AGAIN_S, AGAIN_S_MAX = 0.1, 8.0
#: Part of a heartbeat's period by which it is shifted at random, so that nodes do not speak in step (swarmkit: 0.5 of 5 s).
JITTER = 0.1
#: Seconds that a command waits for a session that is just being made, before it is told that no manager answers.
SESSION_WAIT_S = 3.0
#: Seconds for a network that was granted to come, which takes some milliseconds: a bug's limit.
GRANT_WAIT_S = 10.0
#: Seconds after which a wish for a fuller reserve that a manager could not meet is said again.
WISH_AGAIN_S = 10.0
#: Seconds after which a report that a manager could not note, since its store failed, is said again.
REPORT_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Kept:
    """What was assigned and is in no other record. ``removing``: networks that are to go; ``routes``: services with routes of
    the HTTP mesh, by id."""

    keys: Keys | None = None
    rings: dict[str, Ring] = field(default_factory=dict)
    removing: tuple[str, ...] = ()
    settings: Settings | None = None
    routes: dict[str, RoutedService] = field(default_factory=dict)


class Agent:
    """One of a member. It is ``carrier.leases`` while it runs."""

    def __init__(
        self,
        place: Place,
        managers: Managers,
        carrier: Carrier,
        gossiping: Gossiping,
        host: Host,
        ipsec: Ipsec,
        reach: Reach = pass_by,
        look: checksums.Look = checksums.nowhere,
        mesh: Mesh | None = None,
    ) -> None:
        self._place = place
        self._look = look
        self._mesh = mesh
        self._managers = managers
        self._carrier = carrier
        self._gossiping = gossiping
        self._path = Path(place.folder) / KEPT_FILE
        self._kept = keepsake.read_value(self._path, Kept) or Kept()
        self._mtu = 0
        others = carrier.engine.core.stations
        self._encryption = Encryption(place, ipsec, carrier.feed, gossiping.tell, others, self._encryption_changed)
        self._session: Session | None = None
        self._version = ""
        self._open = asyncio.Event()
        self._changed = asyncio.Event()
        self._applied = asyncio.Condition()
        self._moved = asyncio.Event()
        self._stock = stock.Stock(carrier.engine.state)
        self._reports = asyncio.Event()
        #: The tasks of services that this node carries out.
        self.tasks = Tasks(place, host, self._reports.set, reach)
        self._tasks: set[asyncio.Task[None]] = set()
        self._chance = random.SystemRandom()

    async def start(self) -> None:
        """Take up what was assigned before, and look for a manager."""
        self._carrier.leases = self
        path = await asyncio.to_thread(datapath.quick, self._place, self._hosts())
        await self._tell_path(path)
        await self._encryption.start(self._kept.keys.data if self._kept.keys else None)
        for network_id, ring in self._kept.rings.items():
            self._gossiping.set_ring(network_id, ring)
        self._trust()
        await self._speak_at_last()
        await self.tasks.start()
        if self._mesh is not None:
            await self._mesh.start(self._mesh_orders())
        self._spawn(self._measure(path))
        self._spawn(self._encryption.watch())
        self._spawn(self._live())

    async def close(self) -> None:
        """End; what stands in Linux stays."""
        await self._call_off()
        if self._mesh is not None:
            await self._mesh.close()
        await self.tasks.close()
        await self._gossiping.stop()
        self._carrier.leases = NoCluster()

    async def leave(self) -> None:
        """End for good: say farewell to managers and members, and give back all that is of the cluster. Raises
        ``NetError`` when something of it cannot be taken away."""
        if self._session is not None:
            with suppress(NetError):
                await self._session.send(Leaving())
        await self._call_off()
        if self._mesh is not None:
            await self._mesh.leave()
        await self.tasks.leave()
        state = self._carrier.engine.state
        await self._carrier.feed(LeasesRevoked(tuple(state.leases)))
        for network in [network for network in state.networks.values() if network.scope == "swarm"]:
            await self._carrier.submit(WithdrawNetwork(network.id))
        await self._gossiping.stop(leave=True)
        await self._encryption.leave()
        await self._carrier.feed(DataPath(""))
        await asyncio.to_thread(self._path.unlink, missing_ok=True)
        self._carrier.leases = NoCluster()

    async def want(self, network_id: str, count: int, address: str) -> None:
        """Get leases from a manager; as ``daemon.contract.Leases``. Without one, what rests here is waited for."""
        try:
            session = await self._connected(network_id)
        except Unavailable:
            rests = any(lease.resting for lease in self._stock.of(network_id))
            if address or not rests or not await self._is_free(network_id):
                raise
            return
        total = 0 if address else len(self._stock.of(network_id)) + count
        granted = await session.ask(LeaseWish(network_id, total, address, needed=True))
        if isinstance(granted, tuple) and granted:
            await self._carrier.feed(LeasesGranted(tuple(map(stock.as_kept, granted))))
        elif address or not await self._is_free(network_id):
            raise Exhausted(
                f"no available IPv4 addresses on this network's address pools: {network_id}",
                hint="a manager can make the network larger; `fairlead network inspect` shows what is in use",
            )

    async def _is_free(self, network_id: str) -> bool:
        """Whether a lease is free, or becomes so: one that the manager counts as ours is still on its way to us, or one
        that rests is soon forgotten by everybody."""
        with suppress(TimeoutError):
            async with asyncio.timeout(GRANT_WAIT_S):
                while not self._stock.free(network_id):
                    await self._moved.wait()
        return bool(self._stock.free(network_id))

    async def admit(self, network: str, *, own: bool = False) -> bool:
        """Take part in a network of the cluster; as ``daemon.contract.Leases``."""
        try:
            session = await self._connected(network)
        except Unavailable:
            return False
        granted = await session.ask(NetworkWish(network, own))
        if not isinstance(granted, NetworkGrant):
            return False
        networks, wanted = self._carrier.engine.state.networks, granted.network_id
        try:
            async with asyncio.timeout(GRANT_WAIT_S), self._applied:
                await self._applied.wait_for(lambda: wanted in networks)
        except TimeoutError as error:
            raise Unavailable(
                f"network {network} was granted by a manager and did not come for {GRANT_WAIT_S:g} s",
                hint="the daemon's log says why; try again",
                code=codes.NO_MANAGER,
            ) from error
        return True

    def changed(self) -> None:
        """Leases are used in another way: the manager is told, and the reserve looked after."""
        self._changed.set()
        self._moved.set()
        self._moved = asyncio.Event()

    async def _live(self) -> None:
        """Hold a session with any manager that answers, for ever."""
        wait_s = AGAIN_S
        while True:
            await self._speak_at_last()
            try:
                session = await self._managers.open()
            except Forbidden as error:
                log.error("this node is no member of its cluster any more: %s", error)
                self._managers.removed()
                return
            except NetError as error:
                log.log(logging.WARNING if wait_s == AGAIN_S else logging.DEBUG, "no manager answers: %s", error)
            else:
                self._version = ""
                if await self._converse(session):
                    self._managers.removed()
                    return
                wait_s = AGAIN_S if self._version else wait_s
            await asyncio.sleep(wait_s * self._chance.uniform(1 - JITTER, 1 + JITTER))
            wait_s = min(2 * wait_s, AGAIN_S_MAX)

    async def _converse(self, session: Session) -> bool:
        """One session from its beginning to its end. True when this node was told that it is out."""
        orders: asyncio.Queue[Assignments] = asyncio.Queue()
        doings = (self._beat(session), self._follow(session, orders), self._report(session))
        chores = [asyncio.ensure_future(chore) for chore in doings]
        telling = Telling(self.tasks, session)
        try:
            await session.send(self._hello())
            while (message := await session.receive()) is not None:
                if isinstance(message, Dismissed):
                    log.warning("the manager ended the session: %s", message.reason)
                    return message.removed
                if isinstance(message, Assignments):
                    orders.put_nowait(message)
                else:
                    telling.order(message)
        except NetError as error:
            log.warning("the session with manager %s broke: %s", session.manager or "here", error)
        finally:
            self._session = None
            self._open.clear()
            for chore in chores:
                chore.cancel()
            await asyncio.gather(*chores, return_exceptions=True)
            await telling.close()
            with suppress(NetError):
                await session.close()
        return False

    async def _beat(self, session: Session) -> None:
        """Signs of life. The gossip that could not begin is begun with them."""
        while True:
            settings = self._kept.settings
            period_s = settings.heartbeat_s if settings else HEARTBEAT_S
            await asyncio.sleep(period_s * self._chance.uniform(1 - JITTER, 1 + JITTER))
            with suppress(NetError):
                await session.send(Heartbeat())
            await self._speak_at_last()

    async def _report(self, session: Session) -> None:
        """Tell how tasks are, once all of them and then each change, again and again until the manager has noted it.
        What changes meanwhile goes together."""
        everything = True
        while True:
            await self._reports.wait()
            self._reports.clear()
            if self._session is not session:
                continue
            statuses = self.tasks.statuses() if everything else self.tasks.unsaid()
            if not statuses:
                continue
            try:
                await session.ask(TaskReport(statuses))
                everything = False
            except Unavailable as error:
                self.tasks.say_again(statuses)
                log.debug("the session broke: %s", error)
                return
            except NetError as error:
                self.tasks.say_again(statuses)
                log.warning("a manager could not note how tasks are: %s", error)
                await asyncio.sleep(REPORT_AGAIN_S)
                self._reports.set()

    async def _follow(self, session: Session, orders: asyncio.Queue[Assignments]) -> None:
        """Carry out what comes, in order; and say what is wanted and free whenever that changes."""
        tending = asyncio.ensure_future(self._tend(session))
        try:
            while True:
                news = await orders.get()
                if not news.full and news.applies_to != self._version:
                    await session.send(Resync())
                    continue
                await self._apply(news, session)
                self._version = news.results_in
                self._session = session
                self._open.set()
                self._changed.set()
                self._reports.set()
                async with self._applied:
                    self._applied.notify_all()
        except Unavailable as error:
            log.debug("the session broke: %s", error)
        except Exception:  # a supervisor: the session ends and begins anew, with everything told again
            log.exception("assignments could not be carried out")
            await session.close()
        finally:
            tending.cancel()
            await asyncio.gather(tending, return_exceptions=True)

    async def _apply(self, news: Assignments, session: Session) -> None:
        """Have what is assigned: kept on disk first, then the gossip, then the engine."""
        kept = self._kept
        gone = set(kept.rings) - {item.network.id for item in news.networks} if news.full else set(news.networks_gone)
        rings = {**kept.rings, **{item.network.id: item.ring for item in news.networks}}
        named = {item.network.id for item in news.networks}
        removing = {item.network.id for item in news.networks if item.removing} | (set(kept.removing) - named)
        routes = ({} if news.full else kept.routes) | {one.id: one for one in news.routes}
        self._kept = Kept(
            news.keys or kept.keys,
            {network_id: ring for network_id, ring in rings.items() if network_id not in gone},
            tuple(sorted(removing - gone)),
            news.settings or kept.settings,
            {service_id: one for service_id, one in routes.items() if service_id not in news.routes_gone},
        )
        if self._kept != kept:
            await asyncio.to_thread(keepsake.write_value, self._path, self._kept)
        if news.settings is not None:
            self._managers.learn(news.settings.managers)
            self._managers.trust(news.settings.roots)
            self._trust()
        speaks = news.keys is not None and await self._try_to_speak(news.keys)
        self._stock.recalled(
            news.recall
        )  # before leases are for no task any more: none of them is the start of a reserve
        if news.keys is not None:
            await self._encryption.use(news.keys.data)
        await self._apply_networks(news, gone)
        if speaks:  # the keys of single networks, which go with them, are in use by now too
            await session.send(self._keys())
        if self._mesh is not None:
            self._mesh.assign(self._mesh_orders())
        await self.tasks.assign(news.tasks, news.tasks_gone, full=news.full)
        for wish in news.forget:
            self._spawn(self._forget(session, wish))
        if news.node is not None:
            self._apply_node(news.node)

    async def _apply_networks(self, news: Assignments, gone: set[str]) -> None:
        revoked = self._stock.unnamed(news.leases) if news.full else news.leases_gone
        if revoked:
            await self._try(LeasesRevoked(tuple(revoked)))
        self._stock.taken_back(revoked)
        for item in news.networks:
            self._gossiping.set_ring(item.network.id, item.ring)
            await self._try(InstallNetwork(item.network))
        granted = self._stock.welcome(news.leases)
        if granted:
            await self._try(LeasesGranted(granted))
        for network_id in gone:
            await self._try(WithdrawNetwork(network_id))
            self._gossiping.set_ring(network_id, None)

    def _mesh_orders(self) -> MeshOrders:
        settings = self._kept.settings
        return MeshOrders(settings.http_mesh if settings else None, self._kept.routes, self._kept.removing)

    def _apply_node(self, view: NodeView) -> None:
        self._managers.become(view.role, renew=view.renew)

    async def _try(self, message: InstallNetwork | WithdrawNetwork | LeasesGranted | LeasesRevoked) -> None:
        """Have the engine do it. What it cannot is told and does not keep the rest from being done."""
        try:
            if isinstance(message, InstallNetwork | WithdrawNetwork):
                await self._carrier.submit(message)
            else:
                await self._carrier.feed(message)
        except NetError as error:
            log.error("what a manager assigned could not be done: %s", error, extra={"kind": type(message).__name__})

    async def _tend(self, session: Session) -> None:
        """Tell what leases are used for, fill the reserve up, give back what is too much."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(WISH_AGAIN_S if self._stock.unmet else None):
                    await self._changed.wait()
            self._changed.clear()
            if self._session is not session:
                continue
            try:
                uses = self._stock.uses()
                if uses:
                    await session.send(LeaseUse(uses))
                for wish in self._stock.wishes(self._kept.rings, self._kept.removing):
                    await self._fill_up(session, wish)
                surplus = self._stock.surplus(self._kept.removing)
                if surplus:
                    await self._carrier.feed(LeasesRevoked(tuple(lease.id for lease in surplus), idle=True))
                returns = self._stock.returns(surplus)
                if returns:
                    await session.send(LeaseReturn(returns))
            except Unavailable as error:
                log.debug("the session broke: %s", error)
            except NetError as error:
                log.error("the reserve of addresses could not be looked after: %s", error)

    async def _fill_up(self, session: Session, wish: LeaseWish) -> None:
        try:
            granted = await session.ask(wish)
        except Unavailable:
            raise
        except NetError as error:
            self._stock.unmet.add(wish.network_id)
            log.warning("network %s has no reserve of addresses here: %s", wish.network_id, error)
            return
        self._stock.unmet.discard(wish.network_id)
        if isinstance(granted, tuple) and granted:
            await self._carrier.feed(LeasesGranted(tuple(map(stock.as_kept, granted))))

    async def _forget(self, session: Session, wish: Forget) -> None:
        await self._gossiping.forgotten(wish)
        with suppress(NetError):
            await session.send(Forgotten((wish.id,)))

    async def _connected(self, what: str) -> Session:
        """The session, if there is one soon."""
        try:
            async with asyncio.timeout(SESSION_WAIT_S):
                await self._open.wait()
        except TimeoutError:
            pass
        if self._session is None:
            raise Unavailable(
                f"no manager of the cluster answers, and this node has no free address of network {what} in reserve",
                hint="`fairlead gossip peers` shows who is there; try again when a manager is back",
                code=codes.NO_MANAGER,
            )
        return self._session

    def _hello(self) -> Hello:
        self._stock.reported()
        return Hello(self._description, self._keys(), self._stock.told(), self._place.serves)

    @property
    def _description(self) -> NodeDescription:
        return replace(self._place.description, mtu=self._mtu, no_encryption=self._encryption.fault)

    def _keys(self) -> KeyReport:
        """What is in use, not only assigned: managers take the next step of a rotation on the strength of it."""
        return KeyReport(self._gossiping.held(), self._encryption.held)

    async def _speak_at_last(self) -> None:
        """Begin to gossip if that could not be done before."""
        if self._kept.keys is not None and not self._gossiping.speaks:
            await self._try_to_speak(self._kept.keys)

    async def _try_to_speak(self, keys: Keys) -> bool:
        try:
            await self._speak(keys)
        except NetError as error:
            log.error("the gossip cannot go on: %s", error)
        except Exception:  # a supervisor: a node without gossip is still told what to do
            log.exception("the gossip cannot go on")
        else:
            return True
        return False

    async def _speak(self, keys: Keys) -> None:
        """Gossip with these keys, from now on or anew."""
        if self._gossiping.speaks:
            await self._gossiping.apply_keys(keys.gossip)
        else:
            seeds = [Address(host, GOSSIP_PORT) for host in self._hosts()]
            await self._gossiping.start(self._place, self._mtu, keys.gossip, seeds)

    def _trust(self) -> None:
        settings = self._kept.settings
        if settings is not None:
            keys = [manager.gossip_key for manager in settings.managers]
            self._gossiping.trust(keys, settings.removed, settings.removed_keys)

    def _hosts(self) -> list[str]:
        """Bare addresses of the managers, without this node's own."""
        settings = self._kept.settings
        managers = settings.managers if settings else ()
        hosts = [manager.address.rpartition(":")[0].strip("[]") for manager in managers]
        if self._session is not None and self._session.manager:
            hosts.append(self._session.manager.rpartition(":")[0].strip("[]"))
        return [host for host in dict.fromkeys(hosts) if host and host != self._place.advertise]

    async def _tell_path(self, path: datapath.Measured) -> None:
        self._mtu = path.mtu
        self._gossiping.warnings = path.warnings
        for warning in path.warnings:
            log.warning("%s", warning)
        told = DataPath(self._place.data_path, self._place.data_path_port, path.mtu)
        self._gossiping.tell(told)
        await asyncio.to_thread(datapath.keep, self._place.folder, told)
        await self._carrier.feed(told)

    async def _measure(self, before: datapath.Measured) -> None:
        """Look what the way to the others carries, and in what state it arrives; that takes a moment, for what is lost is
        waited for."""
        hosts = self._hosts() or [str(address.host) for address in keepsake.peers(self._place.folder)]
        path = await asyncio.to_thread(datapath.measure, self._place, hosts)
        if path != before:
            await self._tell_path(path)
            if self._session is not None:
                with suppress(NetError):
                    await self._session.send(StatusReport(self._description))
        local = self._place.data_path or self._place.advertise
        seen = await self._look(local, self._place.data_path_port, hosts)
        judged = datapath.judged(path, self._place, seen)
        if judged != path:
            await self._tell_path(judged)

    async def _encryption_changed(self) -> None:
        """This node can encrypt now, or has taken up keys that it could not at first."""
        if self._session is not None:
            with suppress(NetError):
                await self._session.send(StatusReport(self._description))
                await self._session.send(self._keys())

    async def _call_off(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # called off before its first turn, it would never be awaited

    async def _guarded(self, work: Coroutine[object, object, None]) -> None:
        try:
            await work
        except Exception:  # a supervisor: the node goes on with what it has
            log.exception("a part of the agent failed")


async def start_parts(
    carrier: Carrier,
    gossiping: Gossiping,
    host: Host,
    place: Place,
    managers: Managers,
    ipsec: Ipsec,
    *,
    reach: Reach = pass_by,
    look: checksums.Look = checksums.nowhere,
    mesh: Mesh | None = None,
) -> Agent:
    """What runs on a member; ``host`` is the node as tasks need it, ``ipsec`` the kernel as what encrypts, ``look`` sees
    in what state packets arrive. Without ``mesh`` it has no part in the HTTP mesh."""
    await carrier.feed(BalancersFound(ipvs=not place.description.no_ipvs))
    agent = Agent(place, managers, carrier, gossiping, host, ipsec, reach, look, mesh)
    await agent.start()
    return agent
