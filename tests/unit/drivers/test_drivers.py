"""One conformance suite over every registered driver, and what only bridge promises."""

from __future__ import annotations

import dataclasses

import pytest

from fairlead.drivers.bridge.bridge import BridgeDriver
from fairlead.drivers.contract import Driver, Guards, Node
from fairlead.drivers.registry import built_in
from fairlead.ipam.validate import check_endpoint
from fairlead.model import options
from fairlead.model.endpoint import Endpoint, EndpointSettings, PortBinding
from fairlead.model.errors import Forbidden, Invalid, NotFound
from fairlead.model.network import Network, Pool
from fairlead.plan.diff import diff
from fairlead.plan.objects import (
    ALIAS_MARK,
    NOTHING,
    Address,
    Bridge,
    Chain,
    Element,
    Flow,
    PortHold,
    Set,
    Sysctl,
    Table,
    Veth,
    Vxlan,
)

REGISTRY = built_in()
NODE = Node(vtep="192.0.2.1")
POOL4 = Pool("LocalDefault/10.1.0.0/24", "10.1.0.0/24", gateway="10.1.0.1")
POOL6 = Pool("LocalDefault/fd01::/64", "fd01::/64", gateway="fd01::1")
IDENTIFIER = "ab" * 32
#: What a driver's networks cannot be without.
OPTIONS = {"overlay": {options.VXLAN_IDS: "4097"}}


def a_network(driver: str, **more: object) -> Network:
    network = Network(IDENTIFIER, "web", driver, 0.0, ipv6=True, pools=(POOL4, POOL6), options=OPTIONS.get(driver, {}))
    return dataclasses.replace(network, **more)  # type: ignore[arg-type]


def an_endpoint(**more: object) -> Endpoint:
    endpoint = Endpoint(
        id="cd" * 32,
        name="a",
        network_id=IDENTIFIER,
        sandbox_id="s",
        container_id="c",
        mac="02:00:00:00:00:01",
        ipv4="10.1.0.2/24",
        ipv6="fd01::2/64",
        ifname="eth0",
        host_ifname="vethcdcdcdc",
    )
    return dataclasses.replace(endpoint, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("driver", REGISTRY.all(), ids=REGISTRY.names())
class TestConformance:
    def test_plans_are_deterministic(self, driver: Driver) -> None:
        network = a_network(driver.name)
        assert driver.network_plan(network, NODE) == driver.network_plan(network, NODE)
        once = driver.endpoint_plan(an_endpoint(), network, "box", NODE)
        assert once == driver.endpoint_plan(an_endpoint(), network, "box", NODE)

    def test_applying_a_plan_twice_changes_nothing(self, driver: Driver) -> None:
        plan = driver.network_plan(a_network(driver.name), NODE)
        assert diff(plan, plan) == ()

    def test_taking_a_plan_back_leaves_only_settings(self, driver: Driver) -> None:
        plan = driver.endpoint_plan(an_endpoint(), a_network(driver.name), "box", NODE)
        left = [item for item in plan.values() if not isinstance(item, Sysctl)]
        assert len(diff(plan, NOTHING)) == len(left)

    def test_only_marked_links_and_own_tables(self, driver: Driver) -> None:
        network = a_network(driver.name)
        plan = driver.network_plan(network, NODE) | driver.endpoint_plan(an_endpoint(), network, "box", NODE)
        if isinstance(driver, Guards):
            plan |= driver.node_plan(NODE)
        for item in plan.values():
            if isinstance(item, Bridge | Veth | Vxlan):
                assert item.alias.startswith(ALIAS_MARK)
                assert len(item.name) <= 15
            if isinstance(item, Set | Chain | Element):
                assert item.table.startswith("fairlead")
            if isinstance(item, Table):
                assert item.name.startswith("fairlead")

    def test_two_networks_share_only_what_is_the_same_for_both(self, driver: Driver) -> None:
        other = driver.network_plan(a_network(driver.name, id="ef" * 32, pools=()), NODE)
        one = driver.network_plan(a_network(driver.name), NODE)
        for key in one.keys() & other.keys():
            assert key[0] in ("sysctl", "table", "set", "chain")
            assert one[key] == other[key]


def test_unknown_driver_is_named_with_those_that_are_there() -> None:
    with pytest.raises(NotFound, match="could not find plugin nope") as caught:
        REGISTRY["nope"]
    assert "bridge, host, null, overlay" in caught.value.hint


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"com.docker.network.bridge.enable_icc": "maybe"}, "enable_icc"),
        ({"com.docker.network.driver.mtu": "67"}, "mtu"),
        ({"com.docker.network.driver.mtu": "-1"}, "mtu"),
        ({"com.docker.network.driver.mtu": "1000"}, "mtu"),
        ({"com.docker.network.bridge.name": "a-name-that-is-too-long"}, "longer than 15"),
        ({"com.docker.network.bridge.name": "br0; drop"}, "invalid bridge device name"),
        ({"com.docker.network.bridge.host_binding_ipv4": "x"}, "host_binding_ipv4"),
    ],
)
def test_bridge_refuses_options_that_make_no_sense(given: dict[str, str], text: str) -> None:
    with pytest.raises(Invalid, match=text):
        BridgeDriver().check(a_network("bridge", options=given))


def test_bridge_refuses_two_subnets_of_a_family() -> None:
    with pytest.raises(Forbidden):
        BridgeDriver().check(a_network("bridge", pools=(POOL4, POOL4)))


def test_internal_network_offers_no_gateway_and_guards_its_bridge() -> None:
    driver = BridgeDriver()
    network = a_network("bridge", internal=True)
    assert driver.gateway(network, v6=False) == ""
    verdicts = {
        item.set: item.value for item in driver.network_plan(network, NODE).values() if isinstance(item, Element)
    }
    assert verdicts["from_bridge"] == "jump from_internal"
    assert verdicts["to_bridge"] == "jump to_internal"
    assert "leaving" not in verdicts


@pytest.mark.parametrize("off", [True, False], ids=["frames-bypass", "frames-filtered"])
def test_without_icc_ports_are_kept_apart_and_the_pair_is_not_accepted(off: bool) -> None:
    """By the bridge itself, or where the firewall sees bridged frames by a table that lets published ports through."""
    driver, node = BridgeDriver(), Node(bridge_nf_off=off)
    network = a_network("bridge", options={options.BRIDGE_ICC: "false"})
    endpoint_plan, network_plan = (
        driver.endpoint_plan(an_endpoint(), network, "box", node),
        driver.network_plan(network, node),
    )
    veth = next(item for item in endpoint_plan.values() if isinstance(item, Veth))
    assert veth.isolated is off
    assert (("table", "", "bridge", "fairlead-apart") in network_plan) is not off
    assert (("element", "", "bridge", "fairlead-apart", "ports", '"vethcdcdcdc"') in endpoint_plan) is not off
    sets = [item.set for item in network_plan.values() if isinstance(item, Element)]
    assert "icc" not in sets


def test_ipv6_is_off_where_the_network_has_none() -> None:
    plan = BridgeDriver().endpoint_plan(an_endpoint(ipv6=""), a_network("bridge", ipv6=False), "box", NODE)
    values = {item.path: item.value for item in plan.values() if isinstance(item, Sysctl)}
    assert values["net/ipv6/conf/eth0/disable_ipv6"] == "1"
    assert [item.cidr for item in plan.values() if isinstance(item, Address)] == ["10.1.0.2/24"]


def test_published_port_is_one_element_one_hold_and_for_udp_the_flows() -> None:
    bindings = (
        PortBinding("tcp", 80, "0.0.0.0", 8080),
        PortBinding("tcp", 80, "::", 8080),
        PortBinding("udp", 53, "192.0.2.1", 53),
    )
    plan = BridgeDriver().publish_plan(an_endpoint(), a_network("bridge"), bindings)
    elements = {(item.set, item.element): item.value for item in plan.values() if isinstance(item, Element)}
    assert elements[("published4_any", "tcp . 8080")] == "10.1.0.2 . 80"
    assert elements[("published6_any", "tcp . 8080")] == "fd01::2 . 80"
    assert elements[("published4_at", "192.0.2.1 . udp . 53")] == "10.1.0.2 . 53"
    assert sum(isinstance(item, PortHold) for item in plan.values()) == 3
    assert [item.proto for item in plan.values() if isinstance(item, Flow)] == ["udp"]


def test_hairpin_only_where_bridged_frames_pass_the_firewall() -> None:
    bound = an_endpoint(bindings=(PortBinding("tcp", 80, "0.0.0.0", 8080),))
    for off in (False, True):
        plan = BridgeDriver().endpoint_plan(bound, a_network("bridge"), "box", Node(bridge_nf_off=off))
        veth = next(item for item in plan.values() if isinstance(item, Veth))
        assert veth.hairpin is not off


def test_forwarding_switched_on_by_us_stays_guarded() -> None:
    rule = "iifname != @bridges oifname != @bridges counter drop"
    for node, first in (
        (Node(guard_forwarding=True, guard_forwarding_v6=True), rule),
        (Node(guard_forwarding=True), f"meta nfproto ipv4 {rule}"),
        (Node(guard_forwarding_v6=True), f"meta nfproto ipv6 {rule}"),
        (Node(), "iifname vmap @from_bridge"),
    ):
        plan = BridgeDriver().node_plan(node)
        chain = next(item for item in plan.values() if isinstance(item, Chain) and item.name == "forward")
        assert chain.rules[0] == first


def test_settings_of_an_interface_are_part_of_its_endpoint() -> None:
    asked = "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.ifname.accept_ra=2"
    settings = EndpointSettings(driver_opts={"com.docker.network.endpoint.sysctls": asked})
    plan = BridgeDriver().endpoint_plan(an_endpoint(settings=settings), a_network("bridge"), "box", NODE)
    values = {item.path: item.value for item in plan.values() if isinstance(item, Sysctl) and item.ns == "box"}
    assert values["net/ipv4/conf/eth0/log_martians"] == "1"
    assert values["net/ipv6/conf/eth0/accept_ra"] == "2"


@pytest.mark.parametrize("text", ["net.ipv4.../../kernel.IFNAME.x=1", "net.ipv4.conf.IFNAME./../x=1", "kernel.x=1"])
def test_settings_cannot_leave_their_directory(text: str) -> None:
    with pytest.raises(Invalid, match="unrecognised network interface sysctl"):
        check_endpoint(a_network("bridge"), EndpointSettings(driver_opts={options.ENDPOINT_SYSCTLS: text}))
