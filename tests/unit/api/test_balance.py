"""What the API shows of services as this node sends to them: verbose networks, and metrics."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.api.fake_balance import NETWORK
from tests.unit.api.living import Living, living_api

from fairlead.model.network import Network


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Living]:
    with living_api(tmp_path) as living:
        living.node.state.put(Network(id=NETWORK, name="sea", driver="overlay", created=1.0, scope="swarm"))
        yield living


def test_a_verbose_network_tells_services_tasks_and_who_is_in_step(api: Living) -> None:
    found = api.client.get("/networks/sea", {"verbose": True})
    assert isinstance(found, dict)
    web = found["Services"]["web"]
    assert (web["VIP"], web["VIP6"], web["Ports"]) == ("10.0.1.2", "fd00::2", ["80/tcp"])
    one, two = web["Tasks"]
    assert (one["Name"], one["EndpointID"], one["EndpointIP"]) == ("web.1.a", "e1", "10.0.1.3")
    assert one["Info"] == {"Host IP": "192.0.2.1", "State": "ready", "Weight": "1", "Connections": "7"}
    assert two["Info"] == {"Host IP": "192.0.2.2", "State": "ready", "Weight": "0"}
    assert found["Peers"] == [
        {"Name": "n2", "IP": "192.0.2.2", "InStep": True},
        {"Name": "n3", "IP": "192.0.2.3", "InStep": False},
    ]


def test_without_it_or_without_a_part_in_the_network_there_is_none_of_that(api: Living) -> None:
    for name, query in (("sea", {}), ("sea", {"verbose": False}), ("bridge", {"verbose": True})):
        found = api.client.get(f"/networks/{name}", query)
        assert isinstance(found, dict) and not {"Services", "Peers"} & found.keys()


def test_services_are_counted_in_a_cluster_only(api: Living) -> None:
    def scraped() -> list[str]:
        with api.client.open("GET", "/fairlead/metrics") as reply:
            return [line for line in reply.read().decode().splitlines() if line.startswith("fairlead_service")]

    assert not scraped()
    api.node.gossip.speaks = True
    assert scraped() == [
        'fairlead_service_ready_tasks{network="sea",service="web"} 2',
        'fairlead_service_task_weight{network="sea",service="web",task="web.1.a"} 1',
        'fairlead_service_task_weight{network="sea",service="web",task="web.2.b"} 0',
        'fairlead_service_task_connections_total{network="sea",service="web",task="web.1.a"} 7',
    ]
