"""Programs that run inside test containers, as Python source: Debian's python3 is in the image ``host``."""

from __future__ import annotations

#: Greets every TCP client with "TAG CLIENT-ADDRESS OWN-ADDRESS" and echoes what it sends; answers every datagram so.
#: Arguments: TAG, then ``tcp:PORT`` and ``udp:PORT``.
ECHO = """
import socket, sys, threading
tag, *wanted = sys.argv[1:]
def line(peer, own):
    return f"{tag} {peer[0]} {own[0]}\\n".encode()
def talk(client):
    with client:
        try:
            client.sendall(line(client.getpeername(), client.getsockname()))
            while data := client.recv(65536):
                client.sendall(data)
        except OSError:
            pass
def tcp(server):
    while True:
        client, _ = server.accept()
        threading.Thread(target=talk, args=(client,), daemon=True).start()
def udp(server):
    while True:
        data, peer = server.recvfrom(65536)
        with socket.socket(server.family, socket.SOCK_DGRAM) as probe:
            probe.connect(peer)
            server.sendto(line(peer, probe.getsockname()), peer)
for item in wanted:
    proto, port = item.split(":")
    for family, address in ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")):
        server = socket.socket(family, socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        server.bind((address, int(port)))
        if proto == "tcp":
            server.listen(64)
        threading.Thread(target=tcp if proto == "tcp" else udp, args=(server,), daemon=True).start()
threading.Event().wait()
"""


def python(source: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a program quickly: no site packages, nothing of the environment."""
    return ("/usr/bin/python3", "-ISc", source, *arguments)


def echo(tag: str, *wanted: str) -> tuple[str, ...]:
    """The command of an echo server."""
    return python(ECHO, tag, *wanted)


#: Does nothing for as long as it is left alone.
IDLE = ("sleep", "100000")
