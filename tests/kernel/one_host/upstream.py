"""A name server outside: answers every name and remembers what it was asked."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading

import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
from tests.kernel.one_host.namespace import ANSWER_S, Namespace

#: What every name of the outside world resolves to here (RFC 5737, RFC 3849).
OUTSIDE_V4, OUTSIDE_V6 = "203.0.113.7", "2001:db8::7"
#: The first label of names whose answer does not fit into a datagram.
LONG = "long"
#: The first label of names that are only other names for a canonical one.
ALIAS, CANONICAL = "alias", "canonical.example.net."

#: A name server of a container's own, bound to the addresses that are its arguments: says 192.0.2.53 to everything.
OWN_SERVER = """
import socket, sys, threading
def reply(query):
    end = query.index(0, 12) + 5
    return query[:2] + b"\\x85\\x80\\0\\1\\0\\1\\0\\0\\0\\0" + query[12:end] + b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\0\\0\\4\\xc0\\0\\2\\x35"
def udp(server):
    while True:
        query, peer = server.recvfrom(4096)
        server.sendto(reply(query), peer)
def tcp(server):
    while True:
        client, _ = server.accept()
        with client:
            size = int.from_bytes(client.recv(2), "big")
            answer = reply(client.recv(size))
            client.sendall(len(answer).to_bytes(2, "big") + answer)
for address in sys.argv[1:]:
    for kind, serve in ((socket.SOCK_DGRAM, udp), (socket.SOCK_STREAM, tcp)):
        server = socket.socket(socket.AF_INET, kind)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, 53))
        if kind == socket.SOCK_STREAM:
            server.listen()
        threading.Thread(target=serve, args=(server,), daemon=True).start()
threading.Event().wait()
"""
OWN_V4 = "192.0.2.53"


class Upstream:
    """Serves UDP and TCP at one address of a namespace, in a thread, until closed."""

    def __init__(self, ns: Namespace, address: str, port: int = 53) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.queries: list[dns.message.Message] = []
        self._udp = ns.socket(kind=socket.SOCK_DGRAM)
        self._udp.bind((address, port))
        self._tcp = ns.socket()
        self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._tcp.bind((address, port))
        self._tcp.listen()
        self._wake, self._end = socket.socketpair()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def names(self) -> list[str]:
        """The names asked for so far, lower case, whatever the letter case on the wire."""
        return [name.lower() for _, name, _ in self.asked]

    def close(self) -> None:
        """Stop."""
        self._wake.close()
        self._thread.join()
        for sock in (self._udp, self._tcp, self._end):
            sock.close()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            for sock in (self._udp, self._tcp, self._end):
                selector.register(sock, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._end:
                        return
                    with contextlib.suppress(OSError):
                        self._udp_once() if key.fileobj is self._udp else self._tcp_once()

    def _udp_once(self) -> None:
        data, peer = self._udp.recvfrom(65535)
        self._udp.sendto(self._answer(data, "udp"), peer)

    def _tcp_once(self) -> None:
        client, _ = self._tcp.accept()
        with client, client.makefile("rwb") as stream:
            client.settimeout(ANSWER_S)
            data = stream.read(int.from_bytes(stream.read(2), "big"))
            answer = self._answer(data, "tcp")
            stream.write(len(answer).to_bytes(2, "big") + answer)

    def _answer(self, data: bytes, proto: str) -> bytes:
        query = dns.message.from_wire(data)
        question = query.question[0]
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((proto, question.name.to_text(), kind))
        self.queries.append(query)
        reply = dns.message.make_response(query)
        long = question.name.to_text().lower().startswith(LONG + ".")
        if long and proto == "udp":
            reply.flags |= dns.flags.TC
        elif long:
            reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", "TXT", *([f'"{"x" * 250}"'] * 20)))
        elif kind in ("A", "AAAA"):
            address, name = OUTSIDE_V4 if kind == "A" else OUTSIDE_V6, question.name
            if name.to_text().lower().startswith(ALIAS + "."):
                reply.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", CANONICAL))
                name = dns.name.from_text(CANONICAL)
            reply.answer.append(dns.rrset.from_text(name, 60, "IN", kind, address))
        return reply.to_wire()
