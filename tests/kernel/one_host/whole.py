"""Whether a host is whole: the kernel has what the records mean, no more and no less, and so have runtime and files."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import tempfile
from pathlib import Path

from tests.kernel.kernel_plans import comparable
from tests.kernel.one_host.host import Host
from tests.kernel.one_host.leftovers import cgroups
from tests.kernel.one_host.namespace import Namespace
from tests.kernel.one_host.waiting import until

from fairlead.daemon.assembly import survey
from fairlead.drivers.registry import built_in
from fairlead.engine.engine import Engine
from fairlead.kernel.apply import Kernel
from fairlead.kernel.reckoning import everything
from fairlead.model.settings import DEFAULT_POOLS_V4, EngineSettings, Paths
from fairlead.plan.objects import (
    Address,
    Bridge,
    Chain,
    Element,
    Netns,
    Object,
    Plan,
    Route,
    Set,
    Table,
    Veth,
)
from fairlead.store.sqlite import LocalStore

#: What stands in Linux and can be told to be ours by looking at it.
_STATE = (Netns, Bridge, Veth, Address, Route, Table, Set, Chain, Element)
_FIREWALL = (Table, Set, Chain, Element)
#: Chains as planned -> chains in nft's own spelling.
_spelled: dict[frozenset[Object], dict[tuple[str, ...], Object]] = {}


def assert_whole(host: Host) -> None:
    """Nothing half done, nothing missing, nothing left over. Links that are being deleted get time to go."""
    until(lambda: not any(name.startswith("fx-") for name in host.links()), "links that are gone are deleted")
    planned, observed = host.ns.call(lambda: asyncio.run(_compare(host)))
    missing, surplus = planned - observed, observed - planned
    assert (missing, surplus) == (set(), set()), f"planned but not there: {missing}\nthere but not planned: {surplus}"
    _assert_containers_whole(host)


async def _compare(host: Host) -> tuple[set[object], set[object]]:
    """What the records mean, and what stands."""
    paths = Paths(state=str(host.state), run=str(host.run_dir))
    kernel = Kernel(paths.netns)
    try:
        planned = await _planned(paths, kernel)
        observed = Plan(item for item in (await kernel.observe()).values() if isinstance(item, _STATE))
        chains = await _as_nft_spells([item for item in planned.values() if isinstance(item, _FIREWALL)])
    finally:
        await kernel.close()
    rules = {("rules", *key): (item.rules, item.hook) for key, item in observed.items() if _of_node(item)}  # type: ignore[union-attr]
    wanted = {("rules", *key): (item.rules, item.hook) for key, item in chains.items()}  # type: ignore[union-attr]
    return comparable(planned) | set(wanted.items()), comparable(observed) | set(rules.items())


def _of_node(item: Object) -> bool:
    return isinstance(item, Chain) and not item.ns


async def _planned(paths: Paths, kernel: Kernel) -> Plan:
    with tempfile.TemporaryDirectory() as folder:
        copy = f"{folder}/node.db"
        with (
            contextlib.closing(sqlite3.connect(f"file:{paths.state}/node.db?mode=ro", uri=True)) as source,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
        store = LocalStore(copy)
        try:
            settings = EngineSettings(hostname="any", default_pools=DEFAULT_POOLS_V4)
            node, _ = await survey(settings, store, kernel)
            engine = Engine(settings, paths, built_in(), random.Random(0), node, store.fact("node-id", ""))
            outcome = engine.restore(store.load(), 0.0, 0.0)
            assert outcome.changes == (), "a restart would change the records"
            return Plan(item for item in everything(outcome.plans).values() if isinstance(item, _STATE))
        finally:
            await store.close()


async def _as_nft_spells(firewall: list[Object]) -> dict[tuple[str, ...], Object]:
    """The node's chains as the kernel tells them when they are made in a namespace of their own."""
    own = [item for item in firewall if not getattr(item, "ns", "")]
    known = frozenset(item for item in own if isinstance(item, Chain))
    if known not in _spelled:
        scratch = Namespace.new()
        try:
            kernel = scratch.call(lambda: Kernel("/nonexistent"))
            try:
                await kernel.apply({"all": Plan(own)})
                seen = await kernel.observe()
            finally:
                await kernel.close()
        finally:
            scratch.close()
        _spelled[known] = {key: item for key, item in seen.items() if _of_node(item)}
    return _spelled[known]


def _assert_containers_whole(host: Host) -> None:
    rows = {row["Id"]: row["State"] for row in host.get("/containers/json?all=1")}
    host.containers |= set(rows)
    running = {identifier for identifier, state in rows.items() if state in ("running", "paused")}
    folder = host.run_dir / "containers"
    try:
        until(lambda: _monitors(host) == running, "monitors of running containers only")
    except AssertionError as error:
        error.add_note(f"too many {_monitors(host) - running}, too few {running - _monitors(host)}, known {rows}")
        raise
    for identifier in running:
        pid = host.get(f"/containers/{identifier}/json")["State"]["Pid"]
        assert identifier in Path(f"/proc/{pid}/cgroup").read_text(), f"{identifier} does not run as {pid}"
    groups = cgroups(host.containers)
    assert {path.name for path in groups} == running
    frozen = {
        path.name for path in groups if _says(path / "freezer.state", "FROZEN") or _says(path / "cgroup.freeze", "1")
    }
    assert frozen == {identifier for identifier in running if rows[identifier] == "paused"}
    assert _names(host.run_dir / "runc") == running
    assert _names(folder) <= set(rows)
    assert _names(host.state / "containers") <= set(rows)
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines() if str(folder) in line]
    assert len(mounts) == len(set(mounts)), "nothing is mounted twice"
    assert {Path(place).parent.name for place in mounts if place.endswith("/rootfs")} == running
    assert {Path(place).parent.name for place in mounts if place.endswith("/layer")} <= set(rows)
    for identifier in running:
        _assert_files_whole(host, identifier)


def _assert_files_whole(host: Host, identifier: str) -> None:
    """The hosts file gives each address of the container once, and no address that it had before."""
    shown = host.get(f"/containers/{identifier}/json")
    addresses = {
        place[key]
        for place in shown["NetworkSettings"]["Networks"].values()
        for key in ("IPAddress", "GlobalIPv6Address")
        if place[key]
    }
    lines = (host.state / "containers" / identifier / "hosts").read_text().splitlines()
    given = [line.split()[0] for line in lines if line.split()[1:] == [shown["Config"]["Hostname"]]]
    assert sorted(given) == sorted(addresses), f"hosts file of {shown['Name']}"


def _monitors(host: Host) -> set[str]:
    """Ids of the containers that a conmon of this host watches."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().decode(errors="replace").split("\0")
            if words[0].endswith("conmon") and any(str(host.run_dir) in word for word in words):
                found.add(words[words.index("--cid") + 1])
    return found


def _says(path: Path, word: str) -> bool:
    return path.exists() and path.read_text().strip() == word


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()
