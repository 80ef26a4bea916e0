"""Options of bridge networks as plans: what each adds, what it leaves out, what cannot be."""

from __future__ import annotations

import dataclasses

import pytest

from fairlead.drivers.bridge.bridge import BridgeDriver
from fairlead.drivers.contract import Node
from fairlead.drivers.registry import built_in
from fairlead.model import options
from fairlead.model.addresses import link_local
from fairlead.model.endpoint import Endpoint, EndpointSettings, PortBinding
from fairlead.model.errors import Invalid
from fairlead.model.network import Network, Pool
from fairlead.plan.objects import (
    Address,
    Bridge,
    Chain,
    Connections,
    Element,
    Flow,
    Plan,
    PortHold,
    Route,
    Sysctl,
)

DRIVER = BridgeDriver()
NODE = Node(bridge_nf_off=True)
FILTERED = Node(bridge_nf_off=False)
POOLS = (
    Pool("LocalDefault/10.1.0.0/24", "10.1.0.0/24", gateway="10.1.0.1"),
    Pool("LocalDefault/fd01::/64", "fd01::/64", gateway="fd01::1"),
)
BR = "br-abababababab"
MODE4, MODE6 = options.BRIDGE_GATEWAY_MODE[False], options.BRIDGE_GATEWAY_MODE[True]


def network(given: dict[str, str] | None = None, **more: object) -> Network:
    made = Network("ab" * 32, "web", "bridge", 0.0, ipv6=True, pools=POOLS, options=given or {})
    return dataclasses.replace(made, **more)  # type: ignore[arg-type]


ENDPOINT = Endpoint(
    id="cd" * 32,
    name="a",
    network_id="ab" * 32,
    sandbox_id="s",
    container_id="c",
    mac="02:00:00:00:00:01",
    ipv4="10.1.0.2/24",
    ipv6="fd01::2/64",
    ifname="eth0",
    host_ifname="vethcdcdcdc",
)


def elements(plan: Plan) -> dict[tuple[str, str], str]:
    return {(item.set, item.element): item.value for item in plan.values() if isinstance(item, Element)}


def chain(plan: Plan, name: str) -> tuple[str, ...]:
    return next(item.rules for item in plan.values() if isinstance(item, Chain) and item.name == name)


def test_a_plain_network_adds_elements_and_no_chain() -> None:
    """What everybody uses costs a packet what it always cost."""
    plan = DRIVER.network_plan(network(ipv6=False, pools=POOLS[:1]), NODE)
    assert not any(isinstance(item, Chain) for item in plan.values())
    name = f'"{BR}"'
    assert elements(plan) == {
        ("bridges", name): "",
        ("itself", f"{name} . {name}"): "",
        ("icc", f"{name} . {name}"): "",
        ("leaving", name): "jump leave_masked",
        ("from_bridge", name): "jump from_nat",
        ("to_bridge", name): "jump to_nat",
    }


def test_every_set_and_chain_that_a_plan_speaks_of_is_there() -> None:
    for given in ({}, {MODE4: "routed"}, {MODE6: "nat-unprotected"}, {options.BRIDGE_TRUSTED: "up0"}):
        for node in (NODE, FILTERED):
            plan = DRIVER.node_plan(node) | DRIVER.network_plan(network(given), node)
            chains = {item.name for item in plan.values() if isinstance(item, Chain)}
            for item in plan.values():
                if isinstance(item, Element):
                    assert ("set", "", item.family, item.table, item.set) in plan
                    assert item.value.removeprefix("jump ") in {*chains, ""}


def test_routed_neither_masks_nor_translates() -> None:
    wanted = network({MODE4: "routed", MODE6: "routed"})
    plan = DRIVER.network_plan(wanted, NODE)
    found = elements(plan)
    assert not any(name == "leaving" for name, _ in found)
    assert found["to_bridge", f'"{BR}"'] == f"jump to_{BR}"
    rules = chain(plan, f"to_{BR}")
    assert "meta l4proto { icmp, ipv6-icmp } accept" in rules
    assert rules[-2:] == ("jump opened", "counter drop")
    opened = (PortBinding("tcp", 80, "0.0.0.0", 0), PortBinding("tcp", 80, "::", 0))
    published = DRIVER.publish_plan(ENDPOINT, wanted, opened)
    assert elements(published) == {("open4", "10.1.0.2 . tcp . 80"): "", ("open6", "fd01::2 . tcp . 80"): ""}
    assert not any(isinstance(item, PortHold | Flow) for item in published.values())


def test_families_may_differ() -> None:
    plan = DRIVER.network_plan(network({MODE6: "routed"}), NODE)
    rules = chain(plan, f"to_{BR}")
    assert rules[0] == "meta nfproto ipv4 ct status dnat accept"
    assert "meta nfproto ipv4 counter drop" in rules
    assert rules[-1] == "counter drop"
    assert chain(plan, f"leave_{BR}") == ("iifname . oifname @itself return", "meta nfproto ipv4 masquerade")


def test_fixed_sources_stand_in_the_place_of_the_interfaces_address() -> None:
    given = {options.HOST_ADDRESS[False]: "192.0.2.7", options.HOST_ADDRESS[True]: "2001:db8::7"}
    rules = chain(DRIVER.network_plan(network(given), NODE), f"leave_{BR}")
    assert rules[1:] == ("meta nfproto ipv4 snat ip to 192.0.2.7", "meta nfproto ipv6 snat ip6 to 2001:db8::7")
    without = DRIVER.network_plan(network({**given, options.BRIDGE_MASQUERADE: "false"}), NODE)
    assert not any(name == "leaving" for name, _ in elements(without))


def test_an_isolated_bridge_has_no_address_and_no_ipv6() -> None:
    wanted = network({MODE4: "isolated", MODE6: "isolated"}, internal=True)
    plan = DRIVER.network_plan(wanted, NODE)
    assert not any(isinstance(item, Address | Route) for item in plan.values())
    values = {item.path: item.value for item in plan.values() if isinstance(item, Sysctl)}
    assert values[f"net/ipv6/conf/{BR}/disable_ipv6"] == "1"


@pytest.mark.parametrize(
    ("given", "internal", "spared"),
    [
        ({}, False, (False, False)),
        ({}, True, (False, False)),
        ({options.BRIDGE_INHIBIT_IPV4: "true"}, False, (False, False)),
        ({options.BRIDGE_INHIBIT_IPV4: "true"}, True, (True, False)),
        ({MODE4: "isolated"}, True, (True, False)),
        ({MODE6: "isolated"}, True, (False, True)),
    ],
)
def test_who_needs_no_gateway_keeps_no_address_for_one(
    given: dict[str, str], internal: bool, spared: tuple[bool, bool]
) -> None:
    wanted, registry = network(given, internal=internal), built_in()
    assert (registry.skips_gateway(wanted, v6=False), registry.skips_gateway(wanted, v6=True)) == spared
    assert not registry.skips_gateway(dataclasses.replace(wanted, driver="null"), v6=False)


def test_the_gateway_may_be_named_as_an_auxiliary_address() -> None:
    pool = dataclasses.replace(POOLS[0], aux={"DefaultGatewayIPv4": "10.1.0.9", "other": "10.1.0.10"})
    assert DRIVER.gateway(network(pools=(pool, POOLS[1])), v6=False) == "10.1.0.9"
    assert DRIVER.gateway(network(pools=(pool, POOLS[1])), v6=True) == "fd01::1"
    stray = dataclasses.replace(pool, aux={"DefaultGatewayIPv4": "10.2.0.9"})
    with pytest.raises(Invalid, match="default gateway ip must be part of the network"):
        DRIVER.check(network(pools=(stray,)))


@pytest.mark.parametrize("subnet", ["fe80::/80", "fe80::/10", "ff02::/64"])
def test_subnets_that_linux_uses_itself_are_refused(subnet: str) -> None:
    with pytest.raises(Invalid):
        DRIVER.check(network(pools=(Pool("x", subnet),)))
    DRIVER.check(network(pools=(Pool("x", "fe80::/64"),)))


def test_a_named_bridge_may_be_somebody_elses() -> None:
    plan = DRIVER.network_plan(network({options.BRIDGE_NAME: "mine0"}, ipv6=False, pools=POOLS[:1]), NODE)
    bridge = next(item for item in plan.values() if isinstance(item, Bridge))
    assert (bridge.name, bridge.adopt) == ("mine0", True)
    assert not any(
        item.path.endswith(("disable_ipv6", "accept_ra")) for item in plan.values() if isinstance(item, Sysctl)
    )
    default = network({options.BRIDGE_NAME: "mine0"}, name="bridge")
    assert not next(item for item in DRIVER.network_plan(default, NODE).values() if isinstance(item, Bridge)).adopt


def test_loopback_comes_back_over_ipv6_only_where_frames_bypass_the_firewall() -> None:
    route = Route("", "::1/128", BR, local=True)
    assert route.key in DRIVER.network_plan(network(), NODE)
    assert route.key not in DRIVER.network_plan(network(), FILTERED)
    assert route.key not in DRIVER.network_plan(network(internal=True), NODE)
    assert route.key not in DRIVER.network_plan(network(ipv6=False, pools=POOLS[:1]), NODE)
    assert "ip6 daddr ::1 return" in chain(DRIVER.node_plan(FILTERED), "nat_output")
    assert "ip6 daddr ::1 return" not in chain(DRIVER.node_plan(NODE), "nat_output")


def test_trusted_interfaces_see_published_ports_only() -> None:
    wanted = network({options.BRIDGE_TRUSTED: "up0::up1:up0"})
    rules = chain(DRIVER.network_plan(wanted, NODE), f"to_{BR}")
    assert 'iifname { "up0", "up1" } jump opened' in rules
    assert rules[-1] == "counter drop"
    published = elements(DRIVER.publish_plan(ENDPOINT, wanted, (PortBinding("tcp", 80, "0.0.0.0", 8080),)))
    assert ("open4", "10.1.0.2 . tcp . 80") in published
    assert published["published4_any", "tcp . 8080"] == "10.1.0.2 . 80"
    with pytest.raises(Invalid, match="invalid trusted host interface name"):
        DRIVER.check(network({options.BRIDGE_TRUSTED: 'up0:"; drop'}))


def test_sec_08_an_endpoint_with_ipv6_is_deaf_and_watched() -> None:
    plan = DRIVER.endpoint_plan(ENDPOINT, network(), "box", NODE)
    values = {item.path: item.value for item in plan.values() if isinstance(item, Sysctl)}
    for name in ("accept_ra", "accept_redirects", "autoconf"):
        assert values[f"net/ipv6/conf/eth0/{name}"] == "0"
    assert ("ports", '"vethcdcdcdc"') in elements(plan)
    assert ("table", "", "bridge", "fairlead-ra") in DRIVER.network_plan(network(), NODE)
    own_word = EndpointSettings(driver_opts={options.ENDPOINT_SYSCTLS: "net.ipv6.conf.IFNAME.accept_ra=2"})
    asked = DRIVER.endpoint_plan(dataclasses.replace(ENDPOINT, settings=own_word), network(), "box", NODE)
    assert next(i.value for i in asked.values() if isinstance(i, Sysctl) and i.path.endswith("accept_ra")) == "2"


def test_sec_28_a_pinned_port_has_its_own_addresses_and_no_others() -> None:
    wanted = network({options.ANTI_SPOOF: "true"})
    found = elements(DRIVER.endpoint_plan(ENDPOINT, wanted, "box", NODE))
    port = f'"vethcdcdcdc" . {ENDPOINT.mac}'
    own = {element for name, element in found if name in ("own4", "own6")}
    assert own == {f"{port} . {address}" for address in ("10.1.0.2", "fd01::2", "::", link_local(ENDPOINT.mac))}
    targets = {element for name, element in found if name == "targets"}
    assert f"{port} . 0xfd010000000000000000000000000002" in targets
    assert len(targets) == 2  # nobody advertises the unspecified address
    plain = DRIVER.endpoint_plan(ENDPOINT, network(), "box", NODE)
    assert not any(isinstance(item, Element) and item.table == "fairlead-pin" for item in plain.values())


@pytest.mark.parametrize("text", ["fe80::1%up0", "fe80::1%x; flush ruleset", "::", "ff02::1", "192.0.2.1"])
def test_sec_22_a_fixed_source_becomes_a_rule_and_is_nothing_but_an_address(text: str) -> None:
    with pytest.raises(Invalid, match=r"failed to parse com\.docker\.network\.host_ipv6 value"):
        DRIVER.check(network({options.HOST_ADDRESS[True]: text}))
    if "%" in text:
        with pytest.raises(Invalid, match="nil ip"):
            DRIVER.check(network({options.BRIDGE_HOST_BINDING: text}))


def test_connections_go_with_an_endpoints_addresses() -> None:
    plan = DRIVER.endpoint_plan(ENDPOINT, network(), "box", NODE)
    assert [item.address for item in plan.values() if isinstance(item, Connections)] == ["10.1.0.2", "fd01::2"]
