"""What of others' records is believed, what the engine is told of it, and what a node that is away leaves behind."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import pytest

from fairlead.daemon.cluster import records
from fairlead.daemon.cluster.hearsay import Hearsay, Metadata, read_metadata
from fairlead.daemon.cluster.records import NAMES, PEERS, Fact
from fairlead.gossip.contract import MemberChanged, MemberDown, MemberLeft, MemberUp, RecordChanged
from fairlead.gossip.identity import Address, NodeId
from fairlead.gossip.log import Record
from fairlead.gossip.veil import Veil
from fairlead.model.cluster import Key, Peer, PeerNames, Ring, Station
from fairlead.model.events import NamesSeen, PeersSeen, StationsSeen

OWN, A, B = NodeId(b"o" * 16), NodeId(b"a" * 16), NodeId(b"b" * 16)
WEB = "ab" * 32
EP = "e" * 64
VEIL = Veil(WEB, Ring((Key(1, "11" * 32),), 1))
PEER = Peer(WEB, EP, "10.0.1.5/24", "", "02:00:00:00:00:05", "192.0.2.1", 3)
READY = PeerNames(WEB, EP, ("web", "web.1"), "10.0.1.5", "")


def record(fact: Fact, owner: NodeId = A, *, veil: Veil = VEIL, value: bytes | None = None) -> Record:
    value = records.write(fact, owner, veil) if value is None else value
    key = records.key_of(fact.endpoint_id, owner)
    return Record(owner, fact.network_id, records.table_of(fact), key, value, 1, 1, 1)


def said(fact: Fact, owner: NodeId = A) -> RecordChanged:
    after = record(fact, owner)
    return RecordChanged(after.scope, after.table, after.key, owner, None, after)


def unsaid(fact: Fact, owner: NodeId = A) -> RecordChanged:
    before = record(fact, owner)
    return RecordChanged(before.scope, before.table, before.key, owner, before, None)


def up(node: NodeId = A, path: str = "192.0.2.1", *, name: str = "na") -> MemberUp:
    return MemberUp(node, Address("192.0.2.1", 7946), Metadata(name, path, 1500).encode(), 1)


def down(node: NodeId = A) -> MemberDown:
    return MemberDown(node, Address("192.0.2.1", 7946))


@pytest.fixture
def hearsay() -> Hearsay:
    made = Hearsay(OWN)
    made.enter(WEB, VEIL)
    made.hear(up())
    return made


def test_what_could_not_be_followed_is_told_again_but_for_newer_word(hearsay: Hearsay) -> None:
    hearsay.hear(said(READY))
    (event,) = hearsay.take()
    assert isinstance(event, NamesSeen) and not hearsay.waiting()
    hearsay.put_back(event)
    assert list(hearsay.take()) == [event]
    hearsay.hear(unsaid(READY))
    hearsay.put_back(event)
    assert told(hearsay) == [NamesSeen(WEB, ((EP, None),))]
    hearsay.leave(WEB)
    hearsay.put_back(event)
    assert not hearsay.waiting()


def told(hearsay: Hearsay) -> list[PeersSeen | NamesSeen]:
    return list(hearsay.take())


def test_an_endpoint_and_its_names_are_told_in_one_turn_the_endpoint_first(hearsay: Hearsay) -> None:
    hearsay.hear(said(READY))
    hearsay.hear(said(PEER))
    assert told(hearsay) == [PeersSeen(WEB, ((EP, PEER),)), NamesSeen(WEB, ((EP, READY),))]
    assert told(hearsay) == []


def test_what_changed_often_is_told_once(hearsay: Hearsay) -> None:
    for generation in range(5):
        hearsay.hear(said(replace(PEER, generation=generation)))
    hearsay.hear(said(READY))
    hearsay.hear(unsaid(READY))
    assert told(hearsay) == [PeersSeen(WEB, ((EP, replace(PEER, generation=4)),)), NamesSeen(WEB, ((EP, None),))]


@pytest.mark.parametrize(
    ("fact", "reason"),
    [
        (replace(PEER, mac="no mac"), "malformed"),
        (replace(PEER, mac="01:00:00:00:00:05"), "malformed"),
        (replace(PEER, ipv4="10.0.1.5/33"), "malformed"),
        (replace(PEER, ipv4="fd00::5/64"), "malformed"),
        (replace(PEER, ipv4="", ipv6="fe80::5%eth0/64"), "malformed"),
        (replace(PEER, ipv4=""), "malformed"),
        (replace(PEER, generation=-1), "malformed"),
        (replace(PEER, endpoint_id="../x"), "malformed"),
        (replace(PEER, vtep="192.0.2.9"), "foreign_tunnel"),
        (replace(READY, names=("x" * 254,)), "malformed"),
        (replace(READY, names=("",)), "malformed"),
        (replace(READY, names=("a\nb",)), "malformed"),
        (replace(READY, names=("a",) * 257), "malformed"),
    ],
)
def test_what_makes_no_sense_is_counted_by_reason_and_not_told(hearsay: Hearsay, fact: Fact, reason: str) -> None:
    hearsay.hear(said(fact))
    assert told(hearsay) == []
    assert hearsay.refused == {reason: 1}


def test_any_bytes_at_all_are_refused_without_a_word(hearsay: Hearsay) -> None:
    key = records.key_of(EP, A)
    for plain in (b"", b"\xc1", msgspec.msgpack.encode({"network_id": 7}), b"\x91" * 5000, bytes(300)):
        value = VEIL.seal(PEERS, key, A, plain)
        after = Record(A, WEB, PEERS, key, value, 1, 1, 1)
        hearsay.hear(RecordChanged(WEB, PEERS, key, A, None, after))
    assert told(hearsay) == []
    assert hearsay.refused == {"malformed": 5}


def test_sec_27_nobody_speaks_for_anothers_endpoint(hearsay: Hearsay) -> None:
    hearsay.hear(said(PEER))
    hearsay.hear(up(B, "192.0.2.2", name="nb"))
    told(hearsay)
    # sealed by a member of the network, under a key with A's id, or as an endpoint that A has said already
    stolen = Record(B, WEB, PEERS, records.key_of(EP, A), record(PEER, A).value, 1, 1, 9)
    hearsay.hear(RecordChanged(WEB, PEERS, stolen.key, B, None, stolen))
    hearsay.hear(said(replace(PEER, vtep="192.0.2.2", generation=99), B))
    hearsay.hear(unsaid(PEER, B))
    assert told(hearsay) == []
    assert hearsay.refused == {"unsealed": 1, "claimed_twice": 1}


def test_sec_27_who_has_no_ring_of_the_network_is_not_believed(hearsay: Hearsay) -> None:
    after = record(PEER, veil=Veil(WEB, Ring((Key(1, "22" * 32),), 1)))
    hearsay.hear(RecordChanged(WEB, PEERS, after.key, A, None, after))
    assert told(hearsay) == []
    assert hearsay.refused == {"unsealed": 1}


def test_what_is_believed_stays_while_its_key_is_gone_and_the_next_word_is_on_its_way(hearsay: Hearsay) -> None:
    """The last step of a key rotation may come before the owner's word under the new key does."""
    stands = [said(PEER).after, said(READY).after]
    for fact in (PEER, READY):
        hearsay.hear(said(fact))
    told(hearsay)
    second = Veil(WEB, Ring((Key(2, "22" * 32),), 2))
    hearsay.enter(WEB, second)
    hearsay.hear_again([one for one in stands if one is not None])
    assert told(hearsay) == []
    moved = record(replace(READY, names=("web", "new")), veil=second)
    hearsay.hear(RecordChanged(WEB, NAMES, moved.key, A, None, moved))
    assert told(hearsay) == [NamesSeen(WEB, ((EP, replace(READY, names=("web", "new"))),))]
    hearsay.hear(unsaid(PEER))
    assert told(hearsay) == [PeersSeen(WEB, ((EP, None),))]


def test_what_is_believed_stays_when_a_word_comes_before_its_key(hearsay: Hearsay) -> None:
    hearsay.hear(said(PEER))
    told(hearsay)
    early = record(replace(PEER, generation=4), veil=Veil(WEB, Ring((Key(2, "22" * 32),), 2)))
    hearsay.hear(RecordChanged(WEB, PEERS, early.key, A, None, early))
    assert told(hearsay) == []
    hearsay.enter(WEB, Veil(WEB, Ring((Key(1, "11" * 32), Key(2, "22" * 32)), 2)))
    hearsay.hear_again([early])
    assert told(hearsay) == [PeersSeen(WEB, ((EP, replace(PEER, generation=4)),))]


def test_of_a_removed_node_nothing_stays_that_cannot_be_opened(hearsay: Hearsay) -> None:
    hearsay.hear(said(PEER))
    told(hearsay)
    hearsay.remove_nodes(["na"])
    assert told(hearsay) == [PeersSeen(WEB, ((EP, None),))]
    hearsay.enter(WEB, Veil(WEB, Ring((Key(2, "22" * 32),), 2)))
    hearsay.hear_again([record(PEER)])
    assert told(hearsay) == []


def test_a_bad_word_takes_back_the_good_one_before_it(hearsay: Hearsay) -> None:
    hearsay.hear(said(PEER))
    told(hearsay)
    hearsay.hear(said(replace(PEER, mac="x")))
    assert told(hearsay) == [PeersSeen(WEB, ((EP, None),))]


def test_an_empty_value_takes_back_and_is_no_fault(hearsay: Hearsay) -> None:
    hearsay.hear(said(PEER))
    told(hearsay)
    gone = record(PEER, value=b"")
    hearsay.hear(RecordChanged(WEB, PEERS, gone.key, A, None, gone))
    assert told(hearsay) == [PeersSeen(WEB, ((EP, None),))]
    assert not hearsay.refused


def test_moby_53141_the_endpoints_of_a_node_that_is_away_stay_and_its_names_go(hearsay: Hearsay) -> None:
    hearsay.hear(said(PEER))
    hearsay.hear(said(READY))
    told(hearsay)
    hearsay.hear(down())
    hearsay.hear(unsaid(PEER))
    hearsay.hear(unsaid(READY))
    assert told(hearsay) == [NamesSeen(WEB, ((EP, None),))]
    # it is back: what it said is shown again before it is told that it is there
    hearsay.hear(said(PEER))
    hearsay.hear(said(READY))
    hearsay.hear(up())
    assert told(hearsay) == [NamesSeen(WEB, ((EP, READY),))]


def test_sec_27_nobody_takes_over_the_names_of_a_node_that_is_away(hearsay: Hearsay) -> None:
    hearsay.hear(up(B, "192.0.2.2", name="nb"))
    hearsay.hear(said(PEER))
    hearsay.hear(said(READY))
    hearsay.hear(down())
    hearsay.hear(unsaid(PEER))
    hearsay.hear(unsaid(READY))
    told(hearsay)
    hearsay.hear(said(replace(READY, ipv4="10.0.1.66"), B))
    assert told(hearsay) == []
    assert hearsay.refused == {"claimed_twice": 1}


def test_what_a_node_took_back_while_it_was_away_goes_when_it_is_there(hearsay: Hearsay) -> None:
    hearsay.hear(said(PEER))
    told(hearsay)
    hearsay.hear(down())
    hearsay.hear(unsaid(PEER))
    assert told(hearsay) == []
    hearsay.hear(up())
    assert told(hearsay) == [PeersSeen(WEB, ((EP, None),))]


def test_all_of_a_node_goes_when_it_leaves_also_when_it_was_down(hearsay: Hearsay) -> None:
    hearsay.hear(said(PEER))
    told(hearsay)
    hearsay.hear(down())
    hearsay.hear(unsaid(PEER))
    hearsay.hear(MemberLeft(A, Address("192.0.2.1", 7946)))
    assert told(hearsay) == [PeersSeen(WEB, ((EP, None),))]
    assert not hearsay.addresses


def test_a_removed_node_is_not_believed_from_that_moment_on(hearsay: Hearsay) -> None:
    hearsay.hear(said(PEER))
    told(hearsay)
    assert hearsay.told("na")
    hearsay.remove_nodes({"na"})
    assert told(hearsay) == [PeersSeen(WEB, ((EP, None),))]
    assert not hearsay.told("na")
    hearsay.hear(said(replace(PEER, generation=9)))
    assert told(hearsay) == []


def test_an_address_counts_as_forgotten_when_nothing_up_to_its_generation_is_left(hearsay: Hearsay) -> None:
    hearsay.hear(said(PEER))
    told(hearsay)
    assert hearsay.claimed(WEB, "10.0.1.5", 3)
    assert not hearsay.claimed(WEB, "10.0.1.5", 2), "the claim is newer"
    assert not hearsay.claimed(WEB, "10.0.1.6", 3)
    hearsay.hear(down())
    hearsay.hear(unsaid(PEER))
    assert hearsay.claimed(WEB, "10.0.1.5", 3), "withdrawn now, but not yet told"
    assert told(hearsay) == [PeersSeen(WEB, ((EP, None),))]
    assert not hearsay.claimed(WEB, "10.0.1.5", 3)


def test_a_node_whose_tunnels_end_elsewhere_is_heard_again(hearsay: Hearsay) -> None:
    hearsay.hear(said(PEER))
    told(hearsay)
    moved = MemberChanged(A, Address("192.0.2.1", 7946), Metadata("na", "192.0.2.7", 1500).encode())
    assert hearsay.hear(moved)
    assert told(hearsay) == [PeersSeen(WEB, ((EP, None),))]
    hearsay.hear_again([record(replace(PEER, vtep="192.0.2.7"))])
    assert told(hearsay) == [PeersSeen(WEB, ((EP, replace(PEER, vtep="192.0.2.7")),))]


def test_a_record_that_outran_its_owners_card_is_believed_with_it() -> None:
    hearsay = Hearsay(OWN)
    hearsay.enter(WEB, VEIL)
    hearsay.hear(said(PEER))
    assert told(hearsay) == []
    assert hearsay.hear(up())
    hearsay.hear_again([record(PEER)])
    assert told(hearsay) == [PeersSeen(WEB, ((EP, PEER),))]


def test_a_network_that_was_left_is_nobodys_business(hearsay: Hearsay) -> None:
    hearsay.hear(said(PEER))
    hearsay.leave(WEB)
    hearsay.hear(said(READY))
    assert told(hearsay) == []
    assert hearsay.waiting() == 0


def test_ones_own_words_and_other_tables_are_no_news(hearsay: Hearsay) -> None:
    hearsay.hear(said(PEER, OWN))
    other = record(PEER)._replace(table="elsewhere")
    hearsay.hear(RecordChanged(WEB, "elsewhere", other.key, A, None, other))
    assert told(hearsay) == []
    assert NAMES not in hearsay.refused


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 100000, b'{"node": 7, "data_path": "x", "mtu": "y"}']
)
def test_a_card_that_says_nothing_sensible_says_nothing(data: bytes) -> None:
    assert read_metadata(data) == Metadata()


def test_a_card_says_what_was_written() -> None:
    assert read_metadata(Metadata("n1", "2001:db8::1", 1430).encode()) == Metadata("n1", "2001:db8::1", 1430)


def alive(nonce: str, path: str = "192.0.2.1", *, name: str = "na") -> MemberChanged:
    return MemberChanged(A, Address("192.0.2.1", 7946), Metadata(name, path, 1500, nonce).encode())


def test_where_packets_can_be_encrypted_to_is_told_before_who_is_there(hearsay: Hearsay) -> None:
    hearsay.hear(said(PEER))
    hearsay.hear(alive("aa"))
    station = Station("na", "192.0.2.1", "aa")
    assert told(hearsay) == [StationsSeen((("192.0.2.1", station),)), PeersSeen(WEB, ((EP, PEER),))]


def test_sec_05_another_life_another_end_and_no_end_are_told(hearsay: Hearsay) -> None:
    hearsay.hear(alive("aa"))
    told(hearsay)
    hearsay.hear(alive("bb"))
    assert told(hearsay) == [StationsSeen((("192.0.2.1", Station("na", "192.0.2.1", "bb")),))]
    hearsay.hear(alive("bb", "192.0.2.7"))
    (moved,) = told(hearsay)
    assert moved == StationsSeen((("192.0.2.1", None), ("192.0.2.7", Station("na", "192.0.2.7", "bb"))))
    hearsay.hear(down())
    assert told(hearsay) == []
    hearsay.hear(alive(""))
    assert told(hearsay) == [StationsSeen((("192.0.2.7", None),))]


@pytest.mark.parametrize("way", ["left", "removed"])
def test_who_is_out_is_no_end_of_tunnels_any_more(hearsay: Hearsay, way: str) -> None:
    hearsay.hear(alive("aa"))
    told(hearsay)
    if way == "left":
        hearsay.hear(MemberLeft(A, Address("192.0.2.1", 7946)))
    else:
        hearsay.remove_nodes(["na"])
    assert told(hearsay) == [StationsSeen((("192.0.2.1", None),))]
    assert not hearsay.stations


@pytest.mark.parametrize("nonce", ["no hex", "x" * 65, 7, "a\n", "ä"])
def test_a_nonce_that_makes_no_sense_is_none(nonce: object) -> None:
    assert read_metadata(json.dumps({"node": "na", "data_path": "192.0.2.1", "nonce": nonce}).encode()).nonce == ""
