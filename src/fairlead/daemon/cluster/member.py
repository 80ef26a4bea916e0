"""A node while it is a member: its door if it is a manager, its session and gossip, its certificate and the renewal of it."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from fairlead.api.contract import Node
from fairlead.api.contract_control import AdmittedBody, Caller, RenewBody
from fairlead.api.control import ControlServer, open_control
from fairlead.api.control_client import Manager as RemoteManager
from fairlead.api.control_limits import listening
from fairlead.daemon.cluster import kept as memory
from fairlead.daemon.cluster.addresses import place as place_of
from fairlead.daemon.cluster.contract import Parts, PartsFactory, Place
from fairlead.daemon.cluster.control import Door, SessionLine
from fairlead.daemon.cluster.credentials import Cabinet, Credentials
from fairlead.daemon.cluster.kept import Kept
from fairlead.daemon.cluster.links import Links
from fairlead.daemon.cluster.managing import Managing
from fairlead.gossip.identity import Identity as GossipIdentity
from fairlead.model.cluster import NodeDescription
from fairlead.model.errors import Forbidden, NetError, Unavailable
from fairlead.model.ids import Chance
from fairlead.pki import certificates, renewal
from fairlead.pki.keys import new_key
from fairlead.pki.requests import make_request
from fairlead.pki.sealing import Vault
from fairlead.pki.tokens import parse_unlock_key
from fairlead.store.cluster_sqlite import SqliteClusterStore

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Around:
    """What a member finds around it: ``node`` answers what managers pass on, ``parts`` starts agent and gossip,
    ``describe`` is what the node says of itself, ``expelled`` is told when it is a member no more."""

    folder: Path
    node: Node
    parts: PartsFactory
    describe: Callable[[], NodeDescription]
    chance: Chance
    expelled: Callable[[], None]


class Member:
    """One membership, from ``open`` to ``close``. Implements ``control.Seat`` and ``links.Roots``."""

    def __init__(
        self,
        around: Around,
        kept: Kept,
        credentials: Credentials,
        gossip: GossipIdentity,
        managing: Managing | None = None,
        unlock_key: bytes | None = None,
    ) -> None:
        self.kept = kept
        self.credentials = credentials
        self.managing = managing
        self._around = around
        self._gossip = gossip
        self._unlock_key = unlock_key
        self._cabinet = Cabinet(around.folder)
        self._door = Door(self, around.chance)
        self._server: ControlServer | None = None
        self._parts: Parts | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._due = asyncio.Event()
        self._securing = asyncio.Lock()
        self.links = Links(self, self._nearby, self._dial, self.serves, kept.managers)

    @property
    def banned(self) -> Mapping[str, float]:
        """Nodes that are out, until when their certificates could be valid."""
        return self.managing.manager.state.cluster.removed if self.managing is not None else {}

    def serves(self) -> str:
        """``host:port`` where this node serves as manager, empty for a worker."""
        return place_of(self.kept.advertise, self.kept.advertise_port) if self.credentials.manages else ""

    def leader_call(self) -> RemoteManager:
        """A way to the leader; raises ``Unavailable`` when this node knows none."""
        for address in self.links.candidates():
            return self._dial(address)
        raise Unavailable("this node knows no manager that leads", hint="`fairlead info` shows the managers it knows")

    async def open(self, listener: socket.socket | None = None) -> None:
        """Begin; ``listener`` is the socket for the door if it is open already. Raises ``Internal`` when the door cannot be
        opened, with nothing begun."""
        if self.credentials.manages:
            await self._open_door(listener)
        place = Place(
            self.kept.node_id,
            self.kept.cluster_id,
            str(self._around.folder),
            self._gossip,
            replace(
                self._around.describe(),
                advertise=self.kept.advertise,
                data_path=self.kept.data_path,
                gossip_key=self._gossip.public_key.hex(),
            ),
            self.credentials.identity.role,
            self.kept.listen,
            self.kept.advertise,
            self.kept.data_path,
            self.kept.data_path_port,
            self.serves(),
        )
        self._parts = await self._around.parts(place, self.links)
        self._spawn(self._renew_in_time())

    async def close(self, *, leaving: bool = False) -> None:
        """End it; with ``leaving`` the cluster's networks go from this node too."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        parts, self._parts = self._parts, None
        if parts is not None:
            if leaving:
                await _left(parts)
            await parts.close()
        await self.links.end_sessions()
        await self._close_door()
        if self.managing is not None:
            await self.managing.close()

    def trust(self, roots: str) -> None:
        """These roots (PEM) are the cluster's now."""
        if roots == self.credentials.roots:
            return
        known = self.credentials
        try:
            self._use(Credentials.of(known.certificate, known.key, roots, self.kept.cluster_id))
        except NetError as error:
            log.warning("the cluster's new root does not vouch for this node yet: %s", error)
            self._due.set()

    def become(self, role: str, *, renew: bool) -> None:
        """This role is wanted: a certificate that says another is renewed, and with ``renew`` any."""
        if renew or role != self.credentials.identity.role:
            self._due.set()

    def expelled(self) -> None:
        """The node is no member any more."""
        self._around.expelled()

    def met(self, managers: tuple[tuple[str, str], ...]) -> None:
        """These are the managers now."""
        self.remember(msgspec.structs.replace(self.kept, managers=managers))

    def remember(self, kept: Kept) -> None:
        """Keep what is known of this membership."""
        memory.save(self._around.folder, kept)
        self.kept = kept

    async def secured(self) -> None:
        """Have records and key sealed as the cluster's spec says. The key is laid in its new form first, so that what opens
        the records opens one of its forms, at whatever moment this is interrupted."""
        if self.managing is None or not isinstance(self.managing.store, SqliteClusterStore):
            return
        async with self._securing:
            text = self.managing.manager.state.cluster.unlock_key
            wanted = parse_unlock_key(text) if text else None
            if wanted == self._unlock_key:
                return
            self._cabinet.lay(self.credentials, self._around.chance, wanted)
            await self.managing.store.rekey(Vault.new(self._around.chance, wanted))
            self._cabinet.save(self.credentials, self._around.chance, wanted)
            self._unlock_key = wanted

    async def renew(self) -> None:
        """A new certificate, of the role that the managers want. Raises what they refuse with, with the old one in use."""
        key = new_key(self._around.chance)
        request = make_request(key, self._gossip)
        if self.managing is not None:
            admitted = await self._door.renew(Caller("", self.credentials.der), RenewBody(request))
        else:
            admitted = await self._ask_for_renewal(request)
        fresh = Credentials.of(admitted.certificate, key, admitted.roots, self.kept.cluster_id)
        if fresh.identity.node_id != self.kept.node_id:
            raise Forbidden(f"a manager gave this node the certificate of node {fresh.identity.node_id}")
        former = self.credentials.identity
        self._use(fresh)
        if former.role != fresh.identity.role:
            await (self._open_door() if fresh.manages else self._close_door())
            log.info("this node is a %s now", fresh.identity.role)
        if (former.role, former.issuer) != (fresh.identity.role, fresh.identity.issuer):
            await self.links.end_sessions()

    async def _ask_for_renewal(self, request: str) -> AdmittedBody:
        failure: NetError | None = None
        for address in self.links.candidates():
            try:
                return await self._dial(address).renew(request)
            except Unavailable as error:
                failure = error
        raise failure or Unavailable("this node knows no manager", hint="`fairlead info` shows the managers it knows")

    def _use(self, credentials: Credentials) -> None:
        self._cabinet.save(credentials, self._around.chance, self._unlock_key)
        self.credentials = credentials

    async def _renew_in_time(self) -> None:
        """Renew at a random point of the certificate's later half, or when the managers want it; after a failure again and
        again, more and more seldom."""
        failures = 0
        while True:
            identity, chance = self.credentials.identity, self._around.chance
            if failures:
                delay = renewal.retry_after_s(failures, chance)
            else:
                delay = renewal.renew_at(identity.not_before, identity.not_after, chance) - time.time()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, delay)):
                    await self._due.wait()
                await asyncio.sleep(renewal.FORCED_DELAY_S)
            self._due.clear()
            try:
                await self.renew()
            except NetError as error:
                failures += 1
                log.warning("the node's certificate could not be renewed: %s", error)
            else:
                failures = 0

    async def _open_door(self, listener: socket.socket | None = None) -> None:
        if self._server is None:
            listener = listener or listening(self.kept.listen, self.kept.port)
            self._server = await open_control(self._around.node, self._door, listener)

    async def _close_door(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.close()

    def _nearby(self) -> SessionLine | None:
        if self.managing is None:
            return None
        return SessionLine(self.managing, self.credentials.identity, self.kept.advertise)

    def _dial(self, address: str) -> RemoteManager:
        certificates.identify(
            self.credentials.der, self.kept.cluster_id, time.time()
        )  # no manager says why it hangs up
        return RemoteManager(address, self.credentials.client_context, certificates.MANAGER_NAME)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _left(parts: Parts) -> None:
    """Whatever cannot be taken back now, the membership ends; the rest is told."""
    try:
        await parts.leave()
    except NetError as error:
        log.error("something of the cluster stays on this node: %s", error)
