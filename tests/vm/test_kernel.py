"""The emulated machine runs Debian's kernel, and that has what this project's networks may ask of one."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kernel.one_host.namespace import Namespace

AEAD = ("aead", "rfc4106(gcm(aes))", "0x" + "5a" * 20, "128")


@pytest.fixture(scope="module")
def ns() -> Iterator[Namespace]:
    made = Namespace.new()
    made.ip("link", "add", "parent", "type", "dummy")
    yield made
    made.close()


def test_it_is_debian_s_kernel_and_not_the_machine_s() -> None:
    assert platform.release().endswith("-amd64")
    assert "Debian" in Path("/proc/version").read_text()
    assert os.environ["FAIRLEAD_VM"] == "1"


@pytest.mark.parametrize(
    "kind",
    [
        "link parent type vlan id 41",
        "link parent type macvlan mode bridge",
        "link parent type ipvlan mode l2",
        "link parent type ipvlan mode l3",
        "link parent type ipvlan mode l3s",
        "type vxlan id 4097 dstport 4789",
        "type bridge vlan_filtering 1",
    ],
)
def test_links_of_this_kind(ns: Namespace, kind: str) -> None:
    before, _, after = kind.partition("type ")
    ns.ip("link", "add", *before.split(), "name", "made", "type", *after.split())
    ns.ip("link", "delete", "made")


@pytest.mark.parametrize(("source", "target"), [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")])
def test_esp_states_with_aes_gcm_and_extended_numbers(ns: Namespace, source: str, target: str) -> None:
    state = ("src", source, "dst", target, "proto", "esp", "spi", "0x1000")
    ns.ip("xfrm", "state", "add", *state, "mode", "transport", "replay-window", "128", "flag", "esn", *AEAD)
    assert "rfc4106(gcm(aes))" in ns.ip("xfrm", "state", "get", *state)
    ns.ip("xfrm", "state", "delete", *state)


def test_ip_vs(ns: Namespace) -> None:
    subprocess.run(["modprobe", "ip_vs"], check=True)
    assert "IP Virtual Server" in ns.run("cat", "/proc/net/ip_vs").stdout


def test_nftables_with_maps_and_chance(ns: Namespace) -> None:
    ns.run(
        *("nft", "add table ip t; add map ip t slots { type ipv4_addr . mark : ipv4_addr; };"),
        "add chain ip t c { type nat hook output priority -100; };"
        "add rule ip t c meta mark set numgen random mod 64 dnat to ip daddr . meta mark map @slots",
    )
    assert "numgen random mod 64" in ns.run("nft", "list", "table", "ip", "t").stdout
