"""A piece of a program for probes that run in a container's namespace: how its name server is asked."""

#: Defines ``asked(name)``: the addresses that a name has; empty if it has none, None if nobody answered in time. EDNS (RFC
#: 6891), so that the addresses of many tasks come in one datagram.
ASK = """
import socket, struct, sys, time
def asked(name, wait=0.25):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = struct.pack(">6H", 7, 0x100, 1, 0, 0, 1) + labels + b"\\0" + struct.pack(">2H", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(wait)
        try:
            client.sendto(question + b"\\0" + struct.pack(">2HIH", 41, 4096, 0, 0), ("127.0.0.11", 53))
            answer = client.recv(4096)
        except OSError:
            return None
    found, place = [], len(question)
    for _ in range(struct.unpack_from(">H", answer, 6)[0]):
        while 0 < answer[place] < 0xC0:
            place += answer[place] + 1
        place += 2 if answer[place] else 1
        kind, _, _, length = struct.unpack_from(">2HIH", answer, place)
        place += 10 + length
        if kind == 1:
            found.append(socket.inet_ntoa(answer[place - 4 : place]))
    return found
def reached(address, port, wait=0.25):
    with socket.socket() as client:
        client.settimeout(wait)
        try:
            client.connect((address, port))
        except OSError:
            return False
    return True
"""
