"""Docker's calls for clusters, over the server's socket: the brain behind them is the real one, in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.api.living import Living, living_api

from fairlead.api.client import ApiError
from fairlead.api.schema import encode
from fairlead.model.errors import Unavailable


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Living]:
    with living_api(tmp_path) as living:
        yield living


@pytest.fixture
def manager(api: Living) -> Living:
    api.client.post("/swarm/init", {"ListenAddr": "0.0.0.0:2377", "Spec": {}})
    return api


class OtherLeader:
    """Another node that leads: answers what it was given, and notes what it was asked."""

    def __init__(self, answers: dict[str, tuple[int, object]]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str, bytes]] = []

    async def pass_on(self, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        self.asked.append((method, target, body))
        found = self.answers.get(f"{method} {target.partition('?')[0]}")
        if found is None:
            raise Unavailable("the leader is away")
        return found[0], encode(found[1])


def refused(api: Living, method: str, path: str, body: object = None, **query: str | int | bool) -> ApiError:
    with pytest.raises(ApiError) as caught:
        api.client.call(method, path, query, body)
    return caught.value


def get(api: Living, path: str) -> Any:
    return api.client.get(path)


class TestOutside:
    """A node that is in no cluster."""

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/swarm"),
            ("GET", "/nodes"),
            ("GET", "/nodes/x"),
            ("GET", "/swarm/unlockkey"),
            ("DELETE", "/nodes/x"),
        ],
    )
    def test_says_so_in_dockers_words(self, api: Living, method: str, path: str) -> None:
        error = refused(api, method, path)
        assert error.status == 503
        assert error.message.startswith('This node is not a swarm manager. Use "docker swarm init"')

    def test_makes_no_network_of_a_cluster(self, api: Living) -> None:
        for body in ({"Name": "x", "Driver": "overlay"}, {"Name": "x", "Scope": "swarm"}):
            assert refused(api, "POST", "/networks/create", body).status == 403

    def test_is_inactive(self, api: Living) -> None:
        assert get(api, "/info")["Swarm"]["LocalNodeState"] == "inactive"
        with api.client.open("GET", "/_ping") as reply:
            assert reply.headers["swarm"] == "inactive"

    def test_refusals_of_a_join_are_told(self, api: Living) -> None:
        assert refused(api, "POST", "/swarm/join", {"JoinToken": "x"}).status == 400
        error = refused(api, "POST", "/swarm/join", {"JoinToken": "x", "RemoteAddrs": ["192.0.2.1"]})
        assert (error.status, error.message) == (403, "A valid join token is necessary to join this cluster")


class TestManager:
    def test_tells_the_cluster_with_its_tokens(self, manager: Living) -> None:
        cluster = get(manager, "/swarm")
        assert cluster["JoinTokens"]["Worker"].startswith("SWMTKN-1-")
        assert cluster["TLSInfo"]["TrustRoot"].startswith("-----BEGIN CERTIFICATE-----")
        assert (cluster["DataPathPort"], cluster["SubnetSize"], cluster["DefaultAddrPool"]) == (
            4789,
            24,
            ["10.0.0.0/8"],
        )
        assert cluster["Spec"]["Dispatcher"]["HeartbeatPeriod"] == 5 * 10**9
        info = get(manager, "/info")["Swarm"]
        assert (info["Nodes"], info["Managers"], info["Cluster"]["ID"]) == (1, 1, cluster["ID"])
        assert "JoinTokens" not in info["Cluster"]
        with manager.client.open("GET", "/_ping") as reply:
            assert reply.headers["swarm"] == "active/manager"

    def test_changes_the_cluster_only_on_its_present_version(self, manager: Living) -> None:
        cluster = get(manager, "/swarm")
        spec = {**cluster["Spec"], "Labels": {"a": "b"}}
        assert refused(manager, "POST", "/swarm/update", spec).status == 400
        version = cluster["Version"]["Index"]
        assert "out of sequence" in refused(manager, "POST", "/swarm/update", spec, version=version + 9).message
        manager.client.post("/swarm/update", spec, {"version": version, "rotateWorkerToken": True})
        changed = get(manager, "/swarm")
        assert changed["Spec"]["Labels"] == {"a": "b"}
        assert changed["JoinTokens"]["Worker"] != cluster["JoinTokens"]["Worker"]
        assert changed["JoinTokens"]["Manager"] == cluster["JoinTokens"]["Manager"]
        assert manager.node.swarm.secured == 1

    def test_has_the_root_replaced(self, manager: Living) -> None:
        cluster = get(manager, "/swarm")
        spec = {**cluster["Spec"], "CAConfig": {**cluster["Spec"]["CAConfig"], "ForceRotate": 1}}
        manager.client.post("/swarm/update", spec, {"version": cluster["Version"]["Index"]})
        assert get(manager, "/swarm")["RootRotationInProgress"] is True

    def test_keeps_the_unlock_key_to_itself_unless_there_is_one(self, manager: Living) -> None:
        assert get(manager, "/swarm/unlockkey") == {"UnlockKey": ""}
        cluster = get(manager, "/swarm")
        spec = {**cluster["Spec"], "EncryptionConfig": {"AutoLockManagers": True}}
        manager.client.post("/swarm/update", spec, {"version": cluster["Version"]["Index"]})
        assert get(manager, "/swarm/unlockkey")["UnlockKey"].startswith("SWMKEY-1-")

    def test_lists_changes_and_removes_nodes(self, manager: Living) -> None:
        manager.do(lambda: manager.node.swarm.admit("second"))
        first, second = get(manager, "/nodes")
        assert (first["ManagerStatus"]["Leader"], first["Description"]["Hostname"]) == (True, "fakehost")
        assert "ManagerStatus" not in second
        query = {"version": second["Version"]["Index"]}
        manager.client.post("/nodes/second/update", {**second["Spec"], "Labels": {"rack": "7"}}, query)
        assert get(manager, "/nodes/second")["Spec"]["Labels"] == {"rack": "7"}
        wanted = json.dumps({"node.label": ["rack=7"], "role": ["worker"]})
        assert [node["ID"] for node in manager.client.get("/nodes", {"filters": wanted})] == [second["ID"]]  # type: ignore[attr-defined]
        manager.client.delete(f"/nodes/{second['ID'][:9]}", {"force": True})
        assert refused(manager, "GET", "/nodes/second").status == 404
        assert refused(manager, "DELETE", "/nodes/fakehost").status >= 400

    def test_has_networks_of_the_cluster_beside_its_own(self, manager: Living) -> None:
        body = {"Name": "blue", "Driver": "overlay", "Attachable": True, "Labels": {"a": "b"}}
        made: Any = manager.client.post("/networks/create", body)
        shown = get(manager, "/networks/blue")
        assert (shown["Id"], shown["Scope"], shown["Attachable"]) == (made["Id"], "swarm", True)
        (subnet,) = shown["Status"]["IPAM"]["Subnets"].values()
        assert subnet["DynamicIPsAvailable"] > 250
        named = {network["Name"]: network["Scope"] for network in get(manager, "/networks")}
        assert (named["blue"], named["bridge"]) == ("swarm", "local")
        assert refused(manager, "GET", "/networks/blue?scope=local").status == 404
        manager.client.post("/fairlead/networks/blue/update", {"Config": [{"Subnet": "10.77.0.0/24"}]})
        assert "10.77.0.0/24" in get(manager, "/networks/blue")["Status"]["IPAM"]["Subnets"]
        manager.client.delete("/networks/blue")
        assert refused(manager, "GET", "/networks/blue").status == 404

    def test_gives_no_name_to_two_networks(self, manager: Living) -> None:
        manager.client.post("/networks/create", {"Name": "blue", "Driver": "overlay"})
        manager.client.post("/networks/create", {"Name": "red"})
        for body in ({"Name": "blue"}, {"Name": "red", "Driver": "overlay"}, {"Name": "blue", "Driver": "overlay"}):
            error = refused(manager, "POST", "/networks/create", body)
            assert (error.status, error.message) == (409, f"network with name {body['Name']} already exists")

    def test_refuses_to_make_a_spanning_network_local(self, manager: Living) -> None:
        error = refused(manager, "POST", "/networks/create", {"Name": "x", "Driver": "overlay", "Scope": "local"})
        assert (error.status, error.message) == (403, "cannot downgrade network scope for overlay networks")

    def test_shows_no_change_of_the_cluster_before_it_is_made(self, manager: Living, tmp_path: Path) -> None:
        with pytest.raises(ApiError) as caught:
            type(manager.client)(manager.host, dry_run="plan").post(
                "/networks/create", {"Name": "x", "Driver": "overlay"}
            )
        assert caught.value.status == 501

    def test_has_no_configs_and_says_so(self, manager: Living) -> None:
        assert get(manager, "/configs") == get(manager, "/secrets") == []
        assert refused(manager, "GET", "/configs/x").status == 404
        assert refused(manager, "POST", "/configs/create").status == 501

    @pytest.mark.parametrize(
        "spec",
        [
            {"CAConfig": {"ExternalCAs": [{"URL": "x"}]}},
            {"Name": "other"},
            {"CAConfig": {"NodeCertExpiry": -5}},
            {"Orchestration": {"TaskHistoryRetentionLimit": -1}},
        ],
    )
    def test_refuses_specs_that_cannot_be(self, manager: Living, spec: dict[str, object]) -> None:
        cluster = get(manager, "/swarm")
        error = refused(manager, "POST", "/swarm/update", spec, version=cluster["Version"]["Index"])
        assert error.status in (400, 501)
        assert get(manager, "/swarm") == cluster

    def test_leaves_only_by_force(self, manager: Living) -> None:
        assert refused(manager, "POST", "/swarm/leave").status == 503
        manager.client.post("/swarm/leave", query={"force": True})
        assert get(manager, "/info")["Swarm"]["LocalNodeState"] == "inactive"


class TestOtherManager:
    """A manager that does not lead."""

    def test_passes_on_what_only_the_leader_knows(self, manager: Living) -> None:
        leader = OtherLeader({"GET /nodes": (200, [{"ID": "n1"}]), "POST /nodes/n1/update": (200, None)})
        manager.node.swarm.elsewhere = leader
        assert get(manager, "/nodes") == [{"ID": "n1"}]
        manager.client.post("/nodes/n1/update", {"Role": "manager"}, {"version": 7})
        method, target, body = leader.asked[-1]
        assert (method, target, json.loads(body)) == ("POST", "/nodes/n1/update?version=7", {"Role": "manager"})
        assert refused(manager, "GET", "/swarm").message == "the leader is away"

    def test_merges_networks_with_its_own(self, manager: Living) -> None:
        row = {"Id": "f" * 64, "Name": "blue", "Scope": "swarm", "Containers": {}}
        manager.node.swarm.elsewhere = OtherLeader(
            {
                "GET /networks": (200, [row, {"Id": "0" * 64, "Name": "bridge", "Scope": "local"}]),
                "GET /networks/blue": (200, row),
                "GET /networks/bridge": (404, {"message": "no"}),
                "POST /networks/create": (201, {"Id": "f" * 64, "Warning": ""}),
                "DELETE /networks/blue": (403, {"message": "in use\nwait", "hint": "wait", "kind": "forbidden"}),
            }
        )
        names = sorted(network["Name"] for network in get(manager, "/networks"))
        assert names == ["blue", "bridge", "host", "none"]
        assert get(manager, "/networks/blue")["Id"] == "f" * 64
        assert get(manager, "/networks/bridge")["Scope"] == "local"
        made: Any = manager.client.post("/networks/create", {"Name": "blue", "Driver": "overlay"})
        assert made["Id"] == "f" * 64
        error = refused(manager, "DELETE", "/networks/blue")
        assert (error.status, error.message, error.hint) == (403, "in use", "wait")

    def test_says_in_info_that_the_leader_is_away(self, manager: Living) -> None:
        manager.node.swarm.elsewhere = OtherLeader({})
        assert get(manager, "/info")["Swarm"]["Error"] == "the leader is away"
        assert len(get(manager, "/networks")) == 3
