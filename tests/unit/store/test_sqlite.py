"""What was answered is on disk; what was not is not half there."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from fairlead.model.container import Container, ContainerConfig
from fairlead.model.endpoint import Endpoint, EndpointSettings, PortBinding, PortRequest
from fairlead.model.errors import Internal
from fairlead.model.network import Network, Pool
from fairlead.model.sandbox import Sandbox
from fairlead.model.state import KINDS, Change, Record
from fairlead.store.sqlite import LocalStore

RECORDS: list[Record] = [
    Network("n" * 64, "web", "bridge", 1.5, pools=(Pool("p", "10.0.0.0/24", gateway="10.0.0.1"),), labels={"a": "b"}),
    Endpoint("e" * 64, "a", "n" * 64, "s", "c", bindings=(PortBinding("tcp", 80, "::", 8080),), dns_names=("a",)),
    Sandbox("s" * 64, "c" * 64, "box", endpoints=("e" * 64,)),
    Container(
        "c" * 64,
        "a",
        2.5,
        ContainerConfig(
            "host", ("true",), ports=(PortRequest("udp", 53),), endpoints={"web": EndpointSettings("10.0.0.2")}
        ),
    ),
]


def put(record: Record) -> Change:
    return Change(KINDS[type(record)], record.id, None, record)


def drop(record: Record) -> Change:
    return Change(KINDS[type(record)], record.id, record, None)


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = LocalStore(str(tmp_path / "node.db"))
        await store.write(tuple(put(record) for record in RECORDS))
        await store.close()
        again = LocalStore(str(tmp_path / "node.db"))
        assert again.load() == RECORDS
        await again.write((drop(RECORDS[1]),))
        assert again.load() == [RECORDS[0], *RECORDS[2:]]
        await again.close()

    asyncio.run(scenario())


def test_records_come_back_in_the_order_in_which_they_were_made(tmp_path: Path) -> None:
    made = [Network(letter * 64, letter, "bridge", 1.0) for letter in "cab"]

    async def scenario() -> None:
        store = LocalStore(str(tmp_path / "node.db"))
        for network in made:
            await store.write((put(network),))
        await store.write((put(made[0]),))
        assert store.load() == made
        await store.close()

    asyncio.run(scenario())


def test_a_file_without_that_order_is_converted(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "node.db")) as old:
        old.executescript(
            "create table records (kind text not null, id text not null, value blob not null, primary key (kind, id))"
            " without rowid; create table facts (name text primary key, value text not null) without rowid;"
        )
        old.execute("insert into records values ('network', ?, ?)", (RECORDS[0].id, msgspec.json.encode(RECORDS[0])))
        old.commit()

    async def scenario() -> None:
        for _ in range(2):
            store = LocalStore(str(tmp_path / "node.db"))
            assert store.load() == [RECORDS[0]]
            await store.close()

    asyncio.run(scenario())


def test_many_writers_share_commits_and_keep_their_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = LocalStore(str(tmp_path / "node.db"))
        network = RECORDS[0]
        writes = [store.write((put(network) if number % 2 == 0 else drop(network),)) for number in range(201)]
        await asyncio.gather(*writes)
        assert store.load() == [network]
        await store.close()

    asyncio.run(scenario())


def test_a_fact_is_remembered(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = LocalStore(str(tmp_path / "node.db"))
        assert store.fact("node-id", "one") == "one"
        assert store.fact("node-id", "two") == "one"
        await store.close()

    asyncio.run(scenario())


def test_what_was_answered_survives_kill_9(tmp_path: Path) -> None:
    program = f"""
import asyncio, os, signal
from fairlead.model.network import Network
from fairlead.model.state import Change
from fairlead.store.sqlite import LocalStore

async def run():
    store = LocalStore({str(tmp_path / "node.db")!r})
    for number in range(5):
        network = Network(str(number), f"n{{number}}", "bridge", 0.0)
        await store.write((Change("network", network.id, None, network),))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(run())
"""
    ended = subprocess.run([sys.executable, "-c", program], check=False, timeout=120)
    assert ended.returncode == -9

    async def scenario() -> None:
        store = LocalStore(str(tmp_path / "node.db"))
        assert [record.id for record in store.load()] == ["0", "1", "2", "3", "4"]
        await store.close()

    asyncio.run(scenario())


def test_a_file_of_another_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = LocalStore(str(tmp_path / "node.db"))
        store._set_fact("schema", "99")
        await store.close()
        with pytest.raises(Internal, match="schema 99") as caught:
            LocalStore(str(tmp_path / "node.db"))
        assert caught.value.hint

    asyncio.run(scenario())


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "node.db").write_bytes(b"not a database" * 100)

    async def scenario() -> None:
        with pytest.raises(Internal, match="cannot open"):
            LocalStore(str(tmp_path / "node.db"))

    asyncio.run(scenario())
