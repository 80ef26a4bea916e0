"""The server over its real Unix socket: paths, versions, headers, errors, and every family of calls."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.unit.api.fake_node import FakeNode
from tests.unit.api.living import Living, living_api

from fairlead.api.client import ApiError, Client
from fairlead.api.server import SOCKET_PATH_MAX, serve
from fairlead.model.commands import ConnectNetwork, CreateContainer, CreateNetwork, StopContainer
from fairlead.model.errors import Conflict, Internal, Invalid


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Living]:
    with living_api(tmp_path) as living:
        yield living


def raw(api: Living, request: bytes) -> bytes:
    """All bytes that answer a hand-written request."""
    with socket.socket(socket.AF_UNIX) as wire:
        wire.connect(api.socket)
        wire.sendall(request)
        return b"".join(iter(lambda: wire.recv(65536), b""))


def get(api: Living, path: str) -> bytes:
    return raw(api, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())


def post(api: Living, path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    return raw(api, head.encode() + body)


def refused(api: Living, method: str, path: str, body: object = None) -> ApiError:
    with pytest.raises(ApiError) as caught:
        api.client.call(method, path, body=body)
    return caught.value


def make_container(api: Living, name: str, **config: object) -> str:
    answer = api.client.post("/containers/create", {"Image": "host", "Cmd": ["cat"], **config}, {"name": name})
    assert isinstance(answer, dict)
    return str(answer["Id"])


class TestSocket:
    def test_is_for_its_owner_and_group_only(self, api: Living) -> None:
        assert stat.S_IMODE(os.stat(api.socket).st_mode) == 0o660

    def test_is_gone_after_close(self, tmp_path: Path) -> None:
        with living_api(tmp_path) as living:
            path = living.socket
        assert not os.path.exists(path)
        assert os.listdir(tmp_path) == []

    def test_stale_file_is_replaced(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(tmp_path / "api.sock"))
        with living_api(tmp_path) as living:
            assert living.client.get("/networks")

    def test_living_daemon_is_not_pushed_aside(self, api: Living) -> None:
        with pytest.raises(Conflict, match="already answers"):
            api.do(lambda: serve(FakeNode(), api.socket))
        assert api.client.get("/networks")

    def test_close_leaves_the_file_of_a_successor_alone(self, tmp_path: Path) -> None:
        with living_api(tmp_path) as living:
            os.unlink(living.socket)
            Path(living.socket).write_text("another's")
        assert (tmp_path / "api.sock").read_text() == "another's"

    def test_path_too_long_is_told(self, api: Living, tmp_path: Path) -> None:
        with pytest.raises(Invalid, match=f"longer than {SOCKET_PATH_MAX} bytes"):
            api.do(lambda: serve(FakeNode(), tmp_path / ("x" * 120)))

    def test_missing_directory_is_told(self, api: Living, tmp_path: Path) -> None:
        with pytest.raises(Internal, match="cannot listen"):
            api.do(lambda: serve(FakeNode(), tmp_path / "no" / "api.sock"))


class TestConventions:
    def test_headers_of_the_house_on_answers_and_errors(self, api: Living) -> None:
        for path in ("/version", "/nonsense"):
            head = get(api, path).partition(b"\r\n\r\n")[0].decode()
            assert "Api-Version: 1.48" in head
            assert "Ostype: linux" in head
            assert "Server: Fairlead/" in head

    def test_ping_by_get_and_head(self, api: Living) -> None:
        head, _, body = get(api, "/_ping").partition(b"\r\n\r\n")
        assert body == b"OK"
        assert b"Swarm: inactive" in head
        assert b"no-store" in head
        head, _, body = raw(api, b"HEAD /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert body == b""

    @pytest.mark.parametrize("path", ["/networks", "/v1.24/networks", "/v1.41/networks", "/v1.48/networks"])
    def test_paths_with_and_without_version(self, api: Living, path: str) -> None:
        networks = api.client.get(path)
        assert isinstance(networks, list)
        assert [network["Name"] for network in networks] == ["bridge", "host", "none"]

    def test_versions_out_of_range(self, api: Living) -> None:
        new = refused(api, "GET", "/v1.99/networks")
        assert new.status == 400
        assert new.message == "client version 1.99 is too new. Maximum supported API version is 1.48"
        old = refused(api, "GET", "/v1.20/networks")
        assert old.message == (
            "client version 1.20 is too old. Minimum supported API version is 1.24, "
            "please upgrade your client to a newer version"
        )

    @pytest.mark.parametrize("path", ["/", "/nonsense", "/v1.41", "/networks/a/b/c", "//", "/vx/_ping"])
    def test_unknown_paths(self, api: Living, path: str) -> None:
        error = refused(api, "GET", path)
        assert (error.status, error.message) == (404, "page not found")

    def test_json_ends_in_a_newline(self, api: Living) -> None:
        assert get(api, "/networks").endswith(b"]\n")

    def test_hint_is_the_second_line_of_the_message_and_a_field(self, api: Living) -> None:
        body = json.loads(get(api, "/networks/nope").partition(b"\r\n\r\n")[2])
        assert body["message"].splitlines() == ["network nope not found", "`fairlead network ls` lists what is there"]
        assert body["hint"] == "`fairlead network ls` lists what is there"
        assert body["kind"] == "not-found"

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"[]",
            b"null",
            b"7",
            b'{"Name": 7}',
            b'{"Name": "x", "Labels": ["a"]}',
            b'{"Name": "x", "IPAM": {"Config": {}}}',
            b'{"Name": "x", "IPAM": {"Config": [{"AuxiliaryAddresses": [1]}]}}',
            b'{"Name": "\xff"}',
            b'{"Name": "\\ud800"}',
            b'{"x":' + b"[" * 100_000,
        ],
    )
    def test_bad_bodies_are_400_with_a_sentence(self, api: Living, body: bytes) -> None:
        answer = post(api, "/networks/create", body)
        assert answer.startswith(b"HTTP/1.1 400"), answer
        assert b"invalid JSON" in answer
        assert not any(isinstance(command, CreateNetwork) for command in api.node.seen)

    def test_wrong_type_names_the_field(self, api: Living) -> None:
        error = refused(api, "POST", "/networks/create", {"Name": "x", "EnableIPv6": "yes"})
        assert "$.EnableIPv6" in error.message

    def test_unknown_fields_are_ignored(self, api: Living) -> None:
        assert api.client.post("/networks/create", {"Name": "x", "CheckDuplicate": True, "Whatever": {"a": [1]}})

    def test_fault_in_a_handler_is_a_plain_500(self, api: Living, caplog: pytest.LogCaptureFixture) -> None:
        api.node.facts = None  # type: ignore[assignment]
        error = refused(api, "GET", "/version")
        assert error.status == 500
        assert "AttributeError" in caplog.text
        assert api.client.get("/networks")


class TestNetworks:
    def test_create_passes_everything_on(self, api: Living) -> None:
        body = {
            "Name": "web",
            "Driver": "bridge",
            "EnableIPv4": False,
            "EnableIPv6": True,
            "Internal": True,
            "Attachable": True,
            "Scope": "local",
            "IPAM": {
                "Driver": "default",
                "Options": None,
                "Config": [
                    {
                        "Subnet": "10.9.0.0/24",
                        "IPRange": "10.9.0.128/25",
                        "Gateway": "10.9.0.1",
                        "AuxiliaryAddresses": {"r": "10.9.0.2"},
                    }
                ],
            },
            "Options": {"o": "1"},
            "Labels": {"tier": "front"},
        }
        answer = api.client.post("/networks/create", body)
        assert isinstance(answer, dict)
        assert answer["Warning"] == ""
        command = api.node.seen[-1]
        assert isinstance(command, CreateNetwork)
        assert (command.ipv4, command.ipv6, command.internal, command.attachable) == (False, True, True, True)
        assert command.pools[0].aux == {"r": "10.9.0.2"}
        shown = api.client.get("/networks/web")
        assert isinstance(shown, dict)
        assert shown["Id"] == answer["Id"]
        assert shown["IPAM"]["Config"] == body["IPAM"]["Config"]  # type: ignore[index]
        assert shown["Status"]["IPAM"]["Subnets"] == {"10.9.0.0/24": {"IPsInUse": 3, "DynamicIPsAvailable": 65533}}

    def test_conflict_forbidden_not_found(self, api: Living) -> None:
        api.client.post("/networks/create", {"Name": "web"})
        assert refused(api, "POST", "/networks/create", {"Name": "web"}).status == 409
        predefined = refused(api, "POST", "/networks/create", {"Name": "bridge"})
        assert (predefined.status, predefined.message) == (
            403,
            "operation is not permitted on predefined bridge network ",
        )
        assert refused(api, "DELETE", "/networks/nope").status == 404
        assert refused(api, "POST", "/networks/nope/connect", {"Container": "c"}).status == 404

    def test_only_networks_that_span_nodes_can_be_ingress(self, api: Living) -> None:
        assert refused(api, "POST", "/networks/create", {"Name": "x", "Ingress": True}).status == 403

    def test_connect_shows_up_in_both_inspects(self, api: Living) -> None:
        api.client.post("/networks/create", {"Name": "web"})
        identifier = make_container(api, "c1")
        api.client.post("/containers/c1/start")
        endpoint = {"IPAMConfig": {"IPv4Address": "172.20.0.9"}, "Aliases": ["db"], "GwPriority": 10}
        assert api.client.post("/networks/web/connect", {"Container": "c1", "EndpointConfig": endpoint}) is None
        command = api.node.seen[-1]
        assert isinstance(command, ConnectNetwork)
        assert (command.settings.ipv4, command.settings.aliases, command.settings.gw_priority) == (
            "172.20.0.9",
            ("db",),
            10,
        )
        network, container = api.client.get("/networks/web"), api.client.get("/containers/c1/json")
        assert isinstance(network, dict)
        assert isinstance(container, dict)
        assert network["Containers"][identifier]["IPv4Address"] == "172.20.0.9/16"
        place = container["NetworkSettings"]["Networks"]["web"]
        assert (place["IPAddress"], place["IPPrefixLen"], place["Gateway"]) == ("172.20.0.9", 16, "172.20.0.1")
        assert place["DNSNames"] == ["c1", "db", identifier[:12]]

    def test_disconnect_twice_is_500_as_in_docker(self, api: Living) -> None:
        identifier = make_container(api, "c1")
        api.client.post("/containers/c1/start")
        api.client.post("/networks/bridge/disconnect", {"Container": "c1", "Force": False})
        error = refused(api, "POST", "/networks/bridge/disconnect", {"Container": "c1"})
        assert (error.status, error.message) == (500, f"container {identifier} is not connected to network bridge")

    def test_container_must_be_named(self, api: Living) -> None:
        assert refused(api, "POST", "/networks/bridge/connect", {}).status == 400
        assert refused(api, "POST", "/networks/bridge/disconnect", {"Container": None}).status == 400

    def test_prune_leaves_what_is_used_or_predefined(self, api: Living) -> None:
        for name in ("used", "free", "kept"):
            api.client.post("/networks/create", {"Name": name, "Labels": {"keep": "1"} if name == "kept" else None})
        make_container(api, "c1", HostConfig={"NetworkMode": "used"})
        api.client.post("/containers/c1/start")
        query = {"filters": json.dumps({"label!": {"keep": True}})}
        assert api.client.post("/networks/prune", query=query) == {"NetworksDeleted": ["free"]}
        assert api.client.post("/networks/prune", query=query) == {"NetworksDeleted": None}

    @pytest.mark.parametrize(
        ("filters", "names"),
        [
            ({"driver": ["null"]}, ["none"]),
            ({"driver": {"host": True, "bridge": False}}, ["host"]),
            ({"name": ["^ho"]}, ["host"]),
            ({"name": ["o"]}, ["host", "none"]),
            ({"type": ["builtin"]}, ["bridge", "host", "none"]),
            ({"type": ["custom"]}, []),
            ({"dangling": ["true"]}, []),
            ({"scope": ["swarm"]}, []),
            ({"label": ["x"]}, []),
        ],
    )
    def test_list_filters(self, api: Living, filters: dict[str, object], names: list[str]) -> None:
        networks = api.client.get("/networks", {"filters": json.dumps(filters)})
        assert isinstance(networks, list)
        assert [network["Name"] for network in networks] == names

    def test_bad_filters(self, api: Living) -> None:
        def status(filters: str) -> int:
            with pytest.raises(ApiError) as caught:
                api.client.get("/networks", {"filters": filters})
            return caught.value.status

        assert status('{"colour":["red"]}') == 400
        assert status("{") == 400
        assert status('{"dangling":["maybe"]}') == 400
        assert status('{"type":["odd"]}') == 500
        assert status('{"name":["(a+)+$"]}') == 400

    def test_verbose_must_be_a_truth_value(self, api: Living) -> None:
        assert api.client.get("/networks/host", {"verbose": True})
        assert "strconv.ParseBool" in refused(api, "GET", "/networks/host?verbose=maybe").message


class TestContainers:
    def test_life(self, api: Living) -> None:
        identifier = make_container(api, "c1", Labels={"a": "b"})

        def status() -> str:
            shown = api.client.get("/containers/c1/json")
            assert isinstance(shown, dict)
            return str(shown["State"]["Status"])

        assert status() == "created"
        with api.client.open("POST", "/containers/c1/start") as reply:
            assert reply.status == 204
        with api.client.open("POST", "/containers/c1/start") as reply:
            assert reply.status == 304
        assert status() == "running"
        rows = api.client.get("/containers/json")
        assert isinstance(rows, list)
        assert (rows[0]["Id"], rows[0]["Names"], rows[0]["State"]) == (identifier, ["/c1"], "running")
        assert refused(api, "DELETE", "/containers/c1").status == 409
        api.client.post("/containers/c1/stop", query={"t": 3})
        assert api.node.seen[-1] == StopContainer("c1", 3)
        with api.client.open("POST", "/containers/c1/stop") as reply:
            assert reply.status == 304
        assert status() == "exited"
        assert api.client.get("/containers/json") == []
        api.client.post("/containers/c1/rename", query={"name": "c2"})
        api.client.delete("/containers/c2")
        assert refused(api, "GET", f"/containers/{identifier}/json").status == 404

    def test_list_filters_and_limit(self, api: Living) -> None:
        for name in ("c1", "c2", "c3"):
            make_container(api, name, Labels={"n": name})
        api.client.post("/containers/c3/start")

        def names(**query: object) -> list[str]:
            texts = {key: json.dumps(value) if key == "filters" else str(value) for key, value in query.items()}
            rows = api.client.get("/containers/json", texts)
            assert isinstance(rows, list)
            return [row["Names"][0] for row in rows]

        assert names() == ["/c3"]
        assert names(all=1) == ["/c3", "/c2", "/c1"]
        assert names(limit=2) == ["/c3", "/c2"]
        assert names(filters={"status": ["created"]}) == ["/c2", "/c1"]
        assert names(all="true", filters={"name": ["^/c1$"]}) == ["/c1"]
        assert names(all=1, filters={"label": ["n=c2"]}) == ["/c2"]
        assert names(all=1, filters={"network": ["bridge"]}) == ["/c3", "/c2", "/c1"]
        assert names(all=1, filters={"network": ["host"]}) == []
        assert names(all=1, filters={"before": ["c2"]}) == ["/c1"]
        assert names(all=1, filters={"ancestor": ["other"]}) == []

    def test_whole_numbers_are_checked(self, api: Living) -> None:
        make_container(api, "c1")
        for path in ("/containers/json?limit=x", f"/containers/json?limit={'9' * 30}"):
            assert refused(api, "GET", path).status == 400
        assert refused(api, "POST", "/containers/c1/resize?h=1").status == 400
        assert refused(api, "POST", "/containers/c1/wait?condition=odd").status == 400

    def test_create_body_becomes_a_config(self, api: Living) -> None:
        host = {
            "NetworkMode": "default",
            "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}], "53/udp": None},
            "Binds": ["/a:/b:ro"],
            "AutoRemove": True,
        }
        make_container(api, "c1", HostConfig=host, ExposedPorts={"7000-7001/udp": {}}, Entrypoint="sh", StopTimeout=-1)
        command = api.node.seen[-1]
        assert isinstance(command, CreateContainer)
        config = command.config
        assert (config.entrypoint, config.command, config.network_mode) == (("sh",), ("cat",), "bridge")
        assert [(port.proto, port.container_port, port.host_port) for port in config.ports] == [
            ("tcp", 80, 8080),
            ("udp", 53, 0),
        ]
        assert config.exposed == ("7000/udp", "7001/udp")
        assert config.stop_timeout_s == 2**31 - 1

    @pytest.mark.parametrize(
        "host",
        [
            {"Links": ["a:b"]},
            {"VolumesFrom": ["a"]},
            {"UsernsMode": "private"},
            {"Runtime": "kata"},
            {"SecurityOpt": ["seccomp={}"]},
            {"LogConfig": {"Type": "syslog"}},
            {"DeviceRequests": [{"Count": -1}]},
            {"StorageOpt": {"size": "10G"}},
        ],
    )
    def test_powers_that_are_not_there_are_refused(self, api: Living, host: dict[str, object]) -> None:
        error = refused(api, "POST", "/containers/create", {"Image": "host", "HostConfig": host})
        assert error.status == 501
        assert "not implemented" in error.message or "no log driver" in error.message

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"Image": "host", "HostConfig": {"PortBindings": {"x/tcp": []}}},
            {"Image": "host", "HostConfig": {"PortBindings": {"80/icmp": []}}},
            {"Image": "host", "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "70000"}]}}},
            {"Image": "host", "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": 80}]}}},
            {"Image": "host", "ExposedPorts": {"9-3/tcp": {}}},
            {"Image": "host", "Cmd": 5},
            {"Image": "host", "StopTimeout": 2**70},
            {"Image": "host", "HostConfig": {"Binds": ["relative"]}},
        ],
    )
    def test_bad_create_bodies(self, api: Living, body: dict[str, object]) -> None:
        assert refused(api, "POST", "/containers/create", body).status == 400

    def test_limits_and_powers_reach_the_model(self, api: Living) -> None:
        host = {
            "Memory": 64 << 20,
            "NanoCpus": 500_000_000,
            "PidsLimit": -1,
            "CapAdd": ["NET_ADMIN"],
            "SecurityOpt": ["no-new-privileges", "seccomp=unconfined"],
            "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}],
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "3"}},
            "Tmpfs": {"/scratch": "size=1m"},
        }
        health = {"Test": ["CMD-SHELL", "true"], "Interval": 1_500_000_000, "Retries": 2}
        make_container(api, "c1", HostConfig=host, Healthcheck=health, Volumes={"/data": {}})
        config = api.node.state.container("c1").config
        assert (config.limits.memory_bytes, config.limits.nano_cpus, config.limits.pids) == (64 << 20, 500_000_000, -1)
        assert (config.powers.no_new_privileges, config.powers.seccomp_unconfined) == (True, True)
        assert (config.restart.name, config.restart.retries) == ("on-failure", 3)
        assert (config.logging.size_bytes, config.logging.files) == (1 << 20, 3)
        assert config.health is not None
        assert (config.health.words, config.health.interval_s) == (("/bin/sh", "-c", "true"), 1.5)
        assert [(mount.kind, mount.target) for mount in config.mounts] == [("tmpfs", "/scratch"), ("volume", "/data")]
        shown = api.client.get("/containers/c1/json")
        assert isinstance(shown, dict)
        assert shown["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
        assert shown["Config"]["Healthcheck"]["Interval"] == 1_500_000_000
        assert shown["HostConfig"]["Tmpfs"] == {"/scratch": "size=1m"}

    def test_wait_sends_its_head_before_the_container_starts(self, api: Living) -> None:
        make_container(api, "c1")
        with api.client.open("POST", "/containers/c1/wait", {"condition": "next-exit"}) as waiting:
            assert waiting.status == 200
            api.client.post("/containers/c1/start")
            api.client.post("/containers/c1/kill")
            assert json.loads(waiting.read()) == {"StatusCode": 137}

    def test_logs_in_frames(self, api: Living) -> None:
        make_container(api, "c1")
        with api.client.open("GET", "/containers/c1/logs", {"stdout": True, "stderr": True}) as reply:
            assert reply.headers["content-type"] == "application/vnd.docker.multiplexed-stream"
            assert list(reply.frames()) == [("stdout", b"one\n"), ("stderr", b"two\n"), ("stdout", b"three\n")]
        with api.client.open("GET", "/containers/c1/logs", {"stderr": 1, "timestamps": 1}) as reply:
            assert list(reply.frames()) == [("stderr", b"2023-11-14T22:13:21.000000000Z two\n")]
        with api.client.open("GET", "/containers/c1/logs", {"stdout": 1, "tail": "1"}) as reply:
            assert list(reply.frames()) == [("stdout", b"three\n")]
        until: dict[str, str | int | bool | None] = {"stdout": 1, "until": "2023-11-14T22:13:21Z"}
        with api.client.open("GET", "/v1.41/containers/c1/logs", until) as reply:
            assert reply.headers["content-type"] == "application/vnd.docker.raw-stream"
            assert list(reply.frames()) == [("stdout", b"one\n")]
        assert "at least one stream" in refused(api, "GET", "/containers/c1/logs").message

    def test_logs_of_a_terminal_are_raw(self, api: Living) -> None:
        make_container(api, "c1", Tty=True)
        with api.client.open("GET", "/containers/c1/logs", {"stdout": True}) as reply:
            assert reply.read() == b"one\ntwo\nthree\n"

    def test_attach_carries_bytes_both_ways_and_half_closes(self, api: Living) -> None:
        make_container(api, "c1", OpenStdin=True)
        query = {"stream": 1, "stdin": 1, "stdout": 1, "stderr": 1}
        with api.client.hijack("/containers/c1/attach", query) as reply:
            assert reply.status == 101
            big = os.urandom(300_000)
            reply.connection.sendall(big)
            reply.connection.shutdown(socket.SHUT_WR)
            frames = list(reply.frames())
        assert frames[0] == ("stderr", b"hello\n")
        assert b"".join(data for stream, data in frames if stream == "stdout") == big
        assert api.node.streams[0].gone.is_set()

    def test_attach_leaves_out_what_was_not_asked(self, api: Living) -> None:
        make_container(api, "c1", OpenStdin=True)
        with api.client.hijack("/containers/c1/attach", {"stream": 1, "stdin": 1, "stdout": 1}) as reply:
            reply.connection.sendall(b"x")
            reply.connection.shutdown(socket.SHUT_WR)
            assert list(reply.frames()) == [("stdout", b"x")]

    def test_client_that_leaves_lets_go_of_the_stream(self, api: Living) -> None:
        make_container(api, "c1", OpenStdin=True)
        reply = api.client.hijack("/containers/c1/attach", {"stream": 1, "stdout": 1, "stderr": 1, "stdin": 1})
        next(reply.frames())
        reply.close()

        api.do(api.node.streams[0].gone.wait)

    def test_attach_without_upgrade_is_answered_by_200(self, api: Living) -> None:
        make_container(api, "c1")
        answer = post(api, "/containers/c1/attach?stream=1&stderr=1", b"")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\x02\x00\x00\x00\x00\x00\x00\x06hello\n")

    def test_exec(self, api: Living) -> None:
        make_container(api, "c1")
        assert refused(api, "POST", "/containers/c1/exec", {"Cmd": ["ls"]}).status == 409
        api.client.post("/containers/c1/start")
        assert refused(api, "POST", "/containers/c1/exec", {"Cmd": []}).message == "No exec command specified"
        answer = api.client.post("/containers/c1/exec", {"Cmd": ["cat"], "AttachStdin": True, "Tty": True})
        assert isinstance(answer, dict)
        path = f"/exec/{answer['Id']}"
        with api.client.hijack(f"{path}/start", body={"Detach": False, "Tty": True}) as reply:
            reply.connection.sendall(b"typed")
            reply.connection.shutdown(socket.SHUT_WR)
            assert reply.read() == b"hello\ntyped"
        state = api.client.get(f"{path}/json")
        assert isinstance(state, dict)
        assert state["ExitCode"] == 3
        api.client.post(f"{path}/resize", query={"h": 24, "w": 80})
        assert api.node.sizes[-1][1:] == (24, 80)
        assert refused(api, "POST", "/exec/nope/start", {"Detach": True}).status == 404

    def test_detached_exec_answers_at_once(self, api: Living) -> None:
        make_container(api, "c1")
        api.client.post("/containers/c1/start")
        answer = api.client.post("/containers/c1/exec", {"Cmd": ["cat"], "AttachStdin": True})
        assert isinstance(answer, dict)
        assert api.client.post(f"/exec/{answer['Id']}/start", {"Detach": True}) is None


class TestEvents:
    def test_past_with_filters(self, api: Living) -> None:
        api.client.post("/networks/create", {"Name": "web"})
        make_container(api, "c1")
        query = {"since": "1", "until": "1700001000"}

        def actions(filters: dict[str, list[str]]) -> list[str]:
            with api.client.open("GET", "/events", {**query, "filters": json.dumps(filters)}) as reply:
                events = [json.loads(line) for line in reply.lines()]
            return [f"{event['Type']} {event['Action']}" for event in events]

        assert actions({}) == ["network create", "container create"]
        assert actions({"type": ["network"]}) == ["network create"]
        assert actions({"container": ["c1"]}) == ["container create"]
        assert actions({"network": ["other"]}) == []
        assert actions({"event": ["create"], "label": ["name=web"]}) == ["network create"]

    def test_from_now_on(self, api: Living) -> None:
        api.client.post("/networks/create", {"Name": "before"})
        with api.client.open("GET", "/events") as reply:
            lines = reply.lines()
            api.client.post("/networks/create", {"Name": "web"})
            event = json.loads(next(lines))
        assert event["Actor"]["Attributes"] == {"name": "web", "type": "bridge"}
        assert (event["Type"], event["Action"], event["scope"]) == ("network", "create", "local")
        assert event["timeNano"] == event["time"] * 10**9

    def test_bad_times(self, api: Living) -> None:
        assert refused(api, "GET", "/events?since=yesterday").status == 400
        assert "cannot be after" in refused(api, "GET", "/events?since=20&until=10").message


class TestImages:
    def test_import_then_inspect(self, api: Living, tmp_path: Path) -> None:
        (tmp_path / "x.tar").write_bytes(b"t" * 200_000)
        with (tmp_path / "x.tar").open("rb") as source:
            assert api.client.upload("/fairlead/images/import", source, {"name": "alpine"})["Name"] == "alpine"
        assert api.node.images.archives["alpine"] == b"t" * 200_000
        images = api.client.get("/images/json")
        assert isinstance(images, list)
        assert [image["RepoTags"] for image in images] == [["host:latest"], ["alpine:latest"]]
        shown = api.client.get("/images/alpine:latest/json")
        assert isinstance(shown, dict)
        assert shown["Size"] == 200_000

    def test_there_is_no_registry(self, api: Living) -> None:
        error = refused(api, "POST", "/images/create?fromImage=docker.io/library/alpine&tag=latest")
        assert (error.status, error.message) == (404, "No such image: alpine")
        assert "fairlead image import" in error.hint
        assert refused(api, "GET", "/images/a/b/c/json").status == 404

    def test_bad_names(self, api: Living) -> None:
        for name in ("", "../x", "host"):
            assert refused(api, "POST", f"/fairlead/images/import?name={name}").status == 400


class TestAbsent:
    @pytest.mark.parametrize(
        ("method", "path", "status", "words"),
        [
            ("GET", "/containers/c1/changes", 501, "changes to a container's files: not implemented here"),
            ("POST", "/commit?container=c1", 501, "making images from containers"),
            ("POST", "/build?t=x", 501, "building images"),
            ("POST", "/images/load", 501, "loading saved images"),
            ("GET", "/images/get?names=x", 501, "saving images"),
            ("GET", "/images/team/x/get", 501, "saving images"),
            ("POST", "/images/team/x/push", 501, "push"),
            ("POST", "/auth", 501, "login"),
            ("GET", "/plugins/x/json", 404, "plugin 'x' not found"),
            ("POST", "/plugins/pull", 501, "plugins"),
            ("GET", "/services", 503, "This node is not a swarm manager."),
            ("POST", "/services/create", 503, "This node is not a swarm manager."),
            ("DELETE", "/nodes/x", 503, "This node is not a swarm manager."),
        ],
    )
    def test_what_is_not_here_says_so(self, api: Living, method: str, path: str, status: int, words: str) -> None:
        error = refused(api, method, path)
        assert error.status == status
        assert words in error.message
        assert error.hint

    def test_there_are_no_plugins(self, api: Living) -> None:
        assert api.client.get("/plugins") == []


class TestClient:
    def test_nobody_there(self, tmp_path: Path) -> None:
        with pytest.raises(ApiError) as caught:
            Client(f"unix://{tmp_path}/none").get("/networks")
        assert caught.value.message.startswith(f"Cannot connect to the Fairlead daemon at unix://{tmp_path}/none.")
        assert "fairlead daemon" in caught.value.hint
        assert caught.value.exit_code == 1

    @pytest.mark.parametrize("host", ["tcp://1.2.3.4:5", "/run/x", "unix://"])
    def test_other_addresses_are_refused(self, host: str) -> None:
        with pytest.raises(ApiError, match="unsupported daemon address"):
            Client(host)

    def test_names_are_quoted(self, api: Living) -> None:
        api.client.post("/networks/create", {"Name": "a b&c=d"})
        networks = api.client.get("/networks", {"filters": json.dumps({"name": ["a b&c=d"]})})
        assert isinstance(networks, list)
        assert networks[0]["Name"] == "a b&c=d"
        shown = api.client.get("/networks/a%20b%26c%3Dd")
        assert isinstance(shown, dict)

    def test_server_that_hangs_up(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "s"))
            listener.listen()
            listener.settimeout(60)
            client = Client(f"unix://{tmp_path}/s")
            reply = _in_thread(lambda: client.get("/x"))
            listener.accept()[0].close()
            with pytest.raises(ApiError):
                reply()


def _in_thread(work: Callable[[], object]) -> Callable[[], object]:
    """Start something beside the test; the result is asked for later."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(work)
    pool.shutdown(wait=False)
    return lambda: future.result(60)
