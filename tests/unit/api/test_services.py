"""Docker's calls for services and tasks, over the server's socket: the brain behind them is the real one, in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.api.living import Living, living_api
from tests.unit.api.test_swarm import OtherLeader, refused

from fairlead.api.merging import merged

SPEC: dict[str, Any] = {
    "Name": "web",
    "Labels": {"team": "shop"},
    "TaskTemplate": {
        "ContainerSpec": {
            "Image": "host",
            "Labels": {"a": "b"},
            "Command": ["sh", "-c"],
            "Args": ["sleep 9"],
            "Hostname": "h",
            "Env": ["A=1"],
            "Dir": "/srv",
            "User": "nobody",
            "Groups": ["adm"],
            "Privileges": {"NoNewPrivileges": True, "Seccomp": {"Mode": "unconfined"}},
            "Init": True,
            "StopSignal": "SIGINT",
            "ReadOnly": True,
            "Mounts": [
                {"Type": "bind", "Source": "/srv", "Target": "/data", "ReadOnly": True},
                {"Type": "volume", "Source": "vol", "Target": "/vol", "VolumeOptions": {"NoCopy": True}},
                {"Type": "tmpfs", "Source": "", "Target": "/tmp", "TmpfsOptions": {"Options": [["size", "65536"]]}},
            ],
            "StopGracePeriod": 3 * 10**9,
            "Healthcheck": {
                "Test": ["CMD", "true"],
                "Interval": 10**9,
                "Timeout": 10**9,
                "StartPeriod": 0,
                "StartInterval": 0,
                "Retries": 2,
            },
            "Hosts": ["192.0.2.7 db", "2001:db8::7 db6"],
            "DNSConfig": {"Nameservers": ["192.0.2.53"], "Search": ["example.org"], "Options": ["ndots:1"]},
            "Sysctls": {"net.core.somaxconn": "99"},
            "CapabilityAdd": ["CAP_NET_RAW"],
            "CapabilityDrop": ["CAP_CHOWN"],
            "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}],
            "OomScoreAdj": 5,
            "Isolation": "default",
        },
        "Resources": {
            "Limits": {"NanoCPUs": 5 * 10**8, "MemoryBytes": 64 << 20, "Pids": 50},
            "Reservations": {"NanoCPUs": 10**8, "MemoryBytes": 32 << 20},
        },
        "RestartPolicy": {"Condition": "on-failure", "Delay": 10**9, "MaxAttempts": 3, "Window": 60 * 10**9},
        "Placement": {
            "Constraints": ["node.role==manager"],
            "Preferences": [{"Spread": {"SpreadDescriptor": "node.labels.zone"}}],
            "MaxReplicas": 2,
        },
        "LogDriver": {"Name": "json-file", "Options": {"max-size": "1m"}},
        "ForceUpdate": 1,
        "Runtime": "container",
    },
    "Mode": {"Replicated": {"Replicas": 2}},
    "UpdateConfig": {
        "Parallelism": 2,
        "Delay": 10**9,
        "FailureAction": "rollback",
        "Monitor": 2 * 10**9,
        "MaxFailureRatio": 0.25,
        "Order": "start-first",
    },
    "RollbackConfig": {
        "Parallelism": 0,
        "Delay": 0,
        "FailureAction": "continue",
        "Monitor": 5 * 10**9,
        "MaxFailureRatio": 0.0,
        "Order": "stop-first",
    },
    "EndpointSpec": {
        "Mode": "vip",
        "Ports": [{"Name": "http", "Protocol": "tcp", "TargetPort": 80, "PublishedPort": 8080, "PublishMode": "host"}],
    },
}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Living]:
    with living_api(tmp_path) as living:
        yield living


@pytest.fixture
def manager(api: Living) -> Living:
    api.client.post("/swarm/init", {"ListenAddr": "0.0.0.0:2377", "Spec": {}})
    return api


def spec(name: str, **task: object) -> dict[str, Any]:
    return {"Name": name, "TaskTemplate": {"ContainerSpec": {"Image": "host", "Args": ["sleep", "9"]}, **task}}


def make(api: Living, body: dict[str, Any]) -> str:
    made: Any = api.client.post("/services/create", body)
    return str(made["ID"])


def get(api: Living, path: str, **query: str | bool) -> Any:
    return api.client.get(path, query)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/services"),
        ("GET", "/services/x"),
        ("POST", "/services/create"),
        ("POST", "/services/x/update"),
        ("DELETE", "/services/x"),
        ("GET", "/services/x/logs"),
        ("GET", "/tasks"),
        ("GET", "/tasks/x"),
        ("GET", "/tasks/x/logs"),
    ],
)
def test_a_node_that_is_no_manager_says_so(api: Living, method: str, path: str) -> None:
    error = refused(api, method, path)
    assert error.status == 503
    assert error.message.startswith('This node is not a swarm manager. Use "docker swarm init"')


def test_another_manager_passes_on_to_the_leader(manager: Living) -> None:
    other = OtherLeader(
        {"GET /services": (200, [{"ID": "far"}]), "GET /tasks/x": (404, {"message": "task x not found"})}
    )
    manager.node.swarm.elsewhere = other
    assert get(manager, "/services", status=True) == [{"ID": "far"}]
    assert refused(manager, "GET", "/tasks/x").status == 404
    assert [asked[1] for asked in other.asked] == ["/services?status=1", "/tasks/x"]
    assert refused(manager, "GET", "/services/x/logs", follow=True, stdout=True).status == 503


class TestSpec:
    def test_what_is_read_is_what_was_sent(self, manager: Living) -> None:
        identifier = make(manager, SPEC)
        assert get(manager, f"/services/{identifier}", insertDefaults=True)["Spec"] == SPEC

    def test_a_short_one_is_completed_with_dockers_defaults(self, manager: Living) -> None:
        found = get(manager, f"/services/{make(manager, spec('small'))}")["Spec"]
        assert found["Mode"] == {"Replicated": {"Replicas": 1}}
        assert found["TaskTemplate"]["RestartPolicy"] == {"Condition": "any", "Delay": 5 * 10**9, "MaxAttempts": 0}
        assert found["UpdateConfig"] == {
            "Parallelism": 1,
            "Delay": 0,
            "FailureAction": "pause",
            "Monitor": 5 * 10**9,
            "MaxFailureRatio": 0.0,
            "Order": "stop-first",
        }
        assert found["EndpointSpec"] == {"Mode": "vip"}
        assert found["TaskTemplate"]["ContainerSpec"]["StopGracePeriod"] == 10**10

    def test_ranges_of_addresses_are_single_ones_for_slots(self, manager: Living) -> None:
        network = _network(manager)
        body = spec("fixed", Networks=[{"Target": "sea", "Addresses": ["10.77.0.20-10.77.0.22", "10.77.0.9"]}])
        identifier = make(manager, body)
        attached = get(manager, f"/services/{identifier}")["Spec"]["TaskTemplate"]["Networks"]
        addresses = ["10.77.0.20", "10.77.0.21", "10.77.0.22", "10.77.0.9"]
        assert attached == [{"Target": network, "Addresses": addresses}]

    def test_an_update_by_dockers_client_keeps_what_it_cannot_say(self, manager: Living) -> None:
        network = _network(manager)
        body = spec("kept", Networks=[{"Target": network, "Addresses": ["10.77.0.20"]}])
        port = {"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 81, "PublishMode": "host"}
        body["EndpointSpec"] = {"Ports": [{**port, "HostIP": "127.0.0.1"}]}
        identifier = make(manager, body)
        body["TaskTemplate"]["Networks"] = [{"Target": "sea"}]
        body["EndpointSpec"] = {"Ports": [port]}
        self._update(manager, identifier, body)
        found = get(manager, f"/services/{identifier}")["Spec"]
        assert found["TaskTemplate"]["Networks"][0]["Addresses"] == ["10.77.0.20"]
        assert found["EndpointSpec"]["Ports"][0]["HostIP"] == "127.0.0.1"
        body["TaskTemplate"]["Networks"] = [{"Target": "sea", "Addresses": []}]
        self._update(manager, identifier, body)
        assert "Addresses" not in get(manager, f"/services/{identifier}")["Spec"]["TaskTemplate"]["Networks"][0]

    @pytest.mark.parametrize(
        ("body", "status", "words"),
        [
            ({"Name": "x", "TaskTemplate": {}}, 400, "image reference must be provided"),
            ({**spec("x"), "Mode": {"GlobalJob": {}}}, 501, "jobs are not implemented"),
            ({**spec("x"), "Mode": {"Global": {}, "Replicated": {}}}, 400, "not both"),
            (spec("x", Runtime="plugin"), 501, "no containers"),
            (spec("x", Resources={"Limits": {"MemoryBytes": 1}}), 400, "Minimum memory limit"),
            (spec("x", Networks=[{"Target": "n", "Addresses": ["10.0.0.9-10.0.0.1"]}]), 400, "invalid range"),
            (spec("x", Networks=[{"Target": "n", "Addresses": ["10.0.0.1-10.9.0.1"]}]), 400, "invalid range"),
            (spec("x", Networks=[{"Target": "none-such"}]), 404, "network none-such not found"),
            (spec("x.y"), 400, "name must be valid as a DNS name component"),
            ({**spec("x"), "EndpointSpec": {"Mode": "odd"}}, 400, "odd"),
            (
                {"Name": "x", "TaskTemplate": {"ContainerSpec": {"Image": "host", "Secrets": [{}]}}},
                501,
                "secrets and configs are not implemented",
            ),
            (
                {"Name": "x", "TaskTemplate": {"ContainerSpec": {"Image": "host", "Hosts": ["lonely"]}}},
                400,
                "invalid hosts entry",
            ),
        ],
    )
    def test_what_cannot_be_is_refused(self, manager: Living, body: object, status: int, words: str) -> None:
        error = refused(manager, "POST", "/services/create", body)
        assert (error.status, words in error.message) == (status, True), error.message
        assert get(manager, "/services") == []

    def test_an_image_of_a_registrys_client_is_the_hosts_own(self, manager: Living) -> None:
        body = {"Name": "tagged", "TaskTemplate": {"ContainerSpec": {"Image": "host:latest"}}}
        found = get(manager, f"/services/{make(manager, body)}")
        assert found["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"] == "host"

    def test_a_service_without_a_name_gets_one(self, manager: Living) -> None:
        body = {"TaskTemplate": {"ContainerSpec": {"Image": "docker.io/library/nginx:1"}}}
        assert get(manager, f"/services/{make(manager, body)}")["Spec"]["Name"].startswith("nginx-")

    @staticmethod
    def _update(manager: Living, identifier: str, body: object) -> None:
        version = get(manager, f"/services/{identifier}")["Version"]["Index"]
        manager.client.post(f"/services/{identifier}/update", body, {"version": version})


class TestServices:
    def test_are_listed_by_what_they_are(self, manager: Living) -> None:
        first = make(manager, {**spec("one"), "Labels": {"a": "b"}})
        second = make(manager, {**spec("two"), "Mode": {"Global": {}}})
        assert [item["ID"] for item in get(manager, "/services")] == [first, second]
        for wanted, found in (
            ('{"name":["tw"]}', [second]),
            ('{"label":["a=b"]}', [first]),
            ('{"mode":["global"]}', [second]),
            (f'{{"id":["{first[:8]}"]}}', [first]),
            ('{"name":["other"]}', []),
        ):
            assert [item["ID"] for item in get(manager, "/services", filters=wanted)] == found, wanted
        assert refused(manager, "GET", "/services", filters='{"odd":["x"]}').status == 400
        assert "ServiceStatus" not in get(manager, "/services")[0]
        counted = get(manager, "/services", status=True)[0]["ServiceStatus"]
        assert counted == {"RunningTasks": 0, "DesiredTasks": 1, "CompletedTasks": 0}

    def test_names_are_unique(self, manager: Living) -> None:
        make(manager, spec("one"))
        error = refused(manager, "POST", "/services/create", spec("one"))
        assert (error.status, "already exists" in error.message) == (409, True)

    def test_change_only_on_their_present_version_and_back(self, manager: Living) -> None:
        identifier = make(manager, spec("one"))
        found = get(manager, "/services/one")
        changed = {**found["Spec"], "Labels": {"new": "yes"}}
        path = f"/services/{identifier}/update"
        assert refused(manager, "POST", path, changed).status == 400
        stale = refused(manager, "POST", path, changed, version=found["Version"]["Index"] + 7)
        assert "out of sequence" in stale.message
        assert refused(manager, "POST", path, changed, version=found["Version"]["Index"], rollback="x").status == 400
        manager.client.post(path, changed, {"version": found["Version"]["Index"]})
        after = get(manager, "/services/one")
        assert after["Spec"]["Labels"] == {"new": "yes"}
        assert after["PreviousSpec"]["Labels"] == {}
        manager.client.post(path, after["Spec"], {"version": after["Version"]["Index"], "rollback": "previous"})
        assert get(manager, "/services/one")["Spec"]["Labels"] == {}

    def test_in_mode_vip_have_an_address_in_each_network(self, manager: Living) -> None:
        network = _network(manager)
        make(manager, spec("one", Networks=[{"Target": "sea", "Aliases": ["w"]}]))
        endpoint = get(manager, "/services/one")["Endpoint"]
        assert endpoint["VirtualIPs"][0]["NetworkID"] == network
        make(manager, {**spec("two", Networks=[{"Target": "sea"}]), "EndpointSpec": {"Mode": "dnsrr"}})
        assert "VirtualIPs" not in get(manager, "/services/two")["Endpoint"]

    def test_go(self, manager: Living) -> None:
        make(manager, spec("one"))
        manager.client.delete("/services/one")
        assert get(manager, "/services") == []
        assert refused(manager, "DELETE", "/services/one").status == 404
        assert refused(manager, "GET", "/services/one").message == "service one not found"

    def test_are_told_of(self, manager: Living) -> None:
        identifier = make(manager, spec("one"))
        manager.client.delete("/services/one")
        told = [(notice.action, notice.id) for notice in manager.node.swarm.told if notice.type == "service"]
        assert told == [("create", identifier), ("remove", identifier)]


class TestTasks:
    def test_are_listed_by_what_they_are(self, manager: Living) -> None:
        service = make(manager, {**spec("one"), "Mode": {"Replicated": {"Replicas": 2}}, "Labels": {"a": "b"}})
        make(manager, spec("two"))
        tasks = get(manager, "/tasks", filters=f'{{"service":["{service}"]}}')
        assert sorted(task["Slot"] for task in tasks) == [1, 2]
        one = tasks[0]
        assert (one["ServiceID"], one["DesiredState"]) == (service, "running")
        assert one["Status"]["State"] in ("new", "pending")
        assert one["Spec"]["ContainerSpec"]["Args"] == ["sleep", "9"]
        for wanted, count in (
            ("{}", 3),
            ('{"service":["one"]}', 2),
            ('{"service":["none"]}', 0),
            ('{"label":["a=b"]}', 2),
            ('{"_up-to-date":["true"]}', 3),
            ('{"desired-state":["running"]}', 3),
            ('{"desired-state":["shutdown"]}', 0),
            (f'{{"id":["{one["ID"]}"]}}', 1),
            ('{"node":["fakehost"]}', 0),
        ):
            assert len(get(manager, "/tasks", filters=wanted)) == count, wanted
        assert refused(manager, "GET", "/tasks", filters='{"desired-state":["odd"]}').status == 400
        assert get(manager, f"/tasks/{one['ID']}") == get(manager, f"/tasks/{one['ID'][:12]}") == one
        assert refused(manager, "GET", "/tasks/none").message == "task none not found"

    def test_that_wait_say_why(self, manager: Living) -> None:
        make(manager, spec("one", Placement={"Constraints": ["node.labels.none==such"]}))
        status = get(manager, "/tasks")[0]["Status"]
        assert status["State"] == "pending"
        assert "no suitable node" in status.get("Err", "") + status["Message"]

    def test_logs_need_a_stream(self, manager: Living) -> None:
        make(manager, spec("one"))
        assert "at least one stream" in refused(manager, "GET", "/services/one/logs").message
        with manager.client.open("GET", "/services/one/logs", {"stdout": True}) as reply:
            assert reply.read() == b""


async def _count(name: str, last: int) -> Any:
    for number in range(last):
        yield f"{name}{number}"


def test_streams_are_merged_and_their_errors_end_it(api: Living) -> None:
    async def broken() -> Any:
        yield "first"
        raise LookupError("gone")

    async def read(sources: dict[str, Any]) -> list[tuple[str, str]]:
        return [item async for item in merged(sources)]

    found = api.do(lambda: read({"a": _count("a", 3), "b": _count("b", 2)}))
    assert sorted(found) == [("a", "a0"), ("a", "a1"), ("a", "a2"), ("b", "b0"), ("b", "b1")]
    assert api.do(lambda: read({})) == []
    with pytest.raises(LookupError):
        api.do(lambda: read({"x": broken()}))


def _network(manager: Living) -> str:
    body = {"Name": "sea", "Driver": "overlay", "IPAM": {"Config": [{"Subnet": "10.77.0.0/24"}]}}
    made: Any = manager.client.post("/networks/create", body)
    return str(made["Id"])
