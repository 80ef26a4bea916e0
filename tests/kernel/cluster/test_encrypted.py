"""On a kernel without ESP nobody gets an encrypted network, and who asks for one reads why; with it, he gets one."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.kernel.cluster.bed import PROGRAM_S, Cluster

from fairlead.kernel import xfrm

NAME = "secret"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("lab"), 1)
    try:
        yield made
    finally:
        made.close()


def networks(cluster: Cluster) -> dict[str, Any]:
    found: Any = cluster.api("h1").get("/networks")
    return {one["Name"]: one for one in found}


def test_sec_01_a_kernel_without_esp_is_told_and_nothing_is_left(cluster: Cluster) -> None:
    fault, before = xfrm.fault(v6=False), networks(cluster)
    words = ("network", "create", "-d", "overlay", "--attachable", "--opt", "encrypted")
    if fault:
        assert "its kernel has no" in fault
        said = cluster.cli("h1", *words, NAME, ok=False)
        assert f"cannot create the encrypted network {NAME}: {fault}" in said
        assert "leave out --opt encrypted" in said
        assert networks(cluster) == before
        assert not cluster.rows("h1")
    else:
        cluster.cli("h1", *words, NAME)
        assert networks(cluster)[NAME]["Options"]["com.docker.network.driver.mtu"] == "1416"
        cluster.cli("h1", "network", "rm", NAME)
    made = cluster.network("clear")
    assert networks(cluster)["clear"]["Id"].startswith(made)
    taken = networks(cluster)["clear"]["IPAM"]["Config"][0]["Subnet"]
    assert taken == "10.0.1.0/24", "what was refused took no subnet"
    cluster.cli("h1", "network", "rm", "clear")


def test_sec_01_docker_s_client_reads_the_same(cluster: Cluster) -> None:
    url = cluster.hosts["h1"].url
    words = ["docker", "-H", url, "network", "create", "-d", "overlay", "--opt", "encrypted", NAME]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PROGRAM_S, check=False, env=dict(os.environ))
    fault = xfrm.fault(v6=False)
    assert (done.returncode != 0) == bool(fault), done.stderr
    if fault:
        assert fault in done.stderr
        assert NAME not in networks(cluster)
    else:
        cluster.cli("h1", "network", "rm", NAME)


def test_the_keys_are_in_no_log(cluster: Cluster) -> None:
    host = cluster.hosts["h1"]
    kept = json.loads((Path(host.state) / "swarm" / "agent.json").read_text())["keys"]
    secrets = [key["secret"] for ring in kept.values() for key in ring["keys"]]
    said = Path(host.log).read_text()
    assert said and not [secret for secret in secrets if secret in said]
