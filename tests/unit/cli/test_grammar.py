"""The grammars inside options: ports, networks, subnets, pools, variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairlead.cli.console import filters, pairs
from fairlead.cli.container.creation import environment
from fairlead.cli.container.networks import Single, networking
from fairlead.cli.container.publish import bindings, exposed
from fairlead.cli.network.subnets import pool_configs
from fairlead.cli.poolspec import parse_pool
from fairlead.model.errors import Invalid


@pytest.mark.parametrize(
    ("spec", "result"),
    [
        ("80", {"80/tcp": [("", "")]}),
        ("8080:80", {"80/tcp": [("", "8080")]}),
        ("8080:80/UDP", {"80/udp": [("", "8080")]}),
        ("127.0.0.1:8080:80", {"80/tcp": [("127.0.0.1", "8080")]}),
        ("127.0.0.1::80", {"80/tcp": [("127.0.0.1", "")]}),
        ("[::1]:8080:80", {"80/tcp": [("::1", "8080")]}),
        ("::1:8080:80", {"80/tcp": [("::1", "8080")]}),
        ("8000-8001:80-81", {"80/tcp": [("", "8000")], "81/tcp": [("", "8001")]}),
        ("8000-8010:80", {"80/tcp": [("", "8000-8010")]}),
        ("80-81/sctp", {"80/sctp": [("", "")], "81/sctp": [("", "")]}),
        ("0:80", {"80/tcp": [("", "0")]}),
    ],
)
def test_publish(spec: str, result: dict[str, list[tuple[str, str]]]) -> None:
    found = {key: [(host["HostIp"], host["HostPort"]) for host in hosts] for key, hosts in bindings([spec]).items()}
    assert found == result


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "No port specified"),
        ("8080:", "No port specified"),
        ("x", "invalid containerPort: x"),
        ("x:80", "invalid hostPort: x"),
        ("80/icmp", "invalid proto: icmp"),
        ("80/", "invalid proto"),
        ("70000", "invalid containerPort"),
        ("0", "invalid containerPort"),
        ("1-3:5-9", "invalid ranges specified for container and host Ports: 5-9 and 1-3"),
        ("9-3", "invalid containerPort"),
        ("host:80:80", "invalid IP address"),
        ("[::1:80:80", "invalid IP address"),
        ("1.2.3.4.5:80:80", "invalid IP address"),
        ("\N{FULLWIDTH DIGIT EIGHT}", "invalid containerPort"),
    ],
)
def test_faulty_ports(spec: str, message: str) -> None:
    with pytest.raises(Invalid) as caught:
        bindings([spec])
    assert message in caught.value.message


def test_expose() -> None:
    assert exposed(["80", "7000-7001/udp"]) == {"80/tcp": {}, "7000/udp": {}, "7001/udp": {}}


class TestNetworks:
    def test_nothing_said(self) -> None:
        mode, endpoints = networking([], Single())
        assert (mode, list(endpoints)) == ("default", ["default"])

    def test_single_flags_speak_of_the_first(self) -> None:
        mode, endpoints = networking(["web", "back"], Single(ip="10.0.0.9", aliases=["db"], mac="02:00:00:00:00:01"))
        assert mode == "web"
        first, second = endpoints["web"], endpoints["back"]
        assert isinstance(first, dict)
        assert isinstance(second, dict)
        assert (first["IPAMConfig"]["IPv4Address"], first["Aliases"], first["MacAddress"]) == (
            "10.0.0.9",
            ["db"],
            "02:00:00:00:00:01",
        )
        assert second["Aliases"] == []

    def test_long_form(self) -> None:
        text = (
            "name=web,alias=a,alias=b,ip=10.0.0.9,ip6=fd00::9,gw-priority=-5,driver-opt=k=v,link-local-ip=169.254.1.1"
        )
        mode, endpoints = networking([text], Single())
        assert mode == "web"
        assert endpoints["web"] == {
            "IPAMConfig": {"IPv4Address": "10.0.0.9", "IPv6Address": "fd00::9", "LinkLocalIPs": ["169.254.1.1"]},
            "Aliases": ["a", "b"],
            "MacAddress": "",
            "DriverOpts": {"k": "v"},
            "GwPriority": -5,
        }

    def test_lone_modes_carry_no_settings(self) -> None:
        assert networking(["container:db"], Single()) == ("container:db", {})

    @pytest.mark.parametrize(
        ("networks", "single", "message"),
        [
            (["host", "web"], Single(), "cannot attach both user-defined and non-user-defined"),
            (["web", "bridge"], Single(), "cannot attach both user-defined and non-user-defined"),
            (["web", "container:x"], Single(), "cannot attach both"),
            (["web", "web"], Single(), "specified multiple times"),
            (["name=web,ip=10.0.0.1"], Single(ip="10.0.0.2"), "cannot specify both --ip"),
            (["alias=a"], Single(), "network name or ID must be specified"),
            (["name=web,colour=red"], Single(), "invalid field"),
            (["name=web,gw-priority=high"], Single(), "invalid gw-priority"),
        ],
    )
    def test_what_does_not_go_together(self, networks: list[str], single: Single, message: str) -> None:
        with pytest.raises(Invalid, match=message):
            networking(networks, single)


class TestSubnets:
    def test_each_thing_finds_its_subnet(self) -> None:
        assert pool_configs(
            ["10.1.0.0/24", "fd00::/64"],
            ["fd00::/80", "10.1.0.128/25"],
            ["10.1.0.1"],
            [("r", "10.1.0.2"), ("s", "10.1.0.3")],
        ) == [
            {
                "Subnet": "10.1.0.0/24",
                "IPRange": "10.1.0.128/25",
                "Gateway": "10.1.0.1",
                "AuxiliaryAddresses": {"r": "10.1.0.2", "s": "10.1.0.3"},
            },
            {"Subnet": "fd00::/64", "IPRange": "fd00::/80"},
        ]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (([], ["10.0.0.0/25"], [], []), "every ip-range or gateway must have a corresponding subnet"),
            (([], [], ["10.0.0.1"], []), "every ip-range or gateway must have a corresponding subnet"),
            ((["10.0.0.0/8", "10.1.0.0/16"], [], [], []), "multiple overlapping subnet configuration is not supported"),
            ((["10.0.0.0/24"], ["10.9.0.0/25"], [], []), "no matching subnet for range 10.9.0.0/25"),
            ((["10.0.0.0/24"], [], ["10.9.0.1"], []), "no matching subnet for gateway 10.9.0.1"),
            ((["10.0.0.0/24"], [], [], [("r", "10.9.0.1")]), "no matching subnet for aux-address 10.9.0.1"),
            (
                (["10.0.0.0/24", "10.1.0.0/24"], [], ["10.0.0.1", "10.0.0.2"], []),
                "cannot configure multiple gateways (10.0.0.2, 10.0.0.1) on the same subnet (10.0.0.0/24)",
            ),
            ((["10.0.0.0"], [], [], []), "the prefix length is missing"),
            ((["10.0.0.0/99"], [], [], []), "invalid subnet"),
            ((["ten"], [], [], []), "invalid subnet"),
        ],
    )
    def test_checks(
        self, arguments: tuple[list[str], list[str], list[str], list[tuple[str, str]]], message: str
    ) -> None:
        with pytest.raises(Invalid) as caught:
            pool_configs(*arguments)
        assert message in caught.value.message


def test_pools() -> None:
    assert parse_pool("base=10.64.0.0/12,size=24") == ("10.64.0.0/12", 24)
    for text in ("10.0.0.0/8", "base=10.0.0.0/8", "base=10.0.0.0/8,size=4", "base=10.0.0.0/8,size=x", "base=x,size=9"):
        with pytest.raises(Invalid):
            parse_pool(text)


def test_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "1")
    monkeypatch.delenv("NOBODYS", raising=False)
    (tmp_path / "env").write_text("# comment\n\nA=1\nOURS\n")
    assert environment([str(tmp_path / "env")], ["B=x=y", "C=", "NOBODYS"]) == ["A=1", "OURS=1", "B=x=y", "C="]
    for files, given in ([str(tmp_path / "none")], []), ([], ["=x"]):
        with pytest.raises(Invalid):
            environment(files, given)


def test_filters_and_pairs() -> None:
    assert filters(["name=a", "Name=b", "label=k=v"]) == '{"name": {"a": true, "b": true}, "label": {"k=v": true}}'
    assert filters([]) is None
    assert pairs(["a=1", "b"], what="label") == {"a": "1", "b": ""}
    with pytest.raises(Invalid):
        filters(["name"])
    with pytest.raises(Invalid):
        pairs(["=x"], what="label")
