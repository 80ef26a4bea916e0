"""Published ports, over real packets: who reaches them by which address, and who must not.

Everything runs twice: on a host that is alone with the daemon, and beside a foreign bridge, where bridged frames go on
passing the firewall (``bridge-nf-call-iptables`` stays 1).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import pytest
from tests.kernel.one_host.conftest import MakeHost
from tests.kernel.one_host.containers import Container
from tests.kernel.one_host.host import FAR_V4, HOST_V4, HOST_V4_OTHER, HOST_V6, NEIGHBOUR_V4, NEIGHBOUR_V6, Host
from tests.kernel.one_host.namespace import ANSWER_S, Namespace
from tests.kernel.one_host.programs import echo
from tests.kernel.one_host.upstream import OUTSIDE_V4, Upstream
from tests.kernel.one_host.waiting import until

from fairlead.api.client import ApiError

PROTOS = ("tcp", "udp")
GATEWAY_V4, GATEWAY_V6 = "10.7.0.1", "fd00:7::1"
LOCAL_V4 = ("127.0.0.1", "127.8.8.8", HOST_V4, HOST_V4_OTHER, GATEWAY_V4)
LOCAL_V6 = (HOST_V6, GATEWAY_V6)

Cast = dict[str, Container]


@pytest.fixture(scope="module", params=[False, True], ids=["alone", "beside-a-bridge"])
def host(request: pytest.FixtureRequest, make_host: MakeHost) -> Host:
    made = make_host(foreign_bridge=request.param)
    made.start()
    expected = "1" if request.param else "0"
    assert made.ns.read("net/bridge/bridge-nf-call-iptables") == expected
    assert made.ns.read("net/bridge/bridge-nf-call-ip6tables") == expected
    return made


@pytest.fixture(scope="module")
def cast(host: Host) -> Iterator[Cast]:
    """A server on every address of the host, a companion in its network, a stranger in another one."""
    host.network("web", subnet="10.7.0.0/24", v6="fd00:7::/64")
    host.network("back", subnet="10.8.0.0/24", v6="fd00:8::/64")
    host.neighbour.ip("-6", "route", "add", "default", "via", HOST_V6)
    ports = {"80/tcp": ["8080"], "80/udp": ["8080"]}
    made = {
        "server": host.run(
            "server", echo("server", "tcp:80", "udp:80", "tcp:81", "udp:81"), network="web", publish=ports
        ),
        "companion": host.run("companion", network="web"),
        "stranger": host.run("stranger", network="back"),
    }
    yield made
    for container in made.values():
        container.remove()
    host.remove_network("web")
    host.remove_network("back")


def asked(ns: Namespace, proto: str, address: str, port: int) -> list[str]:
    """What the server says: its tag, who we are to it, which address it was reached by."""
    return (ns.tcp if proto == "tcp" else ns.udp)(address, port)


@pytest.mark.parametrize("proto", PROTOS)
def test_a_neighbour_reaches_it_by_every_address_and_is_seen_as_itself(host: Host, cast: Cast, proto: str) -> None:
    server = cast["server"]
    for address in (HOST_V4, HOST_V4_OTHER):
        assert asked(host.neighbour, proto, address, 8080) == ["server", NEIGHBOUR_V4, server.ip()]
    assert asked(host.neighbour, proto, HOST_V6, 8080) == ["server", NEIGHBOUR_V6, server.ip6()]


@pytest.mark.parametrize("proto", PROTOS)
def test_the_host_reaches_it_by_every_address_of_its_own(host: Host, cast: Cast, proto: str) -> None:
    for address in (*LOCAL_V4, *LOCAL_V6):
        assert asked(host.ns, proto, address, 8080)[0] == "server", address


def test_ipv6_loopback_answers_where_frames_bypass_the_firewall(host: Host, cast: Cast) -> None:
    """With ``br_netfilter`` the answer would be dropped, so it is refused at once and clients try 127.0.0.1."""
    if host.ns.read("net/bridge/bridge-nf-call-ip6tables") == "0":
        assert host.ns.tcp("::1", 8080)[0] == host.ns.udp("::1", 8080)[0] == "server"
        return
    with pytest.raises(ConnectionRefusedError):
        host.ns.tcp("::1", 8080)


@pytest.mark.parametrize("proto", PROTOS)
@pytest.mark.parametrize("who", ["companion", "stranger", "server"])
def test_containers_reach_it_by_the_addresses_of_the_host(host: Host, cast: Cast, who: str, proto: str) -> None:
    own_gateways = ("10.8.0.1", "fd00:8::1") if who == "stranger" else ()
    for address in (HOST_V4, HOST_V4_OTHER, GATEWAY_V4, *LOCAL_V6, *own_gateways):
        assert asked(cast[who].ns, proto, address, 8080)[0] == "server", address


def test_a_container_that_was_not_disturbed_keeps_its_source_address(cast: Cast) -> None:
    server, companion = cast["server"], cast["companion"]
    assert companion.ns.tcp(server.ip(), 80) == ["server", companion.ip(), server.ip()]
    assert companion.ns.udp(server.ip6(), 81) == ["server", companion.ip6(), server.ip6()]


@pytest.mark.parametrize("proto", PROTOS)
def test_sec_12_a_neighbour_with_a_route_reaches_no_container_directly(host: Host, cast: Cast, proto: str) -> None:
    server = cast["server"]
    for address in (server.ip(), server.ip6()):
        for port in (80, 81):
            assert not host.neighbour.reaches(address, port, proto), (address, port)
    assert not host.neighbour.pings(server.ip(), expect=False)
    assert not host.neighbour.pings(server.ip6(), expect=False)
    assert not host.far.reaches(server.ip(), 80, proto)
    assert host.neighbour.reaches(HOST_V4, 8080, proto, expect=True)


@pytest.mark.parametrize("proto", PROTOS)
def test_a_port_bound_to_one_address_answers_only_there(host: Host, cast: Cast, proto: str) -> None:
    ports = {f"80/{proto}": [f"{HOST_V4}@8081"]}
    with host.run("narrow", echo("narrow", f"{proto}:80"), network="web", publish=ports):
        assert asked(host.neighbour, proto, HOST_V4, 8081)[0] == "narrow"
        assert asked(host.ns, proto, HOST_V4, 8081)[0] == "narrow"
        assert asked(cast["stranger"].ns, proto, HOST_V4, 8081)[0] == "narrow"
        for address in (HOST_V4_OTHER, HOST_V6):
            assert not host.neighbour.reaches(address, 8081, proto)
        for address in ("127.0.0.1", HOST_V4_OTHER, HOST_V6, GATEWAY_V4):
            assert not host.ns.reaches(address, 8081, proto), address
    assert not host.neighbour.reaches(HOST_V4, 8081, proto)


@pytest.mark.parametrize("proto", PROTOS)
def test_sec_13_each_address_leads_to_the_container_that_took_it(host: Host, cast: Cast, proto: str) -> None:
    """SEC-13: of several publications of one port the exact address decides, never the order in which they came."""
    wanted = {"one": HOST_V4, "two": HOST_V4_OTHER, "six": HOST_V6}
    with contextlib.ExitStack() as stack:
        for tag, address in wanted.items():
            ports = {f"80/{proto}": [f"{address}@8082"]}
            stack.enter_context(host.run(tag, echo(tag, f"{proto}:80"), network="web", publish=ports))
        for tag, address in wanted.items():
            assert asked(host.neighbour, proto, address, 8082)[0] == tag
            assert asked(host.ns, proto, address, 8082)[0] == tag
        with pytest.raises(ApiError, match=r"Bind for 0\.0\.0\.0:8082 failed: port is already allocated") as refused:
            host.run("greedy", network="web", publish={f"80/{proto}": ["8082"]})
        assert refused.value.status == 500


@pytest.mark.parametrize("proto", PROTOS)
def test_several_publications_of_one_port_all_work(host: Host, cast: Cast, proto: str) -> None:
    ports = {f"80/{proto}": ["8083", f"{HOST_V4}@8084", "127.0.0.1@8085"], f"81/{proto}": ["8086"]}
    server = echo("many", f"{proto}:80", f"{proto}:81")
    with host.run("many", server, network="web", publish=ports):
        assert asked(host.neighbour, proto, HOST_V4_OTHER, 8083)[0] == "many"
        assert asked(host.neighbour, proto, HOST_V4, 8084)[0] == "many"
        assert asked(host.ns, proto, "127.0.0.1", 8085)[0] == "many"
        assert asked(host.neighbour, proto, HOST_V6, 8086)[0] == "many"


def test_free_ports_are_chosen_the_same_for_both_families(host: Host, cast: Cast) -> None:
    with host.run("any", echo("any", "tcp:80"), network="web", publish={"80/tcp": [""]}) as container:
        first, last = map(int, host.ns.read("net/ipv4/ip_local_port_range").split())
        given = {item["HostPort"] for item in container.inspect()["NetworkSettings"]["Ports"]["80/tcp"]}
        assert len(given) == 1
        port = int(given.pop())
        assert first <= port <= last
        assert host.neighbour.tcp(HOST_V4, port)[0] == host.neighbour.tcp(HOST_V6, port)[0] == "any"


def test_a_range_gives_the_next_free_port(host: Host, cast: Cast) -> None:
    ports = {"80/tcp": [f"{HOST_V4}@8090-8092"]}
    with (
        host.run("r1", echo("r1", "tcp:80"), network="web", publish=ports) as first,
        host.listen(HOST_V4, 8091),
        host.run("r2", echo("r2", "tcp:80"), network="web", publish=ports) as second,
    ):
        assert (first.host_port("80/tcp"), second.host_port("80/tcp")) == (8090, 8092)
        assert host.neighbour.tcp(HOST_V4, 8092)[0] == "r2"


def test_the_default_bridge_publishes_too(host: Host) -> None:
    with host.run("plain", echo("plain", "tcp:80"), publish={"80/tcp": ["8087"]}) as plain:
        assert host.neighbour.tcp(HOST_V4, 8087) == ["plain", NEIGHBOUR_V4, plain.ip()]
        assert host.ns.tcp("127.0.0.1", 8087)[0] == "plain"
        assert plain.ns.tcp(HOST_V4, 8087)[0] == "plain"


def test_the_network_may_say_which_address_ports_are_bound_to(host: Host) -> None:
    host.network("narrow", Options={"com.docker.network.bridge.host_binding_ipv4": "127.0.0.1"})
    with host.run("local", echo("local", "tcp:80"), network="narrow", publish={"80/tcp": ["8088"]}):
        assert host.ns.tcp("127.0.0.1", 8088)[0] == "local"
        assert not host.neighbour.reaches(HOST_V4, 8088)
    host.remove_network("narrow")


@pytest.mark.parametrize("proto", PROTOS)
def test_sec_14_traffic_that_passes_through_is_not_touched(host: Host, cast: Cast, proto: str) -> None:
    """SEC-14: the same port number on its way to somebody else."""
    with host.server(host.far, "far", f"{proto}:8080"):
        assert asked(host.neighbour, proto, FAR_V4, 8080) == ["far", NEIGHBOUR_V4, FAR_V4]
        assert asked(cast["companion"].ns, proto, FAR_V4, 8080)[0] == "far"
        assert asked(cast["server"].ns, proto, FAR_V4, 8080)[0] == "far"


def test_sec_14_publishing_port_53_leaves_questions_of_containers_alone(host: Host, cast: Cast) -> None:
    upstream = Upstream(host.neighbour, NEIGHBOUR_V4)
    ports = {"53/udp": ["53"], "53/tcp": ["53"]}
    try:
        with host.run("dns", echo("dns", "udp:53", "tcp:53"), network="web", publish=ports):
            found = cast["companion"].exec("dig", "+short", "+time=2", "+tries=1", f"@{NEIGHBOUR_V4}", "a.example.com")
            assert OUTSIDE_V4 in found.stdout
            assert host.neighbour.udp(HOST_V4, 53)[0] == "dns"
    finally:
        upstream.close()


@contextlib.contextmanager
def attacker(host: Host) -> Iterator[Namespace]:
    """A neighbour of another kind: its packets to 127.0.0.0/8 leave by its link and arrive at the host."""
    ns = Namespace.new(loopback=False)
    try:
        host.ns.ip("link", "add", "up2", "type", "veth", "peer", "name", "eth0", "netns", ns.path)
        host.ns.ip("address", "add", "198.18.2.1/24", "dev", "up2")
        host.ns.ip("link", "set", "up2", "up")
        ns.ip("address", "add", "198.18.2.2/24", "dev", "eth0")
        ns.ip("link", "set", "eth0", "up")
        _send_loopback_out(ns, "198.18.2.1")
        yield ns
    finally:
        ns.close()


def _send_loopback_out(ns: Namespace, via: str) -> None:
    ns.write("net/ipv4/conf/all/route_localnet", "1")
    ns.ip("link", "set", "lo", "down")
    ns.ip("route", "add", "127.0.0.0/8", "via", via)


def sends_in_vain(ns: Namespace, port: int, proto: str) -> bool:
    """Packets to 127.0.0.1 do leave by ``eth0``, and nobody answers."""

    def sent() -> int:
        return int(json.loads(ns.ip("-j", "-s", "link", "show", "eth0"))[0]["stats64"]["tx"]["packets"])

    before = sent()
    answered = ns.reaches("127.0.0.1", port, proto)
    until(lambda: sent() > before, "the packet leaves")
    return not answered


@pytest.mark.parametrize("proto", PROTOS)
def test_sec_12_a_loopback_port_is_closed_to_a_neighbour_who_sends_to_loopback(
    host: Host, cast: Cast, proto: str
) -> None:
    """SEC-12: the packet does arrive at the host, and goes nowhere."""
    ports = {f"80/{proto}": ["127.0.0.1@8089"]}
    with host.run("shy", echo("shy", f"{proto}:80"), network="web", publish=ports), attacker(host) as evil:
        assert asked(host.ns, proto, "127.0.0.1", 8089)[0] == "shy"
        assert not host.neighbour.reaches(HOST_V4, 8089, proto)
        assert evil.reaches("198.18.2.1", 8080, proto, expect=True)
        for port in (8080, 8089):
            assert sends_in_vain(evil, port, proto)


@pytest.mark.parametrize("proto", PROTOS)
def test_sec_12_services_on_the_hosts_loopback_are_closed_to_containers(host: Host, cast: Cast, proto: str) -> None:
    with host.server(host.ns, "private", f"{proto}:9000"), host.run("evil", network="web") as evil:
        assert asked(host.ns, proto, "127.0.0.1", 9000)[0] == "private"
        assert evil.ns.reaches(GATEWAY_V4, 9000, proto, expect=True)
        _send_loopback_out(evil.ns, GATEWAY_V4)
        for port in (8080, 9000):
            assert sends_in_vain(evil.ns, port, proto)


def test_a_port_follows_its_container(host: Host, cast: Cast) -> None:
    ports = {"80/tcp": ["8093"], "80/udp": ["8093"]}
    container = host.run("mover", echo("mover", "tcp:80", "udp:80"), network="web", publish=ports)
    with container:
        assert asked(host.neighbour, "udp", HOST_V4, 8093)[0] == "mover"
        container.stop()
        assert not host.neighbour.reaches(HOST_V4, 8093)
        assert not host.neighbour.reaches(HOST_V4, 8093, "udp")
        container.start()
        for proto in PROTOS:
            assert asked(host.neighbour, proto, HOST_V4, 8093)[0] == "mover"


def test_a_udp_client_that_never_stops_asking_finds_the_next_server(host: Host, cast: Cast) -> None:
    """The flow of a client with a fixed source port must be forgotten with the container that it led to."""
    with host.neighbour.socket(kind=2) as client:
        client.settimeout(ANSWER_S)
        client.connect((HOST_V4, 8094))
        for tag in ("first", "second"):
            with host.run(tag, echo(tag, "udp:80"), network="web", publish={"80/udp": ["8094"]}):
                client.send(b"hello")
                assert client.recv(100).decode().split()[0] == tag
            client.send(b"into the void")
            with contextlib.suppress(ConnectionRefusedError):
                client.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    client.recv(100)
            client.settimeout(ANSWER_S)


def test_a_real_http_server_is_fetched_by_real_curl(host: Host, cast: Cast) -> None:
    serve = ("/usr/bin/python3", "-m", "http.server", "--directory", "/etc", "80")
    with host.run("www", serve, network="web", publish={"80/tcp": ["8095"]}) as www:
        www.wait_listening(80)
        for ns, address in ((host.neighbour, HOST_V4), (host.ns, "127.0.0.1"), (host.ns, GATEWAY_V4)):
            got = ns.run("curl", "-sf", "--max-time", "60", f"http://{address}:8095/hostname").stdout
            assert got.strip() == www.id[:12]
        assert cast["companion"].exec("curl", "-sf", "--max-time", "60", "http://www/hostname").stdout.strip()


def test_nothing_is_left_when_a_container_is_gone(host: Host, cast: Cast) -> None:
    before = host.seen()
    with host.run("brief", network="web", publish={"80/tcp": ["8096"], "81/udp": ["", f"{HOST_V4}@8097"]}):
        assert host.ruleset() != before["firewall"]
    assert host.ruleset() == before["firewall"]
    with host.listen("0.0.0.0", 8096):
        pass
