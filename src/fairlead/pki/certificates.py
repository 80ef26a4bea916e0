"""Reading certificates: who a node is, and whether to believe it.

A node's certificate says in its subject CN = node id, OU = role, O = cluster id (swarmkit: ca/certificates.go), and in
its alternative names the node's gossip key, the role and the node id; a TLS client that wants a manager asks for the
server name ``MANAGER_NAME``. There are no revocation lists: removed nodes are refused by id (``roles``).
"""

from __future__ import annotations

import datetime
import hashlib
import re
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from fairlead.model import codes
from fairlead.model.cluster import MANAGER, WORKER
from fairlead.model.errors import Forbidden, Invalid, NetError
from fairlead.pki.ids import is_cluster_id
from fairlead.pki.keys import load_key, public_info

#: Role to OU of a certificate, which is also a DNS name in it (swarmkit: ca.WorkerRole, ca.ManagerRole).
ORGANIZATIONAL_UNITS = {WORKER: "swarm-worker", MANAGER: "swarm-manager"}
#: What a TLS client that wants to speak to a manager gives as server name.
MANAGER_NAME = ORGANIZATIONAL_UNITS[MANAGER]
#: Names the gossip key among a certificate's alternative names; 64 hexadecimal digits follow.
GOSSIP_URN = "urn:fairlead:gossip-key:"
#: Characters of PEM text that are looked at: two roots, a chain and room, where each takes less than 1 KiB.
PEM_LENGTH_MAX = 16 * 1024

#: What the library raises while it reads what others wrote.
UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)

_GOSSIP_KEY = re.compile(re.escape(GOSSIP_URN) + r"([0-9a-f]{64})\Z")
_ROLES = {unit: role for role, unit in ORGANIZATIONAL_UNITS.items()}


@dataclass(frozen=True, slots=True)
class Identity:
    """What a certificate says of its node. ``gossip_key`` is its Ed25519 public key in hexadecimal, ``issuer`` names the
    authority that signed (``authority.issuer_id``); times are epoch seconds."""

    node_id: str
    role: str
    cluster_id: str
    gossip_key: str
    issuer: str
    not_before: float
    not_after: float


def identify(certificate: bytes, cluster_id: str, at: float) -> Identity:
    """Who the peer of a TLS connection is, by its certificate (DER), whose signatures TLS has verified. Raises
    ``Forbidden`` for one that is no node's, outside its time, or of another cluster."""
    return _check(_load_der(certificate), cluster_id, at)


def verify(chain: str, roots: str, cluster_id: str | None, at: float) -> Identity:
    """Who a certificate (PEM, its issuers after it) is for, with every signature up to one of the roots (PEM) checked.
    A ``cluster_id`` of None allows any cluster, as the one that is being joined. Raises ``Forbidden``."""
    return _verify(load_certificates(chain), roots, cluster_id, at)


def verify_passed_on(certificate: bytes, roots: str, cluster_id: str, at: float) -> Identity:
    """Who a certificate (DER) is for that another manager has seen and passes on: that it says so is no proof. Raises
    ``Forbidden``."""
    return _verify([_load_der(certificate)], roots, cluster_id, at)


def check_pair(chain: str, key: str) -> None:
    """Raises ``Invalid`` unless the private key (PEM) is that of the chain's first certificate."""
    leaf, public = load_certificates(chain)[0], load_key(key).public_key()
    try:
        is_pair = _public_info(leaf) == public_info(public)
    except UNREADABLE:
        is_pair = False
    if not is_pair:
        raise Invalid("the certificate is not that of the private key", code=codes.CERTIFICATE_INVALID)


def load_certificates(text: str) -> list[x509.Certificate]:
    """One certificate or more (PEM). Raises ``Forbidden`` for text that holds none or is cut off."""
    if len(text) > PEM_LENGTH_MAX:
        raise _untrusted("its text is too long")
    # A reader that takes the first whole certificate would not miss a second one that was cut off.
    if text.count("-----BEGIN") != text.count("-----END"):
        raise _untrusted("its text is cut off")
    try:
        return x509.load_pem_x509_certificates(text.encode("utf-8", "backslashreplace"))
    except UNREADABLE as error:
        raise _untrusted("it is no certificate") from error


def first_root(roots: str) -> str:
    """The first of the roots that a node trusts (PEM): while one replaces the other, the one that join tokens are made
    for."""
    return to_pem(load_certificates(roots)[0])


def to_pem(certificate: x509.Certificate) -> str:
    """The text form of a certificate."""
    return certificate.public_bytes(Encoding.PEM).decode()


def root_digest(root: str) -> bytes:
    """SHA-256 of the first certificate of a PEM text, over its DER form, so that white space does not matter."""
    return hashlib.sha256(load_certificates(root)[0].public_bytes(Encoding.DER)).digest()


def root_info(root: str) -> tuple[bytes, bytes]:
    """Subject and public key (DER both) of the first certificate of a PEM text, as Docker's TLSInfo shows them."""
    certificate = load_certificates(root)[0]
    return certificate.subject.public_bytes(), _public_info(certificate)


def gossip_key_in(names: x509.SubjectAlternativeName) -> str:
    """The gossip key among alternative names, in hexadecimal; empty unless there is exactly one."""
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    found = [match[1] for match in map(_GOSSIP_KEY.match, uris) if match is not None]
    return found[0] if len(found) == 1 else ""


def _verify(certificates: list[x509.Certificate], roots: str, cluster_id: str | None, at: float) -> Identity:
    identity = _check(certificates[0], cluster_id, at)
    try:
        policy = PolicyBuilder().store(Store(load_certificates(roots))).time(_moment(at)).max_chain_depth(1)
        policy.build_client_verifier().verify(certificates[0], certificates[1:])
    except (VerificationError, *UNREADABLE) as error:
        raise _untrusted("it was not signed by this cluster's authority") from error
    return identity


def _load_der(certificate: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(certificate)
    except UNREADABLE as error:
        raise _untrusted("it is no certificate") from error


def _check(leaf: x509.Certificate, cluster_id: str | None, at: float) -> Identity:
    identity = _read(leaf)
    if not identity.not_before <= at <= identity.not_after:
        when = "is not valid yet" if at < identity.not_before else "has expired"
        raise Forbidden(
            f"the certificate of node {identity.node_id} {when}: it is valid from "
            f"{_moment(identity.not_before):%Y-%m-%dT%H:%M:%SZ} to {_moment(identity.not_after):%Y-%m-%dT%H:%M:%SZ}",
            hint="check the clocks of both nodes; a node that was away for too long joins again",
            code=codes.CERTIFICATE_EXPIRED,
        )
    if cluster_id is not None and identity.cluster_id != cluster_id:
        raise Forbidden(
            f"the certificate of node {identity.node_id} is of cluster {identity.cluster_id}, this is {cluster_id}",
            hint="is the address that of a node of this cluster?",
            code=codes.OTHER_CLUSTER,
        )
    return identity


def _read(leaf: x509.Certificate) -> Identity:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value
        issuer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        node_id, unit, cluster_id = (
            _single(leaf.subject, oid)
            for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.ORGANIZATION_NAME)
        )
    except UNREADABLE as error:
        raise _untrusted("it does not say which node it is for") from error
    gossip_key = gossip_key_in(names)
    if constraints.ca or unit not in _ROLES or not gossip_key or not issuer:
        raise _untrusted("it is no node's")
    if not is_cluster_id(node_id) or not is_cluster_id(cluster_id):
        raise _untrusted("it does not say which node it is for")
    return Identity(
        node_id,
        _ROLES[unit],
        cluster_id,
        gossip_key,
        issuer.hex(),
        leaf.not_valid_before_utc.timestamp(),
        leaf.not_valid_after_utc.timestamp(),
    )


def _public_info(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _single(name: x509.Name, oid: x509.ObjectIdentifier) -> str:
    """The value of an attribute that a name has exactly once; ``ValueError`` otherwise."""
    (attribute,) = name.get_attributes_for_oid(oid)
    return str(attribute.value)


def _moment(at: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(at), datetime.UTC)


def _untrusted(why: str) -> NetError:
    return Forbidden(f"the certificate cannot be trusted: {why}", code=codes.CERTIFICATE_INVALID)
