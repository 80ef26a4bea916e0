"""What the kernel room decides without a kernel: statements, error texts, steps out of plans by owner."""

from __future__ import annotations

import errno

import pytest

from fairlead.kernel import requests, ruleset
from fairlead.kernel.errno import HostPortInUse, from_bind, from_nft, refused
from fairlead.kernel.reckoning import Ledger, inverse
from fairlead.plan.diff import Change, Create, Delete
from fairlead.plan.objects import NOTHING, Address, Bridge, Chain, Element, Plan, PortHold, Route, Set, Table, Veth

T = ("", "inet", "fairlead")
BRIDGE = Bridge("", "br0", "02:00:00:00:00:01", 1500, "fairlead:a")


def test_elements_of_one_set_are_one_statement() -> None:
    steps = [Create(Element(*T, "m", f"tcp . {port}", f"10.0.0.2 . {port}")) for port in (80, 81)]
    assert ruleset.transaction(steps) == (
        "add element inet fairlead m { tcp . 80 : 10.0.0.2 . 80, tcp . 81 : 10.0.0.2 . 81 }"
    )


def test_what_refers_goes_first_and_comes_last() -> None:
    chain, old = Chain(*T, "c", ("jump d",)), Chain(*T, "old", ("accept",))
    steps = [
        Delete(Element(*T, "v", '"br0"', "jump old")),
        Delete(old),
        Create(chain),
        Create(Chain(*T, "d", ("drop",), "type filter hook input priority 0")),
        Change(Chain(*T, "e", ()), Chain(*T, "e", ("accept",))),
    ]
    assert ruleset.transaction(steps).splitlines() == [
        "flush chain inet fairlead old",
        "flush chain inet fairlead e",
        'delete element inet fairlead v { "br0" : jump old }',
        "delete chain inet fairlead old",
        "add chain inet fairlead c",
        "add chain inet fairlead d { type filter hook input priority 0 ; }",
        "add rule inet fairlead c jump d",
        "add rule inet fairlead d drop",
        "add rule inet fairlead e accept",
    ]


def test_a_table_takes_all_in_it_along() -> None:
    steps = [Delete(Table(*T)), Delete(Set(*T, "s", "ipv4_addr")), Delete(Element(*T, "s", "10.0.0.1"))]
    assert ruleset.transaction(steps) == "delete table inet fairlead"


def test_a_refused_statement_is_named() -> None:
    complaint = "Error: syntax error, unexpected bogus\nadd table a; add rule bogus\n                      ^^^^^\n"
    told = from_nft(complaint, ["add table a", "add rule bogus"], 2)
    assert str(told) == "nftables refused the change: syntax error, unexpected bogus in `add rule bogus`"
    assert str(from_nft("", [], 2)) == "nftables refused the change: no reason given"


def test_a_taken_port_is_told_in_docker_words() -> None:
    told = from_bind(PortHold("tcp", "::", 80), OSError(errno.EADDRINUSE, ""))
    assert isinstance(told, HostPortInUse)
    assert str(told) == "failed to bind host port [::]:80/tcp: address already in use"
    other = from_bind(PortHold("udp", "192.0.2.9", 80), OSError(errno.EADDRNOTAVAIL, ""))
    assert other.hint == "give an address that this host has"


def test_an_errno_becomes_words() -> None:
    assert str(refused("make x", errno.ENODEV)) == "cannot make x: no such device"
    assert str(refused("make x", errno.ENODEV, "no such thing")) == "cannot make x: no such thing"


def test_an_owner_gets_its_new_plan_instead_of_its_old_one() -> None:
    ledger = Ledger()
    ledger.settle({"a": Plan([BRIDGE])})
    assert ledger.steps({"a": Plan([BRIDGE])}) == ()
    assert ledger.steps({"a": NOTHING}) == (Delete(BRIDGE),)


def test_what_another_owner_holds_stays() -> None:
    ledger = Ledger()
    ledger.settle({"a": Plan([BRIDGE]), "b": Plan([BRIDGE])})
    assert ledger.steps({"a": NOTHING}) == ()
    assert ledger.steps({"c": Plan([BRIDGE])}) == ()
    assert ledger.steps({"a": NOTHING, "b": NOTHING}) == (Delete(BRIDGE),)


def test_an_object_that_moves_between_owners_is_not_touched() -> None:
    ledger = Ledger()
    ledger.settle({"a": Plan([BRIDGE])})
    assert ledger.steps({"a": NOTHING, "b": Plan([BRIDGE])}) == ()


def test_what_is_lost_with_a_link_is_made_again() -> None:
    def pair(mac: str) -> Veth:
        return Veth("", "v", "s", "eth0", mac, 1500, "fairlead:v")

    address, route = Address("s", "eth0", "10.0.0.2/24"), Route("s", "0.0.0.0/0", "eth0", "10.0.0.1")
    ledger = Ledger()
    ledger.settle({"a": Plan([pair("02:00:00:00:00:01"), address, route])})
    steps = ledger.steps({"a": Plan([pair("02:00:00:00:00:02"), address, route])})
    assert set(steps[2:]) == {Create(address), Create(route)}


def test_steps_are_undone_in_reverse() -> None:
    other = Bridge("", "br0", "02:00:00:00:00:02", 1500, "fairlead:a")
    steps = [Delete(PortHold("tcp", "::", 1)), Create(BRIDGE), Change(BRIDGE, other)]
    assert inverse(steps, {}) == [Delete(BRIDGE), Change(other, BRIDGE), Create(PortHold("tcp", "::", 1))]


def test_nothing_is_marked_ours_without_saying_which_link() -> None:
    """RTM_NEWLINK with index 0 and a group changes all links of the group, the host's own among them."""
    with pytest.raises(ValueError, match="index 0"):
        requests.bring_up(0, "fairlead:endpoint:x")
