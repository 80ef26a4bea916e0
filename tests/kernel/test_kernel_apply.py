"""Plans on the real kernel: what stands after them, and that packets pass."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.kernel.kernel_plans import TABLE, comparable, network, node, ports, sandbox
from tests.kernel.one_host.waiting import PATIENCE_S

from fairlead.kernel import netns
from fairlead.kernel.apply import Kernel
from fairlead.kernel.descriptors import is_netfilter
from fairlead.kernel.errno import HostPortInUse, Refused
from fairlead.plan.objects import NOTHING, Address, Bridge, Chain, Element, Flow, Netns, Plan, PortHold, Sysctl, Table

BASE = {"node": node(), "network:a": network()}


def ip(*arguments: str, path: str = "") -> list[dict[str, Any]]:
    with netns.inside(path):
        done = subprocess.run(["ip", "-j", *arguments], capture_output=True, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout or b"[]")
    return found


def links(path: str = "") -> set[str]:
    return {entry["ifname"] for entry in ip("link", path=path)} - {"lo"}


def read(setting: str, path: str = "") -> str:
    with netns.inside(path):
        return Path("/proc/sys", setting).read_text().strip()


async def until(condition: Callable[[], bool]) -> None:
    """Until it is so, or long enough: what follows says what is wrong then."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < deadline:  # noqa: ASYNC110  # it is a state of the kernel
        await asyncio.sleep(0.02)


def exchange(space: Path, server: str, client: str, address: str, patience_s: float = PATIENCE_S) -> bytes:
    """A TCP exchange from one sandbox to another."""
    with netns.inside(str(space / server)):
        listener = socket.create_server((address, 80))
    with netns.inside(str(space / client)):
        caller = socket.socket()
    with listener, caller:
        caller.settimeout(patience_s)
        caller.connect((address, 80))
        accepted, _ = listener.accept()
        with accepted:
            accepted.sendall(b"hello")
        return caller.recv(16)


def test_endpoints_of_one_bridge_reach_each_other(space: Path, on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        await kernel.apply({**BASE, "sandbox:2": sandbox(2), "sandbox:3": sandbox(3)})
        assert exchange(space, "s2", "s3", "10.9.0.2") == b"hello"

    on_kernel(scenario)


def test_what_was_applied_is_observed(on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        wanted = {**BASE, "sandbox:2": sandbox(2), "ports": ports(8000, 3)}
        await kernel.apply(wanted)
        expected = Plan(item for plan in wanted.values() for item in plan.values() if not isinstance(item, Sysctl))
        assert comparable(await kernel.observe()) == comparable(expected)

    on_kernel(scenario)


def test_the_peer_is_made_in_its_namespace_with_its_final_form(space: Path, on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        await kernel.apply({**BASE, "sandbox:2": sandbox(2)})
        (found,) = [entry for entry in ip("address", path=str(space / "s2")) if entry["ifname"] == "eth0"]
        assert found["address"] == "02:42:0a:09:00:02"
        assert "UP" in found["flags"]
        routes = {(entry["dst"], entry.get("gateway")) for entry in ip("route", path=str(space / "s2"))}
        assert ("default", "10.9.0.1") in routes

    on_kernel(scenario)


def test_settings_of_a_link_are_there_and_advertisements_are_ignored(space: Path, on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        own = Sysctl("s2", "net/ipv6/conf/eth0/disable_ipv6", "1", "eth0")
        plan = Plan(item for item in sandbox(2, own).values() if "fd00" not in str(item))
        await kernel.apply({**BASE, "sandbox:2": plan})
        assert read("net/ipv4/conf/br0/route_localnet") == "1"
        assert read("net/ipv6/conf/br0/accept_ra") == "0"
        assert read("net/ipv6/conf/v2eth0/accept_redirects") == "0"
        assert read("net/ipv6/conf/eth0/accept_ra", str(space / "s2")) == "0"
        assert read("net/ipv6/conf/eth0/disable_ipv6", str(space / "s2")) == "1"

    on_kernel(scenario)


def test_a_disconnected_endpoint_is_gone_at_once_and_its_names_are_free(space: Path, on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        await kernel.apply({**BASE, "sandbox:2": sandbox(2)})
        await kernel.apply({"sandbox:2": Plan([Netns("s2")])})
        assert "v2eth0" not in links()
        assert "eth0" not in links(str(space / "s2"))
        assert not [
            item for item in (await kernel.observe()).values() if item.key[:1] == ("link",) and "br0" not in item.key
        ]
        await kernel.apply({"sandbox:2": sandbox(2)})
        assert links(str(space / "s2")) >= {"eth0"}

    on_kernel(scenario)
    assert links() == {"br0", "v2eth0"}


def test_a_dropped_sandbox_leaves_nothing(space: Path, on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        await kernel.apply({**BASE, "sandbox:2": sandbox(2)})
        await kernel.apply({"sandbox:2": NOTHING, "network:a": NOTHING, "node": NOTHING})
        assert len(await kernel.observe()) == 0

    on_kernel(scenario)
    assert links() == set()
    assert not list(space.iterdir())


def test_a_changed_mac_keeps_addresses_and_routes(space: Path, on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        await kernel.apply({**BASE, "sandbox:2": sandbox(2)})
        changed = sandbox(2, mac="02:42:0a:09:00:ee")
        await kernel.apply({"sandbox:2": changed})
        seen = await kernel.observe()
        assert {seen.get(key) for key in changed} == set(changed.values())

    on_kernel(scenario)


def test_a_changed_address_keeps_the_default_route(on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        before = sandbox(2)
        await kernel.apply({**BASE, "sandbox:2": before})
        after = Plan(
            [*(i for i in before.values() if "10.9.0.2/16" not in i.key), Address("s2", "eth0", "10.9.0.9/16")]
        )
        await kernel.apply({"sandbox:2": after})
        seen = await kernel.observe()
        assert ("route", "s2", "0.0.0.0/0", "0") in seen
        assert ("address", "s2", "eth0", "10.9.0.2/16") not in seen

    on_kernel(scenario)


def test_a_change_in_place_does_not_remake_the_link(on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        await kernel.apply(BASE)
        before = socket.if_nametoindex("br0")
        await kernel.apply({"network:a": network(mtu=1400)})
        assert socket.if_nametoindex("br0") == before
        assert (await kernel.observe())[("link", "", "br0")] == network(mtu=1400)[("link", "", "br0")]

    on_kernel(scenario)


def test_a_failure_leaves_everything_as_it_was(space: Path, on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        await kernel.apply({**BASE, "sandbox:2": sandbox(2)})
        before = await kernel.observe()
        wrong = Plan([*sandbox(3).values(), *ports(8000, 2).values(), Address("s3", "eth7", "10.9.0.30/16")])
        with pytest.raises(Refused, match="there is no link eth7") as caught:
            await kernel.apply({"sandbox:2": NOTHING, "sandbox:3": wrong})
        assert caught.value.object == Address("s3", "eth7", "10.9.0.30/16")
        assert await kernel.observe() == before
        assert not (space / "s3").exists()

    on_kernel(scenario)


def test_a_refused_firewall_change_names_the_statement(on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        await kernel.apply(BASE)
        before = await kernel.observe()
        with pytest.raises(Refused, match="bogus") as caught:
            await kernel.apply({"x": Plan([Chain(*TABLE, "more", ("bogus words",))]), "y": ports(8000, 1)})
        assert "more" in str(caught.value)
        assert await kernel.observe() == before

    on_kernel(scenario)


def test_a_flushed_firewall_is_made_anew_with_the_next_change(on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        await kernel.apply({**BASE, "ports": ports(8000, 2)})
        before = await kernel.observe()
        flush()
        await kernel.apply({"more": ports(9000, 1)})
        await kernel.apply({"more": NOTHING})
        assert await kernel.observe() == before

    on_kernel(scenario)


def test_a_chain_is_changed_within_one_transaction(on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        await kernel.apply(BASE)
        changed = Plan(
            Chain(*TABLE, "inner", ("drop",)) if item.key[-1] == "inner" else item for item in node().values()
        )
        await kernel.apply({"node": changed})
        chain = (await kernel.observe())[("chain", *TABLE, "inner")]
        assert isinstance(chain, Chain)
        assert chain.rules == ("drop",)

    on_kernel(scenario)


def test_an_element_takes_another_value(on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        await kernel.apply(BASE)
        first = Element(*TABLE, "ports", "tcp . 80", "10.9.0.2 . 80")
        second = Element(*TABLE, "ports", "tcp . 80", "10.9.0.3 . 81")
        await kernel.apply({"x": Plan([first])})
        await kernel.apply({"x": Plan([second])})
        assert (await kernel.observe())[first.key] == second
        await kernel.apply({"x": NOTHING})
        assert first.key not in await kernel.observe()

    on_kernel(scenario)


def test_a_sandbox_has_a_firewall_of_its_own(on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        table = Table("s2", "ip", "fairlead")
        await kernel.apply({**BASE, "sandbox:2": sandbox(2, table)})
        seen = await kernel.observe()
        assert table.key in seen
        assert Table("", "ip", "fairlead").key not in seen

    on_kernel(scenario)


def test_an_object_of_two_owners_stands_until_both_let_go(on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        bridge = Plan([Bridge("", "shared", "02:42:00:00:00:05", 1500, "fairlead:shared")])
        await kernel.apply({"a": bridge, "b": bridge})
        await kernel.apply({"a": NOTHING})
        assert "shared" in links()
        await kernel.apply({"b": NOTHING})
        assert "shared" not in links()

    on_kernel(scenario)


@pytest.mark.parametrize(
    ("proto", "address"), [("tcp", "0.0.0.0"), ("tcp", "::"), ("udp", "127.0.0.1"), ("udp", "::1")]
)
def test_a_held_port_is_taken_for_everybody(on_kernel: Any, proto: str, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM

    async def scenario(kernel: Kernel) -> None:
        await kernel.apply({"p": Plan([PortHold(proto, address, 8080)])})
        for reuse in (0, 1):
            with socket.socket(family, kind) as other, pytest.raises(OSError, match="in use"):
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
                other.bind((address, 8080))
                if kind == socket.SOCK_STREAM:
                    other.listen()
        await kernel.apply({"p": NOTHING})
        with socket.socket(family, kind) as other:
            other.bind((address, 8080))

    on_kernel(scenario)


@pytest.mark.parametrize("listening", [True, False])
def test_a_port_of_another_process_is_refused_in_docker_words(on_kernel: Any, listening: bool) -> None:
    async def scenario(kernel: Kernel) -> None:
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("0.0.0.0", 80))
            if listening:
                other.listen()
            else:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            with pytest.raises(HostPortInUse) as caught:
                await kernel.apply({"p": ports(79, 2)})
        assert str(caught.value) == "failed to bind host port 0.0.0.0:80/tcp: address already in use"
        assert caught.value.object == PortHold("tcp", "0.0.0.0", 80)
        assert caught.value.hint
        with socket.socket() as other:
            other.bind(("0.0.0.0", 79))

    on_kernel(scenario)


def test_a_held_port_does_not_answer(on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        await kernel.apply({"p": Plan([PortHold("tcp", "0.0.0.0", 8080)])})
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", 8080), timeout=PATIENCE_S)

    on_kernel(scenario)


def test_the_worker_always_comes_back(space: Path, on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        await kernel.apply({"sandbox:2": Plan([Netns("s2")])})
        with pytest.raises(Refused):
            await kernel.sockets_in("nowhere", [(socket.AF_INET, socket.SOCK_DGRAM, "127.0.0.1", 53)])
        with pytest.raises(Refused):
            await kernel.apply({"x": Plan([Address("s2", "eth0", "10.0.0.2/24")])})
        await kernel.apply({"y": Plan([Bridge("", "brx", "02:42:00:00:00:07", 1500, "fairlead:x")])})
        assert "brx" in links()

    on_kernel(scenario)


def test_sockets_are_of_the_sandbox(on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        await kernel.apply({"sandbox:2": Plan([Netns("s2")])})
        specs = [(socket.AF_INET, kind, "127.0.0.11", 53) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)]
        made = await kernel.sockets_in("s2", specs)
        again = await kernel.sockets_in("", specs)
        for opened in (*made, *again):
            assert opened.getsockname() == ("127.0.0.11", 53)
            assert not opened.getblocking()
            opened.close()

    on_kernel(scenario)


def test_flows_of_a_vanished_port_are_forgotten(space: Path, on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        rules = Plan(
            [
                Table(*TABLE),
                Chain(
                    *TABLE,
                    "in",
                    ("udp dport { 5000, 5001 } dnat ip to 10.9.0.2",),
                    "type nat hook output priority -100",
                ),
            ]
        )
        flow = Flow("", "udp", 5000, "10.9.0.2", 5000)
        plain = {"network:a": Plan(item for item in network().values() if not isinstance(item, Element))}
        await kernel.apply({"node": rules, **plain, "sandbox:2": sandbox(2), "p": Plan([flow])})
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", ("10.9.0.1", 5000))
            sender.sendto(b"x", ("10.9.0.1", 5001))
        before = tracked()
        assert len(before) == 2
        await kernel.apply({"p": NOTHING})
        assert tracked() == {entry for entry in before if "dport=5001" in entry}
        await kernel.apply({"p": Plan([Flow("", "udp", 5001, "10.9.0.2", 5001)])})
        assert tracked() == set()

    on_kernel(scenario)


def test_flows_from_before_a_port_was_published_are_forgotten_at_a_start(space: Path, on_kernel: Any) -> None:
    """The port was recorded, and the daemon ended before the kernel knew. Connections to others go on."""

    async def scenario(kernel: Kernel) -> None:
        rules = Plan(
            [Table(*TABLE), Chain(*TABLE, "in", ("ct state new accept",), "type filter hook output priority 0")]
        )
        plain = {"network:a": Plan(item for item in network().values() if not isinstance(item, Element))}
        before = {"node": rules, **plain, "sandbox:2": sandbox(2)}
        await kernel.apply(before)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for target in (("10.9.0.1", 5000), ("10.9.0.1", 5001), ("10.9.0.2", 5000)):
                sender.sendto(b"x", target)
        began = tracked()
        assert len(began) == 3
        await kernel.repair({**before, "p": Plan([Flow("", "udp", 5000, "10.9.0.2", 5000)])})
        await until(lambda: tracked() != began)
        assert began - tracked() == {
            entry for entry in began if "src=10.9.0.1 dst=10.9.0.1 " in entry and "dport=5000" in entry
        }

    on_kernel(scenario)


def test_what_was_disconnected_is_gone_soon_however_busy_the_node_is(space: Path, on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        await kernel.apply({**BASE, "box": Plan([Netns("s2")]), "end": ends})
        await kernel.apply({"end": NOTHING})
        assert all(name.startswith("fx-") for name in links(str(space / "s2")))
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and links(str(space / "s2")):
            for _ in range(20):
                await kernel.answer()
                await asyncio.sleep(0.005)
        assert links(str(space / "s2")) == set()

    ends = Plan(item for item in sandbox(2).values() if not isinstance(item, Netns))
    on_kernel(scenario)


def test_ports_of_a_bridge_that_went_before_them_exchange_nothing(space: Path, on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        await kernel.apply({**BASE, "sandbox:2": sandbox(2), "sandbox:3": sandbox(3)})
        assert exchange(space, "s2", "s3", "10.9.0.2") == b"hello"
        await kernel.apply({"network:a": NOTHING})  # the bridge itself is deleted when there is nothing else to do
        with pytest.raises(OSError, match=r"timed out|No route"):
            exchange(space, "s2", "s3", "10.9.0.2", patience_s=1)

    on_kernel(scenario)


def test_settings_are_put_back_when_a_change_is_undone(space: Path, on_kernel: Any) -> None:
    settings = {"net/ipv4/ip_forward": "1", "net/ipv4/ip_default_ttl": "63", "net/ipv4/conf/lo/arp_ignore": "1"}

    async def scenario(kernel: Kernel) -> None:
        await kernel.apply(BASE)
        values = {path: read(path) for path in settings}
        plan = Plan(Sysctl("", path, value, "lo" if "/lo/" in path else "") for path, value in settings.items())
        assert not set(values.items()) & set(settings.items())
        impossible = Plan(
            [Bridge("", "br1", "02:42:00:00:00:02", 1500, "fairlead:x"), Address("", "absent", "10.8.0.1/16")]
        )
        with pytest.raises(Refused):
            await kernel.apply({"settings": plan, "p": impossible})
        assert {path: read(path) for path in settings} == values
        await kernel.apply({"settings": plan})
        assert {path: read(path) for path in settings} == settings

    on_kernel(scenario)


def test_sockets_of_firewalls_of_sandboxes_are_closed_from_outside(space: Path, on_kernel: Any) -> None:
    """A thread in a sandbox would keep it alive; a socket that is forgotten, too. The one that is kept goes with it."""

    def namespaces() -> set[int]:
        return {(task / "ns/net").stat().st_ino for task in Path("/proc/self/task").iterdir()}

    def netfilter() -> set[str]:
        return {name for name in os.listdir("/proc/self/fd") if is_netfilter(int(name))}

    async def scenario(kernel: Kernel) -> None:
        await kernel.apply(BASE)
        # Threads of tests before this one may stand in the namespace of theirs.
        before, homes = netfilter(), namespaces()
        inside = Plan([Table("s2", "ip", "fairlead-dns"), Chain("s2", "ip", "fairlead-dns", "c", ("accept",))])
        plans = {**BASE, "sandbox:2": sandbox(2), "rules": inside}
        await kernel.apply(plans)
        await kernel.repair(plans)
        assert len(netfilter()) == len(before) + 1 and namespaces() <= homes
        await kernel.apply({"sandbox:2": NOTHING, "rules": NOTHING})
        assert any("nft-close" in thread.name for thread in threading.enumerate())
        await until(lambda: netfilter() == before and namespaces() <= homes)
        assert netfilter() == before
        assert namespaces() <= homes

    on_kernel(scenario)


def flush() -> None:
    """What a stranger's firewall reload does."""
    subprocess.run(["nft", "flush", "ruleset"], check=True)


def tracked() -> set[str]:
    """UDP entries without what changes with time."""
    lines = subprocess.run(["conntrack", "-L", "-p", "udp"], capture_output=True, text=True, check=True).stdout
    return {line[line.index("src=") : line.index("mark=")] for line in lines.splitlines() if "src=10.9" in line}


def test_many_changes_at_once_from_one_loop(space: Path, on_kernel: Any) -> None:
    async def scenario(kernel: Kernel) -> None:
        await kernel.apply(BASE)
        await kernel.apply({f"sandbox:{number}": sandbox(number) for number in range(2, 42)})
        await kernel.apply({f"sandbox:{number}": NOTHING for number in range(2, 42)})

    on_kernel(scenario)
    assert links() == {"br0"}
    assert threading.active_count() == 1
