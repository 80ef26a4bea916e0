"""A node in memory: a real ``State`` and just enough of Docker's rules for the API to show every kind of answer.

Not a stand-in for the engine. Its own behaviour is tested in ``test_fake_node.py``.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

from tests.unit.api.fake_balance import FakeBalance
from tests.unit.api.fake_encryption import FakeEncryption
from tests.unit.api.fake_gossip import FakeGossip
from tests.unit.api.fake_http_mesh import FakeHttpMesh
from tests.unit.api.fake_swarm import FakeSwarm

from fairlead.api.contract import NodeFacts
from fairlead.api.contract_containers import FileStat, ImageInfo, VolumeInfo
from fairlead.model.commands import (
    AlreadyThere,
    Command,
    ConnectNetwork,
    CreateContainer,
    CreateNetwork,
    DisconnectNetwork,
    KillContainer,
    RemoveContainer,
    RemoveNetwork,
    RenameContainer,
    StartContainer,
    StopContainer,
)
from fairlead.model.container import Container, ContainerState
from fairlead.model.endpoint import Endpoint, EndpointSettings, PortBinding
from fairlead.model.errors import Conflict, Forbidden, Internal, Invalid, NotFound
from fairlead.model.events import Notice
from fairlead.model.ids import new_id, new_mac
from fairlead.model.image import ImageConfig, full_name
from fairlead.model.limits import Limits
from fairlead.model.network import Network, Pool
from fairlead.model.runspec import ExecSpec, LogLine
from fairlead.model.state import State

#: The wall clock at the fake node's birth (epoch seconds); each notice is one second later.
BIRTH = 1_700_000_000.0

FACTS = NodeFacts(
    id="fake",
    hostname="fakehost",
    kernel="6.1.0",
    operating_system="Fake Linux",
    architecture="x86_64",
    cpus=2,
    memory_bytes=2**31,
    started=BIRTH,
    pid=4242,
    default_pools=(("172.17.0.0/16", 16),),
    drivers=("bridge", "host", "null"),
)


class EchoStream:
    """A command that gives back what it is told until its input ends; greets on standard error first."""

    def __init__(self, *, tty: bool = False, greeting: bytes = b"hello\n") -> None:
        self.tty = tty
        self.gone = asyncio.Event()
        self._pieces: asyncio.Queue[tuple[str, bytes] | None] = asyncio.Queue()
        self._pieces.put_nowait(("stderr", greeting))

    async def read(self) -> tuple[str, bytes] | None:
        return await self._pieces.get()

    async def write(self, data: bytes) -> None:
        self._pieces.put_nowait(("stdout", data))

    async def close_stdin(self) -> None:
        self._pieces.put_nowait(None)

    async def close(self) -> None:
        self.gone.set()


class FakeNotices:
    """What happened, at moments of their own: one second after the other since birth."""

    def __init__(self) -> None:
        self._kept: list[Notice] = []
        self._listeners: set[asyncio.Event] = set()

    def __len__(self) -> int:
        return len(self._kept)

    def tell(self, kind: str, action: str, identifier: str, attributes: Mapping[str, str]) -> None:
        self._kept.append(Notice(kind, action, identifier, dict(attributes), BIRTH + 1 + len(self._kept)))
        for listener in self._listeners:
            listener.set()

    def subscribe(self, since: float | None) -> AsyncIterator[Notice]:
        return self._follow(0 if since is not None else len(self._kept), since or 0.0)

    async def _follow(self, position: int, since: float) -> AsyncIterator[Notice]:
        changed = asyncio.Event()
        self._listeners.add(changed)
        try:
            while True:
                for notice in self._kept[position:]:
                    position += 1
                    if notice.at >= since:
                        yield notice
                await changed.wait()
                changed.clear()
        finally:
            self._listeners.discard(changed)


class FakeUsage:
    """Every container has written as many bytes as its id has digits."""

    def container_bytes(self, container_id: str) -> int:
        return len(container_id)


class FakeImages:
    """Images whose root file system is the archive as it came."""

    def __init__(self) -> None:
        self.archives: dict[str, bytes] = {}
        self._kept: list[ImageInfo] = [ImageInfo("0" * 64, ("host:latest",), 0, BIRTH)]

    def all(self) -> list[ImageInfo]:
        return list(self._kept)

    def get(self, ref: str) -> ImageInfo:
        for image in self._kept:
            if full_name(ref) in image.names or image.id == ref.removeprefix("sha256:"):
                return image
        raise NotFound(f"No such image: {ref}", hint="import it")

    async def add(self, name: str, tarball: AsyncIterator[bytes], config: ImageConfig) -> ImageInfo:
        data = b"".join([chunk async for chunk in tarball])
        if not re.fullmatch(r"[a-z0-9][a-z0-9:/._-]*", name):
            raise Invalid(f"invalid reference format: {name!r}")
        self.archives[name] = data
        image = ImageInfo(f"{len(self._kept):064x}", (full_name(name),), len(data), BIRTH, config)
        self._kept.append(image)
        return image

    def tag(self, ref: str, name: str) -> None:
        image = self.get(ref)
        self._kept[self._kept.index(image)] = replace(image, names=(*image.names, full_name(name)))

    async def remove(self, ref: str, *, force: bool) -> list[tuple[str, str]]:
        image = self.get(ref)
        self._kept.remove(image)
        return [("Deleted", f"sha256:{image.id}")]


class FakeVolumes:
    """Volumes by name only."""

    def __init__(self) -> None:
        self._kept: dict[str, VolumeInfo] = {}

    def create(self, name: str, labels: Mapping[str, str], driver: str, options: Mapping[str, str]) -> VolumeInfo:
        chosen = name or "a" * 64
        return self._kept.setdefault(chosen, VolumeInfo(chosen, f"/volumes/{chosen}", BIRTH, dict(labels)))

    def all(self) -> list[VolumeInfo]:
        return [self._kept[name] for name in sorted(self._kept)]

    def get(self, name: str) -> VolumeInfo:
        if name not in self._kept:
            raise NotFound(f"get {name}: no such volume")
        return self._kept[name]

    async def remove(self, name: str, *, force: bool) -> None:
        if name not in self._kept and not force:
            raise NotFound(f"get {name}: no such volume")
        self._kept.pop(name, None)


class FakeMeters:
    """Nobody uses anything, and everything can be limited."""

    def possible(self, limits: Limits) -> list[str]:
        return []

    def stats(self, container: str) -> dict[str, object]:
        return {"id": container, "cpu_stats": {}, "networks": {}}

    async def top(self, container: str, words: tuple[str, ...]) -> tuple[list[str], list[list[str]]]:
        return ["PID", "CMD"], [["77", "sleep"]]


class FakeFiles:
    """Every container has one file."""

    async def stat(self, container: str, path: str) -> FileStat:
        if path != "/file":
            raise NotFound(f"Could not find the file {path} in container {container}")
        return FileStat("file", 3, 0o100644, BIRTH)

    async def read(self, container: str, path: str) -> AsyncIterator[bytes]:
        yield b"tar"

    async def write(
        self, container: str, path: str, archive: AsyncIterator[bytes], *, no_overwrite: bool, keep_owners: bool
    ) -> None:
        async for _ in archive:
            pass

    async def export(self, container: str) -> AsyncIterator[bytes]:
        yield b"tar"


class FakeFirewall:
    """One that nothing has happened to."""

    driver = "nftables"
    asks = False

    def rows(self) -> list[tuple[str, str]]:
        return [("Repairs", "0")]

    def warnings(self) -> tuple[str, ...]:
        return ()


class FakeNode:
    """Fits ``fairlead.api.contract.Node``."""

    def __init__(self) -> None:
        self.facts = FACTS
        self.state = State()
        self.seen: list[Command] = []
        self.swarm = FakeSwarm()
        self.gossip = FakeGossip()
        self.http_mesh = FakeHttpMesh()
        self.balance = FakeBalance()
        self.encryption = FakeEncryption()
        self.notices = FakeNotices()
        self.firewall = FakeFirewall()
        self.usage = FakeUsage()
        self.images = FakeImages()
        self.volumes = FakeVolumes()
        self.meters = FakeMeters()
        self.files = FakeFiles()
        self.sizes: list[tuple[str, int, int]] = []
        self.streams: list[EchoStream] = []
        self._execs: dict[str, tuple[str, ExecSpec]] = {}
        self._chance = random.Random(1)
        self._changed = asyncio.Condition()
        for name, driver in (("bridge", "bridge"), ("host", "host"), ("none", "null")):
            self.state.put(Network(id=new_id(self._chance), name=name, driver=driver, created=BIRTH))

    async def preview(self, command: Command, /, *, start: bool) -> list[str]:
        return [f"+ {type(command).__name__}{' and start' if start else ''}"]

    async def submit(self, command: Command) -> object:
        self.seen.append(command)
        answer = self._handle(command)
        async with self._changed:
            self._changed.notify_all()
        return answer

    def _handle(self, command: Command) -> object:
        match command:
            case CreateNetwork():
                return self._create_network(command)
            case RemoveNetwork():
                return self._remove_network(command)
            case ConnectNetwork():
                self._connect(command.network, command.container, command.settings)
            case DisconnectNetwork():
                self._disconnect(command)
            case CreateContainer():
                return self._create_container(command)
            case StartContainer():
                return self._start(command)
            case StopContainer() | KillContainer():
                return self._stop(command)
            case RemoveContainer():
                self._remove_container(command)
            case RenameContainer():
                container = self.state.container(command.container)
                self.state.put(replace(container, name=command.name))
        return None

    def _create_network(self, command: CreateNetwork) -> Network:
        if command.name in ("bridge", "host", "none", "default"):
            raise Forbidden(f"operation is not permitted on predefined {command.name} network ")
        if not command.name.strip():
            raise Invalid("network name cannot be empty", hint="choose a name")
        if self.state.network_named(command.name):
            raise Conflict(f"network with name {command.name} already exists", hint="choose another name")
        number = 17 + len(self.state.networks)
        pools = tuple(
            Pool(new_id(self._chance), pool.subnet, pool.ip_range, pool.gateway, pool.aux) for pool in command.pools
        ) or (Pool(new_id(self._chance), f"172.{number}.0.0/16", gateway=f"172.{number}.0.1"),)
        network = Network(
            id=new_id(self._chance),
            name=command.name,
            driver=command.driver or "bridge",
            created=BIRTH + len(self.notices),
            ipv6=bool(command.ipv6),
            internal=command.internal,
            attachable=command.attachable,
            pools=pools,
            options=command.options,
            labels=command.labels,
        )
        self.state.put(network)
        self._tell("network", "create", network.id, {"name": network.name, "type": network.driver})
        return network

    def _remove_network(self, command: RemoveNetwork) -> Network:
        network = self.state.network(command.network)
        if network.predefined:
            raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
        if self.state.endpoints_of_network(network.id):
            raise Forbidden(
                f"error while removing network: network {network.name} id {network.id} has active endpoints"
            )
        self.state.drop(network)
        self._tell("network", "destroy", network.id, {"name": network.name, "type": network.driver})
        return network

    def _connect(self, ref: str, container_ref: str, settings: EndpointSettings) -> None:
        network, container = self.state.network(ref), self.state.container(container_ref)
        if not container.running:
            endpoints = {**container.config.endpoints, network.name: settings}
            self.state.put(replace(container, config=replace(container.config, endpoints=endpoints)))
            return
        base = network.pools[0].subnet.rpartition(".")[0] if network.pools else ""
        number = 2 + len(self.state.endpoints_of_network(network.id))
        bindings = tuple(
            PortBinding(port.proto, port.container_port, port.host_ip or "0.0.0.0", port.host_port or 49153)
            for port in container.config.ports
        )
        endpoint = Endpoint(
            id=new_id(self._chance),
            name=container.name,
            network_id=network.id,
            sandbox_id="",
            container_id=container.id,
            mac=settings.mac or new_mac(self._chance),
            ipv4=(settings.ipv4 and f"{settings.ipv4}/16") or (f"{base}.{number}/16" if base else ""),
            dns_names=(container.name, *settings.aliases, container.id[:12]),
            settings=settings,
            bindings=bindings,
        )
        self.state.put(endpoint)
        attributes = {"container": container.id, "name": network.name, "type": network.driver}
        self._tell("network", "connect", network.id, attributes)

    def _disconnect(self, command: DisconnectNetwork) -> None:
        network, container = self.state.network(command.network), self.state.container(command.container)
        for endpoint in self.state.endpoints_of_network(network.id):
            if endpoint.container_id == container.id:
                self.state.drop(endpoint)
                return
        raise Internal(f"container {container.id} is not connected to network {network.name}")

    def _create_container(self, command: CreateContainer) -> Container:
        if command.config.image == "absent":
            raise NotFound("No such image: absent:latest", hint="import it")
        identifier = new_id(self._chance)
        name = command.name or f"fake_{identifier[:6]}"
        taken = self.state.container_named(name)
        if taken:
            raise Conflict(f'Conflict. The container name "/{name}" is already in use by container "{taken.id}".')
        container = Container(identifier, name, BIRTH + len(self.notices), command.config)
        self.state.put(container)
        self._tell("container", "create", identifier, {"name": name, "image": command.config.image})
        return container

    def _start(self, command: StartContainer) -> AlreadyThere | None:
        container = self.state.container(command.container)
        if container.running:
            return AlreadyThere()
        self.state.put(replace(container, state=ContainerState(status="running", pid=77, started=BIRTH)))
        mode = container.config.network_mode
        for ref, settings in (container.config.endpoints or {mode: EndpointSettings()}).items():
            self._connect(ref, container.id, settings)
        self._tell("container", "start", container.id, {"name": container.name, "image": container.config.image})
        return None

    def _stop(self, command: StopContainer | KillContainer) -> AlreadyThere | None:
        container = self.state.container(command.container)
        if not container.running:
            if isinstance(command, KillContainer):
                raise Conflict(f"cannot kill container: {command.container}: container is not running")
            return AlreadyThere()
        for endpoint in self.state.endpoints_of_container(container.id):
            self.state.drop(endpoint)
        code = 143 if isinstance(command, StopContainer) else 137
        stopped = ContainerState(status="exited", exit_code=code, started=BIRTH, finished=BIRTH + 1)
        self.state.put(replace(container, state=stopped))
        self._tell("container", "die", container.id, {"name": container.name, "exitCode": str(code)})
        if container.config.auto_remove:
            self.state.drop(self.state.containers[container.id])
        return None

    def _remove_container(self, command: RemoveContainer) -> None:
        container = self.state.container(command.container)
        if container.running and not command.force:
            raise Conflict(f'cannot remove container "/{container.name}": container is running', hint="stop it first")
        self.state.drop(container)
        self._tell("container", "destroy", container.id, {"name": container.name})

    def _tell(self, kind: str, action: str, identifier: str, attributes: dict[str, str]) -> None:
        self.notices.tell(kind, action, identifier, attributes)

    def pool_usage(self, network_id: str) -> dict[str, tuple[int, int]]:
        used = 3 + len(self.state.endpoints_of_network(network_id))
        return {pool.subnet: (used, 65536 - used) for pool in self.state.networks[network_id].pools}

    async def wait(self, container: str, condition: str) -> int:
        code = 0
        async with self._changed:
            while True:
                found = self.state.containers.get(container)
                if found is None:
                    return code
                code = found.state.exit_code
                ended = found.state.status == "exited" or (condition == "not-running" and not found.running)
                if ended and condition != "removed":
                    return code
                await self._changed.wait()

    def logs(self, container: str, *, follow: bool, tail: int | None, since: float | None) -> AsyncIterator[LogLine]:
        return self._log_lines(container, follow, tail)

    async def _log_lines(self, container: str, follow: bool, tail: int | None) -> AsyncIterator[LogLine]:
        lines = [
            LogLine("stdout", b"one\n", "2023-11-14T22:13:20.000000000Z"),
            LogLine("stderr", b"two\n", "2023-11-14T22:13:21.000000000Z"),
            LogLine("stdout", b"three\n", "2023-11-14T22:13:22.000000000Z"),
        ]
        for line in lines if tail is None else lines[len(lines) - tail :]:
            yield line
        if follow:
            await self.wait(container, "not-running")

    async def attach(self, container: str) -> EchoStream:
        stream = EchoStream(tty=self.state.containers[container].config.tty)
        self.streams.append(stream)
        if not self.state.containers[container].config.open_stdin:
            await stream.close_stdin()
        return stream

    def exec_create(self, container: str, spec: ExecSpec) -> str:
        if not self.state.containers[container].running:
            raise Conflict(f"container {container} is not running")
        identifier = new_id(self._chance)
        self._execs[identifier] = (container, spec)
        return identifier

    async def exec_start(self, exec_id: str) -> EchoStream:
        if exec_id not in self._execs:
            raise NotFound(f"No such exec instance: {exec_id}")
        stream = EchoStream(tty=self._execs[exec_id][1].tty)
        self.streams.append(stream)
        if not self._execs[exec_id][1].open_stdin:
            await stream.close_stdin()
        return stream

    def exec_inspect(self, exec_id: str) -> dict[str, object]:
        if exec_id not in self._execs:
            raise NotFound(f"No such exec instance: {exec_id}")
        return {"ID": exec_id, "ContainerID": self._execs[exec_id][0], "Running": False, "ExitCode": 3, "Pid": 0}

    async def exec_resize(self, exec_id: str, height: int, width: int) -> None:
        self.sizes.append((exec_id, height, width))

    async def resize(self, container: str, height: int, width: int) -> None:
        self.sizes.append((container, height, width))
