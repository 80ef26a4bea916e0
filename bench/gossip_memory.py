"""What a gossip node takes in memory for each record and each member, in a process of its own.

One process makes what an owner says, or the cards of a cluster, and writes it to a file as it goes over the wire; another
reads it from there piece by piece into one node, so resident memory before and after is that of the node and of nothing
else, C libraries included.

    python -m bench.gossip_memory say|hold records|members COUNT FILE
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

from fairlead.gossip.blocks import Event, draft_blocks, sign
from fairlead.gossip.contract import GossipSettings
from fairlead.gossip.gossip import Gossip
from fairlead.gossip.identity import Address, Identity
from fairlead.gossip.keyring import Keyring, Sealer, short
from fairlead.gossip.members import write_card
from fairlead.gossip.messages import Item, State
from fairlead.gossip.wire import encode, filled

#: A network's id as swarm makes them, and Docker's table; as in ``gossip_worker``.
_NETWORK, _TABLE, _VALUE_BYTES = "x4f0qk2v9m7c1zt3h8s6w5bnd", "endpoint_table", 115
_KEY = bytes(32)
#: Bytes of items in one message, as when a node joins.
_STATE_BYTES = 256 * 1024
_LENGTH = struct.Struct(">I")


def bytes_each(kind: str, count: int) -> float:
    """Resident bytes of a node for each of so many ``records`` or ``members``."""
    with tempfile.TemporaryDirectory() as folder:
        answer = ""
        for verb in ("say", "hold"):
            command = [sys.executable, "-m", "bench.gossip_memory", verb, kind, str(count), f"{folder}/wire"]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(answer)


def _identity(number: int) -> Identity:
    return Identity(hashlib.sha256(b"member %d" % number).digest())


def _address(number: int) -> Address:
    return Address(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 7946)


def _said(kind: str, count: int) -> Iterator[Item]:
    if kind == "members":
        for number in range(1, count + 1):
            yield write_card(_identity(number), 1, 0, _address(number))
        return
    owner = _identity(1)
    yield write_card(owner, 1, 0, _address(1))
    attached = Event(1, "attachments", f"{_NETWORK}/{owner.id.hex()}", b"")
    yield from sign(owner, draft_blocks(owner.id, "", 1, 1, [attached]))
    keys = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(count)]
    values = (hashlib.shake_128(key.encode()).digest(_VALUE_BYTES) for key in keys)
    events = [Event(2 + at, _TABLE, key, value) for at, (key, value) in enumerate(zip(keys, values, strict=True))]
    yield from sign(owner, draft_blocks(owner.id, _NETWORK, 1, 1, events))


def _say(kind: str, count: int, path: Path) -> None:
    """Packets as the owner, or the first member, sends them by stream to a node that is new."""
    sealer = Sealer(_identity(1).id, 1, Keyring(_KEY))
    to = short(_identity(0).id)
    with path.open("wb") as wire:
        for items in filled(_said(kind, count), _STATE_BYTES):
            packet = sealer.seal(encode(State(items, more=False)), to)
            wire.write(_LENGTH.pack(len(packet)) + packet)


def _hold(kind: str, count: int, path: Path) -> float:
    settings, chance = GossipSettings(), Random(1)
    node = Gossip(_identity(0), 1, _address(0), Keyring(_KEY), settings, chance, 0.0)
    node.join([], 0.0)
    node.attach(_NETWORK, 0.0)
    node.members.meet(write_card(_identity(1), 1, 0, _address(1)))
    _take(node)
    before = _resident()
    with path.open("rb") as wire:
        while length := wire.read(_LENGTH.size):
            node.serve(wire.read(_LENGTH.unpack(length)[0]), _address(1), 0.0)
            _take(node)
    held = len(node.members) - 1 if kind == "members" else sum(1 for _ in node.tables.items(_NETWORK, _TABLE))
    if held != count:
        raise AssertionError(f"{held} {kind} are held, not {count}")
    return (_resident() - before) / count


def _take(node: Gossip) -> None:
    """What the node wants sent and has to tell is its daemon's."""
    node.outgoing(0.0)
    node.events()


def _resident() -> int:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Run one half."""
    verb, kind, count, path = sys.argv[1:]
    if verb == "say":
        _say(kind, int(count), Path(path))
    else:
        print(_hold(kind, int(count), Path(path)))


if __name__ == "__main__":
    main()
