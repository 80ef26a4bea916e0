"""What is refused: with a clear text, what to do next, the right codes, and nothing changed."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from tests.kernel.one_host.conftest import MakeHost
from tests.kernel.one_host.host import HOST_V4, HOST_V6, PROGRAMS, Host

from fairlead.api.client import ApiError

ICC = "com.docker.network.bridge.enable_icc"
MTU = "com.docker.network.driver.mtu"
BRIDGE = "com.docker.network.bridge.name"
BINDING = "com.docker.network.bridge.host_binding_ipv4"
IFNAME = "com.docker.network.endpoint.ifname"
PREFIX = "com.docker.network.container_iface_prefix"

#: What an attacker writes where a name is asked (SEC-22).
HOSTILE = {
    "path": "../../etc/passwd",
    "slash": "a/b",
    "dots": "..",
    "newline": "a\nb",
    "nul": "a\0b",
    "nft": 'x"; flush ruleset; #',
    "braces": "{ 10.0.0.0/8 }",
    "option": "-n",
    "blank": "a b",
    "long": "a" * 300,
    "unicode": "n\u00e9t",
}


@pytest.fixture(scope="module")
def busy(host: Host) -> Iterator[Host]:
    """A host on which something runs already."""
    host.network("net", subnet="10.41.0.0/24")
    host.network("tiny", subnet="10.42.0.0/30")
    host.network("other", subnet="10.43.0.0/24", Options={BRIDGE: "mine0"})
    with (
        host.run("box", network="net", publish={"80/tcp": ["8280"], "53/udp": [f"{HOST_V4}@8253"]}),
        host.run("only", network="tiny"),
        host.create("idle", network="net"),
    ):
        yield host
    for name in ("net", "tiny", "other"):
        host.remove_network(name)


@contextlib.contextmanager
def refused(host: Host, status: int, text: str) -> Iterator[None]:
    """The block is refused with this status and a text that matches, and leaves everything as it was."""
    before = host.seen()
    with pytest.raises(ApiError) as caught:
        yield
    assert (caught.value.status, bool(re.search(text, caught.value.message))) == (status, True), (
        f"{caught.value.status} {caught.value.message!r}"
    )
    assert host.seen() == before


def pool(**fields: object) -> dict[str, Any]:
    """A request for a network with one subnet."""
    return {"IPAM": {"Config": [fields]}}


NETWORKS: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "no name": ("", {}, 400, "name"),
    "blank name": (" ", {}, 400, "name"),
    "taken name": ("net", {}, 409, "network with name net already exists"),
    "predefined": ("bridge", {}, 403, "not permitted on predefined bridge network"),
    "reserved": ("default", {}, 403, "not permitted on predefined default network"),
    "unknown driver": ("x", {"Driver": "warp"}, 404, "could not find plugin warp"),
    "driver as a path": ("x", {"Driver": "../../bin/sh"}, 404, "could not find plugin"),
    "unknown ipam": ("x", {"IPAM": {"Driver": "warp"}}, 400, "IPAM driver 'warp'"),
    "no subnet": ("x", pool(Subnet="nonsense"), 400, "invalid subnet nonsense"),
    "too long": ("x", pool(Subnet="10.44.0.0/33"), 400, r"invalid subnet 10.44.0.0/33"),
    "host bits": ("x", pool(Subnet="10.44.0.1/24"), 400, r"it should be 10\.44\.0\.0/24"),
    "multicast": ("x", pool(Subnet="224.1.0.0/24"), 400, "invalid subnet"),
    "gateway outside": ("x", pool(Subnet="10.44.0.0/24", Gateway="10.45.0.1"), 400, "invalid gateway 10.45.0.1"),
    "gateway nonsense": ("x", pool(Subnet="10.44.0.0/24", Gateway="one"), 400, "invalid gateway one"),
    "range outside": ("x", pool(Subnet="10.44.0.0/24", IPRange="10.45.0.0/25"), 400, "invalid ip-range"),
    "range too big": ("x", pool(Subnet="10.44.0.0/24", IPRange="10.44.0.0/16"), 400, "invalid ip-range"),
    "aux outside": ("x", pool(Subnet="10.44.0.0/24", AuxiliaryAddresses={"r": "10.9.0.1"}), 400, "auxiliary"),
    "overlap": ("x", pool(Subnet="10.41.0.0/16"), 403, "Pool overlaps with other one"),
    "overlap inside": ("x", pool(Subnet="10.41.0.128/25"), 403, "Pool overlaps with other one"),
    "two subnets": (
        "x",
        {"IPAM": {"Config": [{"Subnet": "10.46.0.0/24"}, {"Subnet": "10.47.0.0/24"}]}},
        403,
        "multiple subnets",
    ),
    "no family": ("x", {"EnableIPv4": False}, 400, "IPv4 or IPv6 must be enabled"),
    "icc": ("x", {"Options": {ICC: "perhaps"}}, 400, f"failed to parse {ICC} value"),
    "mtu": ("x", {"Options": {MTU: "large"}}, 400, f"failed to parse {MTU} value"),
    "mtu too small": ("x", {"Options": {MTU: "10"}}, 400, f"failed to parse {MTU} value"),
    "mtu negative": ("x", {"Options": {MTU: "-1"}}, 400, f"failed to parse {MTU} value"),
    "binding": ("x", {"Options": {BINDING: "everywhere"}}, 400, "host_binding_ipv4"),
    "bridge taken": ("x", {"Options": {BRIDGE: "mine0"}}, 403, "networks have same bridge name"),
    "bridge too long": ("x", {"Options": {BRIDGE: "a" * 16}}, 400, "longer than 15"),
    "bridge is an uplink": ("x", {"Options": {BRIDGE: "up0"}}, 403, "existing interface up0 is not a bridge"),
    "swarm": ("x", {"Scope": "swarm"}, 403, "not a swarm manager"),
}


@pytest.mark.parametrize("case", NETWORKS)
def test_a_network_that_cannot_be(busy: Host, case: str) -> None:
    name, fields, status, text = NETWORKS[case]
    with refused(busy, status, text):
        busy.api.post("/networks/create", {"Name": name, **fields})


CONNECTS: dict[str, tuple[str, str, dict[str, Any], int, str]] = {
    "unknown network": ("nowhere", "box", {}, 404, "network nowhere not found"),
    "unknown container": ("other", "nobody", {}, 404, "(?i)no such container: nobody"),
    "host": ("host", "box", {}, 400, "cannot connect container to host network"),
    "none": ("none", "box", {}, 400, "private .none. mode"),
    "twice": ("net", "box", {}, 403, "already exists in network net"),
    "full": ("tiny", "box", {}, 503, "no available IPv4 addresses on this network's address pools: tiny"),
    "nonsense": ("other", "box", {"IPAMConfig": {"IPv4Address": "10.43.0.300"}}, 400, "invalid IPv4 address"),
    "outside": ("other", "box", {"IPAMConfig": {"IPv4Address": "10.99.0.9"}}, 400, "no configured subnet contains"),
    "in use": ("net", "idle", {"IPAMConfig": {"IPv4Address": "nope"}}, 400, "invalid IPv4 address"),
    "the gateway's": ("other", "box", {"IPAMConfig": {"IPv4Address": "10.43.0.1"}}, 403, "(?i)already in use"),
    "no such family": ("other", "box", {"IPAMConfig": {"IPv6Address": "fd00::9"}}, 400, "no configured subnet"),
    "mac": ("other", "box", {"MacAddress": "zz:11"}, 400, "(?i)mac"),
    "multicast mac": ("other", "box", {"MacAddress": "01:00:5e:00:00:01"}, 400, "(?i)mac"),
    "address on the default bridge": (
        "bridge",
        "box",
        {"IPAMConfig": {"IPv4Address": "172.17.0.9"}},
        400,
        "user-defined networks only",
    ),
    "interface name": ("other", "box", {"DriverOpts": {IFNAME: "a/b"}}, 400, "interface"),
    "interface name too long": ("other", "box", {"DriverOpts": {IFNAME: "e" * 16}}, 400, "interface"),
    "interface name taken": ("other", "box", {"DriverOpts": {IFNAME: "eth0"}}, 403, "already in use"),
    "loopback": ("other", "box", {"DriverOpts": {IFNAME: "lo"}}, 400, "interface"),
}


@pytest.mark.parametrize("case", CONNECTS)
def test_a_connection_that_cannot_be(busy: Host, case: str) -> None:
    network, container, endpoint, status, text = CONNECTS[case]
    with refused(busy, status, text):
        busy.connect(network, container, **endpoint)


STARTS: dict[str, tuple[dict[str, Any], int, str]] = {
    "port of a container": (
        {"publish": {"80/tcp": ["8280"]}},
        500,
        r"Bind for 0\.0\.0\.0:8280 failed: port is already",
    ),
    "port of a container, one address": (
        {"publish": {"80/tcp": [f"{HOST_V4}@8280"]}},
        500,
        rf"Bind for {HOST_V4}:8280 failed: port is already allocated",
    ),
    "udp port of a container": ({"publish": {"1/udp": ["8253"]}}, 500, "8253 failed: port is already allocated"),
    "address of nobody": (
        {"publish": {"80/tcp": ["192.0.2.9@8281"]}},
        500,
        r"failed to bind host port 192\.0\.2\.9:8281",
    ),
    "one port twice": ({"publish": {"80/tcp": ["8282"], "81/tcp": ["8282"]}}, 500, "8282"),
    "full network": ({"network": "tiny"}, 503, "no available IPv4 addresses"),
    "unknown network": ({"network": "nowhere"}, 404, "network nowhere not found"),
    "address in use": ({"network": "net", "endpoint": {"IPAMConfig": {"IPv4Address": "10.41.0.2"}}}, 403, "(?i)in use"),
    "no such command": ({"command": ["/no/such/program"]}, 400, "no such file or directory"),
    "no such target": ({"network": "container:nobody"}, 404, "nobody"),
}


@pytest.mark.parametrize("case", STARTS)
def test_a_container_that_cannot_start(busy: Host, case: str) -> None:
    fields, status, text = STARTS[case]
    with refused(busy, status, text):
        busy.run("late", **{"network": "net", **fields}).remove()


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])
@pytest.mark.parametrize("address", ["0.0.0.0", HOST_V4, "127.0.0.1", HOST_V6])
def test_a_port_of_a_foreign_process(busy: Host, kind: int, address: str) -> None:
    proto = "tcp" if kind == socket.SOCK_STREAM else "udp"
    with (
        busy.listen(address, 8283, kind),
        refused(busy, 500, "failed to bind host port .*8283/.*address already in use"),
    ):
        busy.network("six", v6="fd00:41::/64")
        try:
            busy.run("late", network="six", publish={f"80/{proto}": ["8283"]}).remove()
        finally:
            busy.remove_network("six")
    with busy.run("now", network="net", publish={f"80/{proto}": ["8283"]}):
        pass


CREATES: dict[str, tuple[dict[str, Any], int, str]] = {
    "port zero": ({"publish": {"0/tcp": ["80"]}}, 400, "port"),
    "port too high": ({"publish": {"80/tcp": ["70000"]}}, 400, "port"),
    "port word": ({"publish": {"http/tcp": ["80"]}}, 400, "port"),
    "port range upside down": ({"publish": {"80/tcp": ["90-80"]}}, 400, "port range"),
    "protocol": ({"publish": {"80/icmp": ["80"]}}, 400, "invalid proto"),
    "host address": ({"publish": {"80/tcp": ["nowhere@80"]}}, 400, "(?i)address"),
    "host address with a line": ({"publish": {"80/tcp": ["1.2.3.4\n@80"]}}, 400, "(?i)address"),
    "no image": ({"Image": ""}, 400, "image"),
    "unknown image": ({"Image": "nothing"}, 404, "nothing"),
    "image as a path": ({"Image": "../../etc"}, 404, "No such image"),
    "name server": ({"host_config": {"Dns": ["one"]}}, 400, "DNS server"),
    "name server option": ({"host_config": {"DnsOptions": ["ndots:1\nnameserver 6.6.6.6"]}}, 400, "DNS option"),
    "extra host": ({"host_config": {"ExtraHosts": ["nonsense"]}}, 400, "add-host"),
    "extra host with a line": ({"host_config": {"ExtraHosts": ["a\nb:1.2.3.4"]}}, 400, "add-host"),
    "conflict of modes": ({"network": "container:box", "Hostname": "x"}, 400, "conflicting options"),
    "cgroup parent": ({"host_config": {"CgroupParent": "/x"}}, 501, "not implemented"),
    "taken name": ({"name": "box"}, 409, 'container name "/box" is already in use'),
}


@pytest.mark.parametrize("case", CREATES)
def test_a_container_that_cannot_be(busy: Host, case: str) -> None:
    fields, status, text = CREATES[case]
    with refused(busy, status, text):
        busy.create(**{"name": "new", "network": "net", **fields}).remove()


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize(
    "field",
    ["network", "container", "bridge", "prefix", "interface", "hostname", "domain", "alias", "rename", "search"],
)
def test_hostile_names_are_refused(busy: Host, field: str, text: str) -> None:
    """SEC-22: no field that becomes a path, a device, a rule or a line of a file takes anything but a name."""
    with refused(busy, 400, "."):
        match field:
            case "network":
                busy.api.post("/networks/create", {"Name": text})
            case "container":
                busy.create(text).remove()
            case "bridge" | "prefix":
                busy.network("x", Options={BRIDGE if field == "bridge" else PREFIX: text})
                busy.remove_network("x")
            case "interface":
                busy.connect("other", "box", DriverOpts={IFNAME: text})
                busy.disconnect("other", "box")
            case "hostname":
                busy.create("x", network="net", Hostname=text).remove()
            case "domain":
                busy.create("x", network="net", Domainname=text).remove()
            case "alias":
                busy.connect("other", "box", Aliases=[text])
                busy.disconnect("other", "box")
            case "rename":
                busy.api.post("/containers/idle/rename", query={"name": text})
            case "search":
                busy.create("x", network="net", host_config={"DnsSearch": [text]}).remove()


def test_every_refusal_says_what_to_do(busy: Host) -> None:
    for path, body in (
        ("/networks/create", {"Name": "net"}),
        ("/networks/create", {"Name": "a/b"}),
        ("/networks/other/connect", {"Container": "box", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "1.2.3.4"}}}),
        ("/networks/tiny/connect", {"Container": "box"}),
        ("/networks/nowhere/connect", {"Container": "box"}),
    ):
        with pytest.raises(ApiError) as caught:
            busy.api.post(path, body)
        assert caught.value.hint, caught.value.message


def test_malformed_requests_are_the_callers_fault(busy: Host) -> None:
    for path, body in (
        ("/networks/create", []),
        ("/networks/create", {"Name": 5}),
        ("/networks/create", {"Name": "x", "IPAM": {"Config": [{"Subnet": 7}]}}),
        ("/containers/create", {"Image": "host", "HostConfig": {"PortBindings": []}}),
        ("/networks/net/connect", {}),
    ):
        with refused(busy, 400, "."):
            busy.api.post(path, body)
    with refused(busy, 404, "page not found"):
        busy.get("/nothing/here")
    with refused(busy, 400, "filter"):
        busy.api.get("/networks", {"filters": '{"colour":{"red":true}}'})


COMMANDS: dict[str, tuple[tuple[str, ...], int, str]] = {
    "taken name": (("network", "create", "net"), 1, "network with name net already exists"),
    "bad subnet": (("network", "create", "--subnet", "10.44.0.1/24", "x"), 1, "it should be 10.44.0.0/24"),
    "bad option": (("network", "create", "-o", f"{MTU}=large", "x"), 1, f"failed to parse {MTU} value"),
    "unknown network": (("network", "rm", "nowhere"), 1, "network nowhere not found"),
    "in use": (("network", "rm", "net"), 1, "has active endpoints"),
    "full": (("network", "connect", "tiny", "box"), 1, "no available IPv4 addresses"),
    "unknown flag": (("network", "create", "--colour", "x"), 2, "--colour"),
    "missing word": (("network", "connect", "net"), 2, "CONTAINER"),
    "port in use": (("run", "-d", "-p", "8280:80", "host", "true"), 125, "port is already allocated"),
    "bad port": (("run", "-d", "-p", "99999:80", "host", "true"), 125, "port"),
    "no command": (("run", "--rm", "host", "/no/such/program"), 127, "no such file or directory"),
    "not a program": (("run", "--rm", "host", "/etc/hostname"), 126, "permission denied"),
    "its own code": (("run", "--rm", "host", "sh", "-c", "exit 7"), 7, ""),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_the_command_line_says_it_too(busy: Host, case: str) -> None:
    words, code, text = COMMANDS[case]
    before = busy.seen()
    done = busy.cli(*words, check=False)
    for row in busy.get("/containers/json?all=1"):
        if row["Names"][0] not in ("/box", "/only", "/idle"):
            busy.api.delete(f"/containers/{row['Id']}?force=1")
    assert (done.returncode, text in done.stderr) == (code, True), f"{done.returncode}: {done.stderr}"
    assert "Traceback" not in done.stderr
    assert busy.seen() == before


def test_without_a_daemon_the_command_line_says_how_to_start_one(busy: Host) -> None:
    done = busy.cli("-H", "unix:///nowhere.sock", "network", "ls", check=False)
    assert done.returncode == 1
    assert "Is the daemon running?" in done.stderr
    assert "fairlead daemon" in done.stderr


def test_exhausted_default_pools_say_so(make_host: MakeHost) -> None:
    small = make_host()
    small.pools = ("base=10.48.0.0/23,size=24",)
    small.start()
    small.network("last")
    with refused(small, 400, "all predefined address pools have been fully subnetted"):
        small.network("more")
    small.network("chosen", subnet="10.50.0.0/24")
    small.remove_network("last")
    small.network("more")


def test_default_pools_avoid_what_the_host_uses(make_host: MakeHost) -> None:
    small = make_host()
    small.pools = ("base=198.18.0.0/22,size=24",)
    small.ns.ip("route", "add", "198.18.2.0/24", "via", "198.18.0.2")
    small.start()
    assert [pool["Subnet"] for pool in small.get("/networks/bridge")["IPAM"]["Config"]] == ["198.18.3.0/24"]
    with refused(small, 400, "all predefined address pools have been fully subnetted"):
        small.network("more")


def test_a_second_daemon_on_the_same_state_is_refused(busy: Host) -> None:
    words = ("fairlead", "daemon", "--state-dir", str(busy.state), "--run-dir", str(busy.run_dir))
    with refused(busy, 404, "page not found"):
        done = busy.ns.run("env", f"PATH={PROGRAMS}", *words, check=False)
        assert done.returncode == 1
        assert "another daemon uses" in done.stderr
        busy.get("/nothing/here")
