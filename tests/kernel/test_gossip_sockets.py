"""The gossip edge on real sockets, with a tiny protocol: what arrives, what is refused, what breaks, what is bounded."""

from __future__ import annotations

import resource
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from tests.sim.gossip_tiny import Tiny

from fairlead.gossip.aio import GossipServer, Loop, listen
from fairlead.gossip.contract import STREAM_BYTES_MAX
from fairlead.gossip.identity import Address
from fairlead.gossip.inbound import INBOUND_HOST_MAX, STRANGER_BYTES_MAX, STRANGERS_MAX

#: Seconds that anything awaited here may take on a busy machine.
WAIT_S = 60.0
Start = Callable[..., GossipServer[Tiny]]


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.005)


class Bed:
    """A loop in a thread of its own, and servers on it."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.servers: list[GossipServer[Tiny]] = []
        self.thread = threading.Thread(target=self.loop.run)
        self.thread.start()

    def start(self, host: str = "127.0.0.1", core: Tiny | None = None) -> GossipServer[Tiny]:
        server = GossipServer(self.loop, core or Tiny(), listen(Address(host, 0)), lambda _event: None)
        self.loop.post(server.start)
        self.servers.append(server)
        return server

    def close(self, server: GossipServer[Tiny]) -> None:
        done = threading.Event()
        self.loop.post(lambda: (server.close(), done.set())[0])
        assert done.wait(WAIT_S)

    def end(self) -> None:
        for server in self.servers:
            self.close(server)
        self.loop.stop()
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()


@pytest.fixture(name="bed")
def _bed() -> Iterator[Bed]:
    bed = Bed()
    yield bed
    bed.end()


def free_address() -> Address:
    udp, listener = listen(Address("127.0.0.1", 0))
    port = udp.getsockname()[1]
    udp.close()
    listener.close()
    return Address("127.0.0.1", port)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_datagrams_and_requests_arrive(bed: Bed, host: str) -> None:
    a, b = bed.start(host), bed.start(host)
    a.do(lambda core, _now: core.say(b.address, b"hello"))
    until(lambda: b.core.heard)
    assert b.core.heard[0][1:] == (b"hello", a.address)
    a.do(lambda core, _now: core.ask(1, b.address, b"abc"))
    until(lambda: a.core.replies)
    assert a.core.replies[1][1] == b"cba"
    assert a.traffic.datagrams_sent == 1
    assert a.traffic.stream_bytes_sent == 7


def test_the_largest_message_passes_and_a_larger_one_ends_the_stream(bed: Bed) -> None:
    a, b = bed.start(), bed.start()
    message = bytes(STREAM_BYTES_MAX - 1) + b"!"
    a.do(lambda core, _now: core.ask(1, b.address, message, WAIT_S))
    until(lambda: a.core.replies)
    assert a.core.replies[1][1] == message[::-1]
    with socket.create_connection((b.address.host, b.address.port), WAIT_S) as stream:
        stream.sendall(struct.pack(">I", STREAM_BYTES_MAX + 1))
        assert not stream.recv(1)
    assert b.traffic.half_read == 0


def test_many_requests_at_once_are_all_answered(bed: Bed) -> None:
    a, b = bed.start(), bed.start()

    def ask(core: Tiny, _now: float) -> None:
        for number in range(500):
            core.ask(number, b.address, b"%d" % number, WAIT_S)

    a.do(ask)
    until(lambda: len(a.core.replies) == 500)
    answers = {number: answer[1] for number, answer in a.core.replies.items()}
    assert answers == {number: str(number)[::-1].encode() for number in range(500)}


def test_a_datagram_to_nobody_is_told_and_the_next_one_arrives(bed: Bed) -> None:
    a, b, nobody = bed.start(), bed.start(), free_address()
    a.do(lambda core, _now: core.say(nobody, b"x"))
    until(lambda: a.core.refusals)
    assert a.core.refusals[0][1] == nobody
    for _ in range(20):
        a.do(lambda core, _now: (core.say(nobody, b"x"), core.say(b.address, b"to b"))[0])
    until(lambda: len(b.core.heard) == 20)
    assert a.traffic.unsent == 0


def test_a_request_to_nobody_fails_and_is_told(bed: Bed) -> None:
    a, nobody = bed.start(), free_address()
    a.do(lambda core, _now: core.ask(1, nobody, b"x"))
    until(lambda: a.core.replies)
    assert a.core.replies[1][1] is None
    assert [peer for _, peer in a.core.refusals] == [nobody]


def test_a_request_that_is_not_answered_fails_in_time(bed: Bed) -> None:
    a = bed.start()
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        to = Address(*deaf.getsockname())
        began = time.monotonic()
        a.do(lambda core, _now: core.ask(1, to, b"x", 0.2))
        until(lambda: a.core.replies)
        assert a.core.replies[1][1] is None
        assert a.core.replies[1][0] - began >= 0.2


def test_a_lifeline_tells_of_the_end_of_its_far_end(bed: Bed) -> None:
    a, b = bed.start(), bed.start()
    a.do(lambda core, _now: core.hold(b.address))
    a.do(lambda core, _now: core.ask(1, b.address, b"after"))
    until(lambda: a.core.replies)
    assert not a.core.lost
    bed.close(b)
    until(lambda: a.core.lost)
    assert a.core.lost[0][1] == b.address
    a.do(lambda core, _now: core.hold(b.address))
    until(lambda: len(a.core.lost) == 2)
    assert [peer for _, peer in a.core.refusals] == [b.address]


def test_a_lifeline_that_was_let_go_tells_nothing(bed: Bed) -> None:
    a, b = bed.start(), bed.start()
    a.do(lambda core, _now: core.hold(b.address))
    a.do(lambda core, _now: core.hold(b.address, held=False))
    bed.close(b)
    nobody = free_address()
    a.do(lambda core, _now: core.ask(1, nobody, b"x"))
    until(lambda: a.core.replies)
    assert not a.core.lost


def test_deadlines_are_kept(bed: Bed) -> None:
    began = time.monotonic()
    a = bed.start(core=Tiny(now=began - 0.9, calling=True))
    until(lambda: len(a.core.ticks) >= 2)
    assert a.core.ticks[1] - began >= 1.0


def test_connections_from_one_host_are_bounded_and_others_still_served(bed: Bed) -> None:
    a, b = bed.start(), bed.start()
    crowd = [socket.create_connection((b.address.host, b.address.port), WAIT_S) for _ in range(INBOUND_HOST_MAX + 5)]
    try:
        until(lambda: b.traffic.turned_away == 5)
        with socket.socket() as elsewhere:
            elsewhere.bind(("127.0.0.2", 0))
            elsewhere.settimeout(WAIT_S)
            elsewhere.connect((b.address.host, b.address.port))
            elsewhere.sendall(struct.pack(">I", 2) + b"ab")
            assert elsewhere.recv(6) == struct.pack(">I", 2) + b"ba"
    finally:
        for stream in crowd:
            stream.close()
    a.do(lambda core, _now: core.ask(1, b.address, b"again"))
    until(lambda: a.core.replies)


def test_a_members_host_on_which_others_hold_all_connections_still_gets_through(bed: Bed) -> None:
    """Containers on a member's host come from its address, too."""
    a, b = bed.start(), bed.start()
    with ExitStack() as stack:
        for _ in range(INBOUND_HOST_MAX):
            stack.enter_context(socket.create_connection((b.address.host, b.address.port), WAIT_S))
        a.do(lambda core, _now: core.ask(1, b.address, b"abc"))
        until(lambda: a.core.replies)
        assert a.core.replies[1][1] == b"cba"


def test_sec_26_crowds_of_strangers_take_turns_and_members_and_newcomers_get_through(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections that say nothing, or a byte a second, from a few hosts and from very many."""
    monkeypatch.setattr("fairlead.gossip.inbound.STRANGER_S", WAIT_S)  # on no machine do they leave by themselves
    a, b = bed.start(), bed.start()
    to = (b.address.host, b.address.port)
    with ExitStack() as stack:
        for number in range(3 * STRANGERS_MAX):
            stranger = stack.enter_context(socket.socket())
            stranger.bind((f"127.{1 + number // 250}.0.{1 + number % 250}" if number % 2 else "127.99.0.1", 0))
            stranger.settimeout(WAIT_S)
            stranger.connect(to)
            stranger.sendall(b"\0"[: number % 3])
        until(lambda: b.traffic.turned_away >= 2 * STRANGERS_MAX)
        assert len(b._streams._inbound) <= STRANGERS_MAX
        a.do(lambda core, _now: core.ask(1, b.address, b"abc"))
        until(lambda: a.core.replies)
        assert a.core.replies[1][1] == b"cba"
        with socket.socket() as newcomer:
            newcomer.bind(("127.98.0.1", 0))
            newcomer.settimeout(WAIT_S)
            newcomer.connect(to)
            newcomer.sendall(struct.pack(">I", 2) + b"ab")
            assert newcomer.recv(6) == struct.pack(">I", 2) + b"ba"
    until(lambda: not len(b._streams._inbound) and not b.traffic.half_read)


def test_sec_26_a_strangers_message_is_short_and_soon(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fairlead.gossip.inbound.STRANGER_S", 0.3)
    b = bed.start()
    for said in (b"", struct.pack(">I", 100) + b"half", struct.pack(">I", STRANGER_BYTES_MAX + 1)):
        with socket.socket() as stranger:
            stranger.bind(("127.99.0.1", 0))
            stranger.settimeout(WAIT_S)
            stranger.connect((b.address.host, b.address.port))
            stranger.sendall(said)
            assert not stranger.recv(1)
    until(lambda: not len(b._streams._inbound) and not b.traffic.half_read)


def test_who_was_a_stranger_when_it_connected_keeps_its_lifeline_once_it_is_a_member(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fairlead.gossip.inbound.STRANGER_S", WAIT_S)
    a, b = bed.start("127.5.0.1"), bed.start()
    a.do(lambda core, _now: core.hold(b.address))
    inbound = b._streams._inbound
    until(lambda: len(inbound))
    b.core.members.add("127.5.0.1")

    def pass_time() -> None:
        for stream in inbound._strangers:
            stream.deadline = 0.0

    bed.loop.post(pass_time)  # a stranger's time is over
    until(lambda: not inbound._strangers)
    assert not a.core.lost
    assert len(inbound) == 1


def test_without_descriptors_nobody_is_taken_in_and_nothing_spins(bed: Bed) -> None:
    """A connection that cannot be accepted makes the listener ready for ever."""
    b = bed.start()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    waiting = [socket.socket() for _ in range(20)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (waiting[-1].fileno() + 1, before[1]))
    try:
        for stream in waiting:
            stream.settimeout(WAIT_S)
            stream.connect((b.address.host, b.address.port))
        spent = time.process_time()
        time.sleep(1.0)
        assert time.process_time() - spent < 0.5, "it does not try again and again"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    until(lambda: len(b._streams._inbound) == len(waiting))
    for stream in waiting:
        stream.close()


def test_garbage_on_the_sockets_harms_nobody(bed: Bed) -> None:
    a, b = bed.start(), bed.start()
    with socket.create_connection((b.address.host, b.address.port), WAIT_S) as stream:
        stream.sendall(b"\0\0\0\1ab")
        assert not stream.recv(1)
    with socket.create_connection((b.address.host, b.address.port), WAIT_S) as half:
        half.sendall(b"\0\0\1\0half")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.sendto(b"", (b.address.host, b.address.port))
        udp.sendto(bytes(65507), (b.address.host, b.address.port))
    a.do(lambda core, _now: core.ask(1, b.address, b"abc"))
    until(lambda: a.core.replies and len(b.core.heard) == 3)
    until(lambda: b.traffic.half_read == 0)


def test_a_command_that_fails_tells_its_caller_and_the_loop_lives_on(bed: Bed) -> None:
    a = bed.start()

    def fail(_core: Tiny, _now: float) -> None:
        raise KeyError("no")

    with pytest.raises(KeyError):
        a.do(fail).result(WAIT_S)
    assert a.do(lambda core, _now: core is a.core).result(WAIT_S)


def test_a_closed_port_can_be_taken_again_at_once(bed: Bed) -> None:
    a, b = bed.start(), bed.start()
    a.do(lambda core, _now: core.ask(1, b.address, b"x"))
    until(lambda: a.core.replies)
    bed.close(b)
    udp, listener = listen(b.address)
    udp.close()
    listener.close()


def test_a_command_is_carried_out_though_nobody_waits_for_it_any_more(
    bed: Bed, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = bed.start(), bed.start()
    assert not a.do(lambda core, _now: core.say(b.address, b"hello")).cancel()
    until(lambda: b.core.heard)
    assert not caplog.text
