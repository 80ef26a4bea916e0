"""The real docker client makes networks from sets of settings, and what only a few ask for."""

from __future__ import annotations

import json

from tests.kernel.one_host.host import Host
from tests.peers.test_docker_client import Docker, docker

__all__ = ["docker"]


def test_a_set_of_settings_and_a_network_of_it(docker: Docker, host: Host) -> None:
    words = ("--config-only", "--subnet", "10.72.0.0/24", "--label", "a=b", "-o", "com.docker.network.driver.mtu=1400")
    docker("network", "create", *words, "conf")
    docker("network", "create", "--config-from", "conf", "real")
    try:
        (conf,) = json.loads(docker("network", "inspect", "conf").stdout)
        (real,) = json.loads(docker("network", "inspect", "real").stdout)
        assert (conf["ConfigOnly"], conf["Driver"], conf["Scope"]) == (True, "null", "local")
        assert (real["ConfigFrom"]["Network"], real["Driver"], real["Labels"]) == ("conf", "bridge", {"a": "b"})
        assert real["IPAM"]["Config"][0]["Subnet"] == conf["IPAM"]["Config"][0]["Subnet"] == "10.72.0.0/24"
        rows = docker("network", "ls", "--filter", "name=conf", "--format", "{{.Name}} {{.Driver}} {{.Scope}}").stdout
        assert rows == "conf null local\n"
        assert 'configuration network "conf" is in use' in docker("network", "rm", "conf", code=1).stderr
        refused = docker(
            "network", "create", "--config-from", "conf", "--internal", "--subnet", "10.9.0.0/24", "x", code=1
        )
        assert "user specified configurations are not supported" in refused.stderr
        docker("run", "-d", "--name", "user", "--network", "real", "host", "sleep", "1000")
        docker("rm", "-f", "user")
    finally:
        docker("network", "rm", "real")
        docker("network", "prune", "--force")
        assert docker("network", "ls", "-q", "--filter", "name=conf").stdout, "prune leaves sets of settings"
        docker("network", "rm", "conf")


def test_link_local_addresses(docker: Docker, host: Host) -> None:
    docker("network", "create", "--subnet", "10.73.0.0/24", "ll")
    docker("run", "-d", "--name", "box", "--network", "none", "host", "sleep", "1000")
    try:
        docker("network", "disconnect", "none", "box")
        docker("network", "connect", "--link-local-ip", "169.254.7.7", "ll", "box")
        (box,) = json.loads(docker("inspect", "box").stdout)
        assert box["NetworkSettings"]["Networks"]["ll"]["IPAMConfig"]["LinkLocalIPs"] == ["169.254.7.7"]
        assert "169.254.7.7/16" in docker("exec", "box", "ip", "-4", "address", "show", "dev", "eth0").stdout
        refused = docker("network", "connect", "--link-local-ip", "10.1.1.1", "bridge", "box", code=1)
        assert "invalid link-local IP address: 10.1.1.1" in refused.stderr
    finally:
        docker("rm", "-f", "box")
        docker("network", "rm", "ll")
