"""What a node asks to have signed: its certificate key, bound to its gossip key.

A request names both public keys and proves that the node has both private ones: it is signed with the P-256 key (RFC
2986), and carries a signature of that public key made with the Ed25519 key. So nobody can have another node's gossip
key put into his own certificate, and who is spoken to over TLS is who speaks in gossip.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from fairlead.model import codes
from fairlead.model.errors import Forbidden, Invalid
from fairlead.pki.certificates import GOSSIP_URN, PEM_LENGTH_MAX, UNREADABLE, Identity, gossip_key_in
from fairlead.pki.keys import GossipSigner, key_id, load_key, public_info

#: Names the proof in a request; 128 hexadecimal digits follow.
_PROOF_URN = "urn:fairlead:gossip-proof:"
#: Stands before what the gossip key signs here, so that it is nothing that gossip itself would sign.
_PURPOSE = b"fairlead: this gossip key belongs to the certificate key\0"


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose proofs were checked. ``key_id`` names the certificate key, ``gossip_key`` is the Ed25519 public
    key, both in hexadecimal."""

    public_key: ec.EllipticCurvePublicKey
    key_id: str
    gossip_key: str

    @classmethod
    def read(cls, text: str) -> Request:
        """Raises ``Invalid`` for what is no request (PEM), or lacks a proof."""
        if len(text) > PEM_LENGTH_MAX:
            raise _invalid("is too long")
        try:
            request = x509.load_pem_x509_csr(text.encode("utf-8", "backslashreplace"))
            public_key, is_signed = request.public_key(), request.is_signature_valid
            names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound as error:
            raise _invalid("names no gossip key") from error
        except UNREADABLE as error:
            raise _invalid("is damaged") from error
        if not isinstance(public_key, ec.EllipticCurvePublicKey) or not isinstance(public_key.curve, ec.SECP256R1):
            raise _invalid("has a key that is not of the curve P-256")
        if not is_signed:
            raise _invalid("is not signed with its own key")
        gossip_key = gossip_key_in(names)
        proofs = [uri for uri in names.get_values_for_type(x509.UniformResourceIdentifier) if _PROOF_URN in uri]
        if not gossip_key or len(proofs) != 1:
            raise _invalid("names no gossip key")
        try:
            proof = bytes.fromhex(proofs[0].removeprefix(_PROOF_URN))
            signer = Ed25519PublicKey.from_public_bytes(bytes.fromhex(gossip_key))
            signer.verify(proof, _PURPOSE + public_info(public_key))
        except (ValueError, InvalidSignature) as error:
            raise _invalid("does not prove that the node has its gossip key") from error
        return cls(public_key, key_id(public_key).hex(), gossip_key)

    def check_renews(self, identity: Identity) -> None:
        """Raises ``Forbidden`` unless the request is for the same gossip key as the certificate that it is to replace."""
        if self.gossip_key != identity.gossip_key:
            raise Forbidden(
                f"node {identity.node_id} asks for a certificate with another gossip key",
                hint="the gossip key of a node never changes; with another one it joins anew",
                code=codes.REQUEST_INVALID,
            )


def make_request(key: str, gossip: GossipSigner) -> str:
    """A request (PEM) for a certificate of this private key (PEM), bound to the node's gossip key."""
    private = load_key(key)
    proof = gossip.sign(_PURPOSE + public_info(private.public_key()))
    names = [
        x509.UniformResourceIdentifier(GOSSIP_URN + gossip.public_key.hex()),
        x509.UniformResourceIdentifier(_PROOF_URN + proof.hex()),
    ]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(private, hashes.SHA256(), ecdsa_deterministic=True).public_bytes(Encoding.PEM).decode()


def _invalid(what: str) -> Invalid:
    return Invalid(f"the request for a certificate {what}", code=codes.REQUEST_INVALID)
