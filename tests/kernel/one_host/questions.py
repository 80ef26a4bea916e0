"""Asking the name server of a container from inside its network."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
from tests.kernel.one_host.containers import Container
from tests.kernel.one_host.namespace import ANSWER_S

SERVER = "127.0.0.11"


def answer(container: Container, name: str, kind: str = "A", *, tcp: bool = False) -> dns.message.Message:
    """The whole reply."""
    query = dns.message.make_query(name, kind)
    socket_kind = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
    with container.ns.socket(kind=socket_kind) as client:
        client.settimeout(ANSWER_S)
        client.connect((SERVER, 53))
        client.setblocking(False)
        if tcp:
            return dns.query.tcp(query, SERVER, timeout=ANSWER_S, sock=client)
        return dns.query.udp(query, SERVER, timeout=ANSWER_S, sock=client)


def ask(container: Container, name: str, kind: str = "A", *, tcp: bool = False) -> list[str] | str:
    """Sorted data of the answer, or the response code in words when it is not NOERROR."""
    reply = answer(container, name, kind, tcp=tcp)
    if reply.rcode() != dns.rcode.NOERROR:
        return dns.rcode.to_text(reply.rcode())
    wanted = dns.rdatatype.from_text(kind)
    return sorted(item.to_text() for rrset in reply.answer if rrset.rdtype == wanted for item in rrset)


def reverse(container: Container, address: str) -> list[str] | str:
    """The names of an address."""
    return ask(container, ip_address(address).reverse_pointer, "PTR")
