"""The DNS server on real sockets: a daemon's and a sandbox's network namespace for each test, gone with its thread."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
import time
from contextlib import ExitStack

import dns.flags
import dns.message
import dns.rcode
import pytest

from fairlead.discovery.aio import DnsServer
from fairlead.discovery.names import DNS_ADDRESS, DNS_LISTEN_PORT, DNS_PORT
from fairlead.discovery.resolver import Upstream, View
from fairlead.discovery.stream import CONNECTIONS_MAX

CLONE_NEWNET = 0x40000000  # linux/sched.h
WAIT_S = 10.0

REWRITE = f"""
table ip fairlead-dns {{
    chain output {{
        type filter hook output priority -150
        ip daddr {DNS_ADDRESS} udp dport {DNS_PORT} udp dport set {DNS_LISTEN_PORT}
        ip daddr {DNS_ADDRESS} tcp dport {DNS_PORT} tcp dport set {DNS_LISTEN_PORT}
        ip saddr {DNS_ADDRESS} udp sport {DNS_LISTEN_PORT} udp sport set {DNS_PORT}
        ip saddr {DNS_ADDRESS} tcp sport {DNS_LISTEN_PORT} tcp sport set {DNS_PORT}
    }}
}}
"""

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result):
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Stub:
    """An outside server at 127.0.0.1:53 that answers 192.0.2.80 to everything, after sending ``forgeries``."""

    def __init__(self, make, forgeries=lambda query: (), code=0):
        self.seen, self._forgeries, self._code = [], forgeries, code
        self._udp, self._tcp = make(socket.AF_INET, socket.SOCK_DGRAM), make(socket.AF_INET, socket.SOCK_STREAM)
        self._stranger = make(socket.AF_INET, socket.SOCK_DGRAM)
        self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for each in (self._udp, self._tcp):
            each.bind(("127.0.0.1", DNS_PORT))
        self._tcp.listen()
        self._threads = [threading.Thread(target=each) for each in (self._serve_udp, self._serve_tcp)]
        for thread in self._threads:
            thread.start()

    def _answer(self, query):
        message = dns.message.from_wire(query)
        answer = dns.message.make_response(message)
        answer.set_rcode(self._code)
        name = message.question[0].name
        answer.answer += dns.message.from_text(f"id 1\n;ANSWER\n{name} 60 IN A 192.0.2.80").answer
        return answer.to_wire()

    def _serve_udp(self):
        while True:
            query, peer = self._udp.recvfrom(4096)
            if query == b"stop":
                return
            self.seen.append((query, peer))
            for forgery in self._forgeries(query):
                self._udp.sendto(forgery, peer)
                self._stranger.sendto(self._answer(query), peer)
            self._udp.sendto(self._answer(query), peer)

    def _serve_tcp(self):
        while True:
            connection, peer = self._tcp.accept()
            with connection:
                size = connection.recv(2)
                if size == b"":
                    return
                query = connection.recv(int.from_bytes(size, "big"))
                self.seen.append((query, peer))
                answer = self._answer(query)
                connection.sendall(len(answer).to_bytes(2, "big") + answer)

    def stop(self, make):
        with make(socket.AF_INET, socket.SOCK_DGRAM) as udp, make(socket.AF_INET, socket.SOCK_STREAM) as tcp:
            udp.sendto(b"stop", ("127.0.0.1", DNS_PORT))
            tcp.connect(("127.0.0.1", DNS_PORT))
        for thread in self._threads:
            thread.join(WAIT_S)
        for each in (self._udp, self._tcp, self._stranger):
            each.close()


class World:
    """A daemon's namespace (the thread's own) and a sandbox's, a server, and the clients' side."""

    def __init__(self, stack):
        self._stack = stack
        self._home = self._namespace()
        self._inside = self._namespace(back_to=self._home)
        self.server = DnsServer(self._fresh)
        stack.callback(self.server.close)
        self.udp, self.listener = (self.inside(socket.AF_INET, k) for k in (socket.SOCK_DGRAM, socket.SOCK_STREAM))
        for each in (self.udp, self.listener):
            each.bind((DNS_ADDRESS, DNS_LISTEN_PORT))
        self.listener.listen(256)
        self.server.start()
        self.server.register("n", "net", "e", ("web",), "10.0.0.2/24", "fd00::2/64")

    def _namespace(self, back_to=None):
        _check(_libc.unshare(CLONE_NEWNET))
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        if back_to is not None:
            subprocess.run(["nft", "-f", "-"], input=REWRITE.encode(), check=True)
        fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._stack.callback(os.close, fd)
        if back_to is not None:
            _check(_libc.setns(back_to, CLONE_NEWNET))
        return fd

    def inside(self, family, kind):
        _check(_libc.setns(self._inside, CLONE_NEWNET))
        try:
            made = socket.socket(family, kind)
        finally:
            _check(_libc.setns(self._home, CLONE_NEWNET))
        made.settimeout(WAIT_S)
        return made

    def _fresh(self, name, family, kind, count):
        assert name == "box"
        return [self.inside(family, kind) for _ in range(count)]

    @staticmethod
    def outside(family, kind):
        return socket.socket(family, kind)

    def stub(self, make, **options):
        stub = Stub(make, **options)
        self._stack.callback(stub.stop, make)
        return stub

    def serve(self, view):
        self.server.add_sandbox("s", self.udp, self.listener, view)

    def ask(self, name, kind="A", **options):
        query = dns.message.make_query(name, kind, **options)
        with self.inside(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((DNS_ADDRESS, DNS_PORT))
            sock.send(query.to_wire())
            answer = dns.message.from_wire(sock.recv(65535))
        assert query.is_response(answer)
        return answer

    def dial(self):
        sock = self._stack.enter_context(self.inside(socket.AF_INET, socket.SOCK_STREAM))
        sock.connect((DNS_ADDRESS, DNS_PORT))
        return sock

    def ask_tcp(self, name, kind="A", sock=None):
        query = dns.message.make_query(name, kind)
        data = query.to_wire()
        sock = sock or self.dial()
        sock.sendall(len(data).to_bytes(2, "big") + data)
        size = int.from_bytes(sock.recv(2, socket.MSG_WAITALL), "big")
        answer = dns.message.from_wire(sock.recv(size, socket.MSG_WAITALL))
        assert query.is_response(answer)
        return answer


def texts(message):
    assert message.rcode() == dns.rcode.NOERROR
    return sorted(record.to_text() for rrset in message.answer for record in rrset)


@pytest.fixture
def scene():
    """Runs a scenario in a thread with namespaces of its own; they die with the thread, whatever happens."""

    def run(scenario):
        faults = []

        def inside():
            try:
                with ExitStack() as stack:
                    scenario(World(stack))
            except BaseException as error:  # noqa: BLE001 - raised again by the test
                faults.append(error)

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join()
        if faults:
            raise faults[0]

    return run


OUT = (Upstream("127.0.0.1", True),)
NEAR = (Upstream("127.0.0.1", False),)


def test_names_are_answered_on_port_53_over_udp_and_tcp(scene):
    def scenario(world):
        world.serve(View(("n",)))
        for ask in (world.ask, world.ask_tcp):
            assert texts(ask("web")) == ["10.0.0.2"] == texts(ask("WEB.net"))
            assert texts(ask("web", "AAAA")) == ["fd00::2"]
            assert texts(ask("2.0.0.10.in-addr.arpa", "PTR")) == ["web.net."]
            assert ask("absent").rcode() == dns.rcode.NXDOMAIN
        sock = world.dial()
        assert all(texts(world.ask_tcp("web", sock=sock)) == ["10.0.0.2"] for _ in range(20))

    scene(scenario)


def test_changes_are_in_force_when_their_calls_return(scene):
    def scenario(world):
        world.serve(View(("n",)))
        for number in range(100):
            world.server.register("n", "net", "x", ("moving",), f"10.0.1.{number}", "")
            assert texts(world.ask("moving")) == [f"10.0.1.{number}"]
            world.server.unregister("n", "x")
            assert world.ask("moving").rcode() == dns.rcode.NXDOMAIN
        assert texts(world.ask("web")) == ["10.0.0.2"] == texts(world.ask("web"))
        world.server.update_view("s", View(()))
        assert world.ask("web").rcode() == dns.rcode.NXDOMAIN
        world.server.update_view("s", View(("n",)))
        assert texts(world.ask("web")) == ["10.0.0.2"]
        assert world.server.statistics().hits > 0

    scene(scenario)


def test_a_shared_name_answers_all_and_spreads(scene):
    def scenario(world):
        for number in range(3):
            world.server.register("n", "net", f"a{number}", ("all",), f"10.0.1.{number}", "")
        world.serve(View(("n",)))
        answers = [world.ask("all") for _ in range(300)]
        assert all(texts(answer) == ["10.0.1.0", "10.0.1.1", "10.0.1.2"] for answer in answers)
        firsts = [answer.answer[0][0].to_text() for answer in answers]
        assert all(70 <= firsts.count(f"10.0.1.{number}") <= 130 for number in range(3))

    scene(scenario)


def test_a_long_answer_is_truncated_over_udp_and_whole_over_tcp(scene):
    def scenario(world):
        for number in range(100):
            world.server.register("n", "net", f"a{number}", ("all",), f"10.0.1.{number}", "")
        world.serve(View(("n",)))
        assert world.ask("all", use_edns=False).flags & dns.flags.TC
        assert len(world.ask("all", use_edns=0, payload=4096).answer[0]) == 100
        assert len(world.ask_tcp("all").answer[0]) == 100

    scene(scenario)


def test_bad_packets_get_silence_or_an_error_and_the_server_goes_on(scene):
    def scenario(world):
        world.serve(View(("n",)))
        with world.inside(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((DNS_ADDRESS, DNS_PORT))
            for data in (b"", b"x", bytes(12), bytes(3000), b"\0\1\x80\0" + bytes(8)):
                sock.send(data)
            sock.send(b"\7\7\1\0\0\2" + bytes(6))
            codes = {}
            while b"\7\7" not in codes:
                data = sock.recv(4096)
                codes[data[:2]] = dns.message.from_wire(data).rcode()
        assert codes[b"\7\7"] == dns.rcode.FORMERR and texts(world.ask("web")) == ["10.0.0.2"]

    scene(scenario)


@pytest.mark.parametrize("from_host", [True, False])
def test_outside_names_are_forwarded_over_the_same_transport(scene, from_host):
    def scenario(world):
        stub = world.stub(world.outside if from_host else world.inside)
        world.serve(View(("n",), True, OUT if from_host else NEAR, netns="box"))
        assert texts(world.ask("Www.example.org")) == ["192.0.2.80"] == texts(world.ask_tcp("www.example.org"))
        assert len(stub.seen) == 2
        for query, _ in stub.seen:
            assert dns.message.from_wire(query).question[0].name == dns.name.from_text("www.example.org")

    scene(scenario)


def test_a_reply_from_outside_is_kept_for_its_sandbox_until_names_or_servers_change(scene):
    def scenario(world):
        stub = world.stub(world.outside)
        world.serve(View(("n",), True, OUT))

        def asked(count):
            assert all(texts(world.ask("www.net.example")) == ["192.0.2.80"] for _ in range(3))
            assert len(stub.seen) == count

        asked(1)
        world.server.register("elsewhere", "elsewhere", "e", ("www",), "10.9.9.9", "")
        asked(1)
        world.server.register("n", "net", "new", ("other",), "10.0.0.8", "")
        asked(2)
        world.server.register("n", "net", "new", ("www.net.example",), "10.0.0.9", "")
        assert texts(world.ask("www.net.example")) == ["10.0.0.9"]
        world.server.unregister("n", "new")
        asked(3)
        world.server.update_view("s", View(("n",), True, OUT))
        asked(4)
        world.server.update_view("s", View(("n",), False, OUT))
        assert world.ask("www.net.example").rcode() == dns.rcode.NXDOMAIN

    scene(scenario)


def test_a_dead_or_failing_server_leads_to_the_next_or_to_servfail(scene):
    def scenario(world):
        world.stub(world.inside)
        world.serve(View(("n",), True, OUT + NEAR, netns="box"))
        for ask in (world.ask, world.ask_tcp):
            assert texts(ask("www.example.org")) == ["192.0.2.80"]
        for dead in (OUT, (Upstream("192.0.2.9", True),), (Upstream("2001:db8::9", True),)):
            world.server.update_view("s", View(("n",), True, dead))
            for ask in (world.ask, world.ask_tcp):
                assert ask("www.example.org").rcode() == dns.rcode.SERVFAIL

    scene(scenario)


def test_ids_and_source_ports_of_forwarded_queries_are_spread(scene):
    def scenario(world):
        stub = world.stub(world.outside)
        world.serve(View(("n",), True, OUT))
        for number in range(300):
            world.ask(f"h{number}.example.org")
        assert len({query[:2] for query, _ in stub.seen}) > 290 and len({peer[1] for _, peer in stub.seen}) > 290

    scene(scenario)


def test_internal_sandboxes_and_single_labels_send_nothing_out(scene):
    def scenario(world):
        stub = world.stub(world.outside)
        world.serve(View(("n",), False, OUT))
        for ask in (world.ask, world.ask_tcp):
            for name, kind in (("random.example", "A"), ("9.9.9.9.in-addr.arpa", "PTR"), ("x.net", "TXT")):
                assert ask(name, kind).rcode() == dns.rcode.NXDOMAIN
        world.server.update_view("s", View(("n",), True, OUT, ("corp.example",), 1))
        assert world.ask("db").rcode() == dns.rcode.NXDOMAIN
        assert texts(world.ask("web.corp.example")) == ["10.0.0.2"]
        assert not stub.seen

    scene(scenario)


def test_forged_replies_are_not_believed(scene):
    def forgeries(query):
        message = dns.message.from_wire(query)
        forged = dns.message.make_response(message)
        forged.answer += dns.message.from_text(f"id 1\n;ANSWER\n{message.question[0].name} 60 IN A 6.6.6.6").answer
        data = forged.to_wire()
        wrong_ids = [(int.from_bytes(data[:2], "big") ^ flip).to_bytes(2, "big") + data[2:] for flip in range(1, 50)]
        return [*wrong_ids, data[:13] + b"~" + data[14:], data[:2] + b"\0" + data[3:]]

    def scenario(world):
        world.stub(world.outside, forgeries=forgeries)
        world.serve(View(("n",), True, OUT))
        for number in range(20):
            assert texts(world.ask(f"h{number}.example.org")) == ["192.0.2.80"]
        assert world.server.statistics().unbelieved > 0

    scene(scenario)


def test_hanging_tcp_clients_hold_nobody_up_and_are_cut_off(scene):
    def scenario(world):
        world.serve(View(("n",)))
        start = time.monotonic()
        hanging = [world.dial() for _ in range(200)]
        for sock in hanging[:CONNECTIONS_MAX]:
            sock.send(b"\0")
        slowest = 0.0
        for _ in range(200):
            before = time.monotonic()
            assert texts(world.ask("web")) == ["10.0.0.2"]
            slowest = max(slowest, time.monotonic() - before)
        assert slowest < 1.0 and world.server.statistics().connections <= CONNECTIONS_MAX
        for sock in hanging:
            try:
                assert sock.recv(1) == b""
            except ConnectionResetError:
                continue
        assert time.monotonic() - start < 5.0
        assert texts(world.ask_tcp("web")) == ["10.0.0.2"]

    scene(scenario)


def test_broken_tcp_frames_close_the_connection(scene):
    def scenario(world):
        world.serve(View(("n",)))
        for data in (b"\0\0", b"\0\x05hello", b"\0\x0c\0\1\x80\0" + bytes(8)):
            sock = world.dial()
            sock.sendall(data)
            try:
                assert sock.recv(1) == b""
            except ConnectionResetError:
                continue
        assert texts(world.ask_tcp("web")) == ["10.0.0.2"]

    scene(scenario)


def test_removed_sandboxes_and_a_closed_server_leave_no_socket(scene):
    def scenario(world):
        world.serve(View(("n",)))
        assert texts(world.ask_tcp("web")) == ["10.0.0.2"]
        world.server.remove_sandbox("s")
        world.server.remove_sandbox("s")
        assert world.server.statistics().sandboxes == 0
        world.server.close()
        assert world.udp.fileno() == world.listener.fileno() == -1
        assert world.server.statistics().entries == world.server.statistics().connections == 0

    scene(scenario)
