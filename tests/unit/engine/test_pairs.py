"""Encryption to other nodes: for whom, from when to when, and by which keys."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from tests.unit.engine.world import World

from fairlead.model import codes, options
from fairlead.model.cluster import Key, Lease, Peer, Ring, Station
from fairlead.model.commands import DisconnectNetwork, InstallNetwork
from fairlead.model.errors import Unavailable
from fairlead.model.events import DataPath, LeasesGranted, PeersComplete, PeersSeen, StationsSeen, TunnelSecrets
from fairlead.model.network import SWARM, Network, Pool
from fairlead.plan.xfrm import ExactXfrm, XfrmPolicy, XfrmState

HERE, THERE, YONDER = (Station(f"n{number}", f"192.0.2.{number}", f"{number:032x}") for number in (1, 2, 3))
RING = Ring((Key(2, "11" * 32),), 2)


def network(number: int, *, encrypted: bool = True) -> Network:
    return Network(
        f"{number:064x}",
        f"net{number}",
        "overlay",
        1.0,
        scope=SWARM,
        attachable=True,
        pools=(Pool(f"p{number}", f"10.0.{number}.0/24", gateway=f"10.0.{number}.1"),),
        options={options.VXLAN_IDS: str(4096 + number)} | ({options.ENCRYPTED: ""} if encrypted else {}),
    )


ONE, TWO, CLEAR = network(1), network(2), network(3, encrypted=False)


class Node(World):
    """A node that can encrypt, in a cluster with two encrypted networks and one that is not."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.tell(DataPath(HERE.vtep))
        for made in (ONE, TWO, CLEAR):
            self.tell(InstallNetwork(made))
            number = made.name[-1]
            leases = [Lease(made.id, f"10.0.{number}.{host}", "n1", 1) for host in range(100, 164)]
            self.tell(LeasesGranted(tuple(leases)))
        self.tell(TunnelSecrets(HERE, RING, ""))
        self.tell(StationsSeen(((THERE.vtep, THERE), (YONDER.vtep, YONDER))))

    def see(self, where: Network, host: int, vtep: str | None = THERE.vtep) -> None:
        """An endpoint of another node is there, or (None) no more."""
        name, number = f"e{where.name[-1]}{host}", where.name[-1]
        peer = Peer(where.id, name, f"10.0.{number}.{host}/24", "", f"02:00:00:00:0{number}:{host:02x}", vtep or "", 1)
        self.tell(PeersSeen(where.id, ((name, peer if vtep else None),)))

    def of(self, kind: type) -> list[object]:
        owners = [owner for owner in self.standing if owner.startswith("pair")]
        return [item for owner in owners for item in self.standing[owner].values() if isinstance(item, kind)]

    def served(self) -> set[str]:
        """The nodes that this one encrypts for."""
        policies = [item for item in self.of(XfrmPolicy) if isinstance(item, XfrmPolicy)]
        return {policy.target.removesuffix("/32") for policy in policies}


@pytest.fixture
def world() -> Node:
    return Node()


def test_nodes_that_share_an_encrypted_network_are_encrypted_for(world: Node) -> None:
    world.run("anna", "net1")
    assert world.served() == set()
    world.see(ONE, 20)
    assert world.served() == {THERE.vtep}
    assert len(world.of(XfrmState)) == 2
    world.see(ONE, 20, None)
    assert world.served() == set()
    assert world.of(XfrmState) == []


def test_nobody_is_encrypted_for_in_clear_networks_or_before_this_node_is_in_one(world: Node) -> None:
    world.see(ONE, 20)
    assert world.served() == set()
    world.run("anna", "net3")
    world.see(CLEAR, 20)
    assert world.served() == set()


def test_sec_04_one_network_s_end_leaves_another_s_encryption_alone(world: Node) -> None:
    world.run("anna", "net1")
    world.connect("net2", "anna")
    world.see(ONE, 20)
    world.see(TWO, 20)
    before = world.of(XfrmState)
    world.tell(DisconnectNetwork("net1", "anna"))
    assert world.served() == {THERE.vtep}
    assert world.of(XfrmState) == before
    world.see(TWO, 20, None)
    assert world.served() == set()


@pytest.mark.parametrize("seed", range(8))
def test_sec_04_whatever_comes_and_goes_those_are_encrypted_for_who_share_a_network(seed: int) -> None:
    world, chance = Node(), random.Random(seed)
    world.run("anna", "net3")
    inhabited: set[str] = set()
    peers: dict[tuple[str, int], str] = {}
    for _ in range(60):
        where = chance.choice((ONE, TWO, CLEAR))
        if chance.random() < 0.3 and where is not CLEAR:
            if where.name in inhabited:
                world.tell(DisconnectNetwork(where.name, "anna"))
                inhabited.discard(where.name)
            else:
                world.connect(where.name, "anna")
                inhabited.add(where.name)
            peers = {key: vtep for key, vtep in peers.items() if key[0] != where.name}  # told anew after that
        else:
            host, vtep = chance.randint(20, 22), chance.choice((THERE.vtep, YONDER.vtep, None))
            world.see(where, host, vtep)
            peers.pop((where.name, host), None)
            if vtep:
                peers[where.name, host] = vtep
        assert world.served() == {vtep for (name, _), vtep in peers.items() if name in inhabited}


def test_sec_05_a_node_s_new_life_changes_what_it_is_sent(world: Node) -> None:
    world.run("anna", "net1")
    world.see(ONE, 20)
    before = {state.secret for state in world.of(XfrmState) if isinstance(state, XfrmState)}
    world.tell(StationsSeen(((THERE.vtep, replace(THERE, nonce="ee" * 16)),)))
    after = {state.secret for state in world.of(XfrmState) if isinstance(state, XfrmState)}
    assert len(after) == 2 and not before & after
    world.tell(TunnelSecrets(replace(HERE, nonce="ff" * 16), RING, ""))
    last = {state.secret for state in world.of(XfrmState) if isinstance(state, XfrmState)}
    assert len(last) == 2 and not last & (before | after)
    world.tell(StationsSeen(((THERE.vtep, None),)))
    assert world.of(XfrmState) == []


def test_a_rotation_reaches_every_node_that_is_encrypted_for(world: Node) -> None:
    world.run("anna", "net1")
    world.see(ONE, 20)
    world.see(ONE, 21, YONDER.vtep)
    both = Ring((*RING.keys, Key(4, "22" * 32)), 2)
    world.tell(TunnelSecrets(HERE, both, ""))
    assert len(world.of(XfrmState)) == 2 * 4
    world.tell(TunnelSecrets(HERE, replace(both, primary=4), ""))
    world.tell(TunnelSecrets(HERE, Ring(both.keys[1:], 4), ""))
    assert len(world.of(XfrmState)) == 2 * 2


def test_sec_01_a_node_that_cannot_encrypt_joins_no_encrypted_network(world: Node) -> None:
    world.tell(TunnelSecrets(HERE, RING, "its kernel has no ESP"))
    world.container("anna", "net1")
    with pytest.raises(Unavailable, match="cannot be in the encrypted network net1: its kernel has no ESP") as caught:
        world.start("anna")
    assert caught.value.code == codes.NO_ENCRYPTION
    assert not world.standing.get(f"network:{ONE.id}")
    world.run("bob", "net3")


def test_what_is_left_from_before_stays_until_all_nodes_are_told(world: Node) -> None:
    assert len(world.of(ExactXfrm)) == 1
    world.run("anna", "net1")
    assert world.of(ExactXfrm) == []
    world.run("bob", "net2")
    world.tell(PeersComplete(ONE.id))
    assert world.of(ExactXfrm) == []
    world.tell(PeersComplete(TWO.id))
    assert len(world.of(ExactXfrm)) == 1
