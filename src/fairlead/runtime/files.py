"""The trees of containers, running or not, for copying in and out."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import PurePosixPath
from typing import IO

from fairlead.model.errors import Forbidden, Internal, Invalid, NotFound
from fairlead.model.mount import Mount
from fairlead.model.settings import Paths
from fairlead.runtime import archive, images
from fairlead.runtime.layout import files_of
from fairlead.runtime.mounts import edge, is_mounted, mount_copy_on_write, unmount
from fairlead.runtime.pipes import feed
from fairlead.runtime.processes import open_member, read_pid, readable_soon
from fairlead.runtime.volumes import Volumes

#: Bytes taken from an archive at a time: the capacity of a pipe (pipe(7)).
_PIPE_BYTES = 1 << 16


class Trees:
    """Root file systems of containers. A running container's is what its own processes see; that of one that does not
    run is mounted for as long as somebody reads or writes it, with its volumes and host directories in their places."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._mounted: dict[str, int] = {}

    async def facts(self, container_id: str, image: str, mounts: tuple[Mount, ...], path: str) -> archive.Facts:
        """What a path is; raises ``NotFound``."""
        with self._tree(container_id, image, mounts, path) as (root, inside), _missing(container_id, path):
            return await asyncio.to_thread(archive.facts, root, inside)

    async def read(self, container_id: str, image: str, mounts: tuple[Mount, ...], path: str) -> AsyncIterator[bytes]:
        """A file or directory as a tar archive; raises ``NotFound``."""
        with self._tree(container_id, image, mounts, path) as (root, inside):
            with _missing(container_id, path):
                await asyncio.to_thread(archive.facts, root, inside)
            async for piece in _poured(lambda sink: archive.read(root, inside, sink)):
                yield piece

    async def write(
        self,
        container_id: str,
        image: str,
        mounts: tuple[Mount, ...],
        path: str,
        tarball: AsyncIterator[bytes],
        *,
        no_overwrite: bool,
        keep_owners: bool,
        read_only: bool,
    ) -> None:
        """Unpack a tar archive into a directory. Raises ``NotFound``, ``Invalid``, and ``Forbidden`` for a root file
        system that nothing may write to."""
        with self._tree(container_id, image, mounts, path) as (root, inside):
            if read_only and not _covering(mounts, path):
                raise Forbidden("container rootfs is marked read-only", hint="copy to a volume of the container")

            def unpack(source: IO[bytes]) -> None:
                archive.write(root, inside, source, no_overwrite=no_overwrite, keep_owners=keep_owners)

            await _drunk(tarball, unpack)

    async def export(self, container_id: str, image: str) -> AsyncIterator[bytes]:
        """The whole root file system as a tar archive, without what is mounted into it."""
        with self._standing(container_id, image) as folder:
            async for piece in _poured(lambda sink: archive.export(folder, sink)):
                yield piece

    @contextlib.contextmanager
    def _tree(self, container_id: str, image: str, mounts: tuple[Mount, ...], path: str) -> Iterator[tuple[int, str]]:
        """(Descriptor of the root to resolve in, the path there)."""
        files = files_of(self._paths, container_id)
        pid = read_pid(files.pid)
        member = open_member(pid, container_id)
        if member is not None:
            try:
                root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                still = open_member(pid, container_id)
                if still is None:  # the number may mean another process by now
                    os.close(root)
                    raise Internal(f"container {container_id[:12]} has just ended", hint="try again")
                os.close(still)
            finally:
                os.close(member)
            try:
                yield root, path
            finally:
                os.close(root)
            return
        covering = _covering(mounts, path)
        if covering is not None and covering.kind != "tmpfs":
            yield from self._outside(covering, path)
            return
        with self._standing(container_id, image) as folder:
            yield folder, path

    def _outside(self, mount: Mount, path: str) -> Iterator[tuple[int, str]]:
        """A path that a volume or host directory covers, resolved in that."""
        source = Volumes(self._paths).create(mount.source).path if mount.kind == "volume" else mount.source
        with edge("opening the mounted directory"):
            folder = os.open(source, os.O_PATH | os.O_CLOEXEC)
        try:
            inside = os.path.relpath(PurePosixPath("/", path), mount.target)
            yield folder, "/" if inside == "." else "/" + inside + ("/" if path.endswith("/") else "")
        finally:
            os.close(folder)

    @contextlib.contextmanager
    def _standing(self, container_id: str, image: str) -> Iterator[int]:
        """The root of a container that does not run, mounted for the time being."""
        files = files_of(self._paths, container_id)
        with edge("mounting the container's root"):
            if not is_mounted(files.rootfs):
                files.run.mkdir(mode=0o711, parents=True, exist_ok=True)
                mount_copy_on_write(images.find(self._paths, image).path, files.layer, files.rootfs)
                self._mounted[container_id] = 0
            folder = os.open(files.rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if container_id in self._mounted:
            self._mounted[container_id] += 1
        try:
            yield folder
        finally:
            os.close(folder)
            if container_id in self._mounted:
                self._mounted[container_id] -= 1
                if not self._mounted[container_id]:
                    del self._mounted[container_id]
                    with edge("unmounting the container's root"):
                        unmount(files.rootfs)


def _covering(mounts: tuple[Mount, ...], path: str) -> Mount | None:
    """The mount that a path lies in: the one with the longest target."""
    place = PurePosixPath(os.path.normpath(PurePosixPath("/", path)))
    found = [mount for mount in mounts if place.is_relative_to(mount.target)]
    return max(found, key=lambda mount: len(mount.target), default=None)


@contextlib.contextmanager
def _missing(container_id: str, path: str) -> Iterator[None]:
    """Docker's words for a path that is not there."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as fault:
        raise NotFound(f"Could not find the file {path} in container {container_id}") from fault
    except OSError as fault:
        if fault.errno not in (errno.ENAMETOOLONG, errno.ELOOP):
            raise
        raise Invalid(f"no file can be called {path[:40]!r}: {fault.strerror}") from fault


async def _poured(fill: Callable[[IO[bytes]], None]) -> AsyncIterator[bytes]:
    """What ``fill``, in a thread, writes into a pipe."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(reading, False)

    def work() -> None:
        # the reader may leave early; what is still held back for it is thrown away when the file is closed
        with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "wb") as sink:
            fill(sink)

    filling = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        while True:
            try:
                piece = os.read(reading, _PIPE_BYTES)
            except BlockingIOError:
                await readable_soon(reading)
                continue
            if not piece:
                break
            yield piece
    finally:
        os.close(reading)
        with edge("reading the container's files"):
            await asyncio.shield(filling)


async def _drunk(source: AsyncIterator[bytes], drink: Callable[[IO[bytes]], None]) -> None:
    """Have ``drink``, in a thread, read from a pipe what comes."""
    reading, writing = os.pipe2(os.O_CLOEXEC)

    def work() -> None:
        with os.fdopen(reading, "rb") as pipe:
            drink(pipe)

    drinking = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        os.set_blocking(writing, False)
        async for piece in source:
            if not await feed(writing, piece):
                break
    finally:
        os.close(writing)
        await asyncio.shield(drinking)
