"""A manager as other nodes see it (``api.contract_control.Control``): who may come in, with what certificate, and the
manager's end of their sessions."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Protocol

from fairlead.api.contract_control import AdmitBody, AdmittedBody, Caller, RenewBody
from fairlead.api.control_client import Manager as RemoteManager
from fairlead.daemon.cluster import wire
from fairlead.daemon.cluster.credentials import Credentials
from fairlead.daemon.cluster.managing import Managing, Outlet
from fairlead.model import codes
from fairlead.model.cluster import MANAGER, Cluster
from fairlead.model.cluster_commands import Admission, AdmitNode, NodeSaid, RenewNode, SessionOpened
from fairlead.model.errors import Forbidden, Internal, Invalid, NetError, Unavailable
from fairlead.model.ids import Chance
from fairlead.model.session import Dismissed, Downward, Hello, LeaseWish, LogChunk, NetworkWish, TaskReport
from fairlead.pki import authority, certificates, roles
from fairlead.pki.certificates import Identity
from fairlead.pki.requests import Request

log = logging.getLogger(__name__)

#: Messages that a node has not read. A node that is so far behind has its session ended; the next one begins with
#: everything.
UNREAD_MAX = 1024


class Seat(Protocol):
    """What this manager is just now; asked at each call."""

    @property
    def credentials(self) -> Credentials:
        """Its certificate and whom it believes."""

    @property
    def managing(self) -> Managing | None:
        """The brain, where it leads."""

    def leader_call(self) -> RemoteManager:
        """A way to the leader, where it does not lead; raises ``Unavailable``."""

    @property
    def banned(self) -> Mapping[str, float]:
        """Nodes that are out, until when their certificates could be valid."""


class Door:
    """Implements ``api.contract_control.Control``."""

    def __init__(self, seat: Seat, chance: Chance) -> None:
        self._seat = seat
        self._chance = chance

    @property
    def context(self) -> ssl.SSLContext:
        """The server's side of TLS, with the present certificate."""
        return self._seat.credentials.server_context

    def root(self) -> str:
        """The root that join tokens name the digest of."""
        managing = self._seat.managing
        if managing is None:
            return certificates.first_root(self._seat.credentials.roots)
        return authority.join_root(managing.manager.state.cluster.authority)

    def check(self, caller: Caller, *allowed: str) -> str:
        """The caller's node id, if it is a member in one of these roles now; raises ``Forbidden``."""
        return self._identify(caller, *allowed).node_id

    async def join(self, caller: Caller, wish: AdmitBody) -> AdmittedBody:
        """Let a machine in that shows a token. Its certificate is signed once its record stands."""
        managing = self._seat.managing
        address = caller.address
        if wish.address and caller.certificate:
            self.check(caller, MANAGER)
            address = wish.address
        if managing is None:
            self._check_first(caller)
            wish.address = address
            return await self._seat.leader_call().join(wish)
        request = Request.read(wish.request)
        description = replace(wish.description, gossip_key=request.gossip_key)
        command = AdmitNode(wish.token, request.key_id, description, address, wish.availability)
        admission = await managing.ask(command)
        return self._admitted(managing.manager.state.cluster, request, admission, address)

    async def renew(self, caller: Caller, wish: RenewBody) -> AdmittedBody:
        """A new certificate for a member, in the role that it is to have now."""
        identity, managing = self._identify(caller), self._seat.managing
        if wish.proof:
            self._identify(caller, MANAGER)
            credentials, proof = self._seat.credentials, _proof(wish.proof)
            certificates.verify_passed_on(proof, credentials.roots, credentials.identity.cluster_id, time.time())
            identity = self._identify(replace(caller, certificate=proof))
        if managing is None:
            self._check_first(caller)
            return await self._seat.leader_call().renew(wish.request, caller.certificate)
        request = Request.read(wish.request)
        request.check_renews(identity)
        admission = await managing.ask(RenewNode(identity.node_id, request.key_id))
        return self._admitted(managing.manager.state.cluster, request, admission, caller.address)

    def session(self, caller: Caller) -> SessionLine:
        """The manager's end of a session."""
        managing = self._seat.managing
        if managing is None:
            raise _not_leading()
        return SessionLine(managing, self._identify(caller), caller.address)

    def _check_first(self, caller: Caller) -> None:
        """What a manager passes on is not passed on again: two that each believe the other to lead would go on for ever."""
        if caller.certificate and self._identify(caller).role == MANAGER:
            raise _not_leading()

    def _identify(self, caller: Caller, *allowed: str) -> Identity:
        if not caller.certificate:
            raise Forbidden("this call needs a node's certificate", hint="`fairlead swarm join` gives a node one")
        credentials, at = self._seat.credentials, time.time()
        identity = certificates.identify(caller.certificate, credentials.identity.cluster_id, at)
        roles.check_member(identity, credentials.identity.cluster_id, self._seat.banned, at)
        if allowed:
            roles.check_role(identity, *allowed)
        managing = self._seat.managing
        if managing is not None:
            self._check_record(managing, identity, demoted=allowed == (MANAGER,))
        return identity

    def _check_record(self, managing: Managing, identity: Identity, *, demoted: bool) -> None:
        """Certificates outlive what they say: a node counts as what its record says."""
        node = managing.manager.state.nodes.get(identity.node_id)
        if node is None:
            raise Forbidden(
                f"node {identity.node_id} is not in this cluster",
                hint="it was removed, or its join was never finished: leave and join again",
                code=codes.NODE_REMOVED,
            )
        if demoted and node.spec.role != MANAGER:
            raise Forbidden(f"node {identity.node_id} is not a manager any more", code=codes.ROLE_REFUSED)

    def _admitted(self, cluster: Cluster, request: Request, admission: object, address: str) -> AdmittedBody:
        if not isinstance(admission, Admission):
            raise Internal(f"a node's admission is {type(admission).__name__}")
        managing = self._seat.managing
        nodes = managing.manager.state.nodes.values() if managing else ()
        subject = authority.Subject(admission.node_id, admission.role, admission.cluster_id)
        chain = authority.issue(
            cluster.authority, request, subject, cluster.spec.certificate_s, time.time(), self._chance
        )
        return AdmittedBody(
            admission.node_id,
            admission.cluster_id,
            admission.role,
            chain,
            authority.trusted(cluster.authority),
            [node.manager_address for node in nodes if node.manager_address],
            cluster.data_path_port,
            address,
        )


class SessionLine:
    """The manager's end of one session (``api.contract_control.Line``); also used in process, by the node that leads."""

    def __init__(self, managing: Managing, identity: Identity, address: str) -> None:
        self._managing = managing
        self._identity = identity
        self._address = address
        self._number = managing.next_session()
        self._outlet: Outlet | None = None
        self._waiting: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._over = False

    def heard(self, line: bytes) -> None:
        """A line came from the node; raises ``Invalid`` for one that is none, or out of turn."""
        message, number = wire.read_upward(line)
        if isinstance(message, Hello):
            if self._outlet is not None:
                raise Invalid("a session begins once only")
            self._outlet = Outlet(self._identity.node_id, self._number, self._push, self._cut)
            # Whose gossip key it is, the certificate says; a node could name another one's.
            description = replace(message.description, gossip_key=self._identity.gossip_key)
            opened = SessionOpened(
                self._identity.node_id,
                self._number,
                replace(message, description=description),
                self._identity.role,
                self._identity.issuer,
                self._address,
            )
            self._managing.opened(self._outlet, opened)
            return
        if self._outlet is None:
            raise Invalid("a session begins with Hello")
        if isinstance(message, LogChunk):
            self._managing.outputs.heard(self._identity.node_id, message)
            return
        future = self._managing.said(NodeSaid(self._identity.node_id, self._number, message))
        future.add_done_callback(
            lambda done: self._answer(done, number, wanted=isinstance(message, NetworkWish | LeaseWish | TaskReport))
        )

    async def lines(self) -> AsyncIterator[bytes]:
        """What is to be said, until the session is over."""
        while (line := await self._waiting.get()) is not None:
            yield line

    def ended(self) -> None:
        """The connection has gone."""
        self._cut()
        if self._outlet is not None:
            self._managing.closed(self._outlet)
            self._outlet = None

    def _answer(self, done: asyncio.Future[object], number: int, *, wanted: bool) -> None:
        if done.cancelled():
            return
        error = done.exception()
        if not wanted or not number:
            if error is not None:
                log.warning("node %s: %s", self._identity.node_id, error)
            return
        reply = done.result() if error is None else error
        self._say(wire.answer(reply if error is None or isinstance(reply, NetError) else Internal(str(reply)), number))

    def _push(self, message: Downward) -> None:
        self._say(wire.downward(message))
        if isinstance(message, Dismissed):
            self._cut()

    def _say(self, line: bytes) -> None:
        if self._over:
            return
        if self._waiting.qsize() >= UNREAD_MAX:
            log.warning("node %s reads nothing; its session ends", self._identity.node_id)
            self._cut()
            return
        self._waiting.put_nowait(line)

    def _cut(self) -> None:
        if not self._over:
            self._over = True
            self._waiting.put_nowait(None)


def _not_leading() -> NetError:
    return Unavailable("this manager does not lead", hint="the next one is asked", code=codes.MANAGER_UNREACHABLE)


def _proof(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid("the certificate that was passed on cannot be read") from error
