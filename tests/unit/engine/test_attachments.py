"""Sandboxes without a container, as the engine decides about them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.engine.world import World, new_engine

from fairlead.engine.outcome import CloseResolver, ForgetNamespace, OpenResolver, WatchNamespace
from fairlead.model.commands import ConnectNetwork, CreateSandbox, DisconnectNetwork, RemoveSandbox
from fairlead.model.endpoint import EndpointSettings, PortRequest
from fairlead.model.errors import Conflict, Forbidden, Internal, Invalid, NotFound, PortInUse
from fairlead.model.events import NamespaceGone
from fairlead.model.sandbox import Sandbox, SandboxSettings
from fairlead.model.target import Foreign
from fairlead.plan.objects import Chain, Netns, Plan, Route, Sysctl

FOREIGN = Foreign(
    "pid:7", 4711, "boot", pid=7, started=9, links=("eth0", "lo"), servers=("192.0.2.53", "2001:db8::53"), ndots=1
)
LED = replace(FOREIGN, led_v4=True)


@pytest.fixture
def world() -> World:
    made = World()
    made.network("web")
    made.network("back")
    return made


def attach(world: World, network: str = "web", foreign: Foreign = FOREIGN, **asked: object) -> Sandbox:
    """Connect by its target."""
    settings = SandboxSettings(**asked)  # type: ignore[arg-type]
    world.tell(ConnectNetwork(network, foreign.target, sandbox=settings, foreign=foreign))
    return only(world)


def only(world: World) -> Sandbox:
    (found,) = world.engine.state.bare_sandboxes.values()
    return found


def plan(world: World, sandbox: Sandbox) -> Plan:
    return world.engine.plans()[f"sandbox:{sandbox.id}"]


def rules(world: World, sandbox: Sandbox) -> str:
    return "\n".join(rule for item in plan(world, sandbox).values() if isinstance(item, Chain) for rule in item.rules)


def destinations(world: World, sandbox: Sandbox) -> set[str]:
    return {item.destination for item in plan(world, sandbox).values() if isinstance(item, Route)}


def test_a_connect_makes_a_sandbox_that_is_watched_and_named_after_its_target(world: World) -> None:
    sandbox = attach(world)
    world.check()
    (endpoint,) = (world.engine.state.endpoints[key] for key in sandbox.endpoints)
    assert (sandbox.name, endpoint.name, endpoint.container_id, endpoint.ifname) == ("pid-7", "pid-7", "", "eth1")
    assert Netns(sandbox.netns, 4711) in plan(world, sandbox).values()
    assert {"ip_unprivileged_port_start", "ping_group_range"}.isdisjoint(
        item.path.rpartition("/")[2] for item in plan(world, sandbox).values() if isinstance(item, Sysctl)
    )
    messages = world.outcomes[-1].messages
    assert WatchNamespace(sandbox.id, sandbox.foreign or FOREIGN) in messages
    view = next(message.view for message in messages if isinstance(message, OpenResolver))
    assert [server.address for server in view.upstreams] == ["192.0.2.53", "2001:db8::53"]
    assert (view.pass_on, view.ndots, view.netns) == (True, 1, sandbox.netns)
    assert world.outcomes[-1].notices[0].attributes["container"] == "pid:7"


def test_one_namespace_is_one_sandbox_whatever_it_is_called(world: World) -> None:
    first = attach(world)
    second = attach(world, "back", replace(FOREIGN, target="netns:blue", pid=0, started=0, path="/run/netns/blue"))
    assert (second.id, len(second.endpoints)) == (first.id, 2)
    assert second.foreign is not None
    assert (second.foreign.target, second.foreign.pid, second.foreign.path) == ("pid:7", 7, "/run/netns/blue")
    with pytest.raises(Forbidden, match="endpoint with name pid-7 already exists in network web"):
        attach(world, "web", replace(FOREIGN, target="pid:8", pid=8))
    other = replace(FOREIGN, target="pid:8", boot="another boot")
    world.tell(ConnectNetwork("web", other.target, foreign=other))
    assert len(world.engine.state.bare_sandboxes) == 2
    world.check()


def test_the_sandbox_goes_with_its_last_endpoint(world: World) -> None:
    sandbox = attach(world)
    attach(world, "back")
    world.tell(DisconnectNetwork("web", "pid:7", foreign=FOREIGN))
    assert only(world).id == sandbox.id
    outcome = world.tell(DisconnectNetwork("back", "pid:7"))  # its target is gone, the text is enough
    assert {ForgetNamespace(sandbox.id), CloseResolver(sandbox.id)} <= set(outcome.messages)
    assert not world.engine.state.bare_sandboxes
    world.check()
    with pytest.raises(NotFound, match="pid:7 is connected to no network"):
        world.tell(DisconnectNetwork("back", "pid:7", foreign=FOREIGN))


def test_a_namespace_that_goes_takes_everything_along(world: World) -> None:
    sandbox = attach(world, ports=(PortRequest("tcp", 80, host_port=8080),))
    before = world.engine.core.ipam
    world.tell(NamespaceGone(sandbox.id))
    assert not world.engine.state.bare_sandboxes
    assert not world.engine.state.endpoints_with_port("tcp", 8080)
    assert world.engine.core.ipam is not before
    world.check()
    world.tell(NamespaceGone(sandbox.id))  # told twice is told once
    world.check()


def test_what_went_while_nobody_looked_is_dropped_at_a_restart(world: World) -> None:
    sandbox = attach(world)
    again = new_engine()
    outcome = again.restore(world.records().values(), 1.0, 1.0, frozenset({sandbox.id}))
    assert not again.state.bare_sandboxes
    assert f"sandbox:{sandbox.id}" not in outcome.plans
    assert not [message for message in outcome.messages if isinstance(message, OpenResolver | WatchNamespace)]


def test_its_own_default_route_stays_in_charge(world: World) -> None:
    sandbox = attach(world, foreign=LED, ports=(PortRequest("tcp", 80, host_port=8080),))
    assert destinations(world, sandbox) == set()
    assert any("masked4" in key for owner in world.engine.plans().values() for key in owner if key[0] == "element")


def test_a_gateway_priority_leads_out_beside_the_old_way(world: World) -> None:
    command = ConnectNetwork("web", LED.target, EndpointSettings(gw_priority=1), foreign=LED)
    world.tell(command)
    assert destinations(world, only(world)) == {"0.0.0.0/1", "128.0.0.0/1"}


def test_without_a_way_out_ours_is_the_default_route(world: World) -> None:
    assert destinations(world, attach(world)) == {"0.0.0.0/0"}


def test_dns_modes(world: World) -> None:
    sandbox = attach(world)
    assert "ip daddr 192.0.2.53 udp dport 53" in rules(world, sandbox)
    assert "2001:db8::53" not in rules(world, sandbox)
    world.tell(DisconnectNetwork("web", "pid:7", foreign=FOREIGN))
    sandbox = attach(world, dns_mode="listen")
    assert "192.0.2.53" not in rules(world, sandbox)
    assert "ip daddr 127.0.0.11 tcp dport 53" in rules(world, sandbox)
    world.tell(DisconnectNetwork("web", "pid:7", foreign=FOREIGN))
    sandbox = attach(world, dns_mode="off")
    assert rules(world, sandbox) == ""
    assert not [message for message in world.outcomes[-1].messages if isinstance(message, OpenResolver)]
    with pytest.raises(Invalid, match="invalid DNS mode"):
        attach(world, "back", dns_mode="sometimes")


def test_a_file_without_servers_means_the_local_machine(world: World) -> None:
    assert "ip daddr 127.0.0.1 udp dport 53" in rules(world, attach(world, foreign=replace(FOREIGN, servers=())))


def test_loopback_servers_of_the_hosts_own_file_are_asked_on_the_host(world: World) -> None:
    attach(world, foreign=replace(FOREIGN, servers=("127.0.0.53", "192.0.2.1"), host_file=True))
    view = next(message.view for message in world.outcomes[-1].messages if isinstance(message, OpenResolver))
    assert [server.from_host for server in view.upstreams] == [True, False]


def test_settings_of_a_later_connect_add_up(world: World) -> None:
    attach(world, name="box", ports=(PortRequest("tcp", 80, host_port=8080),))
    sandbox = attach(world, "back", ports=(PortRequest("tcp", 81, host_port=8081),), dns=("192.0.2.99",))
    held = {binding.host_port for key in sandbox.endpoints for binding in world.engine.state.endpoints[key].bindings}
    assert held == {8080, 8081}
    assert (sandbox.name, sandbox.dns) == ("box", ("192.0.2.99",))
    with pytest.raises(Conflict, match="called box already"):
        attach(world, "bridge", name="other")
    world.check()


def test_ports_of_others_are_refused(world: World) -> None:
    world.run("c1", "web", ports=(PortRequest("tcp", 80, host_port=8080),))
    with pytest.raises(PortInUse, match="port is already allocated"):
        attach(world, ports=(PortRequest("tcp", 80, host_port=8080),))
    assert not world.engine.state.bare_sandboxes
    world.check()


def test_a_container_is_called_by_its_name_only(world: World) -> None:
    container = world.run("c1", "web")
    sandbox = world.engine.state.sandbox_of(container.id)
    assert sandbox is not None
    with pytest.raises(Invalid, match="pid:7 is in the network namespace of c1"):
        attach(world, foreign=replace(FOREIGN, holder=sandbox.netns))
    with pytest.raises(Forbidden, match="endpoint with name c1 already exists"):
        attach(world, name="c1")
    with pytest.raises(Invalid, match="has its name, ports and name servers already"):
        world.tell(ConnectNetwork("back", "c1", sandbox=SandboxSettings(name="x")))
    world.check()


def test_sandboxes_without_a_connect(world: World) -> None:
    made = world.tell(CreateSandbox(SandboxSettings(name="own"))).reply
    assert isinstance(made, Sandbox)
    assert made.foreign is None
    world.tell(ConnectNetwork("web", "own"))
    world.tell(DisconnectNetwork("web", "own"))
    assert only(world).id == made.id  # it goes only when it is removed
    world.check()
    with pytest.raises(Internal, match="is not connected to network web"):
        world.tell(DisconnectNetwork("web", "own"))
    with pytest.raises(Conflict, match="sandbox name own is already in use"):
        world.tell(CreateSandbox(SandboxSettings(name="own")))
    world.tell(CreateSandbox(SandboxSettings(), FOREIGN))
    with pytest.raises(Conflict, match="pid:7 is a sandbox already"):
        world.tell(CreateSandbox(SandboxSettings(), FOREIGN))
    world.tell(ConnectNetwork("web", "own"))
    world.tell(RemoveSandbox("own"))
    world.tell(RemoveSandbox("pid-7"))
    assert not world.engine.state.endpoints
    with pytest.raises(NotFound, match="No such sandbox: own"):
        world.tell(RemoveSandbox("own"))
    world.check()


def test_a_refused_connect_leaves_nothing(world: World) -> None:
    command = ConnectNetwork("web", FOREIGN.target, foreign=FOREIGN)
    world.tell(command, failure=Internal("no"))
    assert not world.engine.state.bare_sandboxes
    world.check()
