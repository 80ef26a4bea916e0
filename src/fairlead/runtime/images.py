"""Root file systems: the host's own, a directory, or one imported under a name."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from fairlead.model.errors import Conflict, Forbidden, Invalid, NetError, NotFound
from fairlead.model.ids import check_name
from fairlead.model.settings import Paths
from fairlead.runtime.mounts import edge
from fairlead.runtime.processes import Child, writable_soon

#: The image that is the host's own root.
HOST = "host"
SLASH = Path("/")
#: First bytes of a compressed tarball -> the option of GNU tar that reads it.
COMPRESSIONS: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "--gzip"),
    (b"BZh", "--bzip2"),
    (b"\xfd7zXZ\0", "--xz"),
    (b"\x28\xb5\x2f\xfd", "--zstd"),
)
#: Bytes needed to tell the compression: the longest of the marks above.
MARK_BYTES = 6
#: Options of GNU tar for a root file system. Owners are numbers of the image; of all extended attributes only file
#: capabilities matter, and an overlay's own (trusted.overlay.*) must not come in. GNU tar itself strips leading ``/``,
#: refuses ``..`` and makes symbolic links that lead elsewhere only at the end, so that nothing is written through them.
TAR_OPTIONS: tuple[str, ...] = (
    "--extract",
    "--file=-",
    "--numeric-owner",
    "--same-owner",
    "--same-permissions",
    "--delay-directory-restore",
    "--xattrs",
    "--xattrs-include=security.capability",
    "--no-acls",
    "--no-selinux",
)


@dataclass(frozen=True, slots=True)
class Root:
    """A root file system to put a writable layer on. ``hidden`` are directories inside it that hold our own files;
    ``host`` tells that it is the host's own."""

    path: Path
    hidden: tuple[str, ...]
    host: bool


def find(paths: Paths, image: str, private: tuple[str, ...] = ()) -> Root:
    """The root file system that an image argument means; ``private`` are directories to hide beside our own. Raises ``NotFound`` (also for a directory that is missing),
    ``Forbidden`` for a directory of our own."""
    folders = _private(paths, private)
    if image == HOST:
        return Root(SLASH, hidden_in(SLASH, folders), host=True)
    if image.startswith("/"):
        path = Path(image).resolve()
        if path == SLASH:
            return Root(SLASH, hidden_in(SLASH, folders), host=True)
        if not path.is_dir():
            raise _missing(image)
        if any(path.is_relative_to(folder) for folder in folders):
            raise Forbidden(f"{image} belongs to Fairlead itself", hint="use the name of an imported image instead")
        return Root(path, hidden_in(path, folders), host=False)
    with contextlib.suppress(Invalid):
        path = rootfs_of(paths, image)
        if path.is_dir():
            return Root(path, (), host=False)
    raise _missing(image)


def rootfs_of(paths: Paths, name: str) -> Path:
    """Where an imported root file system lies; ``:latest`` is taken off, as Docker adds it. Raises ``Invalid``."""
    return Path(paths.images, check_name("image", name.removesuffix(":latest")), "rootfs")


def hidden_in(root: Path, private: frozenset[Path]) -> tuple[str, ...]:
    """Private directories as seen from inside ``root``."""
    found = [folder.relative_to(root) for folder in private if folder != root and folder.is_relative_to(root)]
    return tuple(sorted(f"/{path}" for path in found))


def _private(paths: Paths, more: tuple[str, ...]) -> frozenset[Path]:
    """Directories of this daemon, and those of a daemon with default settings, which may be another."""
    default = Paths()
    return frozenset(Path(path).resolve() for path in (paths.state, paths.run, default.state, default.run, *more))


def _missing(image: str) -> NotFound:
    return NotFound(
        f"No such image: {image}",
        hint=f"use '{HOST}', the path of a directory, or import one: fairlead image import NAME TARBALL",
    )


def listing(paths: Paths) -> list[dict[str, object]]:
    """Imported root file systems: ``name``, ``size_bytes``, ``created`` (epoch seconds), in order of names."""
    try:
        folders = sorted(folder for folder in Path(paths.images).iterdir() if not folder.name.startswith("."))
    except FileNotFoundError:
        return []
    return [{"name": folder.name, **_facts(folder)} for folder in folders]


def _facts(folder: Path) -> dict[str, object]:
    try:
        facts = json.loads((folder / "image.json").read_text("utf-8"))
        return {"size_bytes": int(facts["size_bytes"]), "created": float(facts["created"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"size_bytes": 0, "created": 0.0}


async def import_tarball(paths: Paths, name: str, tarball: AsyncIterator[bytes], created: float) -> None:
    """Unpack a tarball (plain, gzip, bzip2, xz or zstd) as image ``name``; it appears whole or not at all.

    Raises ``Invalid`` for a name that cannot be one or a stream that is no tarball, ``Conflict`` if the name is taken;
    nothing is left behind then.
    """
    target = rootfs_of(paths, name).parent
    if target.name == HOST:
        raise Invalid(f"'{HOST}' means the host's own root file system", hint="choose another name")
    folder = _make_folder(target)
    try:
        await _unpack(folder / "rootfs", tarball)
        await asyncio.to_thread(_finish, folder, target, created)
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))


def _make_folder(target: Path) -> Path:
    """A folder beside ``target`` to unpack into, under a name that no image can have."""
    with edge("making the image directory"):
        target.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        _refuse_taken(target)
        folder = Path(tempfile.mkdtemp(prefix=".import-", dir=target.parent))
        (folder / "rootfs").mkdir(0o755)
    return folder


def _finish(folder: Path, target: Path, created: float) -> None:
    """Give an unpacked image its facts and its name."""
    with edge("finishing the image"):
        facts = {"size_bytes": _size(folder / "rootfs"), "created": created}
        (folder / "image.json").write_text(json.dumps(facts), "utf-8")
        folder.chmod(0o711)
        _refuse_taken(target)
        folder.rename(target)


def _refuse_taken(target: Path) -> None:
    if target.exists():
        raise Conflict(f"image {target.name} exists already", hint="import it under another name")


async def _unpack(rootfs: Path, tarball: AsyncIterator[bytes]) -> None:
    """Feed a tarball to GNU tar; raises ``Invalid`` with tar's complaint."""
    beginning = b""
    async for piece in tarball:
        beginning += piece
        if len(beginning) >= MARK_BYTES:
            break
    option = next((option for mark, option in COMPRESSIONS if beginning.startswith(mark)), None)
    if not beginning:
        raise Invalid("the tarball is empty", hint="give a tar archive of a root file system")
    args = ["tar", *TAR_OPTIONS, f"--directory={rootfs}", *([option] if option else [])]
    reading, writing = os.pipe2(os.O_CLOEXEC)
    with tempfile.TemporaryFile() as complaints:
        try:
            child = Child(args, stdin=reading, stderr=complaints)
        except NetError:
            os.close(writing)
            raise
        finally:
            os.close(reading)
        try:
            os.set_blocking(writing, False)
            if await _feed(writing, beginning):
                async for piece in tarball:
                    if not await _feed(writing, piece):
                        break
        except BaseException:
            child.send(signal.SIGKILL)
            raise
        finally:
            os.close(writing)
        if await asyncio.shield(child.ended) != 0:
            complaints.seek(0)
            said = complaints.read(1 << 12).decode("utf-8", "replace").strip() or "tar failed"
            raise Invalid(f"cannot unpack the tarball: {said.splitlines()[0]}", hint="is it a tar archive?")


async def _feed(descriptor: int, data: bytes) -> bool:
    """Write all of it; False when the reader is gone."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            await writable_soon(descriptor)
        except BrokenPipeError:
            return False
    return True


def _size(folder: Path) -> int:
    """Bytes of all plain files below a folder, each inode once."""
    seen: dict[int, int] = {}
    for where, _, names in os.walk(folder):
        for name in names:
            facts = Path(where, name).lstat()
            seen[facts.st_ino] = facts.st_size
    return sum(seen.values())
