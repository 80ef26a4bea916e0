"""Front door: this node's place in a cluster, as the API asks for it (``api.contract_swarm.Swarm``).

    none --init--> active      none --join--> joining --> active      active --leave--> none
    start: none | joining (goes on by itself) | locked --unlock--> active | active | error (told, until leave)

``state.json`` is written last when the node becomes a member and removed first when it leaves, so that a crash at any
moment leaves it the one or the other; what is found without it is swept away at the next start.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from fairlead.api.contract import Node
from fairlead.api.contract_control import AdmitBody, AdmittedBody
from fairlead.api.contract_swarm import (
    FAULTY,
    IN_SWARM,
    LOCKED,
    PENDING,
    Brain,
    InitWish,
    JoinWish,
    Leader,
    SwarmStatus,
)
from fairlead.api.control_client import Manager as RemoteManager
from fairlead.api.control_limits import listening
from fairlead.daemon.cluster import addresses, keepsake
from fairlead.daemon.cluster import kept as memory
from fairlead.daemon.cluster.brain import ClusterBrain
from fairlead.daemon.cluster.contract import PartsFactory
from fairlead.daemon.cluster.credentials import Cabinet, Credentials, locked, stranger_context
from fairlead.daemon.cluster.kept import Joining, Kept
from fairlead.daemon.cluster.managing import Managing
from fairlead.daemon.cluster.member import Around, Member
from fairlead.gossip.identity import Identity as GossipIdentity
from fairlead.kernel.interfaces import interfaces
from fairlead.manager.manager import Manager
from fairlead.model import codes
from fairlead.model.cluster import MANAGER, ClusterNode, NodeDescription
from fairlead.model.cluster_commands import InitCluster
from fairlead.model.errors import Conflict, Forbidden, Internal, NetError, Unavailable
from fairlead.model.events import Notice
from fairlead.model.faults import Reach, pass_by
from fairlead.model.ids import Chance
from fairlead.pki import authority, certificates
from fairlead.pki.keys import new_key
from fairlead.pki.requests import Request, make_request
from fairlead.pki.sealing import open_vault
from fairlead.pki.tokens import JoinToken, parse_unlock_key
from fairlead.store.cluster_sqlite import SqliteClusterStore

log = logging.getLogger(__name__)

#: Fault points: the cluster's records are made and this node does not know of its membership yet; the manager has let it
#: in and it has not written that down; it knows, and nothing of it runs; it has left and the rest is not swept away.
POINTS = ("membership.founded", "membership.admitted", "membership.kept", "membership.left")
#: Seconds that a request for a place in a cluster takes at most (swarm: 20 s).
JOIN_S = 20.0
#: Seconds between two tries to reach a manager (swarm: 2 s).
_RETRY_S = 2.0
_RECORDS = "manager.db"

_NO_MANAGER = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and '
    "try again."
)
_WORKER = (
    "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. Please run this "
    "command on a manager node or promote the current node to a manager."
)
_LEAVES = "You are attempting to leave the swarm on a node that is participating as a manager. "
_LAST = "Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message. "
_QUORUM = (
    "The only way to restore a swarm that has lost consensus is to reinitialize it with `--force-new-cluster`. Use "
    "`--force` to suppress this message."
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What membership finds around it. ``parts`` starts agent and gossip, ``describe`` is what the node says of itself,
    ``tell`` hands notices on."""

    folder: Path
    parts: PartsFactory
    describe: Callable[[], NodeDescription]
    tell: Callable[[Notice], None]
    chance: Chance
    reach: Reach = pass_by


class Membership:
    """One for each daemon; ``start`` before use, ``close`` at the end. Belongs to one event loop."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._around = surroundings
        self._node: Node | None = None
        self._status = SwarmStatus()
        self._member: Member | None = None
        self._joining: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._leaving: asyncio.Task[None] | None = None

    @property
    def status(self) -> SwarmStatus:
        """What this node's place is."""
        member = self._member
        if member is None:
            return self._status
        return SwarmStatus(
            IN_SWARM,
            member.kept.node_id,
            member.kept.advertise,
            member.credentials.manages,
            "",
            member.links.managers,
        )

    def leader(self) -> Leader | None:
        """Who leads, None when this node does; raises ``Unavailable`` unless this node is a manager at work."""
        member = self._member
        if self._status.state == LOCKED and member is None:
            raise locked()
        if member is None:
            raise Unavailable(_NO_MANAGER, hint="`fairlead swarm init` makes a cluster", code=codes.NOT_A_MANAGER)
        if not member.credentials.manages:
            raise Unavailable(_WORKER, hint="`fairlead info` shows the managers", code=codes.NOT_A_MANAGER)
        return None if member.managing is not None else member.leader_call()

    @property
    def brain(self) -> Brain:
        """The cluster, on the node that leads; raises as ``leader`` does."""
        if self.leader() is not None or self._member is None or self._member.managing is None:
            raise Unavailable("this manager does not lead", code=codes.MANAGER_UNREACHABLE)
        managing = self._member.managing
        return ClusterBrain(managing, self._member.secured, managing.outputs.read)

    async def start(self, node: Node) -> None:
        """Take up the membership that is remembered. What keeps it from beginning is told as the node's state, and
        hinders nothing else."""
        self._node = node
        kept: Kept | None = None
        try:
            kept = memory.load(self._around.folder)
            if kept is None:
                memory.forget(self._around.folder)
            elif kept.removed:
                self._fail(_out(), kept)
            elif kept.joining is not None:
                self._join_on(kept, kept.joining)
            else:
                await self._resume(kept, None)
        except NetError as error:
            self._trouble(error, kept)

    async def close(self) -> None:
        """The daemon stops; the membership goes on at its next start."""
        for task in (self._joining, self._leaving):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._member is not None:
            await self._member.close()

    async def init(self, wish: InitWish) -> str:
        """Make a cluster; this node's id in it. With ``force_new`` this node goes on alone, with what records it has."""
        async with self._turn:
            if wish.force_new and self._member is not None:
                return await self._begin_anew(self._member, wish)
            self._check_free()
            resolved = addresses.resolve(wish.addresses, await asyncio.to_thread(interfaces))
            kept = Kept(
                resolved.listen,
                resolved.port,
                resolved.advertise,
                resolved.advertise_port,
                resolved.data_path,
                wish.data_path_port,
                leads=True,
            )
            listener = listening(resolved.listen, resolved.port)
            try:
                return await self._found(kept, wish, listener)
            except BaseException:
                listener.close()
                memory.forget(self._around.folder)
                raise

    async def join(self, wish: JoinWish) -> None:
        """Become a member. A refusal leaves the node as it was; a manager that cannot be reached in time is tried on in the
        background, over restarts too."""
        async with self._turn:
            self._check_free()
            remotes = tuple(addresses.remote(text) for text in wish.remotes)
            JoinToken.parse(wish.token)
            resolved = addresses.resolve(wish.addresses, await asyncio.to_thread(interfaces), joining=True)
            joining = Joining(wish.token, remotes, wish.availability)
            kept = Kept(
                resolved.listen,
                resolved.port,
                resolved.advertise,
                resolved.advertise_port,
                resolved.data_path,
                joining=joining,
            )
            memory.save(self._around.folder, kept)
            task = self._join_on(kept, joining)
        done, _ = await asyncio.wait({task}, timeout=JOIN_S)
        if done and not task.cancelled():
            return task.result()
        if done:
            raise Conflict("the node was told to leave before it had joined", hint="nothing of it is left")
        raise Unavailable(
            "Timeout was reached before node joined. The attempt to join the swarm will continue in the background. Use "
            'the "docker info" command to see the current swarm status of your node.',
            hint=self._status.error or "`fairlead info` shows how it goes; `fairlead swarm leave` gives it up",
            code=codes.MANAGER_UNREACHABLE,
        )

    async def leave(self, *, force: bool) -> None:
        """Be a member no more, and forget all about it."""
        async with self._turn:
            if self._member is None and self._joining is None and self._status.state not in (LOCKED, FAULTY):
                raise Unavailable(
                    "This node is not part of a swarm", hint="there is nothing to leave", code=codes.NOT_IN_SWARM
                )
            if not force:
                self._check_leaves()
            await self._leave()

    async def unlock(self, key: str) -> None:
        """Open what was locked with the cluster's unlock key."""
        async with self._turn:
            kept = memory.load(self._around.folder)
            if self._status.state != LOCKED or kept is None:
                raise Unavailable(
                    "This node is not part of a swarm" if self._member is None else "swarm is not locked",
                    hint="there is nothing to unlock",
                    code=codes.NOT_IN_SWARM,
                )
            await self._resume(kept, parse_unlock_key(key))

    def _check_free(self) -> None:
        if self._status.state == LOCKED:
            raise locked()
        if self._member is not None or self._joining is not None or self._status.state != SwarmStatus().state:
            raise Unavailable(
                'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.',
                hint="`fairlead info` shows which",
                code=codes.ALREADY_IN_SWARM,
            )

    def _check_leaves(self) -> None:
        """A manager leaves by force only, in Docker's words."""
        member = self._member
        if member is None or not member.credentials.manages:
            if self._status.state == LOCKED:
                raise Unavailable(
                    f"{_LEAVES}Doing so may lose the consensus of your cluster. {_QUORUM}", code=codes.MANAGER_LEAVES
                )
            return
        raise Unavailable(_LEAVES + (_LAST if member.managing is not None else _QUORUM), code=codes.MANAGER_LEAVES)

    async def _leave(self) -> None:
        if self._joining is not None:
            self._joining.cancel()
            await asyncio.gather(self._joining, return_exceptions=True)
            self._joining = None
        member, self._member = self._member, None
        self._status = SwarmStatus()
        if member is not None:
            await member.close(leaving=True)
        memory.forget(self._around.folder)
        self._around.reach("membership.left")

    async def _found(self, kept: Kept, wish: InitWish, listener: socket.socket) -> str:
        """Make the cluster's records, then this node's certificate, then the node a member."""
        around = self._around
        memory.forget(around.folder)
        gossip = keepsake.identity(str(around.folder))
        store = SqliteClusterStore(self._records, open_vault(around.chance), around.reach)
        managing = Managing(Manager(around.chance), store, around.tell, around.reach)
        try:
            await managing.open()
            command = InitCluster(
                authority.new_authority(around.chance, time.time()),
                replace(
                    around.describe(),
                    advertise=kept.advertise,
                    data_path=kept.data_path,
                    gossip_key=gossip.public_key.hex(),
                ),
                kept.advertise,
                addresses.place(kept.advertise, kept.advertise_port),
                wish.spec,
                wish.pools,
                wish.data_path_port,
                wish.availability,
            )
            node = await managing.ask(command)
            if not isinstance(node, ClusterNode):
                raise Internal(f"{InitCluster.__name__} was answered with {type(node).__name__}", code=codes.FAULT)
            credentials = self._issue(managing, node.id, gossip)
            Cabinet(around.folder).save(credentials, around.chance)
            around.reach("membership.founded")
            kept = msgspec.structs.replace(
                kept,
                node_id=node.id,
                cluster_id=credentials.identity.cluster_id,
                managers=((node.id, command.manager_address),),
            )
            member = Member(self._outside(), kept, credentials, gossip, managing)
            await member.secured()
            member.remember(kept)
            around.reach("membership.kept")
            await member.open(listener)
        except BaseException:
            await managing.close()
            raise
        self._become(member)
        return node.id

    async def _begin_anew(self, member: Member, wish: InitWish) -> str:
        """Go on alone with the records that this node has; managers that do not hold any are asked for none."""
        if member.managing is None:
            raise Unavailable(
                "this node has no copy of the cluster's records to begin anew with",
                hint="run it on the manager that leads, or leave and make a new cluster",
                code=codes.NOT_A_MANAGER,
            )
        resolved = addresses.resolve(wish.addresses, await asyncio.to_thread(interfaces))
        kept = msgspec.structs.replace(
            member.kept,
            listen=resolved.listen,
            port=resolved.port,
            advertise=resolved.advertise,
            advertise_port=resolved.advertise_port,
            data_path=resolved.data_path,
            managers=((member.kept.node_id, addresses.place(resolved.advertise, resolved.advertise_port)),),
        )
        member.remember(kept)
        unlock_key = member.managing.manager.state.cluster.unlock_key
        self._member = None
        await member.close()
        await self._resume(kept, parse_unlock_key(unlock_key) if unlock_key else None)
        return kept.node_id

    def _join_on(self, kept: Kept, joining: Joining) -> asyncio.Task[None]:
        self._status = SwarmStatus(PENDING)
        self._joining = asyncio.get_running_loop().create_task(self._join(kept, joining))
        self._joining.add_done_callback(self._joined)
        return self._joining

    def _joined(self, task: asyncio.Task[None]) -> None:
        self._joining = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("this node did not join: %s", error)

    async def _join(self, kept: Kept, joining: Joining) -> None:
        """Ask one manager after the other until one lets this node in; a refusal ends it."""
        while True:
            for remote in joining.remotes:
                try:
                    await self._join_at(remote, kept, joining)
                except Unavailable as error:
                    log.info("not joined yet: %s", error)
                    self._status = SwarmStatus(PENDING, error=str(error))
                except NetError:
                    self._status = SwarmStatus()
                    memory.forget(self._around.folder)
                    raise
                else:
                    return
            await asyncio.sleep(_RETRY_S)

    async def _join_at(self, remote: str, kept: Kept, joining: Joining) -> None:
        """Ask the manager at ``remote``, once its root has been held against the token. Keys are new at each try: a
        manager that let this node in and could not tell it refuses the same keys a second time."""
        around, token = self._around, JoinToken.parse(joining.token)
        root = await RemoteManager(remote, stranger_context(), "").root()
        token.check_root(root)
        (around.folder / keepsake.IDENTITY_FILE).unlink(missing_ok=True)
        gossip, key = keepsake.identity(str(around.folder)), new_key(around.chance)
        description = replace(around.describe(), advertise=kept.advertise, data_path=kept.data_path)
        wish = AdmitBody(joining.token, make_request(key, gossip), description, joining.availability)
        admitted = await RemoteManager(remote, stranger_context(root), certificates.MANAGER_NAME).join(wish)
        around.reach("membership.admitted")
        credentials = Credentials.of(admitted.certificate, key, admitted.roots, admitted.cluster_id)
        Cabinet(around.folder).save(credentials, around.chance)
        kept = _admitted(kept, admitted, remote)
        memory.save(around.folder, kept)
        around.reach("membership.kept")
        member = Member(self._outside(), kept, credentials, gossip)
        try:
            await member.open()
        except NetError as error:
            await member.close()
            self._fail(error, kept)
            return
        self._become(member)

    async def _resume(self, kept: Kept, unlock_key: bytes | None) -> None:
        """Be the member that this node was; raises what keeps it from that."""
        around = self._around
        gossip, managing = keepsake.identity(str(around.folder)), None
        if kept.leads:
            vault = open_vault(around.chance, unlock_key)
            store = SqliteClusterStore(self._records, vault, around.reach, create=False)
            managing = Managing(Manager(around.chance), store, around.tell, around.reach)
        member: Member | None = None
        try:
            if managing is not None:
                await managing.open()
            credentials = self._loaded(kept, gossip, managing, unlock_key)
            member = Member(self._outside(), kept, credentials, gossip, managing, unlock_key)
            if managing is not None:
                await member.secured()
            await member.open()
        except BaseException:
            if member is not None:
                await member.close()
            elif managing is not None:
                await managing.close()
            raise
        self._become(member)

    def _loaded(
        self, kept: Kept, gossip: GossipIdentity, managing: Managing | None, unlock_key: bytes | None
    ) -> Credentials:
        """The credentials that are kept. The node that has the cluster's authority cannot be shut out by its own
        certificate's time: it gives itself a new one."""
        cabinet = Cabinet(self._around.folder)
        try:
            return cabinet.load(unlock_key)
        except NetError as error:
            if managing is None or error.code != codes.CERTIFICATE_EXPIRED:
                raise
        log.warning("the certificate of this node has expired while it was away; it gets a new one")
        credentials = self._issue(managing, kept.node_id, gossip)
        cabinet.save(credentials, self._around.chance, unlock_key)
        return credentials

    def _issue(self, managing: Managing, node_id: str, gossip: GossipIdentity) -> Credentials:
        """A manager's certificate for this node, out of the cluster's records."""
        cluster, chance = managing.manager.state.cluster, self._around.chance
        key = new_key(chance)
        subject = authority.Subject(node_id, MANAGER, cluster.id)
        request = Request.read(make_request(key, gossip))
        chain = authority.issue(cluster.authority, request, subject, cluster.spec.certificate_s, time.time(), chance)
        return Credentials.of(chain, key, authority.trusted(cluster.authority), cluster.id)

    def _become(self, member: Member) -> None:
        self._member = member
        self._status = SwarmStatus()
        log.info("this node is a %s of cluster %s", member.credentials.identity.role, member.kept.cluster_id)

    def _outside(self) -> Around:
        around = self._around
        if self._node is None:
            raise Internal("the node is not started", code=codes.FAULT)
        return Around(around.folder, self._node, around.parts, around.describe, around.chance, self._expelled)

    def _expelled(self) -> None:
        """The node was removed: everything of the cluster goes, but for the knowledge of it."""
        if self._leaving is None:
            self._leaving = asyncio.get_running_loop().create_task(self._expel())

    async def _expel(self) -> None:
        async with self._turn:
            member, self._member = self._member, None
            if member is not None:
                member.remember(msgspec.structs.replace(member.kept, removed=True))
                self._fail(_out(), member.kept)
                await member.close(leaving=True)
        self._leaving = None

    def _trouble(self, error: NetError, kept: Kept | None) -> None:
        if error.code == codes.SWARM_LOCKED and kept is not None:
            self._status = SwarmStatus(LOCKED, kept.node_id, kept.advertise)
            log.warning("the cluster's records are locked: `fairlead swarm unlock` opens them")
        else:
            self._fail(error, kept)

    def _fail(self, error: NetError, kept: Kept | None) -> None:
        log.error("this node cannot be a member of its cluster: %s", error)
        node_id, address = (kept.node_id, kept.advertise) if kept is not None else ("", "")
        self._status = SwarmStatus(FAULTY, node_id, address, error=str(error))

    @property
    def _records(self) -> str:
        return str(self._around.folder / _RECORDS)


def _admitted(kept: Kept, admitted: AdmittedBody, remote: str) -> Kept:
    """The membership that a manager's answer makes of a wish for one."""
    advertise = kept.advertise or admitted.address
    managers = tuple(("", address) for address in dict.fromkeys((*admitted.managers, remote)))
    return msgspec.structs.replace(
        kept,
        advertise=advertise,
        data_path=kept.data_path or advertise,
        data_path_port=admitted.data_path_port or kept.data_path_port,
        node_id=admitted.node_id,
        cluster_id=admitted.cluster_id,
        managers=managers,
        joining=None,
    )


def _out() -> NetError:
    return Forbidden(
        "this node was removed from the cluster",
        hint="`fairlead swarm leave --force` forgets it, then it may join again",
        code=codes.NODE_REMOVED,
    )
