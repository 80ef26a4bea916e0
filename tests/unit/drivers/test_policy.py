"""The plan of a node whose own firewall decides about published ports."""

from __future__ import annotations

from fairlead.drivers.bridge import firewall, policy
from fairlead.drivers.contract import Node
from fairlead.model.endpoint import PortBinding
from fairlead.plan.objects import Chain, Veth


def prerouting(node: Node) -> tuple[str, ...]:
    plan = firewall.skeleton(node)
    found = plan["chain", "", firewall.FAMILY, firewall.TABLE, "nat_prerouting"]
    assert isinstance(found, Chain)
    return found.rules


def test_an_open_node_has_no_detour() -> None:
    plan = firewall.skeleton(Node())
    assert not any(isinstance(item, Veth) for item in plan.values())
    assert prerouting(Node()) == prerouting(Node(ask_host_firewall=True))[1:]


def test_translated_is_only_what_was_admitted_or_comes_from_our_own() -> None:
    first = prerouting(Node(ask_host_firewall=True))[0]
    assert first == f'iifname != "{policy.BACK}" iifname != @bridges return'


def test_ports_are_looked_for_by_address_and_family() -> None:
    bindings = [
        PortBinding("tcp", 80, "0.0.0.0", 8080),
        PortBinding("udp", 80, "::", 8080),
        PortBinding("tcp", 80, "192.0.2.1", 8081),
        PortBinding("tcp", 80, "2001:db8::1", 8082),
        PortBinding("tcp", 80, "0.0.0.0", 0),
    ]
    found = [(item.family, item.set, item.element) for item in policy.elements(bindings)]
    assert found == [
        ("ip", "any", "tcp . 8080"),
        ("ip6", "any", "udp . 8080"),
        ("ip", "at", "192.0.2.1 . tcp . 8081"),
        ("ip6", "at", "2001:db8::1 . tcp . 8082"),
    ]
