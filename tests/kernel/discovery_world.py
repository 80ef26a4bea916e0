"""A daemon's and a sandbox's network namespace with a DNS server between them, for the tests of the server."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
from contextlib import ExitStack

import dns.message
import dns.rcode

from fairlead.discovery.aio import DnsServer
from fairlead.discovery.names import DNS_ADDRESS, DNS_LISTEN_PORT, DNS_PORT
from fairlead.discovery.resolver import Upstream

CLONE_NEWNET = 0x40000000  # linux/sched.h
WAIT_S = 60.0

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


def play(scenario):
    """Run a scenario in a thread with namespaces of its own; they die with the thread, whatever happens."""
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


OUT = (Upstream("127.0.0.1", True),)
NEAR = (Upstream("127.0.0.1", False),)
