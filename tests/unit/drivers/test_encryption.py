"""What the overlay driver makes of encryption: guards before tunnels, keys that nobody has twice."""

from __future__ import annotations

import hashlib
import hmac
import itertools
from dataclasses import replace

import pytest

from fairlead.drivers.contract import Node
from fairlead.drivers.overlay.encryption import spi
from fairlead.drivers.overlay.overlay import OverlayDriver
from fairlead.model import options
from fairlead.model.cluster import Key, Ring, Station
from fairlead.model.errors import Invalid
from fairlead.model.events import TunnelSecrets
from fairlead.model.network import Network, Pool
from fairlead.plan.diff import Change, Delete, diff
from fairlead.plan.objects import NOTHING, Chain, Element, Plan, Set, Table, Vxlan
from fairlead.plan.render import text
from fairlead.plan.xfrm import SPI_MIN, Xfrm, XfrmPolicy, XfrmState

DRIVER = OverlayDriver()
NETWORK = Network(
    "ab" * 32,
    "web",
    "overlay",
    0.0,
    pools=(Pool("a", "10.1.0.0/24", gateway="10.1.0.1"),),
    options={options.VXLAN_IDS: "4097", options.ENCRYPTED: ""},
)
ONE, TWO, THREE = (Station(f"node{number}", f"192.0.2.{number}", f"{number:032x}") for number in (1, 2, 3))
OLD, NEW = Key(2, "11" * 32), Key(4, "22" * 32)
RING = Ring((OLD,), OLD.tag)


def node(station: Station) -> Node:
    return Node(vtep=station.vtep)


def pair(own: Station, other: Station, ring: Ring = RING) -> Plan:
    return DRIVER.pair_plan(other, node(own), TunnelSecrets(own, ring, ""))


def states(plan: Plan) -> list[XfrmState]:
    return [item for item in plan.values() if isinstance(item, XfrmState)]


def sender(plan: Plan) -> XfrmState:
    """What the policy sends with."""
    (policy,) = [item for item in plan.values() if isinstance(item, XfrmPolicy)]
    (found,) = [state for state in states(plan) if state.outbound and state.spi == policy.spi]
    return found


@pytest.mark.parametrize(
    ("value", "wanted"), [("", True), ("true", True), ("1", True), ("false", False), (None, False)]
)
def test_the_option_as_docker_writes_it(value: str | None, wanted: bool) -> None:
    given = {options.VXLAN_IDS: "4097"} | ({} if value is None else {options.ENCRYPTED: value})
    network = replace(NETWORK, options=given)
    DRIVER.check(network)
    assert DRIVER.is_encrypted(network) is wanted
    assert any(isinstance(item, XfrmPolicy) for item in DRIVER.network_plan(network, node(ONE)).values()) is wanted


def test_a_value_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(Invalid, match="failed to parse encrypted value: maybe"):
        DRIVER.check(replace(NETWORK, options={**NETWORK.options, options.ENCRYPTED: "maybe"}))


def test_sec_01_without_a_policy_for_a_node_what_is_marked_is_dropped() -> None:
    (policy,) = [item for item in DRIVER.network_plan(NETWORK, node(ONE)).values() if isinstance(item, XfrmPolicy)]
    assert policy == XfrmPolicy("0.0.0.0/0", "0.0.0.0/0", 4789)
    assert policy.spi == 0
    six = DRIVER.network_plan(NETWORK, Node(vtep="2001:db8::1", vxlan_port=4790))
    assert XfrmPolicy("::/0", "::/0", 4790) in six.values()


def test_sec_03_what_keeps_packets_in_stands_before_the_tunnel_and_goes_after_it() -> None:
    plan = DRIVER.network_plan(NETWORK, node(ONE))
    guards = (Set, Chain, Element, XfrmPolicy)
    made = [type(item) for step in diff(NOTHING, plan) if not isinstance(item := step.object, Table)]  # type: ignore[union-attr]
    assert made.index(Vxlan) > max(place for place, kind in enumerate(made) if kind in guards)
    gone = [type(step.object) for step in diff(plan, NOTHING) if isinstance(step, Delete)]
    assert gone.index(Vxlan) < min(place for place, kind in enumerate(gone) if kind in guards)


def test_sec_02_a_clear_datagram_of_the_number_is_dropped_both_ways_whatever_others_accept() -> None:
    chains = {item.name: item for item in DRIVER.network_plan(NETWORK, node(ONE)).values() if isinstance(item, Chain)}
    arriving, leaving = chains["encrypted-in"], chains["encrypted-out"]
    assert arriving.hook == "type filter hook input priority -300"
    assert arriving.rules[1] == "udp dport 4789 @th,96,24 @encrypted meta ipsec missing counter drop"
    assert leaving.rules == ("udp dport 4789 @th,96,24 @encrypted rt ipsec missing counter drop",)


def test_the_numbers_of_the_network_and_no_others_are_guarded() -> None:
    clear = replace(NETWORK, id="cd" * 32, options={options.VXLAN_IDS: "4098"})
    both = DRIVER.network_plan(NETWORK, node(ONE)) | DRIVER.network_plan(clear, node(ONE))
    assert [item.element for item in both.values() if isinstance(item, Element) and item.set == "encrypted"] == ["4097"]


def test_what_one_seals_the_other_opens_and_nobody_else() -> None:
    there, back = pair(ONE, TWO), pair(TWO, ONE)
    assert sender(there) in states(back)
    assert sender(back) in states(there)
    assert sender(there) not in states(pair(THREE, ONE))
    (policy,) = [item for item in there.values() if isinstance(item, XfrmPolicy)]
    assert policy == XfrmPolicy("192.0.2.1/32", "192.0.2.2/32", 4789, sender(there).spi)


def test_sec_05_no_two_states_of_a_cluster_have_the_same_key() -> None:
    stations = [Station(f"n{number}", f"192.0.2.{number}", f"{number:032x}") for number in range(1, 6)]
    ring = Ring((OLD, NEW), OLD.tag)
    sent = {
        state
        for own, other in itertools.permutations(stations, 2)
        for state in states(pair(own, other, ring))
        if not state.outbound
    }
    assert len(sent) == 5 * 4 * 2
    assert len({state.secret for state in sent}) == len({(state.target, state.spi) for state in sent}) == len(sent)


@pytest.mark.parametrize("which", ["source", "target", "key", "tag"])
def test_sec_05_a_new_life_and_a_new_key_change_everything(which: str) -> None:
    before = sender(pair(ONE, TWO))
    match which:
        case "source":
            after = sender(pair(replace(ONE, nonce="ff" * 16), TWO))
        case "target":
            after = sender(pair(ONE, replace(TWO, nonce="ff" * 16)))
        case "key":
            after = sender(pair(ONE, TWO, Ring((replace(OLD, secret="33" * 32),), OLD.tag)))
        case _:
            after = sender(pair(ONE, TWO, Ring((replace(OLD, tag=9),), 9)))
    assert after.secret != before.secret
    assert after.spi != before.spi


def test_keys_are_rfc_5869_s() -> None:
    drawn = hmac.new(b"fairlead esp", bytes.fromhex(OLD.secret), hashlib.sha256).digest()
    info = f"2 node1 node2 {ONE.nonce} {TWO.nonce} key {spi(OLD, ONE, TWO)}".encode()
    assert sender(pair(ONE, TWO)).secret == hmac.new(drawn, info + b"\x01", hashlib.sha256).hexdigest()[:40]


def test_numbers_are_none_of_the_reserved_ones() -> None:
    numbers = [spi(Key(tag, "44" * 32), ONE, TWO) for tag in range(2000)]
    assert all(SPI_MIN <= number < 2**32 for number in numbers)
    assert len(set(numbers)) == len(numbers)


def test_a_rotation_opens_the_new_key_before_it_is_sent_with_and_the_old_one_until_it_is_not() -> None:
    steps = [RING, Ring((OLD, NEW), OLD.tag), Ring((OLD, NEW), NEW.tag), Ring((NEW,), NEW.tag)]
    for now, then in itertools.pairwise(steps):
        # whoever is a step ahead and whoever is a step behind understand each other
        for one, two in itertools.product((now, then), repeat=2):
            assert sender(pair(ONE, TWO, one)) in states(pair(TWO, ONE, two))


def test_the_change_to_the_next_key_is_the_policy_s_alone_and_in_place() -> None:
    before, after = pair(ONE, TWO, Ring((OLD, NEW), OLD.tag)), pair(ONE, TWO, Ring((OLD, NEW), NEW.tag))
    assert states(before) == states(after)
    (step,) = diff(before, after)
    assert isinstance(step, Change) and isinstance(step.after, XfrmPolicy)
    assert step.after.spi == sender(after).spi != sender(before).spi


@pytest.mark.parametrize(
    "other",
    [replace(TWO, nonce=""), replace(TWO, vtep="192.0.2.1"), replace(TWO, vtep="2001:db8::2"), replace(TWO, vtep="::")],
)
def test_nothing_is_made_for_who_cannot_encrypt_or_cannot_be(other: Station) -> None:
    assert pair(ONE, other) == NOTHING


def test_nothing_is_made_without_keys_or_without_a_life() -> None:
    assert not states(pair(ONE, TWO, Ring()))
    assert DRIVER.pair_plan(TWO, node(ONE), TunnelSecrets()) == NOTHING
    assert pair(replace(ONE, nonce=""), TWO) == NOTHING


def test_keys_are_in_no_text() -> None:
    plan = pair(ONE, TWO)
    secrets = [state.secret for state in states(plan)]
    said = text(plan) + repr(plan) + repr(RING)
    assert not any(secret in said for secret in (*secrets, OLD.secret))
    assert len([item for item in plan.values() if isinstance(item, Xfrm)]) == len(text(plan).splitlines())
