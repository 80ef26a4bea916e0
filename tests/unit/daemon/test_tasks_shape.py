"""The container of a task: whose it is can be read from it, and each of a service's is its own."""

from __future__ import annotations

import pytest

from fairlead.daemon.cluster.tasks_shape import container_of, given_ports
from fairlead.model.backend import Backend
from fairlead.model.container import ContainerConfig
from fairlead.model.endpoint import EndpointSettings, PortBinding, PortRequest
from fairlead.model.errors import Invalid
from fairlead.model.health import RestartPolicy
from fairlead.model.mount import Mount
from fairlead.model.service import HOST, ServiceNetwork, ServicePort, Task, TaskAddress, TaskSpec

SEA, LAKE = "5e" * 32, "1a" * 32
NODE = "n" * 25


def task(config: ContainerConfig, *networks: ServiceNetwork, slot: int = 3, **more: object) -> Task:
    return Task("t" * 25, "s" * 25, "web", slot, 1.0, 1.0, TaskSpec(config, networks=networks), 1, node_id=NODE, **more)  # type: ignore[arg-type]


def test_it_says_whose_it_is_and_its_restart_is_not_its_own() -> None:
    made = container_of(
        task(ContainerConfig("host", labels={"mine": "1"}, restart=RestartPolicy("always"))), NODE, "h1"
    )
    assert made.labels == {
        "mine": "1",
        "com.docker.swarm.node.id": NODE,
        "com.docker.swarm.service.id": "s" * 25,
        "com.docker.swarm.service.name": "web",
        "com.docker.swarm.task": "",
        "com.docker.swarm.task.id": "t" * 25,
        "com.docker.swarm.task.name": f"web.3.{'t' * 25}",
    }
    assert made.restart == RestartPolicy()
    assert (made.network_mode, made.endpoints) == ("default", {})


def test_in_each_network_it_has_its_addresses_and_the_names_of_its_service() -> None:
    made = container_of(
        task(
            ContainerConfig("host"),
            ServiceNetwork(SEA, ("front",), {"x": "y"}),
            ServiceNetwork(LAKE),
            addresses=(TaskAddress(LAKE, "10.0.2.7/24", "fd00::7/64"), TaskAddress(SEA, "10.0.1.7/24")),
        ),
        NODE,
        "h1",
    )
    assert made.network_mode == SEA
    bare = Backend("s" * 25, ())  # without a virtual address it is a task of its service all the same
    assert made.endpoints == {
        SEA: EndpointSettings(
            "10.0.1.7", aliases=("web", "front", "tasks.web", "tasks.front"), driver_opts={"x": "y"}, backend=bare
        ),
        LAKE: EndpointSettings("10.0.2.7", "fd00::7", aliases=("web", "tasks.web"), backend=bare),
    }


def test_only_ports_of_the_host_are_the_containers() -> None:
    ports = (
        ServicePort(80, 8080),
        ServicePort(81, 8081, "udp", HOST, host_ip="192.0.2.1"),
        ServicePort(82, 0, mode=HOST),
    )
    made = container_of(task(ContainerConfig("host"), ports=ports), NODE, "h1")
    assert made.ports == (PortRequest("udp", 81, "192.0.2.1", 8081), PortRequest("tcp", 82))
    assert made.exposed == ("80/tcp", "81/udp", "82/tcp"), "all of them are found by name"
    given = given_ports(
        [
            PortBinding("tcp", 82, "0.0.0.0", 32768),
            PortBinding("tcp", 82, "::", 32768),
            PortBinding("udp", 81, "", 8081),
        ]
    )
    assert given == (ServicePort(82, 32768, "tcp", HOST), ServicePort(81, 8081, "udp", HOST))


def test_templates_are_filled_in_for_each_task() -> None:
    config = ContainerConfig(
        "host",
        hostname="{{.Service.Name}}-{{ .Task.Slot }}",
        env=("WHERE={{.Node.Hostname}}/{{.Node.ID}}", "PLAIN={x}"),
        mounts=(Mount("volume", "/data", "data-{{.Task.Slot}}"),),
    )
    made = container_of(task(config), NODE, "h1")
    assert (made.hostname, made.env) == ("web-3", (f"WHERE=h1/{NODE}", "PLAIN={x}"))
    assert made.mounts[0].source == "data-3"
    assert container_of(task(config, slot=0), NODE, "h1").hostname == f"web-{NODE}"


def test_a_template_that_means_nothing_is_refused() -> None:
    with pytest.raises(Invalid, match="invalid template") as refused:
        container_of(task(ContainerConfig("host", env=("A={{.Task.Colour}}",))), NODE, "h1")
    assert "{{.Task.Slot}}" in refused.value.hint
