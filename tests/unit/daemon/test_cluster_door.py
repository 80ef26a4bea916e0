"""Who gets through the door between nodes, and who does not: the manager behind it is a real one, on a store in memory."""

from __future__ import annotations

import asyncio
import base64
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping

import pytest

from fairlead.api.contract_control import AdmitBody, AdmittedBody, Caller, RenewBody
from fairlead.api.control_client import Manager as RemoteManager
from fairlead.daemon.cluster import wire
from fairlead.daemon.cluster.control import Door
from fairlead.daemon.cluster.credentials import Credentials
from fairlead.daemon.cluster.managing import Managing
from fairlead.gossip.identity import Identity as GossipIdentity
from fairlead.manager.manager import Manager
from fairlead.model import codes
from fairlead.model.cluster import MANAGER, WORKER, ClusterNode, NodeDescription
from fairlead.model.cluster_commands import InitCluster, RemoveNode, ReplaceAuthority, UpdateCluster
from fairlead.model.errors import NetError, Unavailable
from fairlead.model.session import Hello
from fairlead.pki import authority, certificates
from fairlead.pki.keys import new_key
from fairlead.pki.requests import Request, make_request
from fairlead.store.cluster_memory import MemoryClusterStore

#: Seconds to wait for what must come.
WAIT_S = 60.0


class Member:
    """A machine with its keys, and its certificate once it has one."""

    def __init__(self, chance: random.Random) -> None:
        self.key, self.gossip = new_key(chance), GossipIdentity(chance.randbytes(32))
        self.certificate = b""

    @property
    def caller(self) -> Caller:
        return Caller("192.0.2.9", self.certificate)

    def request(self) -> str:
        return make_request(self.key, self.gossip)

    def wish(self, token: str) -> AdmitBody:
        return AdmitBody(token, self.request(), NodeDescription("machine"))

    def became(self, admitted: AdmittedBody) -> AdmittedBody:
        self.certificate = ssl.PEM_cert_to_DER_cert(authority.first_root(admitted.certificate))
        return admitted


class World:
    """The first manager of a cluster, and its door."""

    def __init__(self, seed: int = 1) -> None:
        self.chance = random.Random(seed)
        self.managing: Managing | None = None
        self.first = Member(self.chance)
        self.door = Door(self, self.chance)

    @property
    def banned(self) -> Mapping[str, float]:
        return self.brain.manager.state.cluster.removed

    def leader_call(self) -> RemoteManager:
        raise Unavailable("this manager leads")

    @property
    def brain(self) -> Managing:
        assert self.managing is not None
        return self.managing

    @property
    def cluster(self):
        return self.brain.manager.state.cluster

    async def open(self) -> None:
        self.managing = Managing(Manager(self.chance), MemoryClusterStore(), lambda _: None)
        await self.brain.open()
        description = NodeDescription("first", gossip_key=self.first.gossip.public_key.hex())
        node = await self.brain.ask(
            InitCluster(authority.new_authority(self.chance, time.time()), description, "192.0.2.1", "192.0.2.1:2377")
        )
        assert isinstance(node, ClusterNode)
        self.first_id = node.id
        self.secure()

    def secure(self) -> None:
        """The first manager's own certificate, from the authority as it is now."""
        subject = authority.Subject(self.first_id, MANAGER, self.cluster.id)
        request = Request.read(self.first.request())
        chain = authority.issue(self.cluster.authority, request, subject, 86400.0, time.time(), self.chance)
        self.credentials = Credentials.of(chain, self.first.key, authority.trusted(self.cluster.authority))
        self.first.certificate = self.credentials.der

    async def joined(self, token: str) -> Member:
        member = Member(self.chance)
        member.became(await self.door.join(member.caller, member.wish(token)))
        return member

    def id_of(self, member: Member) -> str:
        return certificates.identify(member.certificate, self.cluster.id, time.time()).node_id


def run(scenario: Callable[[World], Awaitable[None]]) -> None:
    async def whole() -> None:
        world = World()
        await world.open()
        try:
            await asyncio.wait_for(scenario(world), WAIT_S)
        finally:
            await world.brain.close()

    asyncio.run(whole())


async def refused(call: Awaitable[object]) -> codes.Code:
    with pytest.raises(NetError) as caught:
        await call
    return caught.value.code


def test_a_token_lets_a_node_in_as_what_it_is_for() -> None:
    async def scenario(world: World) -> None:
        for token, role in ((world.cluster.worker_token, WORKER), (world.cluster.manager_token, MANAGER)):
            member = await world.joined(token)
            identity = certificates.verify_passed_on(
                member.certificate, world.credentials.roots, world.cluster.id, time.time()
            )
            assert identity.role == role
            assert identity.gossip_key == member.gossip.public_key.hex()
            assert world.door.check(member.caller, role) == identity.node_id

    run(scenario)


def test_wrong_tokens_and_a_replayed_join_are_refused_and_leave_nothing() -> None:
    async def scenario(world: World) -> None:
        old, member = world.cluster.worker_token, Member(world.chance)
        wish = member.wish(old)
        member.became(await world.door.join(member.caller, wish))
        await world.brain.ask(UpdateCluster(rotate_worker_token=True))
        nodes, fresh, stranger = dict(world.brain.manager.state.nodes), world.cluster.worker_token, Caller("192.0.2.66")
        newcomer = Member(world.chance)
        assert await refused(world.door.join(stranger, newcomer.wish(old))) == codes.TOKEN_REFUSED
        assert await refused(world.door.join(stranger, newcomer.wish("SWMTKN"))) == codes.TOKEN_INVALID
        assert await refused(world.door.join(stranger, newcomer.wish(""))) == codes.TOKEN_INVALID
        wish.token = fresh
        assert await refused(world.door.join(stranger, wish)) == codes.JOIN_REPLAYED
        newcomer.gossip = member.gossip
        assert await refused(world.door.join(stranger, newcomer.wish(fresh))) == codes.JOIN_REPLAYED
        wish.request = wish.request[:-50]
        assert await refused(world.door.join(stranger, wish)) == codes.REQUEST_INVALID
        assert world.brain.manager.state.nodes == nodes

    run(scenario)


def test_a_removed_node_a_stranger_and_another_cluster_are_refused_on_every_call() -> None:
    async def scenario(world: World) -> None:
        member = await world.joined(world.cluster.worker_token)
        await world.brain.ask(RemoveNode(world.id_of(member), force=True))
        other = World(2)
        await other.open()
        foreigner = await other.joined(other.cluster.manager_token)
        await other.brain.close()
        for caller, code in (
            (member.caller, codes.NODE_REMOVED),
            (foreigner.caller, codes.OTHER_CLUSTER),
            (Caller("192.0.2.66"), codes.FORBIDDEN),
            (Caller("192.0.2.66", b"x"), codes.CERTIFICATE_INVALID),
        ):
            assert await refused(world.door.renew(caller, RenewBody(member.request()))) == code
            for call in (world.door.check, world.door.session):
                with pytest.raises(NetError) as caught:
                    call(caller)
                assert caught.value.code == code

    run(scenario)


def test_a_worker_is_no_manager_and_cannot_speak_for_others() -> None:
    async def scenario(world: World) -> None:
        worker, other = [await world.joined(world.cluster.worker_token) for _ in range(2)]
        with pytest.raises(NetError) as caught:
            world.door.check(worker.caller, MANAGER)
        assert caught.value.code == codes.ROLE_REFUSED
        passed_on = RenewBody(other.request(), base64.b64encode(other.certificate).decode())
        assert await refused(world.door.renew(worker.caller, passed_on)) == codes.ROLE_REFUSED
        # its own renewal is for its own keys
        assert await refused(world.door.renew(worker.caller, RenewBody(other.request()))) == codes.REQUEST_INVALID
        renewed = worker.became(await world.door.renew(worker.caller, RenewBody(worker.request())))
        assert renewed.role == WORKER

    run(scenario)


def test_a_manager_cannot_invent_a_certificate_that_it_passes_on() -> None:
    """It has no authority's key, but any key will do to sign something that reads like a node's certificate."""

    async def scenario(world: World) -> None:
        manager = await world.joined(world.cluster.manager_token)
        victim = await world.joined(world.cluster.worker_token)
        passed_on = RenewBody(victim.request(), base64.b64encode(victim.certificate).decode())
        assert (await world.door.renew(manager.caller, passed_on)).node_id == world.id_of(victim)
        liar = Member(world.chance)
        invented = authority.issue(
            authority.new_authority(world.chance, time.time()),
            Request.read(liar.request()),
            authority.Subject(world.first_id, MANAGER, world.cluster.id),
            86400.0,
            time.time(),
            world.chance,
        )
        lie = base64.b64encode(ssl.PEM_cert_to_DER_cert(invented)).decode()
        code = await refused(world.door.renew(manager.caller, RenewBody(liar.request(), lie)))
        assert code == codes.CERTIFICATE_INVALID

    run(scenario)


def test_sec_27_a_node_cannot_take_another_nodes_gossip_key_for_its_own() -> None:
    async def scenario(world: World) -> None:
        worker, victim = [await world.joined(world.cluster.worker_token) for _ in range(2)]
        line = world.door.session(worker.caller)
        lie = NodeDescription("worker", gossip_key=victim.gossip.public_key.hex())
        line.heard(wire.upward(Hello(lie)))
        async for _ in line.lines():
            break
        described = world.brain.manager.state.nodes[world.id_of(worker)].description
        assert (described.hostname, described.gossip_key) == ("worker", worker.gossip.public_key.hex())
        line.ended()

    run(scenario)


def test_any_manager_shows_the_one_root_that_tokens_are_made_for_while_it_is_replaced() -> None:
    async def scenario(world: World) -> None:
        before = world.door.root()
        await world.brain.ask(ReplaceAuthority())
        world.secure()
        assert len(certificates.load_certificates(world.credentials.roots)) == 2
        assert world.door.root() == before
        managing, world.managing = world.managing, None
        assert world.door.root() == before
        world.managing = managing

    run(scenario)
