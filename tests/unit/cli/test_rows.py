"""Tables as Docker draws them."""

from __future__ import annotations

import json
import time

import pytest

from fairlead.cli.rows import CONTAINER, NETWORK, container_row, network_row, ports_text
from fairlead.cli.table import natural, render

NETWORKS: list[dict[str, object]] = [
    {
        "Id": digit * 64,
        "Name": name,
        "Driver": "bridge",
        "Scope": "local",
        "Created": "2023-11-14T22:13:20.000000000Z",
        "EnableIPv4": True,
        "EnableIPv6": False,
        "Internal": False,
        "Labels": {"tier": digit},
    }
    for digit, name in (("1", "web10"), ("2", "web9"), ("3", "a-network-with-a-long-name"))
]


def networks(form: str, *, quiet: bool = False, full: bool = False) -> str:
    return render(NETWORK, [network_row(item, full=full) for item in NETWORKS], form, quiet=quiet)


def test_table_in_natural_order() -> None:
    assert networks("table") == (
        "NETWORK ID     NAME                         DRIVER    SCOPE\n"
        "333333333333   a-network-with-a-long-name   bridge    local\n"
        "222222222222   web9                         bridge    local\n"
        "111111111111   web10                        bridge    local\n"
    )


def test_empty_table_has_its_heading() -> None:
    assert render(NETWORK, [], "table") == "NETWORK ID   NAME      DRIVER    SCOPE\n"
    assert render(NETWORK, [], "json") == ""


def test_quiet_and_full() -> None:
    assert networks("table", quiet=True, full=True).splitlines()[0] == "3" * 64


def test_json_has_one_object_on_each_line_with_every_field() -> None:
    first = json.loads(networks("json").splitlines()[0])
    assert set(first) == set(NETWORK.headers)
    assert (first["IPv4"], first["Labels"], first["CreatedAt"]) == ("true", "tier=3", "2023-11-14 22:13:20 +0000 UTC")


def test_templates_and_template_tables() -> None:
    assert networks("{{.Name}} {{.Internal}}").splitlines()[1] == "web9 false"
    assert networks(r'table {{.Name}}\t{{.Label "tier"}}').splitlines()[:2] == [
        "NAME                         LABEL",
        "a-network-with-a-long-name   3",
    ]


def test_natural_order() -> None:
    assert sorted(["web10", "web9", "Web", "1", "a1b2", "a1b10"], key=natural) == [
        "1",
        "Web",
        "a1b2",
        "a1b10",
        "web9",
        "web10",
    ]


def test_container_row() -> None:
    container: dict[str, object] = {
        "Id": "c" * 64,
        "Names": ["/db"],
        "Image": "host",
        "Command": "sleep a-very-long-argument-indeed",
        "Created": time.time() - 180,
        "Status": "Up 3 minutes",
        "State": "running",
        "Ports": [{"PrivatePort": 80, "Type": "tcp"}],
        "Labels": {},
        "NetworkSettings": {"Networks": {"web": {}, "back": {}}},
    }
    row = container_row(container, full=False)
    assert (row["Command"], row["RunningFor"], row["Networks"]) == (
        '"sleep a-very-long-a…"',
        "3 minutes ago",
        "back,web",
    )
    assert render(CONTAINER, [row], "table") == (
        "CONTAINER ID   IMAGE     COMMAND                  CREATED         STATUS         PORTS     NAMES\n"
        'cccccccccccc   host      "sleep a-very-long-a…"   3 minutes ago   Up 3 minutes   80/tcp    db\n'
    )


def port(private: int, public: int = 0, address: str = "", proto: str = "tcp") -> dict[str, object]:
    return {"IP": address, "PrivatePort": private, "PublicPort": public, "Type": proto}


@pytest.mark.parametrize(
    ("ports", "text"),
    [
        ([], ""),
        ([port(80)], "80/tcp"),
        ([port(80, 8080, "0.0.0.0"), port(80, 8080, "::")], "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"),
        ([port(81, 8081, "0.0.0.0"), port(80, 8080, "0.0.0.0")], "0.0.0.0:8080-8081->80-81/tcp"),
        ([port(80), port(81), port(82)], "80-82/tcp"),
        ([port(80, 9000, "0.0.0.0"), port(81, 9009, "0.0.0.0")], "0.0.0.0:9000->80/tcp, 0.0.0.0:9009->81/tcp"),
        ([port(53, 53, "0.0.0.0", "udp"), port(53, 53, "0.0.0.0")], "0.0.0.0:53->53/tcp, 0.0.0.0:53->53/udp"),
    ],
)
def test_ports(ports: list[dict[str, object]], text: str) -> None:
    assert ports_text(ports) == text
