"""The HTTP mesh over a real socket, as the command line and the API have it: enable, disable, status, metrics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.api.fake_http_mesh import SEEN
from tests.unit.api.living import Living, living_api

from fairlead.api.client import ApiError
from fairlead.cli.main import run
from fairlead.model.http_mesh import HTTP_NETWORK, HttpMesh
from fairlead.model.network import Network


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Living]:
    with living_api(tmp_path) as living:
        yield living


def said(api: Living, capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    assert run(["--host", api.host, "http-mesh", *words]) == code
    output = capsys.readouterr()
    return output.out, output.err


def test_only_a_cluster_has_a_mesh(api: Living, capsys: pytest.CaptureFixture[str]) -> None:
    assert "not a swarm manager" in said(api, capsys, "enable", "--detach", code=1)[1]
    assert said(api, capsys, "status") == ("Enabled: false\n", "")


def test_it_is_enabled_changed_and_disabled(api: Living, capsys: pytest.CaptureFixture[str]) -> None:
    api.client.post("/swarm/init", {"ListenAddr": "127.0.0.1", "AdvertiseAddr": "127.0.0.1"})
    wanted = HttpMesh(8080, 0, "/etc/certs", ("192.0.2.0/24",))
    words = ("--port", "8080", "--tls-port", "0", "--certs", "/etc/certs", "--trust-proxy", "192.0.2.0/24", "--detach")
    assert "has port 8080 of every node" in said(api, capsys, "enable", *words)[0]
    brain = api.node.swarm.brain
    made = brain.cluster.http_mesh
    assert made == replace(wanted, network_id=brain.network(HTTP_NETWORK).id)
    assert "port 80 and 443 (TLS)" in said(api, capsys, "enable", "--detach")[0]
    assert brain.cluster.http_mesh == HttpMesh(network_id=made.network_id if made else "")
    assert "70000" in said(api, capsys, "enable", "--detach", "--port", "70000", code=1)[1]
    assert said(api, capsys, "disable")[0] == "The HTTP mesh is off.\n"
    assert brain.cluster.http_mesh is None
    with pytest.raises(ApiError) as caught:
        api.client.delete("/fairlead/http-mesh")
    assert caught.value.status == 409


def test_enable_waits_for_the_proxy_of_this_node(api: Living, capsys: pytest.CaptureFixture[str]) -> None:
    api.client.post("/swarm/init", {"ListenAddr": "127.0.0.1", "AdvertiseAddr": "127.0.0.1"})
    api.node.http_mesh.found = replace(SEEN, mesh=HttpMesh(), faults=())
    assert "has port 80 and 443" in said(api, capsys, "enable")[0]


def test_status_tells_ports_proxy_routes_and_what_is_wrong(api: Living, capsys: pytest.CaptureFixture[str]) -> None:
    api.node.http_mesh.found = SEEN
    api.node.state.put(Network(SEEN.networks[0], "sea", "overlay", 1.0, scope="swarm"))
    out, err = said(api, capsys, "status")
    lines = out.splitlines()
    assert lines[:5] == ["Enabled: true", "Port: 8080", "TLS Port: 8443", "Certificates: /etc/certs", "Networks: sea"]
    assert "Proxy: running (pid 77)" in lines and "Reloads: 1" in lines
    assert lines[-2].split() == ["HOST", "PATH", "SERVICE", "PORT", "TLS", "TASKS"]
    assert lines[-1].split() == ["web.test", "/", "web", "80", "optional", "5"]
    assert err == "WARNING: network lake: no manager answers\n"
    assert said(api, capsys, "status", "--format", "{{.Proxy.Pid}}")[0] == "77\n"
    api.node.http_mesh.found = replace(SEEN, running=False)
    assert "Proxy: not running" in said(api, capsys, "status")[0]


def test_the_proxy_s_numbers_are_among_the_node_s(api: Living) -> None:
    api.node.http_mesh.text = "haproxy_process_uptime_seconds 5\n"
    with api.client.open("GET", "/fairlead/metrics") as reply:
        text = reply.read().decode()
    assert "fairlead_networks " in text and text.endswith("haproxy_process_uptime_seconds 5\n")
