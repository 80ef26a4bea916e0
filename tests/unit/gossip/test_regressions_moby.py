"""Faults of Docker's control plane that people met, by the number of moby's issue: each test tells what was wrong there,
and that it is not so here. ``test_faults.py`` has the plain cases of some of them; here is what is hard about them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, product
from random import Random

import pytest
from tests.unit.gossip.village import KEY, NET, Village, address_of, identity_of, write_blocks, write_head

from fairlead.gossip.blocks import Event, Said
from fairlead.gossip.contract import Datagram, MemberDown, RecordChanged
from fairlead.gossip.identity import Address, Identity, NodeId
from fairlead.gossip.keyring import Keyring, Sealer, key_id, short, unseal
from fairlead.gossip.members import Standing, write_card
from fairlead.gossip.messages import Delta, Flood, Join, Message, Spread, State
from fairlead.gossip.views import CLUSTER, EVERYTHING, VERDICTS, Verdict, encode_verdict
from fairlead.gossip.wire import encode


def villages(count: int, manager: int | None = None) -> Village:
    """A settled village with one network; what ``manager`` says by verdict is believed."""
    village = Village(0)
    if manager is not None:
        village.settings = type(village.settings)(authorities=frozenset({village.id(manager)}))
    for number in range(count):
        village.start(number)
        if number:
            village.do(number, lambda node: node.join([address_of(0)], village.now))
    village.attach()
    return village.settled()


def changes(village: Village, at: int, key: str) -> list[tuple[bytes | None, bytes | None]]:
    """What a watcher at a node was told of a key: value before, value after."""
    return [
        (event.before and event.before.value, event.after and event.after.value)
        for event in village.events[at]
        if isinstance(event, RecordChanged) and event.scope == NET and event.key == key
    ]


def table(village: Village, at: int) -> dict[str, str]:
    """What a reader at a node sees."""
    return {record.key: record.value.decode() for record in village.nodes[at].tables.items(NET, "t")}


def same_tables(village: Village) -> bool:
    """Whether all see the same."""
    tables = [table(village, number) for number in village.nodes]
    return all(one == tables[0] for one in tables)


# -- 53141: a node that was away for a moment


def test_53141_many_blinks_with_changes_in_between_leave_what_is_true() -> None:
    """A node that was lost for 10 to 30 s had its attachments dropped by the others and its entries refused afterwards:
    names were NXDOMAIN for hours, on both sides. Here it blinks again and again while both sides update and delete."""
    village = villages(5)
    for number in range(5):
        village.put(number, f"name{number}", "first")
        village.put(number, f"gone{number}", "first")
    village.run(1.0)
    for blink, away_s in enumerate((10, 12, 30, 11)):
        away = blink % 3
        village.holes.add(away)
        village.run(away_s / 2)
        village.put(away, f"name{away}", f"said while away {blink}")
        village.put(4, "name4", f"said meanwhile {blink}")
        village.delete(away, f"gone{away}")
        village.delete(3, f"gone{blink}")
        village.run(away_s / 2)
        assert village.value(4, f"name{away}") is None, "hidden, for it cannot be reached"
        village.holes.discard(away)
        expected = (f"said while away {blink}", f"said meanwhile {blink}")
        took = village.run_until(
            lambda: village.all_have(f"name{away}", expected[0]) and village.all_have("name4", expected[1]),  # noqa: B023
            10.0,
        )
        assert took < 1.0
        village.run_until(village.agree, 3.0)
        assert village.all_have(f"gone{away}", None)
        assert same_tables(village)


def test_53141_who_was_away_answers_for_its_own_names_all_the_time() -> None:
    """The node that was cut off also forgot itself: its own containers did not find each other."""
    village = villages(4)
    village.put(2, "mine", "here")
    village.run(1.0)
    village.holes.add(2)
    for _ in range(30):
        village.run(1.0)
        assert village.value(2, "mine") == "here"
    village.holes.discard(2)
    village.run_until(village.agree, 5.0)
    assert changes(village, 2, "mine") == [(None, b"here")]


def test_53141_two_that_blink_together_find_each_other_too() -> None:
    """Entries between two nodes that were both away were lost for the longest time: neither asked the other."""
    village = villages(6)
    for number in range(6):
        village.put(number, f"name{number}", "there")
    village.run(1.0)
    village.holes |= {1, 4}
    village.run(20.0)
    village.holes.clear()
    assert village.run_until(lambda: all(village.all_have(f"name{n}", "there") for n in range(6)), 10.0) < 1.5


# -- 47728: nothing compares what nodes hold


def lose(village: Village, lost: int) -> Callable[[], int]:
    """Have one datagram from now on not arrive, by its number; how many there were."""
    count = 0
    carry = village._datagram

    def carrying(number: int, wish: Datagram) -> None:
        nonlocal count
        count += 1
        if count != lost:
            carry(number, wish)

    village._datagram = carrying  # type: ignore[method-assign]
    return lambda: count


def scenario(lost: int) -> tuple[Village, Callable[[], int]]:
    """A write, an update, a deletion, a node that comes and one that goes, with one datagram lost."""
    village = villages(4)
    village.put(0, "k", "old")
    village.put(2, "gone", "old")
    village.run(0.3)
    count = lose(village, lost)
    village.put(0, "k", "new")
    village.delete(2, "gone")
    village.start(7)
    village.do(7, lambda node: node.join([address_of(1)], village.now))
    village.attach(7)
    village.put(7, "k7", "v7")
    village.run(0.2)
    village.do(3, lambda node: node.leave(village.now))
    village.run(0.05)
    village.stop(3)
    return village, count


def test_47728_whichever_single_datagram_is_lost_all_come_to_the_same() -> None:
    """networkdb's tables did not reliably converge: a rumour that was lost was lost, and full exchanges came by chance
    every 30 s with one peer. Here every datagram of a busy second is lost once, one a run."""
    village, count = scenario(0)
    village.run(1.0)
    datagrams = count()
    assert datagrams > 60
    for lost in range(1, datagrams + 1):
        village, _ = scenario(lost)

        def agreed(village: Village = village) -> bool:
            sums = {node.tables.digest([CLUSTER, NET]) for node in village.nodes.values()}
            return len(sums) == 1 and same_tables(village) and village.all_see(3, Standing.LEFT)

        village.run_until(agreed, 6.0)
        assert table(village, 1) == {"k": "new", "k7": "v7"}, f"datagram {lost} was lost"


def test_47728_what_differs_though_nothing_was_lost_is_found_by_comparing() -> None:
    """Whatever the fault (here a node's memory is made to forget a log), an idle cluster finds it within a round of
    probes: the sums differ."""
    village = villages(5)
    for number in range(20):
        village.put(1, f"k{number}", "v")
    village.run(2.0)
    forgetful = village.nodes[3]
    forgetful._holding.seen(forgetful.tables.forget_scope(NET))
    assert village.value(3, "k7") is None
    village.run_until(lambda: village.value(3, "k7") == "v" and len(table(village, 3)) == 20, 6.0)


# -- 35548: what a dead node said stays


def test_35548_retired_tasks_never_come_back_for_a_moment_whoever_returns_or_joins() -> None:
    """Dead tasks of a failed node stayed in the load balancer, or came back with the node. A manager's verdict ends them:
    for the node that comes back with them, for one that was cut off when it was given, and for one that joins later."""
    village = villages(6, manager=0)
    for task in range(10):
        village.put(3, f"task{task}", "running")
    village.put(3, "name", "stays")
    village.run(1.0)
    record = village.nodes[0].tables.get(NET, "t", "task9")
    assert record is not None
    village.holes |= {3, 5}
    village.run(5.0)
    for task in range(10):
        verdict = encode_verdict(Verdict(village.id(3), record.epoch, record.seq, NET, "t", f"task{task}"))
        village.do(0, lambda node: node.put(CLUSTER, VERDICTS, f"end{task}", verdict, village.now))  # noqa: B023
    village.run(1.0)
    told = {number: len(village.events[number]) for number in (0, 1, 2, 4)}
    village.holes.clear()
    village.run_until(lambda: village.agree() and village.all_have("name", "stays"), 6.0)
    village.start(8)
    village.do(8, lambda node: node.join([address_of(2)], village.now))
    village.attach(8)
    village.run_until(village.agree, 3.0)
    for number in village.nodes:
        assert table(village, number) == {"name": "stays"}
    for number, count in told.items():
        back = [event for event in village.events[number][count:] if isinstance(event, RecordChanged) and event.after]
        assert {event.key for event in back if event.scope == NET} <= {"name"}, "not even for a moment"
    assert not changes(village, 8, "task1")


def test_35548_a_node_that_was_removed_and_comes_back_as_it_was_is_nobody() -> None:
    """The verdict on a node is for its life: its next one is another matter."""
    village = villages(4, manager=0)
    village.put(3, "k", "v")
    village.run(1.0)
    removed = encode_verdict(Verdict(village.id(3), 1, EVERYTHING))
    village.do(0, lambda node: node.put(CLUSTER, VERDICTS, "removed", removed, village.now))
    village.run(5.0)
    assert all(village.standing(number, 3) is None for number in (0, 1, 2))
    assert village.all_have("k", None, but=(3,))
    del village.nodes[3]
    village.start(3, epoch=2)
    village.do(3, lambda node: node.join([address_of(1)], village.now))
    village.attach(3)
    village.put(3, "k", "a new life")
    village.run_until(lambda: village.all_have("k", "a new life"), 3.0)


# -- 50129, 50229, 50230: what watchers are told


def test_50129_50229_50230_watchers_are_told_what_was_whatever_way_it_came() -> None:
    """Updates were delivered as deletions, without the value before: peers and names flickered, and whoever had to remove
    what was programmed did not know what that was. Here by push, by repair after a cut, and by a whole state."""
    village = villages(5)
    village.put(1, "k", "one")
    village.run(0.5)
    village.cut = lambda one, other: 4 in {one, other}
    village.put(1, "k", "two")
    village.run(0.4)
    village.cut = lambda _one, _other: False
    village.run_until(lambda: village.value(4, "k") == "two", 3.0)
    village.put(1, "k", "three")
    village.run(0.5)
    village.delete(1, "k")
    village.run(0.5)
    village.delete(1, "k")
    village.run(0.5)
    for number in range(5):
        assert changes(village, number, "k") == [
            (None, b"one"), (b"one", b"two"), (b"two", b"three"), (b"three", None),
        ]  # fmt: skip


def test_50229_what_is_said_again_is_no_change() -> None:
    """A node that starts again says all that it has again: watchers heard of deletions and creations."""
    village = villages(4)
    village.put(2, "k", "same")
    village.run(1.0)
    for epoch in (2, 3):
        del village.nodes[2]
        village.start(2, epoch=epoch)
        village.do(2, lambda node: node.join([address_of(0)], village.now))
        village.attach(2)
        village.put(2, "k", "same")
        village.do(2, lambda node: node.complete(village.now))
        village.run(2.0)
    for number in (0, 1, 3):
        assert changes(village, number, "k") == [(None, b"same")]


# -- 50232, 50236: one address after the other


@pytest.mark.parametrize("order", ["deletion first", "claim first", "together"])
@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_50232_50236_an_address_that_goes_from_node_to_node_is_the_last_ones(order: str, loss: float) -> None:
    """An address that was used again on another node kept its first neighbor entry, or lost its second when the deletion
    of the first came late. Whatever comes first, and however much is lost: the last claim stands."""
    village = villages(6)
    village.put(0, "10.0.0.7", "at0")
    village.run(0.5)
    village.loss = loss
    for turn in range(1, 8):
        holder, former = turn % 6, (turn - 1) % 6
        if order == "deletion first":
            village.delete(former, "10.0.0.7")
            village.run(0.3 if loss else 0.01)
        village.put(holder, "10.0.0.7", f"at{holder}")
        if order == "claim first":
            village.run_until(lambda: village.value(former, "10.0.0.7") == f"at{holder}", 4.0)  # noqa: B023
        if order != "deletion first":
            village.delete(former, "10.0.0.7")
        village.run_until(lambda: village.all_have("10.0.0.7", f"at{holder}"), 6.0)  # noqa: B023 - called at once
    village.loss = 0.0
    village.run_until(village.agree, 6.0)
    village.run(1.0)
    assert all(table(village, number) == {"10.0.0.7": "at1"} for number in range(6))
    for number in range(6):
        afters = [after for _, after in changes(village, number, "10.0.0.7") if after]
        assert afters[-1] == b"at1"
        if not loss:
            assert afters == [f"at{turn % 6}".encode() for turn in range(8)], "each once, in their order"


def test_50236_two_nodes_that_change_their_addresses_with_each_other_are_themselves() -> None:
    """Hosts whose addresses were swapped (DHCP after a power cut) were taken for each other."""
    village = villages(5)
    for number in (2, 3):
        village.put(number, f"of{number}", "v1")
    village.run(1.0)
    village.stop(2)
    village.stop(3)
    village.run(1.0)
    village.start(2, epoch=2, address=address_of(3))
    village.start(3, epoch=2, address=address_of(2))
    for number in (2, 3):
        village.do(number, lambda node: node.join([address_of(0)], village.now))
        village.attach(number)
        village.put(number, f"of{number}", "v2")
    village.run_until(lambda: village.all_have("of2", "v2") and village.all_have("of3", "v2"), 3.0)
    village.run(5.0)
    for number in (0, 1, 4):
        for moved, host in ((2, address_of(3)), (3, address_of(2))):
            member = village.nodes[number].members.get(village.id(moved))
            assert member is not None
            assert member.card.address == host
            assert member.standing is Standing.ALIVE


# -- 52661: everything at once


def test_52661_a_mass_redeploy_with_addresses_used_again_leaves_no_stale_row() -> None:
    """Hundreds of services were deployed anew: queues overflowed and dropped table events, whole-state exchanges hit a
    limit of 20 MB, and rows of tasks that were gone stayed for hours. Every address goes to a task on another node here,
    while packets are lost and a node joins in the middle of it."""
    village = villages(8)
    tasks = 2000

    def deploy(turn: int) -> None:
        for number in range(8):
            node = village.nodes[number]
            for task in range(number, tasks, 8):
                node.put(
                    NET,
                    "t",
                    f"10.1.{task // 250}.{(task + turn) % 250}.{task % 8 + turn}",
                    f"{turn}".encode(),
                    village.now,
                )
            if turn:
                for task in range(number, tasks, 8):
                    gone = f"10.1.{task // 250}.{(task + turn - 1) % 250}.{task % 8 + turn - 1}"
                    node.delete(NET, "t", gone, village.now)
            village.drain(number)

    deploy(0)
    village.run_until(village.agree, 10.0)
    village.loss = 0.05
    deploy(1)
    village.start(9)
    village.do(9, lambda node: node.join([address_of(3)], village.now))
    village.attach(9)
    village.run(0.1)
    deploy(2)
    village.loss = 0.0
    village.run_until(lambda: village.agree() and same_tables(village), 30.0)
    rows = table(village, 9)
    assert set(rows.values()) == {"2"}
    assert len(rows) == len({f"10.1.{task // 250}.{(task + 2) % 250}.{task % 8 + 2}" for task in range(tasks)})
    assert not [event for events in village.events.values() for event in events if isinstance(event, MemberDown)]


def test_52661_an_idle_cluster_sends_the_same_however_much_it_holds() -> None:
    """networkdb's nodes sent each other whole tables every 30 s: 20 MB with 8,500 tasks. What is compared here are sums."""

    def idle(records: int) -> float:
        village = villages(4)
        for number in range(records):
            village.nodes[number % 4].put(NET, "t", f"{number:064x}", b"v" * 115, village.now)
            if number % 500 == 499:
                for at in range(4):
                    village.drain(at)
                village.run(0.1)
        village.run_until(village.agree, 10.0)
        village.run(10.0)
        before, streamed = village.bytes, village.streamed
        village.run(60.0)
        assert village.streamed == streamed
        return (village.bytes - before) / 60 / 4

    little, much = idle(10), idle(5000)
    assert much <= 300
    assert abs(much - little) < 8, "a counter of one byte more in each packet, no more"


# -- writes that outrun their owner


@pytest.mark.parametrize("seed", range(12))
def test_write_before_join_whatever_order_things_arrive_in(seed: int) -> None:
    """networkdb drops table events of nodes that it does not know yet, or that have not been seen to join the network: a
    container that starts together with its node had no name until the next full exchange. Here the first packets of a
    node arrive in an order of chance, some twice."""
    village, chance = villages(3), Random(seed)
    late: list[tuple[int, Datagram]] = []
    carry = village._datagram
    village._datagram = lambda number, wish: late.append((number, wish)) if number == 9 else carry(number, wish)  # type: ignore[method-assign]
    village.start(9)
    village.attach(9)
    village.put(9, "early", "bird")
    village.do(9, lambda node: node.join([address_of(1)], village.now))
    village.run(0.05)
    village.put(9, "second", "bird")
    village.run(0.05)
    village._datagram = carry  # type: ignore[method-assign]
    chance.shuffle(late)
    for number, wish in [*late, *chance.sample(late, len(late) // 2)]:
        village._datagram(number, wish)
        village.run(0.0002)
    village.run_until(lambda: village.all_have("early", "bird") and village.all_have("second", "bird"), 3.0)
    assert [changes(village, number, "early") for number in range(3)] == [[(None, b"bird")]] * 3


# -- 33721, 33589, 30590, 34141, 37725: keys


def keys(count: int) -> list[bytes]:
    return [KEY, *(bytes([number + 1]) * 32 for number in range(count))]


@pytest.mark.parametrize("missed", [1, 2, 3, 8, 20])
def test_missed_rotations_however_many_are_made_good_by_the_newest_key(missed: int) -> None:
    """A node that had missed more than one rotation remembered only the last change of each kind: "no installed keys could
    decrypt the message", the gossip split until somebody restarted it. Here it gets the ring as it is now, as a set, and
    what both sides said meanwhile arrives; nobody restarts."""
    village = villages(4)
    village.put(3, "k3", "before")
    village.run(1.0)
    village.holes.add(3)
    village.run(3.0)
    ring = keys(missed)
    for old, new in pairwise(ring):
        for number in range(3):
            village.nodes[number].install_key(new)
        for number in range(3):
            village.nodes[number].use_key(key_id(new))
        village.put(0, "k0", new.hex())
        village.run(0.5)
        assert village.all_have("k0", new.hex(), but=(3,))
        for number in range(3):
            village.nodes[number].remove_key(key_id(old))
    village.put(3, "k3", "said with the first key")
    village.holes.discard(3)
    village.run(3.0)
    assert village.standing(0, 3) is Standing.DEAD
    node = village.nodes[3]
    node.install_key(ring[-1])
    node.use_key(key_id(ring[-1]))
    for identifier in set(node.snapshot().keys) - {key_id(ring[-1])}:
        node.remove_key(identifier)
    village.run_until(
        lambda: village.all_have("k3", "said with the first key") and village.all_have("k0", ring[-1].hex()), 5.0
    )
    village.run_until(village.agree, 5.0)


def test_rotation_is_without_a_gap_whatever_step_each_node_has_taken() -> None:
    """Install, use, remove: as long as nobody is two steps ahead of anybody, all understand all, in every combination."""
    old, new = KEY, bytes(range(100, 132))

    def ring(step: int) -> Keyring:
        made = Keyring(old)
        for at, act in enumerate(
            (lambda: made.install(new), lambda: made.use(key_id(new)), lambda: made.remove(key_id(old)))
        ):
            if at < step:
                act()
        return made

    sender, receiver = identity_of(1).id, short(identity_of(2).id)
    for one, other in product(range(4), repeat=2):
        packet = Sealer(sender, 1, ring(one)).seal(b"words", receiver)
        assert (unseal(ring(other), packet, receiver) is not None) == (
            not (one < 2 and other == 3) and not (one >= 2 and other == 0)
        )
        if abs(one - other) <= 1:
            assert unseal(ring(other), packet, receiver) is not None


def test_no_message_is_lost_while_keys_are_rotated_in_any_order_of_nodes() -> None:
    """Rotations two in a row broke workers (swarmkit PR 1954). Each node takes each step at its own time here, a write or
    deletion after each, without a packet that cannot be opened."""
    village, chance = villages(5), Random(4)
    village.run(1.0)
    expected: dict[str, str] = {}
    ring = keys(6)
    for turn, (old, new) in enumerate(pairwise(ring)):
        for step in ("install", "use", "remove"):
            for number in chance.sample(range(5), 5):
                node = village.nodes[number]
                if step == "install":
                    node.install_key(new)
                elif step == "use":
                    node.use_key(key_id(new))
                else:
                    village.run(0.002)  # what is under way has arrived: the caller removes when all use the new key
                    node.remove_key(key_id(old))
                writer = chance.randrange(5)
                village.put(writer, f"k{writer}", f"{turn} {step} {number}")
                expected[f"k{writer}"] = f"{turn} {step} {number}"
                village.run_until(lambda: village.all_have(f"k{writer}", expected[f"k{writer}"]), 0.05)  # noqa: B023
    assert all(not node.snapshot().counters.get("unopened") for node in village.nodes.values())
    assert all(not node.snapshot().counters.get("gaps_asked") for node in village.nodes.values())


# -- SEC-27


def forgeries(victim: int) -> list[Said]:
    """What somebody else says in a node's name; nothing else of such a message is looked at."""
    wrong = Identity(b"W" * 32)
    wrong.id = NodeId(identity_of(victim).id)
    (block,) = write_blocks(wrong, NET, 1, 2, [Event(9**9, "t", "k", b"false")])
    return [block, write_head(wrong, NET, 1, 9, [(9, 9)], complete=True)]


def by_stream(node_id: NodeId, to: NodeId, message: Message) -> bytes:
    sealer = Sealer(node_id, 1, Keyring(KEY))
    sealer._counter = 50_000
    return sealer.seal(encode(message), short(to))


@pytest.mark.parametrize("way", ["push", "repair", "stream", "flood", "join"])
def test_sec_27_forged_records_are_ignored_counted_and_named_by_whatever_way_they_come(way: str) -> None:
    """Any holder of swarm's gossip key can publish entries for other nodes, and everybody believes them. Here they change
    nothing, are passed on to nobody, and whoever sealed them is named."""
    village = villages(4)
    village.put(1, "k", "true")
    village.run(1.0)
    node, liar, items = village.nodes[0], village.id(3), tuple(forgeries(1))
    named = liar.hex()
    if way == "push":
        sealer = Sealer(liar, 1, Keyring(KEY))
        sealer._counter = 50_000
        node.receive(sealer.seal(encode(Spread(items))), address_of(2), village.now)
    elif way == "repair":
        node.receive(by_stream(liar, village.id(0), Delta(items)), address_of(3), village.now)
    elif way == "stream":
        node.serve(
            by_stream(liar, village.id(0), State(items, more=False)), Address(address_of(3).host, 5), village.now
        )
    elif way == "flood":
        inner = by_stream(liar, village.id(0), Delta(items))
        sealer = Sealer(liar, 1, Keyring(KEY))
        sealer._counter = 50_001
        outer = sealer.seal(encode(Flood((inner,))), short(village.id(0)))
        node.serve(outer, Address(address_of(3).host, 5), village.now)
    else:
        stranger = identity_of(9)
        card = write_card(stranger, 1, 0, address_of(9))
        sealer = Sealer(stranger.id, 1, Keyring(KEY))
        node.serve(sealer.seal(encode(Join(card, items))), Address(address_of(9).host, 5), village.now)
        named = ""
    village.drain(0)
    village.run(2.0)
    assert village.all_have("k", "true")
    assert all(changes(village, number, "k") == [(None, b"true")] for number in range(4))
    shot = node.snapshot()
    if named:
        assert shot.counters["forged_blocks"] == shot.counters["forged"] == 1, "the rest of it is not even looked at"
        assert shot.forgers == {named: 1}
    for number in (1, 2):
        assert village.nodes[number].snapshot().forgers == {}, "it was passed on to nobody"
