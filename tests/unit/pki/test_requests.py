"""A request proves that the node has both of its keys (SEC-27: who speaks over TLS is who speaks in gossip)."""

from __future__ import annotations

import base64
import random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.pki.world import AT, World

from fairlead.gossip.identity import Identity as GossipIdentity
from fairlead.model import codes
from fairlead.model.errors import Forbidden, Invalid
from fairlead.pki.certificates import GOSSIP_URN, verify
from fairlead.pki.keys import load_key, new_key
from fairlead.pki.requests import Request, make_request

KEY = new_key(random.Random(1))
GOSSIP = GossipIdentity(bytes(range(32)))
REQUEST = make_request(KEY, GOSSIP)
BODY = x509.load_pem_x509_csr(REQUEST.encode()).public_bytes(Encoding.DER)


def armored(body: bytes) -> str:
    first, *_, last = REQUEST.splitlines()
    return f"{first}\n{base64.encodebytes(body).decode()}{last}\n"


def signed(names: list[x509.GeneralName] | None, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def names_of(request: str) -> list[x509.GeneralName]:
    return list(
        x509.load_pem_x509_csr(request.encode()).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    )


def test_a_request_names_both_keys() -> None:
    request = Request.read(REQUEST)
    assert request.gossip_key == GOSSIP.public_key.hex()
    assert len(request.key_id) == 40
    assert Request.read(make_request(KEY, GOSSIP)).key_id == request.key_id
    assert Request.read(make_request(new_key(random.Random(2)), GOSSIP)).key_id != request.key_id


class Thief:
    """Knows another node's public gossip key, and has one of his own."""

    public_key = GOSSIP.public_key

    def sign(self, message: bytes) -> bytes:
        return GossipIdentity(bytes(32)).sign(message)


def test_sec_27_nobody_gets_another_nodes_gossip_key_into_his_certificate() -> None:
    with pytest.raises(Invalid, match="does not prove"):
        Request.read(make_request(new_key(random.Random(3)), Thief()))


def test_sec_27_a_proof_copied_from_another_nodes_request_proves_nothing() -> None:
    own = load_key(new_key(random.Random(4)))
    with pytest.raises(Invalid, match="does not prove"):
        Request.read(signed(names_of(REQUEST), own))


def uri(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)


@pytest.mark.parametrize(
    "names",
    [
        None,
        [x509.DNSName("swarm-manager")],
        names_of(REQUEST)[:1],
        names_of(REQUEST)[1:],
        [*names_of(REQUEST), *names_of(make_request(KEY, GossipIdentity(bytes(32))))],
        [uri(GOSSIP_URN + "zz" * 32), names_of(REQUEST)[1]],
        [uri(GOSSIP_URN + "00" * 31), names_of(REQUEST)[1]],
        [names_of(REQUEST)[0], uri("urn:fairlead:gossip-proof:")],
        [names_of(REQUEST)[0], uri("urn:fairlead:gossip-proof:zz")],
        [names_of(REQUEST)[0], uri("x" + "urn:fairlead:gossip-proof:" + "00" * 64)],
    ],
)
def test_a_request_without_exactly_one_gossip_key_and_its_proof_is_refused(
    names: list[x509.GeneralName] | None,
) -> None:
    with pytest.raises(Invalid) as caught:
        Request.read(signed(names, load_key(KEY)))
    assert caught.value.code == codes.REQUEST_INVALID


def test_a_request_not_signed_with_its_own_key_is_refused() -> None:
    with pytest.raises(Invalid, match="not signed with its own key"):
        Request.read(armored(BODY[:-1] + bytes([BODY[-1] ^ 1])))


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)])
def test_only_keys_of_the_curve_p_256_are_signed(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    with pytest.raises(Invalid, match="P-256"):
        Request.read(signed(names_of(REQUEST), key))


@pytest.mark.parametrize(
    "text", ["", "hello", REQUEST[:-30], REQUEST[:100], REQUEST * 40, "\udcff", World().node().chain]
)
def test_what_is_no_request_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        Request.read(text)
    assert caught.value.code == codes.REQUEST_INVALID


@given(st.integers(0, len(BODY) - 1), st.integers(1, 255))
def test_no_byte_of_a_request_can_be_changed(place: int, flip: int) -> None:
    body = bytearray(BODY)
    body[place] ^= flip
    with pytest.raises(Invalid):
        Request.read(armored(bytes(body)))


@given(st.integers(0, len(BODY) - 1))
def test_a_request_that_is_cut_off_is_refused(left: int) -> None:
    with pytest.raises(Invalid):
        Request.read(armored(BODY[:left]))


def test_a_renewal_is_for_the_same_gossip_key() -> None:
    world = World()
    node = world.node()
    identity = verify(node.chain, node.roots, world.cluster_id, AT)
    Request.read(make_request(new_key(world.chance), node.gossip)).check_renews(identity)
    with pytest.raises(Forbidden, match="another gossip key"):
        Request.read(make_request(node.key, GOSSIP)).check_renews(identity)
