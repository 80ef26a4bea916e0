"""A new authority comes in while everybody goes on talking: real TLS handshakes between nodes at every stage of it."""

from __future__ import annotations

import random
import ssl
import time
from itertools import product
from pathlib import Path

import pytest
from tests.unit.pki.world import HOUR_S, Certified, World

from fairlead.model import codes
from fairlead.model.cluster import MANAGER, WORKER
from fairlead.model.errors import Invalid, NetError
from fairlead.pki.authority import Root, issuer_id, join_root, new_root, trusted
from fairlead.pki.certificates import MANAGER_NAME, identify, load_certificates, verify
from fairlead.pki.rotation import begin, complete, is_finished, is_rotating
from fairlead.pki.tokens import JoinToken, new_token

#: OpenSSL looks at the machine's clock, so these clusters begin now.
NOW = time.time()


def context(node: Certified, directory: Path, side: int) -> ssl.SSLContext:
    found = ssl.SSLContext(side)
    found.minimum_version = ssl.TLSVersion.TLSv1_2
    found.verify_flags |= ssl.VERIFY_X509_STRICT
    found.verify_mode = ssl.CERT_REQUIRED
    found.load_verify_locations(cadata=node.roots)
    file = directory / "node.pem"
    file.write_text(node.key + node.chain)
    found.load_cert_chain(file)
    return found


def shake_hands(client: Certified, server: Certified, directory: Path) -> tuple[bytes, bytes]:
    """Both sides' certificates as the other one sees them; raises ``ssl.SSLError`` when one does not trust the other."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = context(client, directory, ssl.PROTOCOL_TLS_CLIENT).wrap_bio(
        to_client, to_server, server_hostname=MANAGER_NAME
    )
    theirs = context(server, directory, ssl.PROTOCOL_TLS_SERVER).wrap_bio(to_server, to_client, server_side=True)
    waiting = [ours, theirs]
    for _ in range(10):
        for side in tuple(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                continue
    assert not waiting
    # TLS 1.3 tells a client only with the first data that its certificate was refused.
    theirs.write(b"hello")
    assert ours.read() == b"hello"
    seen = ours.getpeercert(binary_form=True), theirs.getpeercert(binary_form=True)
    assert seen[0] is not None
    assert seen[1] is not None
    return seen[0], seen[1]


def check_all_talk(world: World, nodes: list[Certified], directory: Path) -> None:
    for client, server in product(nodes, repeat=2):
        seen = shake_hands(client, server, directory)
        for leaf, node in zip(seen, (server, client), strict=True):
            assert identify(leaf, world.cluster_id, NOW).node_id == node.node_id
        verify(server.chain, client.roots, world.cluster_id, NOW)


def test_no_two_nodes_lose_each_other_while_the_authority_is_replaced(tmp_path: Path) -> None:
    world = World(at=NOW)
    nodes = [world.node() for _ in range(3)]
    older = issuer_id(world.authority)
    check_all_talk(world, nodes, tmp_path)
    world.authority = begin(world.authority, world.chance, NOW)
    assert is_rotating(world.authority)
    # The first has renewed, the second has heard of the new root only, the third knows nothing of it.
    world.renew(nodes[0])
    nodes[1].roots = trusted(world.authority)
    check_all_talk(world, nodes, tmp_path)
    for node in nodes:
        issuers = [verify(other.chain, other.roots, world.cluster_id, NOW).issuer for other in nodes]
        assert not is_finished(world.authority, issuers)
        assert older in issuers
        world.renew(node)
        if node is nodes[0]:
            world.renew(nodes[1])
    issuers = [verify(other.chain, other.roots, world.cluster_id, NOW).issuer for other in nodes]
    assert is_finished(world.authority, issuers)
    world.authority = complete(world.authority)
    assert not is_rotating(world.authority)
    # Some have heard that it is complete, some have not; a node that joins knows the new root only.
    nodes[0].roots = trusted(world.authority)
    world.renew(nodes[1])
    check_all_talk(world, [*nodes, world.node()], tmp_path)


def test_an_authority_that_was_replaced_is_believed_no_more(tmp_path: Path) -> None:
    world = World(at=NOW)
    left_behind = world.node()
    world.authority = complete(begin(world.authority, world.chance, NOW))
    fresh = world.node()
    with pytest.raises(ssl.SSLError):
        shake_hands(left_behind, fresh, tmp_path)
    with pytest.raises(ssl.SSLError):
        shake_hands(fresh, left_behind, tmp_path)
    with pytest.raises(NetError):
        verify(left_behind.chain, fresh.roots, world.cluster_id, NOW)


def test_a_client_that_wants_a_manager_is_not_served_by_a_worker(tmp_path: Path) -> None:
    world = World(at=NOW)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(world.node(MANAGER), world.node(WORKER), tmp_path)
    shake_hands(world.node(WORKER), world.node(MANAGER), tmp_path)


def test_nodes_of_two_clusters_never_talk(tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLError):
        shake_hands(World(1, NOW).node(), World(2, NOW).node(), tmp_path)


def test_begun_again_it_turns_to_another_root_and_nobody_is_lost(tmp_path: Path) -> None:
    world = World(at=NOW)
    nodes = [world.node() for _ in range(3)]
    world.authority = begin(world.authority, world.chance, NOW)
    world.renew(nodes[0])
    between = issuer_id(world.authority)
    world.authority = begin(world.authority, world.chance, NOW)
    assert issuer_id(world.authority) != between
    assert len(load_certificates(trusted(world.authority))) == 2
    world.renew(nodes[1])
    check_all_talk(world, nodes, tmp_path)
    for node in nodes:
        world.renew(node)
    world.authority = complete(world.authority)
    check_all_talk(world, [*nodes, world.node()], tmp_path)


def test_join_tokens_fit_the_old_root_until_it_is_complete() -> None:
    world = World(at=NOW)
    token = JoinToken.parse(new_token(join_root(world.authority), world.chance))
    world.authority = begin(world.authority, world.chance, NOW)
    token.check_root(join_root(world.authority))
    joined = world.node()
    verify(joined.chain, join_root(world.authority), None, NOW)
    world.authority = complete(world.authority)
    with pytest.raises(NetError, match="fingerprint"):
        token.check_root(join_root(world.authority))


def test_a_root_of_ones_own_takes_over() -> None:
    world = World(at=NOW)
    own = new_root(random.Random(7), NOW)
    world.authority = begin(world.authority, world.chance, NOW, own)
    node = world.node()
    verify(node.chain, join_root(world.authority), None, NOW)
    assert complete(world.authority).certificate == own.certificate
    assert is_finished(world.authority, [])


def test_what_is_no_root_or_lacks_its_key_does_not_take_over() -> None:
    world = World(at=NOW)
    node, good, late = world.node(), new_root(random.Random(7), NOW), new_root(random.Random(8), NOW + 2 * HOUR_S)
    wrong = [
        Root(node.chain, node.key),
        Root(good.certificate, node.key),
        Root(good.certificate + late.certificate, good.key),
        Root(begin(world.authority, world.chance, NOW, good).cross, good.key),
        late,
        Root("", ""),
        Root(good.certificate, good.key[:50]),
        Root(good.certificate[:200], good.key),
    ]
    for root in wrong:
        with pytest.raises(NetError) as caught:
            begin(world.authority, world.chance, NOW, root)
        assert caught.value.code == codes.CERTIFICATE_INVALID


def test_an_authority_that_is_not_replaced_has_nothing_to_finish() -> None:
    world = World(at=NOW)
    assert not is_finished(world.authority, [issuer_id(world.authority)])
    with pytest.raises(Invalid, match="no new root"):
        complete(world.authority)
