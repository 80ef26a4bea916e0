"""What a patient attacker tries: packets kept and played again, epochs and counters made up, keys that were removed.

A *stranger* has no key but may have recorded everything; an *insider* has the cluster's key and no identity but its own,
so it can seal in anybody's name and sign in nobody's.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from tests.unit.gossip.village import KEY, NET, Village, address_of, identity_of, write_blocks

from fairlead.gossip import codec
from fairlead.gossip.blocks import Event, read_block
from fairlead.gossip.codec import Reader
from fairlead.gossip.contract import Datagram, EpochTaken, MemberDown, RecordChanged, Request, Wish
from fairlead.gossip.contract import Event as Told
from fairlead.gossip.gossip import Gossip
from fairlead.gossip.holding import ORPHANS_BYTES_MAX, ORPHANS_MAX
from fairlead.gossip.identity import Address, Identity, NodeId
from fairlead.gossip.keyring import (
    COUNTER_MAX,
    EPOCH_MAX,
    Keyring,
    Sealer,
    key_id,
    next_epoch,
    short,
    unseal,
)
from fairlead.gossip.log import Version
from fairlead.gossip.members import LEVEL_MAX, Opinion, Standing
from fairlead.gossip.messages import Done, Have, Join, Message, Ping, Seek, Spread, Vector, Want, Who
from fairlead.gossip.views import CLUSTER, EVERYTHING, VERDICTS, Verdict, encode_verdict
from fairlead.gossip.wire import encode
from fairlead.model.errors import Conflict

NEXT = b"2" * 32
ELSEWHERE = Address("192.0.2.1", 1234)


class Tapped(Village):
    """A village whose wire is listened to: every packet, to whom and whence."""

    def __init__(self, count: int = 0) -> None:
        self.tape: list[tuple[int, Address, Address, bytes, bool]] = []
        super().__init__(count)

    def _datagram(self, number: int, wish: Datagram) -> None:
        self.tape.append((number, wish.to, self.source(number), wish.data, False))
        super()._datagram(number, wish)

    def _request(self, number: int, wish: Request) -> None:
        self.tape.append((number, wish.to, self.source(number), wish.data, True))
        super()._request(number, wish)

    def source(self, number: int) -> Address:
        return next(address for address, one in self.at.items() if one == number)

    def play(self, tape: list[tuple[int, Address, Address, bytes, bool]]) -> list[Wish | bytes]:
        """Everything once more, to all; what that made them send."""
        made: list[Wish | bytes] = []
        for _, _, source, data, streamed in tape:
            for number, node in self.nodes.items():
                if streamed:
                    made += [reply for reply in [node.serve(data, Address(source.host, 50000), self.now)] if reply]
                else:
                    node.receive(data, source, self.now)
                made += node.outgoing(self.now)
                self.events[number] += node.events()
        return made


def tapped(count: int) -> Tapped:
    village = Tapped(count)
    village.attach()
    village.settled()
    return village


def insider(village: Village, as_node: int, epoch: int = 1, counter: int = 0) -> Sealer:
    sealer = Sealer(village.id(as_node), epoch, Keyring(KEY))
    sealer._counter = counter
    return sealer


def told(village: Village, kind: type[Told]) -> list[Told]:
    return [event for events in village.events.values() for event in events if isinstance(event, kind)]


def state(village: Village) -> list[object]:
    return [(node.members.sums.total, node.tables.digest([CLUSTER, NET])) for node in village.nodes.values()]


# -- nonces and epochs


def test_an_epoch_is_greater_than_the_last_whatever_the_clock_says() -> None:
    assert next_epoch(0, 1_800_000_000) == 1_800_000_000
    assert next_epoch(1_800_000_000, 1_800_000_000) == 1_800_000_001, "twice in a second"
    assert next_epoch(1_800_000_000, 5) == 1_800_000_001, "the clock went back"
    assert next_epoch(7, 10**12) == EPOCH_MAX - 1, "a clock gone mad leaves one more"
    assert next_epoch(EPOCH_MAX - 1, 0) == EPOCH_MAX
    with pytest.raises(ValueError, match="no boot epoch"):
        next_epoch(EPOCH_MAX, 0)


def test_no_nonce_is_used_twice_over_restarts_rotations_and_receivers() -> None:
    """AES-GCM is broken by two packets of one key and nonce: key, epoch, sender and counter name both."""
    seen: set[bytes] = set()
    ring, epoch = Keyring(KEY), 0
    for start in range(20):
        epoch = next_epoch(epoch, 100 - start)
        for node in (identity_of(1), identity_of(2)):
            sealer = Sealer(node.id, epoch, ring)
            for number in range(300):
                packet = sealer.seal(b"x", short(node.id) if number % 2 else None)
                seen.add(packet[1 : 17 + (packet[0] & 7)])
        ring.install(bytes([start]) * 32)
        ring.use(key_id(bytes([start]) * 32))
        ring.remove(ring.ids[0])
    assert len(seen) == 20 * 2 * 300


def test_the_ciphertexts_of_two_lives_have_nothing_in_common() -> None:
    """The same words under the same counter in another epoch: were the key stream the same, so were the bytes."""
    one, other = (Sealer(identity_of(1).id, epoch, Keyring(KEY)).seal(bytes(64)) for epoch in (7, 8))
    same = sum(a == b for a, b in zip(one[18:82], other[18:82], strict=True))
    assert same < 8


def test_who_starts_in_an_epoch_that_was_used_is_told_and_can_begin_anew() -> None:
    """A disk was restored and a clock went back: the node's words are old to all others; it must not go on unheard."""
    village = tapped(4)
    village.put(2, "k", "true")
    village.run(1.0)
    for former in (1, 0):
        del village.nodes[2]
        village.events[2].clear()
        village.start(2, epoch=former)
        village.do(2, lambda node: node.join([address_of(0)], village.now))
        village.attach(2)
        village.run(2.0)
        taken = [event for event in village.events[2] if isinstance(event, EpochTaken)]
        assert [event.epoch for event in taken] == [1], "told once"
    del village.nodes[2]
    village.start(2, epoch=next_epoch(taken[0].epoch, 0))
    village.do(2, lambda node: node.join([address_of(0)], village.now))
    village.attach(2)
    village.put(2, "k", "anew")
    village.run_until(lambda: village.all_have("k", "anew") and village.all_see(2, Standing.ALIVE), 3.0)
    assert not told(village, EpochTaken)[1:] or village.events[2][-1] is not taken[0]


def test_nobody_but_its_owner_can_tell_a_node_that_its_epoch_is_taken() -> None:
    village = tapped(3)
    village.run(1.0)
    forged = Identity(b"W" * 32)
    forged.id = village.id(0)
    (block,) = write_blocks(forged, CLUSTER, 9, 1, [Event(1, "t", "k", b"v")])
    packet = insider(village, 1, counter=9000).seal(encode(Spread((block,))))
    village.nodes[0].receive(packet, address_of(1), village.now)
    village.drain(0)
    assert not told(village, EpochTaken)


# -- replay


def test_a_whole_life_played_again_changes_nothing_and_asks_for_nothing() -> None:
    """A stranger has recorded all packets and requests since the start, and plays them to everybody at once."""
    village = tapped(5)
    for number in range(5):
        village.put(number, f"k{number}", "v")
    village.run(3.0)
    village.delete(1, "k1")
    village.run(2.0)
    before, tape = state(village), list(village.tape)
    assert len(tape) > 150
    events = {number: len(some) for number, some in village.events.items()}
    made = village.play(tape)
    assert state(village) == before
    assert {number: len(some) for number, some in village.events.items()} == events
    assert sum(len(one if isinstance(one, bytes) else getattr(one, "data", b"")) for one in made) < 2 * sum(
        len(data) for _, _, _, data, _ in tape
    ), "no more is sent than the attacker sends"
    village.run(5.0)
    assert village.agree()
    assert not told(village, MemberDown)
    assert village.all_have("k1", None)


def test_a_former_epoch_played_again_is_nothing_to_old_and_new_members() -> None:
    """All that a node said in its life before, verdict of the past included, is played after it has started again; also to
    a node that has come since and never heard of that life."""
    village = Tapped()
    village.settings = type(village.settings)(authorities=frozenset({village.id(0)}))
    for number in range(4):
        village.start(number)
        village.do(number, lambda node: node.join([address_of(0)], village.now))
    village.attach()
    village.settled()
    village.put(2, "gone", "old")
    village.put(2, "stays", "old")
    verdict = encode_verdict(Verdict(village.id(3), 1, EVERYTHING - 1, NET, "t", "task"))
    village.do(0, lambda node: node.put(CLUSTER, VERDICTS, "task", verdict, village.now))
    village.put(3, "task", "running")
    village.run(1.0)
    assert village.all_have("task", None), "the verdict stands"
    former = list(village.tape)
    for number in (2, 0):
        del village.nodes[number]
        village.start(number, epoch=2)
        village.do(number, lambda node: node.join([address_of(1)], village.now))
        village.attach(number)
    village.put(2, "stays", "new")
    for number in (0, 2):
        village.do(number, lambda node: node.complete(village.now))
    village.run_until(lambda: village.all_have("stays", "new") and village.all_have("task", "running"), 3.0)
    village.run(1.0)
    village.start(7)
    village.play(former)
    village.do(7, lambda node: node.join([address_of(1)], village.now))
    village.attach(7)
    village.run_until(village.agree, 5.0)
    before = state(village)
    village.play(former)
    assert state(village) == before
    village.run(3.0)
    assert village.agree()
    assert village.all_have("gone", None)
    assert village.all_have("stays", "new")
    assert village.all_have("task", "running"), "a verdict that was taken back is not brought back"


def test_a_request_to_join_is_answered_once() -> None:
    """Its reply is the whole state: who plays it again would have it sent, and gathered, as often as he likes."""
    village = tapped(3)
    village.run(1.0)
    join = next(data for _, _, _, data, streamed in village.tape if streamed)
    node = village.nodes[2]
    replies = [node.serve(join, ELSEWHERE, village.now) for _ in range(50)]
    assert all(len(reply) < 300 for reply in replies[1:]), "its own card, no more"


def test_what_an_insider_sealed_in_its_name_does_not_keep_a_node_from_joining() -> None:
    """Epochs can be guessed from the clock: a counter of the far future is used up before the node has come."""
    village = tapped(3)
    for epoch in (1, 2):
        for at in range(3):
            packet = insider(village, 9, epoch, COUNTER_MAX - 1).seal(encode(Ping(1, 2)), short(village.id(at)))
            village.nodes[at].receive(packet, ELSEWHERE, village.now)
            village.drain(at)
    village.start(9, epoch=2)
    village.do(9, lambda node: node.join([address_of(0), address_of(1)], village.now))
    village.attach(9)
    village.put(9, "k", "v")
    village.run_until(lambda: village.all_have("k", "v") and village.agree(), 5.0)


def test_sec_27_a_block_cannot_be_moved_to_another_network_owner_or_epoch() -> None:
    """What is signed names all three: whoever has a network's blocks cannot have them count in another."""
    village = Village(3)
    for scope in ("aa", "bb"):
        village.attach(scope=scope)
    village.run_until(lambda: all(len(node.tables.attached) == 2 for node in village.nodes.values()), 3.0)
    village.put(1, "k", "v", scope="aa")
    village.run(0.5)
    log = village.nodes[0].tables.log(village.id(1), "aa")
    assert log is not None
    (block,) = log.since(Version())[1]
    name = block.owner + codec.text("aa") + codec.varint(1)
    assert block.body.startswith(name)
    moved = (
        block.owner + codec.text("bb") + codec.varint(1),
        block.owner + codec.text("aa") + codec.varint(2),
        village.id(2) + codec.text("aa") + codec.varint(1),
    )
    for number, other in enumerate(moved, 1):
        said = codec.blob(other + block.body.removeprefix(name)) + codec.blob(block.proof)
        item = read_block(Reader(said))
        packet = insider(village, 2, counter=5000 + number).seal(encode(Spread((item,))))
        village.nodes[0].receive(packet, address_of(2), village.now)
        village.drain(0)
        shot = village.nodes[0].snapshot()
        assert shot.counters["forged_blocks"] == number
        assert shot.forgers == {village.id(2).hex(): number}
    village.run(2.0)
    assert village.all_have("k", None, scope="bb")
    assert village.all_have("k", "v", scope="aa")


def test_a_question_who_somebody_is_is_answered_once() -> None:
    """Else whoever recorded one could have cards sent to anybody by writing his address on it."""
    village = tapped(2)
    packet = insider(village, 9).seal(encode(Who()))
    node = village.nodes[0]
    sent = []
    for _ in range(20):
        node.receive(packet, ELSEWHERE, village.now)
        sent += node.outgoing(village.now)
    assert len(sent) == 1


def test_played_packets_do_not_make_a_calm_cluster_take_itself_for_lossy() -> None:
    village = tapped(4)
    village.nodes[0]._spreading.loss(village.now)
    village.put(0, "k", "v")
    village.run(60.0)
    assert not any(node._spreading.lossy(village.now) for node in village.nodes.values())
    village.play(list(village.tape))
    assert not any(node._spreading.lossy(village.now) for node in village.nodes.values())


def test_what_was_recorded_under_a_key_that_was_removed_is_nothing_any_more() -> None:
    village = tapped(4)
    village.put(1, "k", "v")
    village.run(1.0)
    tape = list(village.tape)
    for node in village.nodes.values():
        node.install_key(NEXT)
    for node in village.nodes.values():
        node.use_key(key_id(NEXT))
    village.run(0.1)
    during = village.play(tape)
    assert village.all_have("k", "v")
    for node in village.nodes.values():
        node.remove_key(key_id(KEY))
    before = {number: node.snapshot().counters["unopened"] for number, node in village.nodes.items()}
    assert village.play(tape) == []
    for number, node in village.nodes.items():
        shot = node.snapshot()
        assert shot.counters["unopened"] - before[number] == len(tape), "not one of them opens"
        assert shot.keys == (key_id(NEXT),)
    assert len(during) < len(tape)
    village.run(3.0)
    assert village.agree()


# -- keys


def test_two_keys_of_one_id_do_not_replace_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packets name keys by four bytes: one in four thousand million pairs has the same. The primary must not be lost."""
    monkeypatch.setattr("fairlead.gossip.keyring.key_id", lambda _key: b"same")
    ring = Keyring(KEY)
    sealed = Sealer(identity_of(1).id, 1, ring).seal(b"words")
    with pytest.raises(Conflict, match="another key has the id"):
        ring.install(NEXT)
    assert ring.install(KEY) == b"same", "the same key again is no conflict"
    assert unseal(ring, sealed, short(identity_of(2).id)) is not None


def test_clusters_with_different_keys_hear_nothing_of_each_other() -> None:
    one, other = tapped(3), Tapped()
    for number in range(3):
        other.start(number, key=NEXT)
        other.do(number, lambda node: node.join([address_of(0)], other.now))
    other.attach()
    other.settled()
    before = state(other)
    assert other.play(list(one.tape)) == []
    assert state(other) == before


# -- an insider, who can seal in anybody's name


def junk(chance: Random, village: Village) -> Iterator[Message]:
    """Messages that are well made and mean harm."""
    stranger = NodeId(chance.randbytes(16))
    for subject in (village.id(0), village.id(1), stranger):
        for level in (1, 2, LEVEL_MAX - 1, LEVEL_MAX):
            yield Spread((Opinion(subject, 1, chance.randrange(3), level),))
        yield Seek(chance.randrange(2**32), subject)
        yield Have({NET: {subject: Version(EPOCH_MAX, 2**47, 2**49)}, "?": {subject: Version(1, 1, 1)}}, ask=True)
        yield Want((subject,) * 64, {NET: {subject: Version()}})
        yield Vector((Opinion(subject, EPOCH_MAX, EPOCH_MAX, 1),), {NET: {}}, members=True, ask=True)
    yield Ping(1, 2**63, Opinion(village.id(0), 1, 0, LEVEL_MAX))


@pytest.mark.parametrize(("epoch", "counter"), [(EPOCH_MAX, 0), (2, COUNTER_MAX - 1), (1, COUNTER_MAX - 2)])
def test_a_made_up_epoch_or_counter_does_not_silence_a_member(epoch: int, counter: int) -> None:
    """Were the window moved by whatever opens, one packet would make all that the member says look like a repetition: it
    would be called dead, and its word would reach nobody by repair."""
    village = tapped(5)
    village.run(3.0)
    heard = village.nodes[1]._outbox.seal(Ping(1, 0), village.nodes[0].members.get(village.id(0)))
    village.nodes[0].receive(heard, address_of(1), village.now)
    village.drain(0)
    for at in (0, 2, 3, 4):
        for _ in range(3):
            packet = insider(village, 1, epoch, counter).seal(encode(Ping(5, 0)), short(village.id(at)))
            village.nodes[at].receive(packet, address_of(1), village.now)
            village.drain(at)
    before = village.nodes[0].snapshot().counters.get("replayed", 0)
    village.nodes[0].receive(heard, address_of(1), village.now)
    village.drain(0)
    assert village.nodes[0].snapshot().counters["replayed"] == before + 1, (
        "what was heard is not forgotten for it either"
    )
    village.run(20.0)
    assert not told(village, MemberDown)
    assert village.agree()
    village.cut = lambda one, other: 1 in {one, other}
    village.put(1, "k", "by repair")
    village.run(0.2)
    village.cut = lambda _one, _other: False
    village.run_until(lambda: village.all_have("k", "by repair"), 5.0)


def test_a_stranger_who_says_that_nobody_listens_there_buries_nobody() -> None:
    """ICMP's "port unreachable" quotes two addresses and two ports, which any stranger knows. A connection that is refused
    quotes a number that only the host has seen."""
    village = tapped(6)
    village.put(1, "k", "v")
    village.run(2.0)
    for _ in range(3000):
        for at in (0, 2, 3, 4, 5):
            village.do(at, lambda node: node.refused(address_of(1), village.now, sure=False))
        village.run(0.001)
    assert sum(node.snapshot().counters.get("refusals", 0) for node in village.nodes.values()) >= 5
    assert not told(village, MemberDown)
    village.stop(1)
    assert village.run_until(lambda: village.all_see(1, Standing.DEAD), 5.0) < 0.3


def test_made_up_senders_fill_nothing_and_push_out_no_member() -> None:
    village = tapped(3)
    village.run(2.0)
    node, chance = village.nodes[0], Random(3)
    ping = village.nodes[1]._outbox.seal(Ping(1, 0), node.members.get(village.id(0)))
    node.receive(ping, address_of(1), village.now)
    for number in range(20_000):
        made_up = NodeId(chance.randbytes(16))
        packet = Sealer(made_up, number, Keyring(KEY)).seal(encode(Ping(1, 0)), short(village.id(0)))
        node.receive(packet, ELSEWHERE, village.now)
        node.outgoing(village.now)
    sizes = node._guard.sizes()
    assert sizes["windows"] <= 3
    assert sizes["strangers"] <= 1024
    assert node._outbox.keyring.ready <= 6
    before = node.snapshot().counters.get("replayed", 0)
    node.receive(ping, ELSEWHERE, village.now)
    assert node.snapshot().counters["replayed"] == before + 1, "its window is still there"


def test_forged_talk_of_life_and_death_hides_nobody() -> None:
    village = tapped(6)
    for number in range(6):
        village.put(number, f"k{number}", "v")
    village.run(2.0)
    chance = Random(5)
    for turn in range(30):
        for message in junk(chance, village):
            at, source = chance.randrange(6), chance.randrange(6)
            direct = not isinstance(message, Spread)
            sealer = insider(village, source, counter=10_000 + 100 * turn + chance.randrange(100))
            packet = sealer.seal(encode(message), short(village.id(at)) if direct else None)
            village.nodes[at].receive(packet, address_of(source), village.now)
            village.drain(at)
        village.run(0.2)
    village.run(10.0)
    hidden = [event for event in told(village, RecordChanged) if isinstance(event, RecordChanged) and not event.after]
    assert not hidden
    assert not told(village, MemberDown)
    assert village.agree()
    for number in range(6):
        assert village.all_have(f"k{number}", "v")


def test_forged_news_that_a_dead_node_lives_lasts_until_it_is_probed() -> None:
    """What an insider can do, and for how long: opinions are not signed, so that anybody can tell what it has seen."""
    village = tapped(6)
    village.put(3, "k", "v")
    village.run(2.0)
    village.holes.add(3)
    village.run_until(lambda: village.all_see(3, Standing.DEAD), 5.0)
    member = village.nodes[0].members.get(village.id(3))
    assert member is not None
    lie = Spread((Opinion(member.id, *member.card.order, member.level + 1),))
    packet = insider(village, 1, counter=9000).seal(encode(lie))
    village.nodes[0].receive(packet, address_of(1), village.now)
    village.drain(0)
    village.run(0.01)
    assert village.run_until(lambda: village.all_see(3, Standing.DEAD), 5.0) < 2.2


def test_a_forged_confirmation_of_what_was_not_said_confirms_nothing() -> None:
    village = tapped(3)
    village.run(1.0)
    node = village.nodes[0]
    for scope in [NET, CLUSTER, *(f"made-up-{number}" for number in range(500))]:
        lie = Have({scope: {village.id(0): Version(1, 2**40, 3)}})
        for liar in (1, 2):
            packet = insider(village, liar, counter=5000 + hash(scope) % 50_000).seal(encode(lie), short(village.id(0)))
            node.receive(packet, address_of(liar), village.now)
    village.cut = lambda one, other: 2 in {one, other}
    written = node.put(NET, "t", "k", b"v", village.now)
    village.drain(0)
    village.run(0.2)
    assert not node.converged(written)
    assert all(len(scopes) <= 2 for scopes in node._confirmations._inquiry._reached.values())


def test_blocks_of_nobody_are_kept_within_bounds_and_not_held_against_who_brings_the_card() -> None:
    village = tapped(3)
    village.run(1.0)
    node, forger = village.nodes[0], Identity(b"F" * 32)
    sealer = insider(village, 1, counter=5000)
    for number in range(400):
        forger.id = NodeId(number.to_bytes(16, "big"))
        blocks = write_blocks(forger, CLUSTER, 1, 1, [Event(1, "t", "k", bytes(60_000))])
        node.receive(sealer.seal(encode(Spread(tuple(blocks)))), address_of(1), village.now)
        node.outgoing(village.now)
    assert node._holding.orphaned <= ORPHANS_MAX
    assert 0 < node._holding.orphaned_bytes <= ORPHANS_BYTES_MAX
    assert len(node._holding._orphans) <= node._holding.orphaned
    forger.id = identity_of(9).id
    (fake,) = write_blocks(forger, CLUSTER, 1, 1, [Event(1, "t", "k", b"false")])
    node.receive(sealer.seal(encode(Spread((fake,)))), address_of(1), village.now)
    village.drain(0)
    village.start(9)
    village.do(9, lambda one: one.join([address_of(0)], village.now))
    village.run(2.0)
    assert node.snapshot().forgers == {village.id(1).hex(): 1}
    assert village.value(0, "k", CLUSTER) is None


def test_a_node_cannot_be_named_like_another() -> None:
    """Headers have half of an id. Who finds a key whose id begins like another's (2^64 tries) gets no say."""
    village = tapped(2)
    members = village.nodes[0].members
    card = village.start(9)._card
    members.shorts[short(card.id)] = village.id(1)
    assert members.meet(card) is None


def test_a_stranger_with_only_the_key_is_told_nothing_by_stream() -> None:
    village = tapped(3)
    village.run(1.0)
    node, sealer = village.nodes[0], insider(village, 50)
    for message in (Want((village.id(1),), {}), Vector((), {CLUSTER: {}}, members=True, ask=True), Done()):
        assert node.serve(sealer.seal(encode(message), short(village.id(0))), ELSEWHERE, village.now) == b""
    forged = Join(village.nodes[1]._card)
    assert node.serve(sealer.seal(encode(forged)), ELSEWHERE, village.now) == b"", "another's card is not its own"


def test_a_core_that_knows_who_is_where_tells_the_edge() -> None:
    village = tapped(3)
    node: Gossip = village.nodes[0]
    assert node.known(address_of(2).host)
    assert not node.known(ELSEWHERE.host)
    village.do(2, lambda one: one.leave(village.now))
    village.run(1.0)
    assert not node.known(address_of(2).host)
