"""What containers have beside networks, as the API asks for it: files, volumes, images, meters. Who uses what is known
by the engine's records; how it lies on this machine by the runtime."""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import AsyncIterator, Mapping

from fairlead.api.contract_containers import FileStat, ImageInfo, VolumeInfo
from fairlead.model import codes
from fairlead.model.container import Container
from fairlead.model.errors import Conflict, Invalid, NotFound
from fairlead.model.ids import new_id
from fairlead.model.image import ImageConfig, full_name
from fairlead.model.limits import Limits
from fairlead.model.mount import Mount, parse_volume
from fairlead.model.settings import Paths
from fairlead.model.state import State
from fairlead.runtime import cgroups, images
from fairlead.runtime.cgroups import Usage
from fairlead.runtime.containers import Runtime
from fairlead.runtime.files import Trees
from fairlead.runtime.volumes import Volume, Volumes, tidy

#: Where the kernel tells the CPU time of the whole machine, in ticks (proc(5)).
_STAT = "/proc/stat"


def mounts_of(container: Container) -> tuple[Mount, ...]:
    """Everything that a container mounts."""
    return (*map(parse_volume, container.config.binds), *container.config.mounts)


class NodeFiles:
    """Implements ``api.contract_containers.Files``."""

    def __init__(self, state: State, paths: Paths) -> None:
        self._state = state
        self._trees = Trees(paths)

    async def stat(self, container: str, path: str) -> FileStat:
        """A file as it is; raises ``NotFound``."""
        found = self._state.container(container)
        facts = await self._trees.facts(found.id, found.config.image, mounts_of(found), path)
        return FileStat(facts.name, facts.size, facts.mode, facts.modified, facts.link)

    def read(self, container: str, path: str) -> AsyncIterator[bytes]:
        """A file or directory as a tar archive."""
        found = self._state.container(container)
        return self._trees.read(found.id, found.config.image, mounts_of(found), path)

    async def write(
        self, container: str, path: str, archive: AsyncIterator[bytes], *, no_overwrite: bool, keep_owners: bool
    ) -> None:
        """Unpack a tar archive into a directory."""
        found = self._state.container(container)
        await self._trees.write(
            found.id,
            found.config.image,
            mounts_of(found),
            path,
            archive,
            no_overwrite=no_overwrite,
            keep_owners=keep_owners,
            read_only=found.config.read_only,
        )

    def export(self, container: str) -> AsyncIterator[bytes]:
        """The whole root file system as a tar archive, without what is mounted into it."""
        found = self._state.container(container)
        return self._trees.export(found.id, found.config.image)


class NodeVolumes:
    """Implements ``api.contract_containers.Volumes``."""

    def __init__(self, state: State, paths: Paths) -> None:
        self._state = state
        tidy(paths)
        self._volumes = Volumes(paths)

    def create(self, name: str, labels: Mapping[str, str], driver: str, options: Mapping[str, str]) -> VolumeInfo:
        """Make a volume, or find it; an empty name is chosen."""
        if options:
            raise Invalid(
                f"create {name}: invalid option: {min(options)!r}", hint="volumes are directories: leave --opt out"
            )
        anonymous = not name
        chosen = name or new_id(random.SystemRandom())
        return self._info(self._volumes.create(chosen, labels, driver=driver, anonymous=anonymous))

    def prepare(self, container: Container) -> None:
        """Make the volumes of a container that is new."""
        for mount in mounts_of(container):
            if mount.kind == "volume":
                self._volumes.create(mount.source, anonymous=mount.anonymous)

    def all(self) -> list[VolumeInfo]:
        """Every volume in order of names."""
        return [self._info(volume) for volume in self._volumes.all()]

    def get(self, name: str) -> VolumeInfo:
        """One volume; raises ``NotFound``."""
        return self._info(self._volumes.get(name))

    async def remove(self, name: str, *, force: bool) -> None:
        """Delete a volume that no container uses."""
        users = self._users(name)
        if users:
            raise Conflict(
                f"remove {name}: volume is in use - [{', '.join(users)}]", hint="remove those containers first"
            )
        try:
            await self._volumes.remove(name)
        except NotFound:
            if not force:
                raise

    def _info(self, volume: Volume) -> VolumeInfo:
        users = self._users(volume.name)
        return VolumeInfo(volume.name, volume.path, volume.created, volume.labels, users, volume.anonymous)

    def _users(self, name: str) -> tuple[str, ...]:
        return tuple(
            container.id
            for container in self._state.containers.values()
            if any(mount.kind == "volume" and mount.source == name for mount in mounts_of(container))
        )


class NodeImages:
    """Implements ``api.contract_containers.Images``."""

    def __init__(self, state: State, paths: Paths, started: float) -> None:
        self._state = state
        self._paths = paths
        self._started = started

    def all(self) -> list[ImageInfo]:
        """The host's own root file system, then what was imported."""
        return [self._host(), *(self._info(image) for image in images.listing(self._paths))]

    def get(self, ref: str) -> ImageInfo:
        """The image of a name or id."""
        host = self._host()
        if full_name(ref) in host.names or (len(ref) > 3 and host.id.startswith(ref.removeprefix("sha256:"))):
            return host
        return self._info(self._find(ref))

    async def add(self, name: str, tarball: AsyncIterator[bytes], config: ImageConfig) -> ImageInfo:
        """Import a root file system."""
        return self._info(await images.import_tarball(self._paths, name, tarball, time.time(), config))

    def tag(self, ref: str, name: str) -> None:
        """Give an image another name."""
        images.tag(self._paths, ref, name)

    async def remove(self, ref: str, *, force: bool) -> list[tuple[str, str]]:
        """Take a name away, and with the last one the image."""
        if full_name(ref) == full_name(images.HOST):
            raise Conflict(
                f"image {images.HOST} is the host's own root file system",
                hint="it cannot be removed",
                code=codes.IMAGE_NOT_FOUND,
            )
        image = self._find(ref)
        named = full_name(ref) in image.names
        if named and len(image.names) > 1:
            images.untag(self._paths, ref)
            return [("Untagged", full_name(ref))]
        users = self._users(image)
        living = [user for user in users if self._state.containers[user].running]
        if living or (users and not force):
            kind = "running" if living else "stopped"
            what = "unable to remove repository reference" if named else "unable to delete"
            raise Conflict(
                f'conflict: {what} "{ref}" ({"cannot" if living else "must"} be forced) - '
                f"container {(living or users)[0][:12]} is using its referenced image {image.id[:12]} ({kind})",
                hint="remove the containers first",
            )
        if not named and len(image.names) > 1 and not force:
            raise Conflict(
                f"conflict: unable to delete {image.id[:12]} (must be forced) - image is referenced in multiple "
                "repositories",
                hint="remove its names one by one, or force it",
            )
        await images.remove(self._paths, image)
        return [*(("Untagged", name) for name in image.names), ("Deleted", f"sha256:{image.id}")]

    def _find(self, ref: str) -> images.Image:
        folder = images.folder_of(self._paths, ref)
        found = next((image for image in images.listing(self._paths) if image.folder == folder), None)
        if found is None:
            raise NotFound(
                f"No such image: {full_name(ref)}",
                hint="there is no registry: `fairlead image import NAME TARBALL` adds a root file system, `host` "
                "needs none",
                code=codes.IMAGE_NOT_FOUND,
            )
        return found

    def _info(self, image: images.Image) -> ImageInfo:
        return ImageInfo(image.id, image.names, image.size_bytes, image.created, image.config, self._users(image))

    def _host(self) -> ImageInfo:
        identifier = hashlib.sha256(images.HOST.encode()).hexdigest()
        users = tuple(box.id for box in self._state.containers.values() if box.config.image == images.HOST)
        return ImageInfo(identifier, (full_name(images.HOST),), 0, self._started, users=users)

    def _users(self, image: images.Image) -> tuple[str, ...]:
        """Containers whose image reference means this one."""
        names = {*image.names, image.id, f"sha256:{image.id}"}
        return tuple(
            box.id
            for box in self._state.containers.values()
            if full_name(box.config.image) in names
            or box.config.image in names
            or (len(box.config.image) >= 12 and image.id.startswith(box.config.image.removeprefix("sha256:")))
        )


class NodeMeters:
    """Implements ``api.contract_containers.Meters``."""

    def __init__(self, state: State, runtime: Runtime) -> None:
        self._state = state
        self._runtime = runtime

    def possible(self, limits: Limits) -> list[str]:
        """A warning for each limit that this machine cannot keep."""
        return cgroups.possible(limits)[1] if limits.any else []

    async def limit(self, container_id: str, limits: Limits) -> None:
        """Hold a running container to other limits."""
        await self._runtime.limit(container_id, limits)

    async def top(self, container: str, words: tuple[str, ...]) -> tuple[list[str], list[list[str]]]:
        """Titles and rows of ``ps`` about its processes."""
        found = self._state.container(container)
        if not found.running:
            raise Conflict(
                f"Container {found.id} is not running",
                hint=f"`fairlead start {found.name}` starts it",
                code=codes.CONTAINER_NOT_RUNNING,
            )
        return await self._runtime.top(found.id, words)

    def stats(self, container: str) -> dict[str, object]:
        """Docker's ``stats`` of this moment; zeros for one that does not run."""
        found = self._state.container(container)
        usage = self._runtime.usage(found.id) if found.running else Usage()
        networks = {
            item.name: {
                **dict(zip(("rx_bytes", "rx_packets", "rx_errors", "rx_dropped"), item.rx, strict=True)),
                **dict(zip(("tx_bytes", "tx_packets", "tx_errors", "tx_dropped"), item.tx, strict=True)),
            }
            for item in (self._runtime.traffic(found.id) if found.running else ())
        }
        block = [
            {"major": 0, "minor": 0, "op": operation, "value": value}
            for operation, value in zip(("Read", "Write"), usage.block, strict=True)
        ]
        return {
            "name": f"/{found.name}",
            "id": found.id,
            "num_procs": 0,
            "storage_stats": {},
            "pids_stats": {"current": usage.pids, **({"limit": usage.pids_limit} if usage.pids_limit else {})},
            "blkio_stats": {"io_service_bytes_recursive": block if any(usage.block) else None},
            "cpu_stats": _cpu(usage),
            "memory_stats": _memory(usage) if found.running else {},
            "networks": networks,
        }


def _cpu(usage: Usage) -> dict[str, object]:
    cpus = os.cpu_count() or 1
    periods, throttled, time_ns = usage.throttled
    return {
        "cpu_usage": {
            "total_usage": usage.cpu_ns,
            "usage_in_kernelmode": usage.cpu_system_ns,
            "usage_in_usermode": usage.cpu_user_ns,
        },
        "system_cpu_usage": _machine_ns(),
        "online_cpus": cpus,
        "throttling_data": {"periods": periods, "throttled_periods": throttled, "throttled_time": time_ns},
    }


def _memory(usage: Usage) -> dict[str, object]:
    limit = usage.memory_limit_bytes or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "usage": usage.memory_bytes,
        "max_usage": usage.memory_max_bytes,
        "stats": dict(usage.memory_details),
        "limit": limit,
    }


def _machine_ns() -> int:
    """CPU time of the whole machine since its start: user, nice, system, idle, iowait, irq, softirq (Docker)."""
    try:
        with open(_STAT) as file:
            words = file.readline().split()
    except OSError:
        return 0
    return sum(int(word) for word in words[1:8]) * cgroups.TICK_NS
