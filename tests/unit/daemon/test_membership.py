"""Becoming a member, staying one over restarts, locked records, leaving; and the leader's carrier beneath."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.api.fake_node import FakeNode

from fairlead.api.contract_swarm import IN_SWARM, INACTIVE, LOCKED, Addresses, InitWish, JoinWish
from fairlead.daemon.cluster.contract import Managers, Place
from fairlead.daemon.cluster.managing import Managing
from fairlead.daemon.cluster.membership import Membership, Surroundings
from fairlead.daemon.faults import VARIABLE
from fairlead.manager.manager import Manager
from fairlead.model import codes
from fairlead.model.cluster import MANAGER, WORKER, Cluster, NodeDescription
from fairlead.model.cluster_commands import InitCluster, UpdateCluster
from fairlead.model.errors import NetError
from fairlead.model.faults import Reach, pass_by
from fairlead.pki import authority
from fairlead.store.cluster_contract import Committed, Put, Txn
from fairlead.store.cluster_memory import MemoryClusterStore
from fairlead.store.cluster_records import encode

#: Seconds after which a scenario hangs.
_WAIT_S = 60.0
_DAY_S = 86400.0


class NoParts:
    """A member without agent and gossip; notes what becomes of it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.said: list[str] = []

    async def leave(self) -> None:
        self.said.append("leave")

    async def close(self) -> None:
        self.said.append("close")


class House:
    """A node's membership and its folder."""

    def __init__(self, folder: Path, reach: Reach = pass_by) -> None:
        self.folder = folder
        self._reach = reach
        self.parts: list[NoParts] = []
        self.port = free_port()

    async def start(self) -> Membership:
        """A daemon starts."""

        async def begin(place: Place, managers: Managers) -> NoParts:
            del managers
            self.parts.append(NoParts(place))
            return self.parts[-1]

        around = Surroundings(
            self.folder, begin, lambda: NodeDescription("house"), lambda _: None, random.SystemRandom(), self._reach
        )
        membership = Membership(around)
        await membership.start(FakeNode())
        return membership

    @property
    def addresses(self) -> Addresses:
        return Addresses(f"127.0.0.1:{self.port}", f"127.0.0.1:{self.port}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await asyncio.wait_for(scenario(), _WAIT_S)

    asyncio.run(whole())


async def refused(call: Awaitable[object]) -> NetError:
    with pytest.raises(NetError) as caught:
        await call
    return caught.value


def test_a_cluster_outlives_the_daemon_that_made_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        house = House(tmp_path / "swarm")
        member = await house.start()
        assert member.status.state == INACTIVE
        node_id = await member.init(InitWish(house.addresses))
        assert (member.status.state, member.status.manager, member.status.node_id) == (IN_SWARM, True, node_id)
        place = house.parts[0].place
        assert (place.role, place.advertise, place.serves) == (MANAGER, "127.0.0.1", f"127.0.0.1:{house.port}")
        assert (await refused(member.init(InitWish(house.addresses)))).code == codes.ALREADY_IN_SWARM
        token = member.brain.cluster.worker_token
        await member.close()
        again = await house.start()
        assert (again.status.node_id, again.brain.cluster.worker_token) == (node_id, token)
        for file in filter(Path.is_file, house.folder.rglob("*")):
            assert not stat.S_IMODE(file.stat().st_mode) & 0o077, file
        await again.close()

    run(scenario)


def test_leaving_leaves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        house = House(tmp_path / "swarm")
        member = await house.start()
        await member.init(InitWish(house.addresses))
        assert "Removing the last manager" in str(await refused(member.leave(force=False)))
        await member.leave(force=True)
        assert house.parts[0].said == ["leave", "close"]
        assert not house.folder.exists()
        assert member.status.state == INACTIVE
        assert (await refused(member.leave(force=True))).code == codes.NOT_IN_SWARM
        await member.init(InitWish(house.addresses))
        await member.close()

    run(scenario)


def test_what_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        house = House(tmp_path / "swarm")
        member = await house.start()
        wish = InitWish(house.addresses, pools=(("10.0.0.0/30", 24),))
        await refused(member.init(wish))
        assert not house.folder.exists()
        with socket.create_server(("127.0.0.1", house.port)):
            assert "cannot listen" in str(await refused(member.init(InitWish(house.addresses))))
        assert not house.folder.exists()
        await member.init(InitWish(house.addresses))
        await member.close()

    run(scenario)


def test_a_node_joins_by_a_token_and_is_still_a_member_after_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        house, other = House(tmp_path / "one"), House(tmp_path / "two")
        leader, joiner = await house.start(), await other.start()
        await leader.init(InitWish(house.addresses))
        remote = (f"127.0.0.1:{house.port}",)
        wrong = leader.brain.cluster.worker_token[:-4] + "0000"
        assert (await refused(joiner.join(JoinWish(wrong, remote, other.addresses)))).code == codes.TOKEN_REFUSED
        assert joiner.status.state == INACTIVE
        assert not other.folder.exists()
        await joiner.join(JoinWish(leader.brain.cluster.worker_token, remote, other.addresses))
        assert (joiner.status.state, joiner.status.manager) == (IN_SWARM, False)
        assert other.parts[0].place.role == WORKER
        assert joiner.status.node_id in leader.brain.nodes
        assert "Worker nodes can't be used" in str(await refused(_leader(joiner)))
        await joiner.close()
        again = await other.start()
        assert again.status == joiner.status or again.status.node_id == joiner.status.node_id
        await again.leave(force=False)
        await leader.close()

    run(scenario)


def test_the_leader_is_not_shut_out_by_its_own_certificates_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        house = House(tmp_path / "swarm")
        member = await house.start()
        node_id = await member.init(InitWish(house.addresses))
        await member.close()
        genuine = time.time
        monkeypatch.setattr(time, "time", lambda: genuine() + 100 * _DAY_S)
        again = await house.start()
        assert (again.status.state, again.status.node_id) == (IN_SWARM, node_id)
        await again.close()

    run(scenario)


def test_locked_records_open_by_the_present_key_only(tmp_path: Path) -> None:
    async def scenario() -> None:
        house = House(tmp_path / "swarm")
        member = await house.start()
        await member.init(InitWish(house.addresses))
        spec = replace(member.brain.cluster.spec, autolock=True)
        await member.brain.ask(UpdateCluster(spec))
        former = member.brain.cluster.unlock_key
        await member.brain.ask(UpdateCluster(rotate_unlock_key=True))
        key = member.brain.cluster.unlock_key
        secret = member.brain.cluster.network_secret
        await member.close()
        for file in filter(Path.is_file, house.folder.rglob("*")):
            assert secret.encode() not in file.read_bytes()
            assert key.encode() not in file.read_bytes()
            assert b"BEGIN EC PRIVATE" not in file.read_bytes()
        locked = await house.start()
        assert locked.status.state == LOCKED
        assert (await refused(_leader(locked))).code == codes.SWARM_LOCKED
        await refused(locked.unlock(former))
        await refused(locked.unlock("nonsense"))
        assert locked.status.state == LOCKED
        await locked.unlock(key)
        assert locked.status.state == IN_SWARM
        await locked.brain.ask(UpdateCluster(replace(spec, autolock=False)))
        await locked.close()
        opened = await house.start()
        assert opened.status.state == IN_SWARM
        await opened.close()

    run(scenario)


def test_what_another_manager_wrote_meanwhile_is_read_and_the_decision_made_anew() -> None:
    async def scenario() -> None:
        store = MemoryClusterStore()
        managing = Managing(Manager(random.Random(1)), store, lambda _: None)
        await managing.open()
        root = authority.new_authority(random.Random(2), time.time())
        await managing.ask(InitCluster(root, NodeDescription("one"), "192.0.2.1", "192.0.2.1:2377"))
        known = managing.manager.state.cluster
        elsewhere = replace(known, spec=replace(known.spec, labels={"seen": "yes"}), version=known.version + 1)
        assert isinstance(
            await store.commit(Txn(writes=(Put(f"cluster/{elsewhere.id}", encode(elsewhere)),))), Committed
        )
        cluster = await managing.ask(UpdateCluster(rotate_worker_token=True))
        assert isinstance(cluster, Cluster)
        assert cluster.spec.labels == {"seen": "yes"}
        assert cluster.worker_token != known.worker_token
        await managing.close()

    run(scenario)


def test_many_changes_at_a_time_are_all_made_and_in_order() -> None:
    async def scenario() -> None:
        store = MemoryClusterStore()
        managing = Managing(Manager(random.Random(1)), store, lambda _: None)
        await managing.open()
        root = authority.new_authority(random.Random(2), time.time())
        await managing.ask(InitCluster(root, NodeDescription("one"), "192.0.2.1", "192.0.2.1:2377"))
        before = managing.manager.state.cluster.version
        answers = await asyncio.gather(*(managing.ask(UpdateCluster(rotate_worker_token=True)) for _ in range(300)))
        tokens = [answer.worker_token for answer in answers if isinstance(answer, Cluster)]
        assert len(set(tokens)) == 300
        assert managing.manager.state.cluster.version == before + 300
        entry = await store.get(f"cluster/{managing.manager.state.cluster.id}")
        assert entry is not None
        assert entry.value == encode(managing.manager.state.cluster)
        await managing.close()
        assert "stops" in str(await refused(managing.ask(UpdateCluster())))

    run(scenario)


async def _leader(membership: Membership) -> object:
    return membership.leader()


def test_the_leader_goes_on_alone_at_another_address(tmp_path: Path) -> None:
    async def scenario() -> None:
        house = House(tmp_path / "swarm")
        member = await house.start()
        node_id = await member.init(InitWish(house.addresses))
        token = member.brain.cluster.worker_token
        house.port = free_port()
        assert await member.init(InitWish(house.addresses, force_new=True)) == node_id
        assert member.brain.cluster.worker_token == token
        assert house.parts[-1].place.serves == f"127.0.0.1:{house.port}"
        await member.close()

    run(scenario)


#: Founds a cluster in a folder, locks it, has the key made anew, and leaves; prints each unlock key before it is in use.
_CHILD = """
import asyncio, os, sys
from dataclasses import replace
from pathlib import Path
from tests.unit.daemon.test_membership import House
from fairlead.api.contract_swarm import InitWish
from fairlead.daemon.faults import armed
from fairlead.model.cluster_commands import UpdateCluster

async def main():
    house = House(Path(sys.argv[1]), armed(os.environ))
    member = await house.start()
    await member.init(InitWish(house.addresses))
    brain = member.brain
    genuine, managing = member._member.secured, member._member.managing
    async def told():
        print(brain.cluster.unlock_key, flush=True)
        await genuine()
    brain._secured = told
    await brain.ask(UpdateCluster(replace(brain.cluster.spec, autolock=True)))
    await brain.ask(UpdateCluster(rotate_unlock_key=True))
    await member.leave(force=True)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    "point",
    [
        "managing.committed",
        "cluster.rekey.begun",
        "cluster.rekey.committed",
        "cluster.rekey.committed:2",
        "membership.left",
    ],
)
def test_killed_at_any_moment_a_node_is_a_member_or_none(tmp_path: Path, point: str) -> None:
    """And what is locked opens by the key that was told last, or by the one before."""
    folder = tmp_path / "swarm"
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(folder)],
        env={**os.environ, VARIABLE: point, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=_WAIT_S,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    keys = done.stdout.split()

    async def scenario() -> None:
        house = House(folder)
        member = await house.start()
        if point.startswith(("membership", "managing")):
            assert member.status.state == INACTIVE
            assert not folder.exists()
            await member.init(InitWish(house.addresses))
        elif member.status.state == LOCKED:
            for key in reversed(keys):
                try:
                    await member.unlock(key)
                    break
                except NetError:
                    continue
        assert member.status.state == IN_SWARM
        await member.close()

    run(scenario)
