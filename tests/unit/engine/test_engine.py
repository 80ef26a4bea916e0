"""Behaviour of the engine, spoken to as the daemon does."""

from __future__ import annotations

import random

import pytest

from fairlead.engine.holds import Starting
from fairlead.engine.leaders import leaders
from fairlead.engine.outcome import (
    AlignHosts,
    CloseResolver,
    Discard,
    EditHosts,
    OpenResolver,
    Register,
    Run,
    Terminate,
    WriteFiles,
)
from fairlead.model.commands import (
    AlreadyThere,
    ConnectNetwork,
    CreateContainer,
    CreateNetwork,
    DisconnectNetwork,
    KillContainer,
    RemoveContainer,
    RemoveNetwork,
    RenameContainer,
    StartContainer,
    StopContainer,
)
from fairlead.model.container import Container, ContainerConfig
from fairlead.model.endpoint import EndpointSettings, PortBinding, PortRequest
from fairlead.model.errors import Conflict, Exhausted, Forbidden, Internal, Invalid, NetError, NotFound, PortInUse
from fairlead.model.events import ContainerFailed, ContainerRunning, Failed, HostChanged, ResolverFileChanged
from fairlead.model.network import PoolRequest
from fairlead.plan.objects import Bridge, Element, PortHold, Route, Veth

from .world import World, new_engine


@pytest.fixture
def world() -> World:
    return World()


def objects(world: World, kind: type) -> list[object]:
    return [item for plan in world.standing.values() for item in plan.values() if isinstance(item, kind)]


def refused(world: World, error: type[NetError], message: object, text: str) -> None:
    """The command raises, and nothing at all has changed."""
    before, plans, ipam = world.records(), world.engine.plans(), world.engine.core.ipam
    with pytest.raises(error) as caught:
        world.engine.handle(message, world.now, world.now)  # type: ignore[arg-type]
    assert text in str(caught.value)
    assert world.records() == before
    assert world.engine.plans() == plans
    assert world.engine.core.ipam is ipam


def test_predefined_networks_exist_from_the_first_start(world: World) -> None:
    assert sorted(network.name for network in world.engine.state.networks.values()) == ["bridge", "host", "none"]
    world.check()


def test_network_gets_the_first_free_default_subnet_and_a_bridge(world: World) -> None:
    network = world.network("web")
    assert network.pools[0].subnet == "172.18.0.0/16"
    assert network.pools[0].gateway == "172.18.0.1"
    assert any(isinstance(item, Bridge) and item.name == f"br-{network.id[:12]}" for item in objects(world, Bridge))
    world.check()


@pytest.mark.parametrize(
    ("command", "error", "text"),
    [
        (CreateNetwork("web"), Conflict, "network with name web already exists"),
        (CreateNetwork("host"), Forbidden, "operation is not permitted on predefined host network "),
        (CreateNetwork(" "), Invalid, "name"),
        (CreateNetwork("../x"), Invalid, "invalid network name"),
        (CreateNetwork("a\nb"), Invalid, "invalid network name"),
        (CreateNetwork("x" * 300), Invalid, "invalid network name"),
        (CreateNetwork("x", driver="nope"), NotFound, "plugin not found"),
        (CreateNetwork("x", pools=(PoolRequest("10.0.0.1/8"),)), Invalid, "it should be 10.0.0.0/8"),
        (CreateNetwork("x", pools=(PoolRequest("172.18.5.0/24"),)), Forbidden, "Pool overlaps"),
        (CreateNetwork("x", ipv4=False), Invalid, "IPv4 or IPv6 must be enabled"),
        (CreateNetwork("x", options={"com.docker.network.driver.mtu": "abc"}), Invalid, "mtu"),
        (CreateNetwork("x", options={"com.docker.network.bridge.name": "fairlead0"}), Forbidden, "same bridge name"),
        (RemoveNetwork("none"), Forbidden, "pre-defined"),
        (RemoveNetwork("absent"), NotFound, "network absent not found"),
        (StartContainer("absent"), NotFound, "No such container: absent"),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(
    world: World, command: object, error: type[NetError], text: str
) -> None:
    world.network("web")
    refused(world, error, command, text)
    world.check()


def test_container_gets_address_name_and_default_route(world: World) -> None:
    network = world.network("web")
    world.container("a", "web")
    outcome = world.start("a")
    assert world.address("a", "web") == "172.18.0.2/16"
    kinds = [type(message) for message in outcome.messages]
    assert kinds == [Register, WriteFiles, OpenResolver, Run]
    veth = next(item for item in objects(world, Veth) if isinstance(item, Veth))
    assert (veth.peer, veth.master) == ("eth0", f"br-{network.id[:12]}")
    assert [item.via for item in objects(world, Route) if isinstance(item, Route)] == ["172.18.0.1"]
    world.check()


def test_stop_waits_and_the_end_frees_everything(world: World) -> None:
    world.network("web")
    container = world.run("a", "web")
    outcome = world.tell(StopContainer("a"))
    assert outcome.wait_exit == container.id
    assert [type(message) for message in outcome.messages] == [Terminate]
    ended = world.end("a", 143)
    assert CloseResolver in [type(message) for message in ended.messages]
    assert world.engine.state.container("a").state.exit_code == 143
    assert not objects(world, Veth)
    assert isinstance(world.tell(StopContainer("a")).reply, AlreadyThere)
    world.check()


def test_what_is_asked_of_a_container_that_is_being_started_waits_and_changes_nothing(world: World) -> None:
    world.network("web")
    container = world.container("a")
    world.tell(StartContainer("a"))
    before = dict(world.engine.state.containers)
    for command in (
        StartContainer("a"),
        StopContainer("a"),
        KillContainer("a"),
        RemoveContainer("a", force=True),
        ConnectNetwork("web", "a"),
    ):
        with pytest.raises(Starting) as starting:
            world.tell(command)
        assert starting.value.container_id == container.id
        assert dict(world.engine.state.containers) == before
    world.tell(ContainerRunning(container.id, 4242, 4241, world.now))
    assert world.tell(StopContainer("a")).wait_exit == container.id
    world.check()


def test_freed_address_rests_before_it_is_given_again(world: World) -> None:
    world.network("web")
    world.run("a", "web")
    world.end("a")
    world.run("b", "web")
    assert world.address("b", "web") == "172.18.0.3/16"
    world.now += 60
    world.run("c", "web")
    assert world.address("c", "web") == "172.18.0.2/16"


def test_an_address_keeps_its_mac_whoever_holds_it(world: World) -> None:
    world.network("web")
    world.network("other")
    first = world.run("a", "web")
    endpoint = world.engine.state.endpoints_of_container(first.id)[0]
    world.tell(RemoveContainer("a", force=True))
    world.end("a")
    world.now += 60
    second = world.run("b", "web")
    again = world.engine.state.endpoints_of_container(second.id)[0]
    assert (again.ipv4, again.mac) == (endpoint.ipv4, endpoint.mac)
    third = world.run("c", "other")
    assert world.engine.state.endpoints_of_container(third.id)[0].mac != again.mac


def test_network_with_endpoints_cannot_be_removed(world: World) -> None:
    world.network("web")
    world.run("a", "web")
    refused(world, Forbidden, RemoveNetwork("web"), 'has active endpoints (name:"a"')
    world.end("a")
    world.tell(RemoveNetwork("web"))
    world.check()


def test_connect_and_disconnect_of_a_running_container(world: World) -> None:
    world.network("web")
    world.network("db")
    world.run("a", "web")
    outcome = world.connect("db", "a", ipv4="172.19.0.9", aliases=("primary",))
    register = next(message for message in outcome.messages if isinstance(message, Register))
    assert register.names[:2] == ("a", "primary")
    assert world.address("a", "db") == "172.19.0.9/16"
    assert [item.via for item in objects(world, Route) if isinstance(item, Route)] == ["172.19.0.1"]
    left = world.tell(DisconnectNetwork("db", "a"))
    edits = [message for message in left.messages if isinstance(message, EditHosts)]
    assert edits[0].remove[0].address == "172.19.0.9"
    assert [item.via for item in objects(world, Route) if isinstance(item, Route)] == ["172.18.0.1"]
    refused(world, Internal, DisconnectNetwork("db", "a"), "is not connected to network db")
    world.check()


def test_second_connect_to_the_same_network_is_refused(world: World) -> None:
    world.network("web")
    world.run("a", "web")
    with pytest.raises(Forbidden, match="endpoint with name a already exists in network web"):
        world.connect("web", "a")
    world.check()


def test_address_in_use_is_refused(world: World) -> None:
    world.network("web")
    world.network("db")
    world.run("a", "web")
    world.run("b", "db")
    with pytest.raises(Forbidden, match="Address already in use"):
        world.connect("web", "b", ipv4="172.18.0.2")
    with pytest.raises(Invalid):
        world.connect("web", "b", ipv4="10.1.1.1")
    world.check()


def test_published_ports_are_held_and_mapped(world: World) -> None:
    world.run("a", ports=(PortRequest("tcp", 80, host_port=8080), PortRequest("udp", 53, "127.0.0.1", 5353)))
    holds = {(hold.proto, hold.address, hold.port) for hold in objects(world, PortHold) if isinstance(hold, PortHold)}
    assert holds == {("tcp", "0.0.0.0", 8080), ("udp", "127.0.0.1", 5353)}
    maps = {item.set: item.value for item in objects(world, Element) if isinstance(item, Element) and item.value}
    assert maps["published4_any"] == "172.17.0.2 . 80"
    assert maps["published4_at"] == "172.17.0.2 . 53"
    world.check()


def test_port_of_another_container_is_refused_with_its_name(world: World) -> None:
    world.run("a", ports=(PortRequest("tcp", 80, host_port=8080),))
    world.container("b", ports=(PortRequest("tcp", 81, host_port=8080),))
    with pytest.raises(PortInUse, match=r"Bind for 0\.0\.0\.0:8080 failed: port is already allocated") as caught:
        world.start("b")
    assert "container a" in caught.value.hint
    world.check()


def test_ports_follow_the_gateway(world: World) -> None:
    world.network("web")
    world.network("net2")
    world.run("a", "web", ports=(PortRequest("tcp", 80),))
    first = world.engine.state.endpoints_of_container(world.engine.state.container("a").id)[0].bindings
    world.connect("net2", "a", gw_priority=10)
    by_network = {
        world.engine.state.networks[e.network_id].name: e.bindings
        for e in world.engine.state.endpoints_of_container(world.engine.state.container("a").id)
    }
    assert by_network == {"web": (), "net2": first}
    world.tell(DisconnectNetwork("net2", "a"))
    left = world.engine.state.endpoints_of_container(world.engine.state.container("a").id)
    assert [endpoint.bindings for endpoint in left] == [first]
    world.check()


def test_ephemeral_port_that_the_host_holds_is_replaced_by_another(world: World) -> None:
    world.container("a", ports=(PortRequest("tcp", 80),))
    outcome = world.engine.handle(StartContainer("a"), world.now, world.now)
    world._write(outcome)
    taken = [item.port for plan in outcome.plans.values() for item in plan.values() if isinstance(item, PortHold)]

    again = world.tell(Failed(outcome.operation, PortInUse("failed to bind host port")))
    given = [item.port for plan in again.plans.values() for item in plan.values() if isinstance(item, PortHold)]
    assert again.error is None
    assert given == [taken[0] + 1]
    world.check()


def test_range_goes_on_after_a_port_that_the_host_holds(world: World) -> None:
    world.network("web")
    container = world.container("a", "web", ports=(PortRequest("tcp", 80, "10.0.0.1", 8090, 8092),))
    ports = []
    outcome = world.engine.handle(StartContainer("a"), world.now, world.now)
    world._write(outcome)
    while outcome.error is None:
        ports.append(world.engine.state.endpoints_of_container(container.id)[0].bindings[0].host_port)
        outcome = world.engine.handle(
            Failed(outcome.operation, PortInUse(f"port {ports[-1]} is in use")), world.now, world.now
        )
        world._write(outcome)
    assert ports == [8090, 8091, 8092]
    assert str(outcome.error) == "port 8092 is in use"
    assert world.engine.state.endpoints_of_container(container.id) == []


def test_fixed_port_that_the_host_holds_is_an_error_and_undone(world: World) -> None:
    world.network("web")
    world.container("a", "web", ports=(PortRequest("tcp", 80, host_port=8080),))
    before = world.records()
    outcome = world.tell(StartContainer("a"), failure=PortInUse("failed to bind host port 0.0.0.0:8080/tcp"))
    assert isinstance(outcome.error, PortInUse)
    assert world.records() == before
    world.check()
    world.start("a")
    assert world.address("a", "web") == "172.18.0.3/16"


def test_container_to_be_removed_that_cannot_start_is_removed(world: World) -> None:
    world.run("a", ports=(PortRequest("tcp", 80, host_port=8080),))
    for number, failure in enumerate((None, PortInUse("failed to bind host port"))):
        port = 8080 + number
        made = world.container(f"b{number}", ports=(PortRequest("tcp", 80, host_port=port),), auto_remove=True)
        outcome = world.tell(StartContainer(made.name), failure=failure)
        assert isinstance(outcome.error, PortInUse)
        assert Discard(made.id) in outcome.messages
        assert world.engine.state.container_named(made.name) is None


def test_kernel_refusing_a_network_undoes_it(world: World) -> None:
    before = world.records()
    outcome = world.tell(CreateNetwork("web"), failure=Internal("no"))
    assert isinstance(outcome.error, Internal)
    assert world.records() == before
    assert world.network("web").pools[0].subnet == "172.18.0.0/16"
    world.check()


def test_process_that_cannot_start_leaves_a_created_container(world: World) -> None:
    world.network("web")
    container = world.container("a", "web")
    world.tell(StartContainer("a"))
    outcome = world.tell(ContainerFailed(container.id, "no such file", 127, world.now))
    assert isinstance(outcome.error, Invalid)
    state = world.engine.state.container("a").state
    assert (state.status, state.exit_code, state.error) == ("created", 127, "no such file")
    assert not world.engine.state.endpoints
    world.check()


def test_auto_remove_and_forced_removal(world: World) -> None:
    world.run("a", auto_remove=True)
    assert Discard in [type(message) for message in world.end("a").messages]
    world.run("b")
    refused(world, Conflict, RemoveContainer("b"), "container is running")
    container_id = world.tell(RemoveContainer("b", force=True)).wait_exit
    assert container_id
    world.end("b", 137)
    assert not world.engine.state.containers
    world.check()


def test_shared_namespace_needs_a_running_target(world: World) -> None:
    world.container("a")
    world.container("b", "container:a")
    refused(world, Conflict, StartContainer("b"), "cannot join network namespace of a non running container")
    world.start("a")
    outcome = world.start("b")
    spec = next(message.spec for message in outcome.messages if isinstance(message, Run))
    sandbox = world.engine.state.sandbox_of(world.engine.state.container("a").id)
    assert sandbox is not None
    assert spec.netns.endswith(sandbox.netns)
    world.check()


def test_host_mode_uses_the_nodes_own_namespace(world: World) -> None:
    world.container("a", "host")
    outcome = world.start("a")
    spec = next(message.spec for message in outcome.messages if isinstance(message, Run))
    assert spec.netns == ""
    world.check()


def test_rename_moves_the_dns_names(world: World) -> None:
    world.network("web")
    world.run("a", "web")
    outcome = world.tell(RenameContainer("a", "z"))
    register = next(message for message in outcome.messages if isinstance(message, Register))
    assert register.names[0] == "z"
    world.check()


def test_restart_derives_the_same_plans(world: World) -> None:
    world.network("web", ipv6=True)
    world.run("a", "web", ports=(PortRequest("tcp", 80, host_port=8080),))
    engine = new_engine()
    outcome = engine.restore(world.written.values(), world.now, world.now)
    assert outcome.changes == ()
    assert engine.plans() == world.engine.plans() == outcome.plans
    assert [type(message) for message in outcome.messages] == [Register, OpenResolver, WriteFiles, AlignHosts]
    with pytest.raises(Forbidden, match="Address already in use"):
        engine.core.ipam.request_address(engine.state.network("web").pools[0].id, "172.18.0.2", now=world.now)
    bindings = next(iter(engine.state.endpoints.values())).bindings
    assert PortBinding("tcp", 80, "0.0.0.0", 8080) in bindings
    assert PortBinding("tcp", 80, "::", 8080) in bindings


def test_an_address_that_a_stopped_container_asks_for_is_kept_for_it(world: World) -> None:
    world.network("web", pools=(PoolRequest("10.9.0.0/29"),))
    for name, ipv4 in (("stopped", "10.9.0.2"), ("other", "10.9.0.4")):
        config = ContainerConfig("host", ("true",), network_mode="web", endpoints={"web": EndpointSettings(ipv4=ipv4)})
        world.tell(CreateContainer(name, config))
    world.run("a", "web")
    world.run("b", "web")
    world.run("c", "web")
    assert [world.address(name, "web") for name in "abc"] == ["10.9.0.3/29", "10.9.0.5/29", "10.9.0.6/29"]
    world.container("d", "web")
    with pytest.raises(Exhausted, match="no available IPv4 addresses") as full:
        world.start("d")
    assert "2 addresses that containers ask for" in full.value.hint
    assert "prune" in full.value.hint
    world.start("stopped")
    assert world.address("stopped", "web") == "10.9.0.2/29"
    world.tell(RemoveContainer("other"))
    world.start("d")
    assert world.address("d", "web") == "10.9.0.4/29"
    world.check()


def test_interfaces_keep_their_order_and_leave_names_that_others_ask_for(world: World) -> None:
    for name in ("z", "a", "m"):
        world.network(name)
    named = EndpointSettings(driver_opts={"com.docker.network.endpoint.ifname": "eth0"})
    endpoints = {"z": EndpointSettings(), "a": EndpointSettings(), "m": named}
    config = ContainerConfig("host", ("true",), network_mode="z", endpoints=endpoints)
    container = world.tell(CreateContainer("c", config)).reply
    assert isinstance(container, Container)
    for _ in range(2):
        world.start("c")
        found = world.engine.state.endpoints_of_container(container.id)
        names = {world.engine.state.networks[one.network_id].name: one.ifname for one in found}
        assert names == {"z": "eth1", "a": "eth2", "m": "eth0"}
        world.end("c")
    world.check()


def test_the_way_out_is_the_same_found_step_by_step_or_at_once(world: World) -> None:
    chance = random.Random(5)
    for number in range(12):
        world.network(f"n{number:02}", internal=number % 5 == 0, ipv6=number % 3 == 0)
    container = world.run("c", "n01")
    for turn in range(120):
        joined = {one.network_id for one in world.engine.state.endpoints_of_container(container.id)}
        network = world.engine.state.network(f"n{chance.randrange(12):02}")
        if network.id in joined:
            world.tell(DisconnectNetwork(network.name, "c"))
        else:
            world.connect(network.name, "c", gw_priority=chance.choice((0, 0, 0, 1, -1)))
        sandbox = world.engine.state.sandbox_of(container.id)
        assert sandbox is not None
        by_steps = leaders(world.engine.core, sandbox)
        world.engine.core.leading.clear()
        assert leaders(world.engine.core, sandbox) == by_steps, turn
    world.check()


def test_automatic_subnets_leave_out_the_hosts_prefixes_and_name_servers(world: World) -> None:
    world.tell(HostChanged(("172.18.0.0/16",), ("172.18.0.9/16",)))
    world.tell(ResolverFileChanged("nameserver 172.19.0.53\nnameserver fe80::1%eth0\n", ""))
    assert world.network("web").pools[0].subnet == "172.20.0.0/16"


def test_used_up_pools_name_the_networks_that_nobody_is_in(world: World) -> None:
    for number in range(30):
        world.network(f"n{number}")
    world.run("a", "n0")
    with pytest.raises(Invalid, match="all predefined address pools have been fully subnetted") as full:
        world.network("late")
    assert "nobody is in n1, n2, n3, n4, n5 and 24 more" in full.value.hint
    assert "network prune" in full.value.hint
    world.check()
