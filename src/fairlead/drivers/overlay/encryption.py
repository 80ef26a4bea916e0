"""What encrypts an overlay network between its nodes, as plans.

Encryption is a property of the network, not of who is known there. What its VXLAN numbers are in a set for is decided by three
chains of the node's own table: a datagram of such a number that comes in without having been encrypted by us is dropped, one
that goes out is marked, and dropped at the end if it is not about to be encrypted. Marked ones meet the kernel's policies: each
node that shares an encrypted network has one that encrypts, and one drops what goes anywhere else. So a packet for a node that
is not known, or not known yet, leaves in no form (SEC-06), and neither an accept rule of others (SEC-02) nor a missing policy
(SEC-01) opens anything. All of that is made before the network's tunnel is, and goes after it (SEC-03).

States belong to pairs of nodes, whichever networks they share (SEC-04). Their keys are derived, never sent: from the cluster's
data path key, both nodes' ids and what each of them drew at random in its present life, for each direction by itself. So no two
states of a cluster have the same key, and none has one that it had in an earlier life (SEC-05).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator

from fairlead.drivers.contract import Node
from fairlead.drivers.overlay import config
from fairlead.model import options
from fairlead.model.addresses import is_v6
from fairlead.model.cluster import Key, Station
from fairlead.model.events import TunnelSecrets
from fairlead.model.network import Network
from fairlead.plan.objects import NOTHING, Chain, Element, Object, Plan, Set, Table
from fairlead.plan.xfrm import MARK, REQID, SPI_MIN, XfrmPolicy, XfrmState

#: Where the number is in a datagram: after the headers of UDP (8 bytes) and four bytes of VXLAN's, 24 bits (RFC 7348).
_NUMBER = "@th,96,24"
_SET = "encrypted"
#: The chains that drop and count clear packets, by direction.
CHAINS = {"in": "encrypted-in", "out": "encrypted-out"}
#: Tells keys of this purpose from others of the same secret (RFC 5869 section 3.1).
_SALT = b"fairlead esp"
#: Bytes of an AES-128 key with the salt of RFC 4106 section 8.1.
_KEY_BYTES = 20


def guard(network: Network, node: Node) -> Iterator[Object]:
    """What keeps an encrypted network's packets from being sent or taken in clear."""
    family, everywhere = ("ip6", "::/0") if is_v6(node.vtep) else ("ip", "0.0.0.0/0")
    where = ("", family, config.TABLE)
    ours = f"udp dport {node.vxlan_port} {_NUMBER} @{_SET}"
    yield Table(*where)
    yield Set(*where, _SET, "integer", typeof=_NUMBER)
    # the first rule, which does nothing, has fragments put together before any of these chains is reached
    arriving = (
        f"udp dport {node.vxlan_port} ct state untracked",
        f"{ours} meta ipsec missing counter drop",
        f"{ours} ipsec in reqid != {REQID} counter drop",
    )
    yield Chain(*where, CHAINS["in"], arriving, "type filter hook input priority -300")
    leaving = (f"{ours} meta mark set {MARK:#010x}",)
    yield Chain(*where, "encrypted-mark", leaving, "type route hook output priority -150")
    yield Chain(
        *where, CHAINS["out"], (f"{ours} rt ipsec missing counter drop",), "type filter hook postrouting priority 300"
    )
    yield XfrmPolicy(everywhere, everywhere, node.vxlan_port)
    for vni in config.vnis(network):
        yield Element(*where, _SET, str(vni))


def pair(other: Station, node: Node, secrets: TunnelSecrets) -> Plan:
    """What encrypts between this node and another: each key of the ring opens what comes, the primary one seals. States to
    send with stand for all keys: a packet that was given to the former one while the policy changed is still sent, for that
    state goes with its key, when every node has long changed."""
    own = secrets.own
    if own is None or not own.nonce or not other.nonce or own.vtep != node.vtep or is_v6(other.vtep) != is_v6(own.vtep):
        return NOTHING
    length = 128 if is_v6(own.vtep) else 32
    objects: list[Object] = []
    for key in secrets.ring.keys:
        sending = _state(key, own, other, outbound=True)
        objects += [_state(key, other, own), sending]
        if key.tag == secrets.ring.primary:
            way = f"{own.vtep}/{length}", f"{other.vtep}/{length}"
            objects.append(XfrmPolicy(*way, node.vxlan_port, sending.spi))
    return Plan(objects)


def is_encrypted(network: Network) -> bool:
    """Whether the network's packets leave a node encrypted or not at all."""
    return options.encrypted(network.options)


def spi(key: Key, source: Station, target: Station) -> int:
    """The number by which the target knows what the source sends under a key; not one of the reserved ones."""
    drawn = int.from_bytes(_expand(key, _info(key, source, target, "spi"))[:8], "big")
    return SPI_MIN + drawn % (2**32 - SPI_MIN)


def _state(key: Key, source: Station, target: Station, *, outbound: bool = False) -> XfrmState:
    number = spi(key, source, target)
    secret = _expand(key, _info(key, source, target, f"key {number}"))[:_KEY_BYTES]
    return XfrmState(source.vtep, target.vtep, number, secret.hex(), outbound)


def _info(key: Key, source: Station, target: Station, purpose: str) -> bytes:
    return f"{key.tag} {source.node_id} {target.node_id} {source.nonce} {target.nonce} {purpose}".encode()


def _expand(key: Key, info: bytes) -> bytes:
    """HKDF with SHA-256 (RFC 5869): extraction, and the first block of expansion, 32 bytes."""
    drawn = hmac.digest(_SALT, bytes.fromhex(key.secret), hashlib.sha256)
    return hmac.digest(drawn, info + b"\x01", hashlib.sha256)
