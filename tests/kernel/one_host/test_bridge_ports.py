"""Which host ports are given, to whom, and what is refused."""

from __future__ import annotations

import errno
import socket

import pytest
from tests.kernel.one_host.host import HOST_V4, HOST_V4_OTHER, HOST_V6, NEIGHBOUR_V4, Host
from tests.kernel.one_host.namespace import ANSWER_S
from tests.kernel.one_host.programs import echo, python

from fairlead.api.client import ApiError

#: One SCTP association: says who it is to whoever comes.
SCTP_SERVER = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)
server.bind(("0.0.0.0", 80))
server.listen(8)
while True:
    client, peer = server.accept()
    client.sendall(b"sctp " + peer[0].encode())
    client.close()
"""


def given(host: Host, name: str) -> dict[str, list[tuple[str, str]]]:
    """(address, port) of every published port of a container."""
    ports = host.get(f"/containers/{name}/json")["NetworkSettings"]["Ports"]
    return {key: [(row["HostIp"], row["HostPort"]) for row in rows or ()] for key, rows in ports.items()}


def test_equal_ranges_lead_port_by_port(host: Host) -> None:
    wanted = echo("r", "tcp:8000", "tcp:8001", "tcp:8002")
    host.cli("run", "-d", "--name", "r", "-p", "9000-9002:8000-8002", "host", *wanted)
    host.containers.add(host.get("/containers/r/json")["Id"])
    assert given(host, "r") == {f"800{i}/tcp": [("0.0.0.0", f"900{i}")] for i in range(3)}
    for port in (9000, 9001, 9002):
        assert host.neighbour.tcp(HOST_V4, port)[0] == "r"
    host.cli("rm", "-f", "r")


def test_many_containers_share_a_range_of_host_ports_until_it_is_used_up(host: Host) -> None:
    runs = [host.run(f"m{i}", echo(f"m{i}", "tcp:80"), publish={"80/tcp": ["9010-9012"]}) for i in range(3)]
    try:
        assert [given(host, f"m{i}")["80/tcp"][0][1] for i in range(3)] == ["9010", "9011", "9012"]
        with pytest.raises(ApiError, match=r"Bind for 0\.0\.0\.0:9010 failed: port is already allocated") as refused:
            host.run("m3", publish={"80/tcp": ["9010-9012"]})
        assert refused.value.status == 500
        assert "m0" in refused.value.hint
        assert host.neighbour.tcp(HOST_V4, 9012)[0] == "m2"
    finally:
        for container in runs:
            container.remove()


def test_bindings_that_differ_in_the_host_address_share_one_port(host: Host) -> None:
    host.network("two", subnet="10.90.0.0/24", v6="fd00:90::/64")
    asked = {"80/tcp": [f"{HOST_V4}@", f"{HOST_V4_OTHER}@", f"{HOST_V6}@"], "81/tcp": [""]}
    with host.run("s", echo("s", "tcp:80", "tcp:81"), network="two", publish=asked):
        rows = given(host, "s")
        (port,) = {port for _, port in rows["80/tcp"]}
        assert [address for address, _ in rows["80/tcp"]] == [HOST_V4, HOST_V4_OTHER, HOST_V6]
        assert {address for address, _ in rows["81/tcp"]} == {"0.0.0.0", "::"}
        assert rows["81/tcp"][0][1] == rows["81/tcp"][1][1] != port
        for address in (HOST_V4, HOST_V4_OTHER, HOST_V6):
            assert host.neighbour.tcp(address, int(port))[0] == "s"
    host.remove_network("two")


def test_a_port_of_a_program_of_the_host_is_refused_in_dockers_words(host: Host) -> None:
    before = host.seen()
    text = r"failed to bind host port 0\.0\.0\.0:9020/tcp: address already in use"
    with host.listen("0.0.0.0", 9020), pytest.raises(ApiError, match=text) as refused:
        host.run("late", publish={"80/tcp": ["9020"]})
    assert refused.value.status == 500
    assert host.seen()["firewall"] == before["firewall"]


@pytest.mark.parametrize("nonlocal_bind", ["0", "1"], ids=["strict", "nonlocal-bind"])
@pytest.mark.parametrize("proto", ["tcp", "udp", "sctp"])
@pytest.mark.parametrize("address", [NEIGHBOUR_V4, "169.254.169.254", "192.0.2.80", "2001:db8::80"])
def test_sec_16_only_addresses_of_this_host_can_be_published(
    host: Host, address: str, proto: str, nonlocal_bind: str
) -> None:
    """Not even where the host lets programs bind what it has not."""
    v6 = ":" in address
    setting = f"net/ipv{6 if v6 else 4}/ip_nonlocal_bind"
    host.ns.write(setting, nonlocal_bind)
    before = host.ruleset()
    try:
        host.network("n", subnet="10.91.0.0/24", v6="fd00:91::/64")
        with pytest.raises(ApiError, match="cannot assign requested address") as refused:
            host.run("thief", network="n", publish={f"80/{proto}": [f"{address}@9030"]})
        assert refused.value.status == 500
    finally:
        host.remove_network("n")
        host.ns.write(setting, "0")
    assert host.ruleset() == before


@pytest.mark.parametrize("address", ["224.0.0.251", "255.255.255.255", "ff02::fb"])
def test_sec_16_an_address_of_everybody_is_nobodys(host: Host, address: str) -> None:
    host.network("n", subnet="10.91.0.0/24", v6="fd00:91::/64")
    with pytest.raises(ApiError, match="no host has it") as refused:
        host.run("crier", network="n", publish={"80/udp": [f"{address}@9031"]})
    assert refused.value.status == 400
    host.remove_network("n")


def test_sctp_is_held_and_translated(host: Host) -> None:
    with host.run("s", python(SCTP_SERVER) if has_sctp() else ("sleep", "1000"), publish={"80/sctp": ["9040"]}) as one:
        assert given(host, "s") == {"80/sctp": [("0.0.0.0", "9040")]}
        assert f"sctp . 9040 : {one.ip()} . 80" in host.ruleset()
        with pytest.raises(ApiError, match=r"Bind for 0\.0\.0\.0:9040 failed: port is already allocated"):
            host.run("t", publish={"80/sctp": ["9040"]})
        with host.run("u", echo("u", "tcp:80"), publish={"80/tcp": ["9040"]}):
            assert host.neighbour.tcp(HOST_V4, 9040)[0] == "u"


def has_sctp() -> bool:
    """Whether this kernel has SCTP sockets."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132).close()
    except OSError as error:
        if error.errno in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
            return False
        raise
    return True


def test_sctp_reaches_the_container(host: Host) -> None:
    if not has_sctp():
        pytest.skip("this kernel has no SCTP sockets (CONFIG_IP_SCTP): nothing can speak it")
    with (
        host.run("s", python(SCTP_SERVER), publish={"80/sctp": ["9041"]}),
        host.neighbour.socket(socket.AF_INET, socket.SOCK_STREAM, 132) as client,
    ):
        client.settimeout(ANSWER_S)
        client.connect((HOST_V4, 9041))
        assert client.recv(100) == f"sctp {NEIGHBOUR_V4}".encode()
