"""What the API and the command line show of gossip, over a real socket: status, peers, tables, metrics."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.api.fake_gossip import NETWORK, OTHER, THIRD
from tests.unit.api.living import Living, living_api

from fairlead.api.client import ApiError
from fairlead.api.metric import Metric
from fairlead.api.metrics import render
from fairlead.cli.main import run
from fairlead.model.network import Network


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Living]:
    with living_api(tmp_path) as living:
        living.node.state.put(Network(id=NETWORK, name="web", driver="overlay", created=1.0, scope="swarm"))
        living.node.gossip.speaks = True
        yield living


def listed(api: Living, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert run(["--host", api.host, "gossip", *words]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("path", ["/fairlead/gossip", "/fairlead/gossip/peers", "/fairlead/gossip/table"])
def test_a_node_in_no_cluster_says_so(api: Living, path: str) -> None:
    api.node.gossip.speaks = False
    with pytest.raises(ApiError) as caught:
        api.client.get(path)
    assert (caught.value.status, str(caught.value)) == (503, "This node is not part of a swarm")


def test_status_tells_peers_networks_lag_and_queues(api: Living) -> None:
    status = api.client.get("/fairlead/gossip")
    assert isinstance(status, dict)
    assert status["PeersByState"] == {"alive": 1, "dead": 1}
    assert status["Networks"] == [{"ID": NETWORK, "Name": "web", "Digest": "0000000000000001", "Versions": {OTHER: 12}}]
    assert (status["LagSeconds"], status["QueuedPackets"], status["PendingChanges"]) == (0.25, 2, 4)
    assert status["DataPath"] == {"Address": "10.0.0.1", "MTU": 1450}
    assert status["RecordsRefused"] == {"unsealed": 2}


def test_peers_are_filtered_by_state(api: Living) -> None:
    found = api.client.get("/fairlead/gossip/peers", {"filters": '{"state":{"dead":true}}'})
    assert isinstance(found, list)
    assert [peer["ID"] for peer in found] == [THIRD]
    assert found[0]["LostSeconds"] == 61.0


def test_a_table_is_found_by_the_networks_name_and_shows_what_is_not_believed(api: Living) -> None:
    found = api.client.get("/fairlead/gossip/table", {"network": "web"})
    assert isinstance(found, list)
    assert [(row["Table"], row["Value"], row["Fault"]) for row in found] == [
        ("peers", {"mac": "02:00:00:00:00:01"}, ""),
        ("names", {}, "malformed"),
    ]


def test_a_network_without_a_part_in_it_and_an_unknown_one_are_told_apart(api: Living) -> None:
    del api.node.gossip.tables[NETWORK]
    for ref, words in (("web", "this node takes no part in network web"), ("none such", "network none such not found")):
        with pytest.raises(ApiError) as caught:
            api.client.get("/fairlead/gossip/table", {"network": ref})
        assert (caught.value.status, str(caught.value)) == (404, words)


def test_the_command_line_shows_columns(api: Living, capsys: pytest.CaptureFixture[str]) -> None:
    lines = listed(api, capsys, "peers")
    assert lines[0].split("  ")[0] == "PEER ID"
    assert lines[1].split() == ["bbbbbbbbbbbb", "n2", "10.0.0.2:7946", "alive", "1.2", "ms", "10.0.0.2", "1450"]
    assert "dead" in lines[2]
    assert lines[2].endswith("About a minute ago")
    table = listed(api, capsys, "table", "web")
    assert table[0].split() == ["TABLE", "KEY", "NODE", "ID", "VERSION", "VALUE"]
    assert [line.split()[-1] for line in table[1:]] == ["(malformed)", "mac=02:00:00:00:00:01"]
    assert json.loads(listed(api, capsys, "peers", "--format", "json")[0])["ID"] == OTHER


def test_the_command_line_shows_the_status(api: Living, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--host", api.host, "gossip", "status"]) == 0
    shown = capsys.readouterr()
    assert "Peers: 2 (1 alive, 1 dead)" in shown.out
    assert "Confirmed By All: no, for 0.25 s" in shown.out
    assert "  web: digest 0000000000000001, 1 nodes" in shown.out
    assert "WARNING: the way is narrow" in shown.err
    assert listed(api, capsys, "status", "--format", "{{.DataPath.MTU}}") == ["1450"]


def scrape(api: Living) -> list[str]:
    with api.client.open("GET", "/fairlead/metrics") as reply:
        assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
        return reply.read().decode().splitlines()


def test_metrics_are_there_in_and_out_of_a_cluster(api: Living) -> None:
    inside = scrape(api)
    assert 'fairlead_gossip_peers{state="alive"} 1' in inside
    assert 'fairlead_gossip_peers{state="suspect"} 0' in inside
    assert "fairlead_gossip_convergence_lag_seconds 0.25" in inside
    assert f'fairlead_gossip_log_version{{scope="{NETWORK}",owner="{OTHER}"}} 12' in inside
    assert 'fairlead_gossip_records_refused_total{reason="unsealed"} 2' in inside
    api.node.gossip.speaks = False
    outside = scrape(api)
    assert "fairlead_networks 4" in outside
    assert not [line for line in outside if "gossip" in line]


def test_what_others_wrote_breaks_no_line_of_the_metrics(api: Living) -> None:
    assert 'fairlead_gossip_forged_total{by="1.2.3.4\\"\\n"} 1' in scrape(api)
    family = Metric("x", "a\nb", samples=(({}, 1.5),))
    assert render([family, replace(family, kind="counter")]).splitlines()[:3] == [
        "# HELP x a\\nb",
        "# TYPE x gauge",
        "x 1.5",
    ]
