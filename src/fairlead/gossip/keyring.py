"""Keys that a cluster shares, and the sealing of what goes over the wire.

Theory of operation. The ring holds a few cluster keys, one of them primary: everything is sealed with the primary and
opened with whichever key the packet names, so a key is brought in with three steps (installed everywhere, made primary,
the old one removed) and nothing is lost in between, however many nodes have taken which step.

No node seals with the cluster key itself. Each derives a key of its own from it, its id and its boot epoch (HKDF-Expand,
RFC 5869 section 2.3), so the counter of one node is a nonce that can never meet another node's, nor that of its own
life before (NIST SP 800-38D section 8: a nonce twice under one key breaks AES-GCM). Nothing is random here.

    packet    form 1 | key id 4 | epoch 4 | sender 8 | counter 1-6 | ciphertext | tag 16
    form      version 4 bits | direct 1 bit | bytes of the counter 3 bits

All before the ciphertext is authenticated (associated data); the counter has as many bytes as it needs, and of the
sender's id the first eight are said, because an idle cluster sends little else than headers. A *direct* packet is meant
for one node, whose short id is authenticated too: played to another it does not open. The others may be passed on
unchanged: whoever has the cluster key derives the sender's key from the header. ``Window`` tells a direct packet that
was seen already; what is passed on may come twice.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fairlead.gossip.identity import NodeId
from fairlead.model.errors import Conflict, Invalid, NotFound

#: The version of this format, in the upper half of a packet's first byte.
VERSION = 1
#: Bytes of a node's id in headers: enough that no two nodes of a cluster share them by chance.
SHORT_BYTES = 8
_DIRECT = 0x08
#: Bytes of a cluster key (AES-256).
KEY_BYTES = 32
#: Keys that a ring holds at most: a rotation needs two; more cover rotations begun before the last was finished.
KEYS_MAX = 8
#: Bytes that AES-GCM adds, and of the whole overhead of a packet.
TAG_BYTES = 16
_HEADER = struct.Struct(">B4sI8s")
OVERHEAD_BYTES = _HEADER.size + 6 + TAG_BYTES
#: Largest counter of one epoch; at a million packets a second it lasts nine years.
COUNTER_MAX = 2**48 - 1
#: Largest boot epoch: 32 bits of seconds last until 2106.
EPOCH_MAX = 2**32 - 1
#: Derived keys kept ready, 2.6 KB each: one for each node of a large cluster under two keys.
_DERIVED_MAX = 32768
#: Packets that may overtake each other before an old one is taken for a repetition (IPsec's largest common window).
_WINDOW_BITS = 4096

_LABEL = b"fairlead gossip packet\0"
_NONCE_BYTES = 12

#: The first bytes of a node's id.
ShortId = bytes


class Opened(NamedTuple):
    """A packet that was sealed by a member: who, in which epoch, its how-manieth, whether for this node alone, and what
    it says."""

    sender: ShortId
    epoch: int
    counter: int
    direct: bool
    payload: bytes


class Keyring:
    """Cluster keys; the first one put in is primary."""

    def __init__(self, primary: bytes) -> None:
        self._keys: dict[bytes, bytes] = {}
        self._primary = b""
        self.install(primary)
        self.use(key_id(primary))
        self._derived: OrderedDict[tuple[bytes, bytes, int], AESGCM] = OrderedDict()

    def __repr__(self) -> str:
        return f"Keyring(primary {self._primary.hex()}, {len(self._keys)} keys)"

    @property
    def primary(self) -> bytes:
        """The id of the key that is sealed with."""
        return self._primary

    @property
    def ids(self) -> tuple[bytes, ...]:
        """The ids of all keys, in the order they came."""
        return tuple(self._keys)

    def install(self, key: bytes) -> bytes:
        """Be able to open what is sealed with this key; its id. Raises ``Invalid``, or ``Conflict`` when the ring is
        full or holds another key of the same id (one in four thousand million): packets name keys by it."""
        if len(key) != KEY_BYTES:
            raise Invalid(f"a cluster key has {KEY_BYTES} bytes, not {len(key)}")
        identifier = key_id(key)
        if self._keys.get(identifier, key) != key:
            raise Conflict(f"another key has the id {identifier.hex()}", hint="make a new key")
        if identifier not in self._keys and len(self._keys) >= KEYS_MAX:
            raise Conflict(f"the key ring holds {KEYS_MAX} keys already", hint="remove one that is no longer used")
        self._keys[identifier] = key
        return identifier

    def use(self, identifier: bytes) -> None:
        """Seal with this key from now on; raises ``NotFound``."""
        if identifier not in self._keys:
            raise NotFound(f"the key ring has no key {identifier.hex()}", hint="install it first")
        self._primary = identifier

    def remove(self, identifier: bytes) -> None:
        """Forget a key; raises ``Conflict`` for the primary one. A key that is not there is forgotten already."""
        if identifier == self._primary:
            raise Conflict(f"key {identifier.hex()} is the primary one", hint="make another one primary first")
        self._keys.pop(identifier, None)
        for known in [entry for entry in self._derived if entry[0] == identifier]:
            del self._derived[known]

    def kept(self, identifier: bytes, sender: ShortId, epoch: int) -> AESGCM | None:
        """The same as ``cipher``, if it was kept."""
        return self._derived.get((identifier, sender, epoch))

    def cipher(self, identifier: bytes, sender: ShortId, epoch: int) -> AESGCM | None:
        """What seals and opens one node's packets of one epoch; None when the key is not in the ring."""
        name = (identifier, sender, epoch)
        found = self._derived.get(name)
        if found is not None:
            return found
        key = self._keys.get(identifier)
        if key is None:
            return None
        info = _LABEL + sender + struct.pack(">I", epoch)
        return AESGCM(hmac.digest(key, info + b"\x01", "sha256"))

    @property
    def ready(self) -> int:
        """How many derived keys are kept."""
        return len(self._derived)

    def keep(self, identifier: bytes, sender: ShortId, epoch: int, cipher: AESGCM) -> None:
        """Have a cipher ready that has proved good: what strangers make up pushes none out."""
        name = (identifier, sender, epoch)
        if name not in self._derived and identifier in self._keys:
            self._derived[name] = cipher
            if len(self._derived) > _DERIVED_MAX:
                self._derived.popitem(last=False)


class Sealer:
    """Seals what one node says in one epoch."""

    def __init__(self, sender: NodeId, epoch: int, keyring: Keyring) -> None:
        if not 0 <= epoch <= EPOCH_MAX:
            raise ValueError(f"epoch {epoch} is not between 0 and {EPOCH_MAX}")
        self._sender = short(sender)
        self._epoch = epoch
        self._keyring = keyring
        self._counter = 0

    def seal(self, payload: bytes, to: ShortId | None = None) -> bytes:
        """A packet with this payload; ``to`` whom alone it is meant, None: for whoever gets it."""
        if self._counter >= COUNTER_MAX:
            raise AssertionError("an epoch has no counters left")
        self._counter += 1
        counter = self._counter.to_bytes((self._counter.bit_length() + 7) // 8, "big")
        key = self._keyring.primary
        form = VERSION << 4 | (0 if to is None else _DIRECT) | len(counter)
        header = _HEADER.pack(form, key, self._epoch, self._sender) + counter
        cipher = self._keyring.cipher(key, self._sender, self._epoch)
        if cipher is None:
            raise AssertionError("a key ring has lost its primary key")
        self._keyring.keep(key, self._sender, self._epoch, cipher)
        return header + cipher.encrypt(counter.rjust(_NONCE_BYTES, b"\0"), payload, header + (to or b""))


def unseal(
    keyring: Keyring, packet: bytes, own: ShortId, known: Callable[[ShortId, int], bool] | None = None
) -> Opened | None:
    """What a packet says to the node ``own``; None when it is none, is for another node, is sealed with a key that the
    ring has not, or was tampered with. With ``known``, keys are kept ready of senders and epochs only of which it says so:
    whoever has a cluster key can make up both."""
    if len(packet) <= _HEADER.size + TAG_BYTES:
        return None
    form, key, epoch, sender = _HEADER.unpack_from(packet)
    length = form & 7
    if form >> 4 != VERSION or not 0 < length < 7:
        return None
    kept = keyring.kept(key, sender, epoch)
    cipher = kept or keyring.cipher(key, sender, epoch)
    if cipher is None:
        return None
    size = _HEADER.size + length
    header, counter, direct = packet[:size], packet[_HEADER.size : size], bool(form & _DIRECT)
    try:
        nonce = counter.rjust(_NONCE_BYTES, b"\0")
        payload = cipher.decrypt(nonce, packet[size:], header + own if direct else header)
    except InvalidTag:
        return None
    if kept is None and (known is None or known(sender, epoch)):
        keyring.keep(key, sender, epoch, cipher)
    return Opened(sender, epoch, int.from_bytes(counter, "big"), direct, payload)


def next_epoch(former: int, clock_s: int) -> int:
    """The boot epoch of a start, from that of the start before as it was stored (0: none) and seconds since 1970.

    It must be greater than every former one, or nonces are used twice and the node is deaf to those who knew it: the stored
    number guards against a clock that went back, the clock against a store that was lost. The result is to be stored, and
    safe on the disk, before anything is said. Raises ``ValueError`` when no number is left.
    """
    epoch = max(former + 1, min(clock_s, EPOCH_MAX - 1))
    if epoch > EPOCH_MAX:
        raise ValueError("no boot epoch is left for this identity")
    return epoch


def name_of(packet: bytes) -> bytes:
    """What tells a sealed packet from all others: epoch, sender and counter."""
    return packet[5 : _HEADER.size + (packet[0] & 7)]


def short(identifier: NodeId) -> ShortId:
    """A node's id as headers have it."""
    return identifier[:SHORT_BYTES]


class Window:
    """Which counters of one sender and epoch were seen: everything older than the window counts as seen."""

    __slots__ = ("_newest", "_seen")

    def __init__(self) -> None:
        self._newest = 0
        self._seen = 0

    def past(self, counter: int) -> bool:
        """Whether a counter is older than the window."""
        return self._newest - counter >= _WINDOW_BITS

    def restart(self, counter: int) -> None:
        """Nothing after this counter was seen, and all up to it."""
        self._newest, self._seen = counter, (1 << _WINDOW_BITS) - 1

    def fresh(self, counter: int) -> bool:
        """Whether this counter was not seen before; it is from now on."""
        ahead = counter - self._newest
        if ahead > 0:
            self._seen = ((self._seen << ahead) | 1) & ((1 << _WINDOW_BITS) - 1) if ahead < _WINDOW_BITS else 1
            self._newest = counter
            return True
        if self.past(counter):
            return False
        bit = 1 << -ahead
        if self._seen & bit:
            return False
        self._seen |= bit
        return True


def key_id(key: bytes) -> bytes:
    """Four bytes by which packets name a key; they tell nothing about it."""
    return hashlib.sha256(b"fairlead gossip key id\0" + key).digest()[:4]
