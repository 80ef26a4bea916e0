"""Who a certificate is for, and every reason not to believe it."""

from __future__ import annotations

import base64
import contextlib
import datetime
import random
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.pki.world import AT, DAY_S, HOUR_S, Certified, World

from fairlead.model import codes
from fairlead.model.cluster import CERTIFICATE_S, MANAGER, WORKER
from fairlead.model.errors import Forbidden, Invalid, NetError
from fairlead.pki.authority import (
    BACKDATE_S,
    ROOT_NAME,
    ROOT_S,
    Root,
    Subject,
    issue,
    issuer_id,
    new_root,
    trusted,
)
from fairlead.pki.certificates import (
    GOSSIP_URN,
    check_pair,
    identify,
    load_certificates,
    root_digest,
    root_info,
    verify,
    verify_passed_on,
)
from fairlead.pki.keys import load_key, new_key
from fairlead.pki.requests import Request, make_request
from fairlead.pki.roles import check_member, check_role

WORLD, OTHER = World(1), World(2)
MANAGING, WORKING = WORLD.node(MANAGER), WORLD.node(WORKER)
STRANGER = OTHER.node(MANAGER)
PEM_FIRST, *_, PEM_LAST = MANAGING.chain.splitlines()


def der(node: Certified) -> bytes:
    return load_certificates(node.chain)[0].public_bytes(Encoding.DER)


def refused(call: Callable[[], object]) -> codes.Code:
    with pytest.raises(NetError) as caught:
        call()
    return caught.value.code


@pytest.mark.parametrize(("node", "role"), [(MANAGING, MANAGER), (WORKING, WORKER)])
def test_a_certificate_says_who_its_node_is(node: Certified, role: str) -> None:
    for identity in (
        verify(node.chain, node.roots, WORLD.cluster_id, AT),
        verify(node.chain, node.roots, None, AT),
        identify(der(node), WORLD.cluster_id, AT),
    ):
        assert (identity.node_id, identity.role, identity.cluster_id) == (node.node_id, role, WORLD.cluster_id)
        assert identity.gossip_key == node.gossip.public_key.hex()
        assert identity.issuer == issuer_id(WORLD.authority)
        assert (identity.not_before, identity.not_after) == (AT - BACKDATE_S, AT + CERTIFICATE_S)
    check_pair(node.chain, node.key)


def test_a_certificate_looks_as_swarms_do() -> None:
    leaf, root = load_certificates(WORKING.chain)[0], load_certificates(trusted(WORLD.authority))[0]
    subject = f"O={WORLD.cluster_id},OU=swarm-worker,CN={WORKING.node_id}"
    assert set(leaf.subject.rfc4514_string().split(",")) == set(subject.split(","))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["swarm-worker", WORKING.node_id]
    assert root.subject.rfc4514_string() == root.issuer.rfc4514_string() == f"CN={ROOT_NAME}"
    for certificate in (leaf, root):
        public = certificate.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        assert isinstance(public.curve, ec.SECP256R1)
    lasts = root.not_valid_after_utc.timestamp() - AT
    assert lasts == ROOT_S == 20 * 365 * DAY_S


def test_the_same_draw_gives_the_same_certificates_and_another_others() -> None:
    assert World(5).node().chain == World(5).node().chain
    serials = {certificate.serial_number for _ in range(20) for certificate in load_certificates(WORLD.node().chain)}
    assert len(serials) == 20


def test_a_certificate_is_refused_outside_its_time() -> None:
    for at in (AT - BACKDATE_S - 1, AT + CERTIFICATE_S + 1, 0.0, 4e9):
        assert refused(lambda at=at: identify(der(MANAGING), WORLD.cluster_id, at)) == codes.CERTIFICATE_EXPIRED
        assert refused(lambda at=at: verify(MANAGING.chain, MANAGING.roots, None, at)) == codes.CERTIFICATE_EXPIRED
    for at in (AT - BACKDATE_S, AT, AT + CERTIFICATE_S):
        verify(MANAGING.chain, MANAGING.roots, None, at)


def test_a_certificate_of_another_cluster_is_refused() -> None:
    assert refused(lambda: identify(der(STRANGER), WORLD.cluster_id, AT)) == codes.OTHER_CLUSTER
    assert refused(lambda: verify(STRANGER.chain, STRANGER.roots, WORLD.cluster_id, AT)) == codes.OTHER_CLUSTER
    # the name of our cluster under the authority of another
    forged = issue(
        OTHER.authority,
        Request.read(make_request(STRANGER.key, STRANGER.gossip)),
        Subject(MANAGING.node_id, MANAGER, WORLD.cluster_id),
        CERTIFICATE_S,
        AT,
        OTHER.chance,
    )
    roots = trusted(WORLD.authority)
    for chain in (forged, forged + trusted(OTHER.authority), forged + roots):
        assert refused(lambda chain=chain: verify(chain, roots, WORLD.cluster_id, AT)) == codes.CERTIFICATE_INVALID


Build = Callable[[x509.CertificateBuilder], x509.CertificateBuilder]


def forged(root: Root, subject: list[tuple[x509.ObjectIdentifier, str]], build: Build) -> str:
    """A certificate that the authority would never make, signed with the authority's or another key."""
    (issuer,), key = load_certificates(root.certificate), load_key(root.key)
    start = datetime.datetime.fromtimestamp(AT, datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(oid, value) for oid, value in subject]))
        .issuer_name(issuer.subject)
        .public_key(load_key(MANAGING.key).public_key())
        .serial_number(7)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=1))
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    return build(builder).sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


OURS = Root(WORLD.authority.certificate, WORLD.authority.key)
GOOD_SUBJECT = [
    (NameOID.ORGANIZATION_NAME, WORLD.cluster_id),
    (NameOID.ORGANIZATIONAL_UNIT_NAME, "swarm-manager"),
    (NameOID.COMMON_NAME, MANAGING.node_id),
]


def good(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    uri = x509.UniformResourceIdentifier(GOSSIP_URN + "00" * 32)
    names = x509.SubjectAlternativeName([x509.DNSName("swarm-manager"), uri])
    return builder.add_extension(x509.BasicConstraints(False, None), True).add_extension(names, False)


def nameless(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    return builder.add_extension(x509.BasicConstraints(False, None), True)


def authority(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    uri = x509.UniformResourceIdentifier(GOSSIP_URN + "00" * 32)
    return builder.add_extension(x509.BasicConstraints(True, None), True).add_extension(
        x509.SubjectAlternativeName([uri]), False
    )


@pytest.mark.parametrize(
    ("subject", "build"),
    [
        ([], good),
        (GOOD_SUBJECT[1:], good),
        (GOOD_SUBJECT[:2], good),
        ([GOOD_SUBJECT[0], GOOD_SUBJECT[2]], good),
        ([*GOOD_SUBJECT, (NameOID.ORGANIZATIONAL_UNIT_NAME, "swarm-worker")], good),
        ([*GOOD_SUBJECT, (NameOID.COMMON_NAME, "x" * 25)], good),
        ([GOOD_SUBJECT[0], (NameOID.ORGANIZATIONAL_UNIT_NAME, "swarm-ca"), GOOD_SUBJECT[2]], good),
        ([GOOD_SUBJECT[0], (NameOID.ORGANIZATIONAL_UNIT_NAME, "Swarm-Manager"), GOOD_SUBJECT[2]], good),
        ([*GOOD_SUBJECT[:2], (NameOID.COMMON_NAME, "../../etc/passwd")], good),
        ([*GOOD_SUBJECT[:2], (NameOID.COMMON_NAME, MANAGING.node_id + "\n")], good),
        ([(NameOID.ORGANIZATION_NAME, "x"), *GOOD_SUBJECT[1:]], good),
        (GOOD_SUBJECT, nameless),
        (GOOD_SUBJECT, authority),
    ],
)
def test_what_does_not_say_whose_it_is_is_refused_though_the_authority_signed_it(
    subject: list[tuple[x509.ObjectIdentifier, str]], build: Build
) -> None:
    chain = forged(OURS, subject, build)
    leaf = load_certificates(chain)[0].public_bytes(Encoding.DER)
    wanted = subject[0][1] if subject and subject[0][0] == NameOID.ORGANIZATION_NAME else WORLD.cluster_id
    assert refused(lambda: identify(leaf, wanted, AT + 1)) == codes.CERTIFICATE_INVALID
    assert refused(lambda: verify(chain, OURS.certificate, None, AT + 1)) == codes.CERTIFICATE_INVALID


def test_a_certificate_that_is_passed_on_is_verified_as_if_it_came_from_a_stranger() -> None:
    roots = trusted(WORLD.authority)
    assert verify_passed_on(der(WORKING), roots, WORLD.cluster_id, AT).node_id == WORKING.node_id
    fake = new_root(random.Random(9), AT)
    lie = load_certificates(forged(fake, GOOD_SUBJECT, good))[0].public_bytes(Encoding.DER)
    assert identify(lie, WORLD.cluster_id, AT + 1).node_id == MANAGING.node_id
    for certificate in (lie, der(STRANGER), b"", b"x"):
        with pytest.raises(Forbidden):
            verify_passed_on(certificate, roots, WORLD.cluster_id, AT + 1)


def test_a_node_cannot_sign_for_others() -> None:
    """A manager's certificate and key, used as if they were an authority's."""
    chain = forged(Root(load_pem(MANAGING), MANAGING.key), GOOD_SUBJECT, good)
    for whole in (chain, chain + MANAGING.chain):
        assert refused(lambda whole=whole: verify(whole, OURS.certificate, None, AT + 1)) == codes.CERTIFICATE_INVALID


def load_pem(node: Certified) -> str:
    return load_certificates(node.chain)[0].public_bytes(Encoding.PEM).decode()


def test_an_authority_of_the_same_name_is_another_one() -> None:
    fake = new_root(random.Random(9), AT)
    chain = forged(fake, GOOD_SUBJECT, good)
    for whole in (chain, chain + fake.certificate):
        assert refused(lambda whole=whole: verify(whole, OURS.certificate, None, AT + 1)) == codes.CERTIFICATE_INVALID


def test_the_authoritys_own_certificate_is_no_nodes() -> None:
    assert refused(lambda: verify(OURS.certificate, OURS.certificate, None, AT)) == codes.CERTIFICATE_INVALID


@pytest.mark.parametrize(
    "chain",
    ["", "hello", MANAGING.chain[:-30], MANAGING.chain[:300], MANAGING.chain * 40, MANAGING.key, "\0", "\udcff"],
)
def test_a_damaged_chain_is_refused(chain: str) -> None:
    assert refused(lambda: verify(chain, MANAGING.roots, None, AT)) == codes.CERTIFICATE_INVALID
    assert refused(lambda: verify(MANAGING.chain, chain, None, AT)) == codes.CERTIFICATE_INVALID


def test_a_chain_of_which_the_end_is_cut_off_is_not_taken_for_a_shorter_one() -> None:
    chain = MANAGING.chain + OURS.certificate
    assert refused(lambda: verify(chain[:-30], MANAGING.roots, None, AT)) == codes.CERTIFICATE_INVALID


@given(st.binary(max_size=1000))
def test_bytes_that_are_no_certificate_raise_nothing_else(data: bytes) -> None:
    assert refused(lambda: identify(data, WORLD.cluster_id, AT)) == codes.CERTIFICATE_INVALID


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # a library's word on what is refused all the same
@given(st.integers(0, len(der(MANAGING)) - 1), st.integers(1, 255))
def test_no_changed_byte_makes_another_identity(place: int, flip: int) -> None:
    body = bytearray(der(MANAGING))
    body[place] ^= flip
    damaged = f"{PEM_FIRST}\n{base64.encodebytes(bytes(body)).decode()}{PEM_LAST}\n"
    try:
        identity = verify(damaged, MANAGING.roots, WORLD.cluster_id, AT)
    except NetError:
        return
    assert identity == verify(MANAGING.chain, MANAGING.roots, WORLD.cluster_id, AT)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@given(st.integers(0, len(der(MANAGING)) - 1), st.integers(1, 255))
def test_reading_a_damaged_certificate_raises_nothing_else(place: int, flip: int) -> None:
    body = bytearray(der(MANAGING))
    body[place] ^= flip
    with contextlib.suppress(NetError):
        assert identify(bytes(body), WORLD.cluster_id, AT).cluster_id == WORLD.cluster_id


def test_a_certificate_and_a_key_that_do_not_belong_together_are_told_apart() -> None:
    for chain, key in ((MANAGING.chain, WORKING.key), (MANAGING.chain, "hello"), (MANAGING.chain, MANAGING.key[:-40])):
        with pytest.raises(Invalid) as caught:
            check_pair(chain, key)
        assert caught.value.code == codes.CERTIFICATE_INVALID


def test_a_certificate_is_valid_for_an_hour_at_least_and_never_longer_than_its_root() -> None:
    with pytest.raises(Invalid, match="at least 3600 s"):
        WORLD.node(valid_s=HOUR_S - 1)
    assert verify(WORLD.node(valid_s=HOUR_S).chain, OURS.certificate, None, AT + HOUR_S).not_after == AT + HOUR_S
    late = AT + ROOT_S - DAY_S
    assert verify(WORLD.node(at=late).chain, OURS.certificate, None, late).not_after == AT + ROOT_S
    with pytest.raises(Invalid, match="root certificate has expired"):
        WORLD.node(at=AT + ROOT_S + 1)


def test_a_member_is_checked_on_every_call() -> None:
    identity = verify(WORKING.chain, WORKING.roots, WORLD.cluster_id, AT)
    check_member(identity, WORLD.cluster_id, {}, AT)
    removed = {WORKING.node_id: AT + CERTIFICATE_S}
    for call, code in (
        (lambda: check_member(identity, OTHER.cluster_id, {}, AT), codes.OTHER_CLUSTER),
        (lambda: check_member(identity, WORLD.cluster_id, removed, AT), codes.NODE_REMOVED),
        (lambda: check_member(identity, WORLD.cluster_id, {}, AT + CERTIFICATE_S + 1), codes.CERTIFICATE_EXPIRED),
        (lambda: check_role(identity, MANAGER), codes.ROLE_REFUSED),
        (lambda: check_role(identity), codes.ROLE_REFUSED),
    ):
        with pytest.raises(Forbidden) as caught:
            call()
        assert caught.value.code == code
    check_role(identity, WORKER)
    check_role(identity, MANAGER, WORKER)


def test_a_root_is_shown_as_dockers_tls_info() -> None:
    root = load_certificates(OURS.certificate)[0]
    subject, public = root_info(OURS.certificate)
    assert subject == root.subject.public_bytes()
    assert public in root.public_bytes(Encoding.DER)
    assert root_digest(OURS.certificate) == root.fingerprint(hashes.SHA256())


@pytest.mark.parametrize("text", ["", "hello", new_key(random.Random(1))[:100], WORLD.authority.certificate])
def test_what_is_no_key_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        load_key(text)
    assert not text or text not in str(caught.value)
