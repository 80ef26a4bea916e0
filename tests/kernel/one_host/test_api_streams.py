"""What the API does for clients that leave early, listen slowly, or come back after a restart of the daemon."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.kernel.one_host.conftest import MakeHost
from tests.kernel.one_host.containers import Container
from tests.kernel.one_host.host import Host
from tests.kernel.one_host.namespace import PROGRAM_S
from tests.kernel.one_host.programs import IDLE
from tests.kernel.one_host.waiting import until

from fairlead.api.client import ApiError

#: Bytes of a container's labels, which each of its events carries: so much that few events fill a socket.
LABEL_BYTES = 16 * 1024
#: More events than wait for one listener (``daemon.notices``), with those that fit into its socket.
EVENTS = 1200


def asked(host: Host, request: str) -> socket.socket:
    """A connection on which a request has just been sent by hand."""
    wire = socket.socket(socket.AF_UNIX)
    wire.settimeout(PROGRAM_S)
    wire.connect(f"{host.run_dir}/fairlead.sock")
    wire.sendall(request.encode())
    return wire


def memory_bytes(host: Host) -> int:
    """What the daemon holds in memory."""
    return int(Path(f"/proc/{host.pid}/statm").read_text().split()[1]) * 4096


def test_who_leaves_an_export_early_leaves_nothing(host: Host) -> None:
    def held() -> list[str]:
        links = []
        for path in Path(f"/proc/{host.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed since it was listed
                links.append(os.readlink(path))
        mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if f"{host.run_dir}/" in line]
        return [link for link in links if link.startswith(("pipe:", str(host.run_dir)))] + [
            line for line in mounts if line.split()[2] == "overlay"
        ]

    with host.create("full") as container:
        for path in (f"/containers/{container.id}/export", f"/containers/{container.id}/archive?path=/usr"):
            with asked(host, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n") as wire:
                assert wire.recv(65536).startswith(b"HTTP/1.1 200")
                assert held()
        until(lambda: not held(), "the daemon lets go of the tree")
    log = host.log.read_text(errors="replace")
    assert "Traceback" not in log
    assert "Exception ignored" not in log


def test_the_end_of_a_command_is_told_though_its_client_has_left(host: Host) -> None:
    with host.run("left") as container:
        body = {"Cmd": ["sh", "-c", "read line; exit 5"], "AttachStdin": True, "AttachStdout": True}
        made = host.api.post(f"/containers/{container.id}/exec", body)
        assert isinstance(made, dict)
        filters = json.dumps({"event": ["exec_die"]})
        with host.api.open("GET", "/events", {"filters": filters}) as events:
            with host.api.hijack(f"/exec/{made['Id']}/start", body={}):
                pass
            event = json.loads(next(events.lines()))
        assert event["Actor"]["Attributes"]["execID"] == made["Id"]
        assert event["Actor"]["Attributes"]["exitCode"] == "5"
        assert not _running(container, made["Id"])


def _running(container: Container, identifier: str) -> bool:
    found = container.api.get(f"/exec/{identifier}/json")
    assert isinstance(found, dict)
    return bool(found["Running"])


def test_a_listener_that_does_not_read_is_cut_off(host: Host) -> None:
    with host.run("loud", Labels={"long": "x" * LABEL_BYTES}) as container:
        with asked(host, "GET /events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") as wire:
            assert wire.recv(1).startswith(b"H")
            before = memory_bytes(host)
            for _ in range(EVENTS):
                host.api.post(f"/containers/{container.id}/exec", {"Cmd": ["true"]})
            grown = memory_bytes(host) - before
            heard = b"".join(iter(lambda: wire.recv(1 << 20), b""))
        told = heard.count(b'"Action":"exec_create: true"')
        assert 0 < told < EVENTS
        assert grown < EVENTS * LABEL_BYTES  # it waits as what it is, not as text for the wire
        assert "events behind and is cut off" in host.log.read_text()


def test_lists_keep_their_order_over_a_restart(make_host: MakeHost) -> None:
    host = make_host()
    host.start()
    for name in ("zebra", "apple", "mango"):
        host.network(name)
        host.create(f"{name}-box", network=name)
    host.api.post("/containers/apple-box/rename", query={"name": "renamed"})
    host.get("/containers/renamed/json")

    def lists() -> tuple[list[Any], list[Any]]:
        return (
            [row["Names"][0] for row in host.get("/containers/json?all=1")],
            [row["Name"] for row in host.get("/networks")],
        )

    before = lists()
    assert before[0] == ["/mango-box", "/renamed", "/zebra-box"]
    assert [name for name in before[1] if name not in ("bridge", "host", "none")] == ["zebra", "apple", "mango"]
    host.stop()
    host.start()
    assert lists() == before
    for name in ("zebra-box", "renamed", "mango-box"):
        host.api.delete(f"/containers/{name}")
    for name in ("zebra", "apple", "mango"):
        host.remove_network(name)


@pytest.mark.parametrize("mode", ["host", "private", ""])
def test_the_control_groups_that_a_container_sees(host: Host, mode: str) -> None:
    with host.run("seen", IDLE, host_config={"CgroupnsMode": mode}) as container:
        unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
        private = mode == "private" or (not mode and unified)
        assert container.inspect()["HostConfig"]["CgroupnsMode"] == ("private" if private else "host")
        own = [line.rpartition(":")[2] for line in container.read("/proc/1/cgroup").splitlines()]
        inside = container.exec("cat", "/proc/1/cgroup").stdout.splitlines()
        seen = [line.rpartition(":")[2] for line in inside]
        assert any(container.id in path for path in own)
        assert any(container.id in path for path in seen) != private
    with pytest.raises(ApiError, match="invalid cgroup namespace mode: mine") as refused:
        host.create("none", host_config={"CgroupnsMode": "mine"})
    assert refused.value.status == 400
