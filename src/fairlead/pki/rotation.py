"""Replacing the certificate authority while everybody goes on talking (``swarm ca --rotate``).

    begin      a new root, cross-signed by the old one. Both are trusted, the new one signs; each new certificate
               brings the cross certificate along, so that nodes which know only the old root believe it too.
    meanwhile  nodes are told to renew, a few at a time; whoever is away keeps the old root alive.
    complete   every node's certificate comes from the new root: it is the only one left, and both join tokens are made
               anew, since their digest was the old root's.

Begun again before it is complete, it turns to yet another new root; certificates of the one in between stay valid
through their own cross certificate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from fairlead.model import codes
from fairlead.model.cluster import Authority
from fairlead.model.errors import Invalid
from fairlead.model.ids import Chance
from fairlead.pki.authority import Root, cross_sign, issuer_id, join_root, new_root, signing_root
from fairlead.pki.certificates import UNREADABLE, check_pair, load_certificates


def begin(authority: Authority, chance: Chance, at: float, replacement: Root | None = None) -> Authority:
    """The authority with a new root on its way in, made here unless given. Raises ``Invalid`` for a given one that is no
    root or lacks its key."""
    older = Root(join_root(authority), authority.key)
    if replacement is not None:
        _check_root(replacement, at)
    newer = replacement or new_root(chance, at)
    return replace(
        authority,
        certificate=older.certificate + newer.certificate,
        next_certificate=newer.certificate,
        next_key=newer.key,
        cross=cross_sign(newer, older, chance, at),
    )


def is_rotating(authority: Authority) -> bool:
    """Whether a new root is on its way in."""
    return bool(authority.next_certificate)


def is_finished(authority: Authority, issuers: Iterable[str]) -> bool:
    """Whether every node's certificate (``ClusterNode.issuer``) comes from the new root."""
    wanted = issuer_id(authority)
    return is_rotating(authority) and all(issuer == wanted for issuer in issuers)


def complete(authority: Authority) -> Authority:
    """The new root alone. Join tokens made before fit no more. Raises ``Invalid`` when none is on its way in."""
    if not is_rotating(authority):
        raise Invalid("no new root is on its way in", hint="begin with it: fairlead swarm ca --rotate")
    root = signing_root(authority)
    return Authority(root.certificate, root.key)


def _check_root(root: Root, at: float) -> None:
    certificates = load_certificates(root.certificate)
    check_pair(root.certificate, root.key)
    if len(certificates) != 1 or not _is_root(certificates[0], at):
        raise Invalid(
            "the given certificate is not one root certificate that is valid now",
            hint="give one self-signed certificate with CA:TRUE and its P-256 key",
            code=codes.CERTIFICATE_INVALID,
        )


def _is_root(certificate: x509.Certificate, at: float) -> bool:
    try:
        certificate.verify_directly_issued_by(certificate)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (InvalidSignature, *UNREADABLE):
        return False
    is_current = certificate.not_valid_before_utc.timestamp() <= at < certificate.not_valid_after_utc.timestamp()
    return constraints.ca and is_current
