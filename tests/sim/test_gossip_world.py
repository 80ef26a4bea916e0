"""The simulator itself, with a tiny protocol: what it does to what it carries is what a network does."""

from __future__ import annotations

import pytest
from tests.sim.gossip_tiny import Tiny

from fairlead.testing.gossip_world import Faults, Node, World


def pair(faults: Faults | None = None, *, seed: int = 1) -> tuple[World, Node, Node, Tiny, Tiny]:
    world = World(seed, faults)
    a, b = world.add(), world.add()
    one, other = Tiny([b.address]), Tiny()
    world.start(a, one)
    world.start(b, other)
    return world, a, b, one, other


def storm(seed: int) -> tuple[int, list[list[tuple[float, bytes, object]]]]:
    faults = Faults(jitter_s=0.001, loss=0.2, duplication=0.1, reordering=0.2)
    world = World(seed, faults)
    nodes = [world.add() for _ in range(8)]
    cores = [Tiny([other.address for other in nodes if other is not node], calling=True) for node in nodes]
    for node, core in zip(nodes, cores, strict=True):
        world.start(node, core)
    for place, node in enumerate(nodes):
        cores[place].say(nodes[-1].address, b"word %d" % place)
        world.settle(node)
    world.at(2.0, lambda: world.crash(nodes[3]))
    world.at(2.5, lambda: world.pause(nodes[4], 1.0))
    world.run(5.0)
    return world.digest, [core.heard for core in cores]


def test_a_datagram_takes_the_links_delay() -> None:
    world, a, b, one, other = pair(Faults(delay_s=0.25))
    one.say(b.address, b"hello")
    world.settle(a)
    world.run(1.0)
    assert other.heard == [(0.25, b"hello", a.address)]
    assert (world.traffic.datagrams, world.traffic.datagram_bytes) == (1, 5 + 28)


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    assert storm(7) == storm(7)
    assert storm(7)[0] != storm(8)[0]


def test_shares_of_loss_duplication_and_reordering_are_as_asked() -> None:
    world, a, b, one, other = pair(Faults(loss=0.3, duplication=0.2, reordering=0.5))
    for number in range(2000):
        one.say(b.address, number.to_bytes(2, "big"))
    world.settle(a)
    world.run(1.0)
    assert 1500 < len(other.heard) < 1860, "2000 * 1.2 * 0.7 and a tenth of that"
    order = [int.from_bytes(data, "big") for _, data, _ in other.heard]
    assert order != sorted(order)
    assert len(set(order)) < len(order)


def test_what_is_due_is_ticked_on_the_nodes_own_clock() -> None:
    world = World(1)
    fast, slow = world.add(), world.add()
    fast.skew_s, fast.drift, slow.skew_s, slow.drift = 100.0, 0.5, -3.0, -0.5
    cores = [Tiny(now=node.clock(0.0), calling=True) for node in (fast, slow)]
    for node, core in zip((fast, slow), cores, strict=True):
        world.start(node, core)
    world.run(4.0)
    assert cores[0].ticks == pytest.approx([101.0, 102, 103, 104, 105, 106])
    assert cores[1].ticks == pytest.approx([-2.0, -1.0])


def test_a_dead_process_refuses_and_a_dark_host_says_nothing() -> None:
    world, a, b, one, _ = pair()
    world.crash(b)
    one.say(b.address, b"x")
    one.ask(1, b.address, b"y")
    world.settle(a)
    world.run(0.1)
    assert [peer for _, peer in one.refusals] == [b.address] * 2
    assert one.replies[1][1] is None
    world.cut([b])
    one.say(b.address, b"x")
    one.ask(2, b.address, b"y", timeout_s=1.5)
    began = world.now
    world.settle(a)
    world.run(5.0)
    assert len(one.refusals) == 2
    assert one.replies[2] == (began + 1.5, None)


def test_a_request_is_answered_once_and_takes_a_handshake() -> None:
    world, a, b, one, other = pair(Faults(delay_s=0.1))
    one.ask(1, b.address, b"abc")
    world.settle(a)
    world.run(5.0)
    assert one.replies == {1: (pytest.approx(0.4, abs=1e-3), b"cba")}
    assert other.heard[0][2].host == a.address.host
    assert other.heard[0][2] != a.address


def test_a_lifeline_breaks_with_the_process_and_not_with_the_host() -> None:
    world, a, b, one, _ = pair()
    one.hold(b.address)
    world.settle(a)
    world.run(1.0)
    assert not one.lost
    cut = world.cut([b])
    world.run(30.0)
    assert not one.lost
    world.heal(cut)
    world.crash(b)
    world.run(0.01)
    assert [peer for _, peer in one.lost] == [b.address]
    one.hold(b.address)
    world.settle(a)
    world.run(0.01)
    assert len(one.lost) == 2
    assert one.refusals


def test_a_lifeline_that_was_let_go_tells_nothing() -> None:
    world, a, b, one, _ = pair()
    one.hold(b.address)
    world.settle(a)
    world.run(0.1)
    one.hold(b.address, held=False)
    world.settle(a)
    world.crash(b)
    world.run(1.0)
    assert not one.lost


def test_a_cut_can_be_one_way() -> None:
    world, a, b, one, other = pair()
    world.cut([a], [b], one_way=True)
    one.say(b.address, b"there")
    other.say(a.address, b"back")
    world.settle(a)
    world.settle(b)
    world.run(1.0)
    assert not other.heard
    assert [data for _, data, _ in one.heard] == [b"back"]


def test_a_paused_process_gets_afterwards_what_came_meanwhile() -> None:
    world, a, b, one, other = pair()
    world.pause(b, 2.0)
    one.say(b.address, b"1")
    one.say(b.address, b"2")
    world.settle(a)
    world.run(1.0)
    assert not other.heard
    world.run(1.5)
    assert [(when, data) for when, data, _ in other.heard] == [(2.0, b"1"), (2.0, b"2")]


def test_what_was_on_its_way_to_a_process_that_died_does_not_reach_the_next() -> None:
    world, a, b, one, _ = pair(Faults(delay_s=1.0))
    one.say(b.address, b"late")
    world.settle(a)
    world.crash(b)
    again = Tiny()
    world.start(b, again)
    world.run(3.0)
    assert not again.heard


def test_a_slow_process_takes_one_thing_after_the_other() -> None:
    world, a, b, one, other = pair(Faults(delay_s=0.0))
    b.service_s = 0.5
    for word in (b"1", b"2", b"3"):
        one.say(b.address, word)
    world.settle(a)
    world.run(10.0)
    assert [when for when, _, _ in other.heard] == [0.0, 0.5, 1.0]


def test_a_failure_tells_the_seed_and_what_happened_last() -> None:
    world, a, b, one, _ = pair(seed=4711)
    one.say(b.address, b"hello")
    world.settle(a)
    with pytest.raises(ZeroDivisionError) as caught, world.telling():
        world.run(1.0)
        raise ZeroDivisionError
    note = caught.value.__notes__[0]
    assert "seed 4711" in note
    assert "arrive" in note
    assert "5 B" in note
