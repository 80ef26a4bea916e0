"""The door between nodes as it is on the wire: TLS, sessions, and what strangers can do to it (SEC-26)."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
import time
from collections.abc import Awaitable, Callable

import pytest
from tests.unit.api.fake_node import FakeNode
from tests.unit.daemon.test_cluster_door import Member, World
from tests.unit.daemon.test_cluster_door import run as in_a_cluster

from fairlead.api.control import ControlServer, open_control
from fairlead.api.control_client import Manager as RemoteManager
from fairlead.api.control_limits import SOURCE_BURST, SOURCE_RATE_PER_S, STRANGERS_MAX, Rates, listening
from fairlead.daemon.cluster import wire
from fairlead.daemon.cluster.credentials import Credentials, load_pair, stranger_context
from fairlead.daemon.cluster.links import MemberSession
from fairlead.model.cluster import WORKER, NodeDescription
from fairlead.model.errors import Forbidden, NetError
from fairlead.model.session import Assignments, Heartbeat, Hello, NetworkWish
from fairlead.pki import authority, certificates
from fairlead.pki.requests import Request

#: Where strangers come from; members come from 127.0.0.1. All of 127/8 is this machine.
_STRANGE = "127.0.0.9"
#: Connections of a flood (security.md, SEC-26).
_FLOOD = 5000
#: Bytes by which the process may grow meanwhile (security.md, SEC-26).
_GROWTH_KIB_MAX = 20 * 1024


class Street:
    """A door that is open on this machine."""

    def __init__(self, world: World, server: ControlServer) -> None:
        self.world, self.server = world, server
        self.address = f"127.0.0.1:{server.port}"

    def manager(self, member: Member) -> RemoteManager:
        """A member's way to the manager."""
        return RemoteManager(self.address, member_context(self.world, member), certificates.MANAGER_NAME)

    async def session(self, member: Member) -> MemberSession:
        """A session that has begun: the node has been told everything."""
        session = MemberSession(self.address, await self.manager(member).session(), lambda: "")
        await session.send(Hello(NodeDescription("machine")))
        assert isinstance(await session.receive(), Assignments)
        return session

    async def connect(self, source: str) -> socket.socket:
        """A connection from an address of this machine, on which nothing was said."""
        wire_ = socket.socket()
        wire_.setblocking(False)
        wire_.bind((source, 0))
        await asyncio.get_running_loop().sock_connect(wire_, ("127.0.0.1", self.server.port))
        return wire_


def member_context(world: World, member: Member, valid_s: float = 86400.0, age_s: float = 0.0) -> ssl.SSLContext:
    """What a member proves itself with: a certificate of its present role, made some time ago."""
    identity = certificates.identify(member.certificate, world.cluster.id, time.time())
    subject = authority.Subject(identity.node_id, identity.role, identity.cluster_id)
    made = time.time() - age_s
    chain = authority.issue(
        world.cluster.authority, Request.read(member.request()), subject, valid_s, made, world.chance
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority.trusted(world.cluster.authority))
    load_pair(context, chain, member.key)
    return context


def on_the_street(scenario: Callable[[Street], Awaitable[None]]) -> None:
    async def opened(world: World) -> None:
        server = await open_control(FakeNode(), world.door, listening("127.0.0.1", 0))
        try:
            await scenario(Street(world, server))
        finally:
            await server.close()

    in_a_cluster(opened)


def test_a_session_tells_and_answers() -> None:
    async def scenario(street: Street) -> None:
        session = await street.session(await street.world.joined(street.world.cluster.worker_token))
        asked = asyncio.ensure_future(session.ask(NetworkWish("nowhere")))
        hearing = asyncio.ensure_future(session.receive())
        with pytest.raises(NetError, match="network nowhere not found"):
            await asked
        hearing.cancel()
        await session.close()

    on_the_street(scenario)


def test_a_second_session_of_a_node_ends_the_first() -> None:
    async def scenario(street: Street) -> None:
        member = await street.world.joined(street.world.cluster.worker_token)
        first = await street.session(member)
        second = await street.session(member)
        assert await first.receive() is None
        await second.send(Heartbeat())
        await second.close()

    on_the_street(scenario)


def test_a_certificate_that_has_expired_is_not_even_heard() -> None:
    async def scenario(street: Street) -> None:
        member = await street.world.joined(street.world.cluster.worker_token)
        stale = member_context(street.world, member, valid_s=3600.0, age_s=7200.0)
        with pytest.raises(NetError):
            await RemoteManager(street.address, stale, certificates.MANAGER_NAME).session()

    on_the_street(scenario)


def test_who_poses_as_a_manager_is_not_believed() -> None:
    """A worker's certificate at a port says "worker" to whoever calls there for a manager."""

    async def scenario(street: Street) -> None:
        world = street.world
        worker = await world.joined(world.cluster.worker_token)
        identity = certificates.identify(worker.certificate, world.cluster.id, time.time())
        subject = authority.Subject(identity.node_id, WORKER, identity.cluster_id)
        chain = authority.issue(
            world.cluster.authority, Request.read(worker.request()), subject, 3600.0, time.time(), world.chance
        )
        genuine = world.credentials
        world.credentials = Credentials.of(chain, worker.key, genuine.roots)
        with pytest.raises(NetError):
            await street.manager(world.first).session()
        world.credentials = genuine
        stranger = RemoteManager(street.address, stranger_context(genuine.roots), certificates.MANAGER_NAME)
        assert await stranger.root()

    on_the_street(scenario)


def test_sec_26_a_stranger_gets_no_call_but_join_and_a_short_body() -> None:
    async def scenario(street: Street) -> None:
        stranger = RemoteManager(
            street.address, stranger_context(street.world.credentials.roots), certificates.MANAGER_NAME
        )
        with pytest.raises(Forbidden):
            await stranger.session()
        with pytest.raises(Forbidden):
            await stranger.renew("")
        assert (await stranger.pass_on("GET", "/nodes", b""))[0] == 403
        wish = street.world.first.wish("x" * 100_000)
        with pytest.raises(NetError, match="too large"):
            await stranger.join(wish)

    on_the_street(scenario)


def test_sec_26_strangers_starve_nobody() -> None:
    """Half-open connections and a flood: sessions go on, a new one can be opened, little memory is taken."""

    async def scenario(street: Street) -> None:
        member = await street.world.joined(street.world.cluster.worker_token)
        session = await street.session(member)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        slow = [await street.connect(f"127.0.1.{number}") for number in range(1, STRANGERS_MAX + 9)]
        for one in slow:
            one.send(b"\x16\x03\x01")  # the first bytes of a handshake, and no more
        flood = []
        for _ in range(_FLOOD):
            one = await street.connect(_STRANGE)
            flood.append(one)
            if len(flood) > 200:
                flood.pop(0).close()
        assert street.server.strangers <= STRANGERS_MAX
        await session.send(Heartbeat())
        other = await street.world.joined(street.world.cluster.worker_token)
        await (await street.session(other)).close()
        node = street.world.brain.manager.state.node(street.world.id_of(member))
        assert node.state == "ready"
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < _GROWTH_KIB_MAX
        for one in (*slow, *flood):
            one.close()
        await session.close()

    on_the_street(scenario)


def test_sec_26_of_too_many_strangers_the_oldest_goes() -> None:
    async def scenario(street: Street) -> None:
        context = stranger_context()
        strangers = []
        for number in range(1, STRANGERS_MAX + 3):
            wire_ = await street.connect(f"127.0.2.{number}")
            strangers.append(await asyncio.open_connection(sock=wire_, ssl=context, server_hostname=""))
        assert street.server.strangers <= STRANGERS_MAX
        assert await strangers[0][0].read() == b""
        strangers[-1][1].write(b"GET /root HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await strangers[-1][0].readline()).startswith(b"HTTP/1.1 200")
        for _, writer in strangers:
            writer.transport.abort()

    on_the_street(scenario)


def test_sec_26_a_source_may_come_so_often_only() -> None:
    rates = Rates()
    assert sum(rates.admit("192.0.2.7", 0.0) for _ in range(1000)) == SOURCE_BURST
    assert rates.admit("192.0.2.8", 0.0)
    assert sum(rates.admit("192.0.2.7", 1.0) for _ in range(1000)) == SOURCE_RATE_PER_S
    assert sum(rates.admit(f"2001:db8::{number:x}", 0.0) for number in range(1000)) == SOURCE_BURST  # one customer's
    assert not rates.admit("::ffff:192.0.2.7", 1.0)


def test_lines_are_read_as_they_were_written() -> None:
    hello = Hello(NodeDescription("h"), manager_address="[2001:db8::1]:2377")
    assert wire.read_upward(wire.upward(hello, 7)) == (hello, 7)
    told = Assignments("1.1", full=True)
    assert wire.read_downward(wire.downward(told)) == (told, 0)
    error, number = wire.read_downward(wire.answer(Forbidden("no", hint="ask"), 3))
    assert isinstance(error, Forbidden)
    assert (error.message, error.hint, number) == ("no", "ask", 3)


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"[]", b"\xff", b'{"t":"Hello"}', b'{"t":"Nothing","b":{}}', b'{"t":1}', b"[" * 100_000]
)
def test_what_is_no_line_is_refused(line: bytes) -> None:
    for read in (wire.read_upward, wire.read_downward):
        with pytest.raises(NetError):
            read(line)
