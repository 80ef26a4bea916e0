"""The DNS server against those who mean harm, on real sockets: SEC-18, SEC-19, SEC-21, and servers that are dead."""

from __future__ import annotations

import os
import random
import resource
import selectors
import socket
import struct
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import dns.message
import dns.rcode
from tests.kernel.discovery_world import NEAR, OUT, play, texts
from tests.unit.discovery.test_sec_19_hostile_octets import hostile

from fairlead.discovery.names import DNS_ADDRESS, DNS_PORT
from fairlead.discovery.resolver import Upstream, View
from fairlead.discovery.stream import CONNECTIONS_MAX, IDLE_S

UDP, TCP = socket.SOCK_DGRAM, socket.SOCK_STREAM
#: Seconds that anything awaited here may take.
PATIENCE_S = 60.0
#: Ticks (1/100 s) of processor that half a second of nothing may cost: who spins takes 50, on a busy machine half of it.
IDLE_TICKS_MAX = 10
#: Seconds of silence that stand for never; a packet takes under a millisecond.
SILENCE_S = 0.3
#: Different numbers among 10,000 that have 15 bits, plus five times the deviation: more bits give more.
DISTINCT_OF_15_BITS = 8800


def until(condition, what):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def cpu_ticks():
    """Ticks (1/100 s) of processor that the DNS thread has had."""
    (thread,) = (each for each in threading.enumerate() if each.name == "fairlead-dns")
    fields = Path(f"/proc/self/task/{thread.native_id}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def ended(sock):
    """Whether the other side has closed."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def answers(world):
    """Whether a name is answered; the queue of a socket that is flooded has no room for another query."""
    query = dns.message.make_query("web", "A")
    with world.inside(socket.AF_INET, UDP) as sock:
        sock.settimeout(0.5)
        sock.connect((DNS_ADDRESS, DNS_PORT))
        sock.send(query.to_wire())
        with suppress(TimeoutError):
            return texts(dns.message.from_wire(sock.recv(4096))) == ["10.0.0.2"]
    return False


class Recorder:
    """An outside server at 127.0.0.1:53 over UDP, quick and without a library. ``seen`` has (id, port, question).
    Names that begin with ``held`` are not answered until told to."""

    def __init__(self, world):
        self.seen, self.held = [], []
        self.sock = world.outside(socket.AF_INET, UDP)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.sock.bind(("127.0.0.1", DNS_PORT))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self):
        with socket.socket(socket.AF_INET, UDP) as sender:
            sender.sendto(b"stop", self.sock.getsockname())
        self._thread.join()
        self.sock.close()

    @staticmethod
    def reply(query, address=b"\xc0\0\2\x50"):
        return query[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + query[12:] + b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + address

    def _serve(self):
        while (received := self.sock.recvfrom(4096))[0] != b"stop":
            query, peer = received
            self.seen.append((query[:2], peer[1], query[12:]))
            if query[13:17].lower() == b"held":
                self.held.append((query, peer))
            else:
                self.sock.sendto(self.reply(query), peer)


def plain_query(number, name):
    label = name.encode()
    return struct.pack("!HHHHHH", number, 0x100, 1, 0, 0, 0) + bytes([len(label)]) + label + b"\7example\0\0\1\0\1"


def test_sec_18_slow_tcp_clients_hold_nobody_up_and_are_cut_off():
    def scenario(world):
        world.serve(View(("n",)))
        before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        hanging = [world.dial() for _ in range(200)]
        answered = 0
        stop = time.monotonic() + IDLE_S
        while time.monotonic() < stop:
            for sock in hanging:
                with suppress(OSError):
                    sock.send(b"\0")
            for _ in range(50):
                assert texts(world.ask("web")) == ["10.0.0.2"]
                answered += 1
            assert world.server.statistics().connections <= CONNECTIONS_MAX
        assert answered >= 50
        assert all(map(ended, hanging))
        until(lambda: not world.server.statistics().connections, "all connections are given back")
        assert texts(world.ask_tcp("web")) == ["10.0.0.2"]
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 32 * 1024

    play(scenario)


def test_sec_18_clients_that_ask_and_never_read_cost_little():
    def scenario(world):
        for number in range(1000):
            world.server.register("n", "net", f"a{number}", ("all",), f"10.1.{number >> 8}.{number & 255}", "")
        world.serve(View(("n",)))
        query = dns.message.make_query("all", "A").to_wire()
        burst = (len(query).to_bytes(2, "big") + query) * 60
        before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        greedy = [world.dial() for _ in range(CONNECTIONS_MAX)]
        for sock in greedy:
            sock.setblocking(False)
        stop = time.monotonic() + IDLE_S / 4
        while time.monotonic() < stop:
            for sock in greedy:
                with suppress(OSError):
                    sock.send(burst)
            until(lambda: answers(world), "whoever asks once is answered")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 64 * 1024

    play(scenario)


def test_sec_19_clients_that_go_while_their_turn_is_near_cost_nothing_afterwards():
    def scenario(world):
        for number in range(1000):
            world.server.register("n", "net", f"e{number}", ("crowd",), f"10.1.{number >> 8}.{number & 255}/16", "")
        world.serve(View(("n",)))
        query = dns.message.make_query("crowd", "A").to_wire()
        with world.inside(socket.AF_INET, TCP) as sock:
            sock.connect((DNS_ADDRESS, DNS_PORT))
            sock.sendall(b"".join((len(query).to_bytes(2, "big") + query) for _ in range(60)))
            until(lambda: world.server.statistics().misses, "the first of many has its turn")
            world.server.remove_sandbox("s")
        until(lambda: not world.server.statistics().connections, "nobody is left")
        before = cpu_ticks()
        time.sleep(0.5)
        assert cpu_ticks() - before <= IDLE_TICKS_MAX

    play(scenario)


def test_sec_19_hostile_octets_on_real_sockets():
    def scenario(world):
        world.serve(View(("n",)))
        chance = random.Random(int(os.environ.get("FAIRLEAD_FUZZ_SEED", "19")))
        with world.inside(socket.AF_INET, UDP) as sock:
            sock.connect((DNS_ADDRESS, DNS_PORT))
            for number in range(3000):
                with suppress(OSError):
                    sock.send(hostile(chance)[:65_000])
                if number % 100 == 0:
                    until(lambda: answers(world), "the flood is over")
        for _ in range(300):
            with world.inside(socket.AF_INET, TCP) as sock, suppress(OSError):
                sock.connect((DNS_ADDRESS, DNS_PORT))
                data = hostile(chance)
                size = chance.choice((0, 11, len(data), len(data) + 1, 65535))
                sock.sendall(min(size, 65535).to_bytes(2, "big") + data)
                if chance.randrange(2):
                    sock.shutdown(socket.SHUT_WR)
        until(lambda: not world.server.statistics().connections, "no connection outlives its limit")
        assert world.server.statistics().faults == 0
        before = cpu_ticks()
        time.sleep(0.5)
        assert cpu_ticks() - before <= IDLE_TICKS_MAX
        assert texts(world.ask("web")) == ["10.0.0.2"] == texts(world.ask_tcp("web"))

    play(scenario)


def test_sec_19_replies_and_errors_in_turn_on_one_socket():
    def scenario(world):
        world.serve(View(("n",)))
        with world.inside(socket.AF_INET, UDP) as sock:
            sock.connect((DNS_ADDRESS, DNS_PORT))
            for data in (b"", b"x", bytes(12), bytes(3000), b"\0\1\x80\0" + bytes(8)):
                sock.send(data)
            sock.send(b"\7\7\1\0\0\2" + bytes(6))
            codes = {}
            while b"\7\7" not in codes:
                data = sock.recv(4096)
                codes[data[:2]] = dns.message.from_wire(data).rcode()
        assert codes[b"\7\7"] == dns.rcode.FORMERR

    play(scenario)


def test_sec_19_broken_tcp_frames_close_the_connection():
    def scenario(world):
        world.serve(View(("n",)))
        for data in (b"\0\0", b"\0\x05hello", b"\xff\xff", b"\0\x0c\0\1\x80\0" + bytes(8)):
            sock = world.dial()
            sock.sendall(data)
            assert ended(sock)
        assert texts(world.ask_tcp("web")) == ["10.0.0.2"]

    play(scenario)


def test_sec_21_ids_ports_and_letter_case_of_ten_thousand_queries():
    def scenario(world):
        recorder = Recorder(world)
        world.serve(View(("n",), True, OUT))
        try:
            with world.inside(socket.AF_INET, UDP) as sock:
                sock.connect((DNS_ADDRESS, DNS_PORT))
                for start in range(0, 10_000, 50):
                    for number in range(start, start + 50):
                        sock.send(plain_query(number, f"somewhere{number}"))
                    for _ in range(50):
                        assert sock.recv(4096)[-4:] == b"\xc0\0\2\x50"
        finally:
            recorder.close()
        seen = recorder.seen
        assert len(seen) >= 10_000  # on a busy machine some are asked twice
        assert len({identity for identity, _, _ in seen}) > DISTINCT_OF_15_BITS
        assert len({port for _, port, _ in seen}) > DISTINCT_OF_15_BITS
        upper = sum(any(65 <= octet <= 90 for octet in question[1:10]) for _, _, question in seen)
        assert upper > 9900

    play(scenario)


def test_sec_21_a_hundred_thousand_forged_replies_and_doubled_ones_change_nothing():
    def scenario(world):
        recorder = Recorder(world)
        world.serve(View(("n",), True, OUT))
        try:
            with world.inside(socket.AF_INET, UDP) as sock, world.outside(socket.AF_INET, UDP) as stranger:
                sock.connect((DNS_ADDRESS, DNS_PORT))
                sock.send(plain_query(7, "held"))
                until(lambda: recorder.held, "the query has gone out")
                query, peer = recorder.held[0]
                forged = recorder.reply(query, b"\6\6\6\6")
                # Who sees everything but cannot send from the server's address and port is not heard.
                for _ in range(50_000):
                    stranger.sendto(forged, peer)
                # Who can, but sees nothing, guesses ids. After a few the query goes over TCP, to nobody here.
                for number in range(50_000):
                    guess = number.to_bytes(2, "big")
                    if guess != query[:2]:
                        recorder.sock.sendto(guess + forged[2:], peer)
                answer = sock.recv(4096)
                assert answer[:2] == b"\0\7" and answer[3] & 15 == dns.rcode.SERVFAIL and b"\6\6\6\6" not in answer
                sock.send(plain_query(8, "held2"))
                until(lambda: len(recorder.held) == 2, "the second query has gone out")
                query, peer = recorder.held[1]
                for _ in range(3):
                    recorder.sock.sendto(recorder.reply(query), peer)
                    recorder.sock.sendto(recorder.reply(query, b"\6\6\6\6"), peer)
                answer = sock.recv(4096)
                assert answer[:2] == b"\0\x08" and answer.endswith(b"\xc0\0\2\x50")
                assert texts(world.ask("held2.example")) == ["192.0.2.80"]
                sock.settimeout(SILENCE_S)
                with suppress(TimeoutError):
                    raise AssertionError(f"one query, two answers: {sock.recv(4096)!r}")
        finally:
            recorder.close()
        assert world.server.statistics().unbelieved > 0

    play(scenario)


def test_sec_07_what_waits_for_the_outside_is_dropped_when_nothing_may_go_out_any_more():
    def scenario(world):
        recorder = Recorder(world)
        world.serve(View(("n",), True, OUT))
        try:
            with world.inside(socket.AF_INET, UDP) as sock:
                sock.connect((DNS_ADDRESS, DNS_PORT))
                sock.send(plain_query(7, "held"))
                until(lambda: recorder.held, "the query has gone out")
                world.server.update_view("s", View(("n",), False, OUT))
                query, peer = recorder.held[0]
                sock.send(plain_query(8, "held"))
                assert sock.recv(4096)[:4] == b"\0\x08\x81\x83"
                recorder.sock.sendto(recorder.reply(query), peer)
                sock.settimeout(SILENCE_S)
                with suppress(TimeoutError):
                    raise AssertionError(f"an answer from outside: {sock.recv(4096)!r}")
            assert len(recorder.held) == 1
        finally:
            recorder.close()

    play(scenario)


def test_sec_07_queries_of_a_sandbox_that_goes_are_not_sent_from_elsewhere():
    def scenario(world):
        world.stub(world.inside)
        for number in range(20):
            pair = [world.inside(socket.AF_INET, kind) for kind in (UDP, TCP)]
            for sock in pair:
                sock.bind((f"127.0.0.{20 + number}", DNS_PORT))
            pair[1].listen()
            world.server.add_sandbox("going", *pair, View(("n",), True, NEAR, netns="box"))
            with world.inside(socket.AF_INET, UDP) as sock:
                sock.connect((f"127.0.0.{20 + number}", DNS_PORT))
                for name in range(100):
                    with suppress(ConnectionRefusedError):
                        sock.send(plain_query(name, f"h{name}"))
                world.server.remove_sandbox("going")
        world.serve(View(("n",)))
        assert texts(world.ask("web")) == ["10.0.0.2"]
        assert world.server.statistics().faults == 0

    play(scenario)


def test_dead_servers_of_one_sandbox_do_not_delay_another():
    def scenario(world):
        stub = world.stub(world.outside)
        dead = (Upstream("127.0.0.2", True), Upstream("127.0.0.3", True), Upstream("127.0.0.4", True))
        with ExitStack() as stack:
            silent = [stack.enter_context(world.outside(socket.AF_INET, UDP)) for _ in dead]
            for sock, server in zip(silent, dead, strict=True):
                sock.bind((server.address, DNS_PORT))
            other = [world.inside(socket.AF_INET, kind) for kind in (UDP, TCP)]
            for sock in other:
                sock.bind(("127.0.0.12", DNS_PORT))
            other[1].listen()
            world.server.add_sandbox("unlucky", *other, View(("n",), True, dead))
            world.serve(View(("n",), True, OUT))
            flood = stack.enter_context(world.inside(socket.AF_INET, UDP))
            flood.connect(("127.0.0.12", DNS_PORT))
            for number in range(2000):
                flood.send(plain_query(number, f"dead{number}"))
                if number % 50 == 0:
                    assert texts(world.ask(f"live{number}.example")) == ["192.0.2.80"]
                    assert texts(world.ask("web")) == ["10.0.0.2"]
            until(lambda: world.server.statistics().refused, "the flood meets its limit")
            assert flood.recv(4096)[3] & 15 == dns.rcode.REFUSED
            assert len(stub.seen) == 40
            with selectors.DefaultSelector() as selector:
                selector.register(silent[0], selectors.EVENT_READ)
                assert selector.select(0)
            world.server.remove_sandbox("unlucky")

    play(scenario)
