"""The cluster's certificate authority: made by the first manager, held by all managers, signs every node's certificate."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fairlead.model import codes
from fairlead.model.cluster import Authority
from fairlead.model.errors import Invalid
from fairlead.model.ids import Chance
from fairlead.pki.certificates import GOSSIP_URN, ORGANIZATIONAL_UNITS, first_root, load_certificates, to_pem
from fairlead.pki.keys import key_id, load_key, new_key
from fairlead.pki.requests import Request

#: Common name of a root (swarmkit: ca.RootCN).
ROOT_NAME = "swarm-ca"
#: Seconds that a root is valid: 20 years (swarmkit: ca.RootCAExpiration).
ROOT_S = 20 * 365 * 86400.0
#: Seconds that a certificate begins in the past, for nodes whose clocks are behind (swarmkit: ca.CertBackdate).
BACKDATE_S = 3600.0
#: Shortest time in seconds that a node's certificate may be valid (swarmkit: ca.MinNodeCertExpiration).
VALID_MIN_S = 3600.0
#: Bits of a serial number: below the 20 octets of RFC 5280 section 4.1.2.2, with the sign bit clear.
_SERIAL_BITS = 158


@dataclass(frozen=True, slots=True)
class Root:
    """A root certificate and its private key (PEM)."""

    certificate: str
    key: str


@dataclass(frozen=True, slots=True)
class Subject:
    """What a certificate is to say of its node; ``role`` is ``worker`` or ``manager``."""

    node_id: str
    role: str
    cluster_id: str


def new_root(chance: Chance, at: float) -> Root:
    """A fresh root: P-256, 20 years."""
    key = new_key(chance)
    public, name = load_key(key).public_key(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ROOT_NAME)])
    builder = _builder(name, public, at, ROOT_S, chance).issuer_name(name)
    return Root(to_pem(_sign_authority(builder, public, load_key(key), depth=1)), key)


def new_authority(chance: Chance, at: float) -> Authority:
    """The authority of a fresh cluster."""
    root = new_root(chance, at)
    return Authority(root.certificate, root.key)


def trusted(authority: Authority) -> str:
    """The roots that a node trusts (PEM): one, or two while one replaces the other. Sent along with every certificate."""
    return authority.certificate


def join_root(authority: Authority) -> str:
    """The one root that join tokens are made for (PEM); what a joining node is given to compare with its token."""
    return first_root(authority.certificate)


def signing_root(authority: Authority) -> Root:
    """What signs now: the root, or the one that takes over."""
    if authority.next_certificate:
        return Root(authority.next_certificate, authority.next_key)
    return Root(join_root(authority), authority.key)


def issuer_id(authority: Authority) -> str:
    """Names what signs now; ``Identity.issuer`` of certificates that it signs, in hexadecimal."""
    return key_id(load_key(signing_root(authority).key).public_key()).hex()


def issue(authority: Authority, request: Request, subject: Subject, valid_s: float, at: float, chance: Chance) -> str:
    """A certificate (PEM) for a node, followed by the certificates that lead to the root. Valid from an hour ago for
    ``valid_s`` seconds from now, at least an hour, and never longer than the root. Raises ``Invalid``."""
    if valid_s < VALID_MIN_S:
        raise Invalid(f"a certificate is valid for at least {VALID_MIN_S:.0f} s, not {valid_s:.0f} s")
    root = signing_root(authority)
    (issuer,), signer = load_certificates(root.certificate), load_key(root.key)
    valid_s = min(valid_s, issuer.not_valid_after_utc.timestamp() - at)
    if valid_s <= 0:
        raise Invalid(
            "the cluster's root certificate has expired",
            hint="replace it: fairlead swarm ca --rotate",
            code=codes.CERTIFICATE_EXPIRED,
        )
    unit = ORGANIZATIONAL_UNITS[subject.role]
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, subject.cluster_id),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
            x509.NameAttribute(NameOID.COMMON_NAME, subject.node_id),
        ]
    )
    names = [
        x509.DNSName(unit),
        x509.DNSName(subject.node_id),
        x509.UniformResourceIdentifier(GOSSIP_URN + request.gossip_key),
    ]
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    leaf = (
        _builder(name, request.public_key, at, valid_s, chance)
        .issuer_name(issuer.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(_signed_by(signer), critical=False)
        .sign(signer, hashes.SHA256(), ecdsa_deterministic=True)
    )
    return to_pem(leaf) + authority.cross


def cross_sign(newer: Root, older: Root, chance: Chance, at: float) -> str:
    """The newer root as a certificate (PEM) that the older one signed: who trusts the older one alone is led to it."""
    (new,), (old,) = load_certificates(newer.certificate), load_certificates(older.certificate)
    public = load_key(newer.key).public_key()
    valid_s = min(new.not_valid_after_utc, old.not_valid_after_utc).timestamp() - at
    builder = _builder(new.subject, public, at, valid_s, chance).issuer_name(old.subject)
    return to_pem(_sign_authority(builder, public, load_key(older.key), depth=0))


def _sign_authority(
    builder: x509.CertificateBuilder,
    public: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePrivateKey,
    *,
    depth: int,
) -> x509.Certificate:
    """A certificate that may sign others, with at most ``depth`` authorities between it and a node's."""
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=depth), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier(key_id(public)), critical=False)
        .add_extension(_signed_by(signer), critical=False)
        .sign(signer, hashes.SHA256(), ecdsa_deterministic=True)
    )


def _builder(
    name: x509.Name, public: ec.EllipticCurvePublicKey, at: float, valid_s: float, chance: Chance
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(public)
        .serial_number(chance.getrandbits(_SERIAL_BITS) + 1)
        .not_valid_before(_moment(at - BACKDATE_S))
        .not_valid_after(_moment(at + valid_s))
    )


def _signed_by(signer: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier(key_id(signer.public_key()), None, None)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _moment(at: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(at), datetime.UTC)
