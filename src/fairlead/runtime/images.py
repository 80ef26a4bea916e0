"""Root file systems: the host's own, a directory, or one imported under a name."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import stat
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

import msgspec

from fairlead.model import codes
from fairlead.model.errors import Forbidden, Invalid, NetError, NotFound
from fairlead.model.image import ImageConfig, full_name
from fairlead.model.settings import Paths
from fairlead.runtime.mounts import edge
from fairlead.runtime.pipes import feed
from fairlead.runtime.processes import Child

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
#: A name of an image: Docker's grammar, with ``/`` between parts and a tag behind a colon (distribution/reference).
_REFERENCE = re.compile(
    r"[a-zA-Z0-9][a-zA-Z0-9_.-]*(:[0-9]+)?(/[a-zA-Z0-9][a-zA-Z0-9_.-]*)*(:[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127})?"
)
#: Bytes of a directory entry (NAME_MAX).
_NAME_BYTES_MAX = 255
#: An id or the beginning of one, and the folder of an image that has no name.
_ID = re.compile(r"[0-9a-f]{4,64}")
_ID_FOLDER = re.compile(r"[0-9a-f]{64}")
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
            raise Forbidden(
                f"{image} belongs to Fairlead itself",
                hint="use the name of an imported image instead",
                code=codes.IMAGE_INVALID,
            )
        return Root(path, hidden_in(path, folders), host=False)
    folder = folder_of(paths, image)
    if folder is not None:
        return Root(folder / "rootfs", (), host=False)
    raise _missing(image)


def folder_of(paths: Paths, ref: str) -> Path | None:
    """The folder of an imported image by name (``alpine``, ``alpine:latest``), id, or the beginning of its id."""
    with contextlib.suppress(Invalid):
        path = name_path(paths, ref)
        if (path / "rootfs").is_dir():
            return path.resolve()
    digits = ref.removeprefix("sha256:")
    if not _ID.fullmatch(digits):
        return None
    found = [folder for folder in _folders(paths) if _id_of(folder).startswith(digits)]
    return found[0] if len(found) == 1 else None


def name_path(paths: Paths, name: str) -> Path:
    """Where a name of an image lies: ``:latest`` is taken off, as Docker adds it. Raises ``Invalid``."""
    plain = full_name(name).removesuffix(":latest") if name else name
    if not _REFERENCE.fullmatch(plain) or ".." in plain or len(quote(plain, safe="")) > _NAME_BYTES_MAX:
        raise Invalid(
            f"invalid reference format: {name!r}",
            hint="write it like alpine, or team/web:1.2",
            code=codes.IMAGE_INVALID,
        )
    return Path(paths.images, quote(plain, safe=""))


def _folders(paths: Paths) -> list[Path]:
    """Folders of all imported images, without the links that are further names."""
    try:
        entries = sorted(Path(paths.images).iterdir())
    except FileNotFoundError:
        return []
    return [entry for entry in entries if not entry.name.startswith(".import-") and not entry.is_symlink()]


def _id_of(folder: Path) -> str:
    """An image's id, without ``sha256:``; one that was imported without has that of its name."""
    return str(_read_facts(folder).get("id") or hashlib.sha256(folder.name.encode()).hexdigest())


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
        code=codes.IMAGE_NOT_FOUND,
    )


@dataclass(frozen=True, slots=True)
class Image:
    """An imported root file system. ``names`` are with their tags; ``created`` is epoch seconds."""

    id: str
    folder: Path
    names: tuple[str, ...]
    size_bytes: int
    created: float
    config: ImageConfig


def listing(paths: Paths) -> list[Image]:
    """All imported root file systems in order of their first names."""
    names: dict[Path, list[str]] = {folder: [] for folder in _folders(paths)}
    with contextlib.suppress(FileNotFoundError):
        for entry in sorted(Path(paths.images).iterdir()):
            target = entry.resolve()
            if target in names and not _ID_FOLDER.fullmatch(entry.name):
                names[target].append(full_name(unquote(entry.name)))
    return [_image(folder, tuple(given)) for folder, given in names.items()]


def defaults(paths: Paths, image: str) -> ImageConfig:
    """What an image says about running it; nothing for the host's root and for directories."""
    folder = None if image == HOST or image.startswith("/") else folder_of(paths, image)
    return ImageConfig() if folder is None else _config(_read_facts(folder))


def _image(folder: Path, names: tuple[str, ...]) -> Image:
    facts = _read_facts(folder)
    size, created = facts.get("size_bytes"), facts.get("created")
    return Image(
        _id_of(folder),
        folder,
        names,
        size if isinstance(size, int) else 0,
        float(created) if isinstance(created, int | float) else 0.0,
        _config(facts),
    )


def _config(facts: dict[str, object]) -> ImageConfig:
    with contextlib.suppress(msgspec.ValidationError):
        return msgspec.convert(facts.get("config", {}), ImageConfig)
    return ImageConfig()


def _read_facts(folder: Path) -> dict[str, object]:
    try:
        found = json.loads((folder / "image.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


async def import_tarball(
    paths: Paths, name: str, tarball: AsyncIterator[bytes], created: float, config: ImageConfig | None = None
) -> Image:
    """Unpack a tarball (plain, gzip, bzip2, xz or zstd) as image ``name``; it appears whole or not at all. An image
    that had the name keeps what other names it has, or its id alone (Docker).

    Raises ``Invalid`` for a name that cannot be one or a stream that is no tarball; nothing is left behind then.
    """
    target = name_path(paths, name) if name else None
    if target is not None and target.name == HOST:
        raise Invalid(
            f"'{HOST}' means the host's own root file system", hint="choose another name", code=codes.IMAGE_NOT_FOUND
        )
    folder = _make_folder(Path(paths.images))
    try:
        digest = await _unpack(folder / "rootfs", tarball)
        return await asyncio.to_thread(_finish, paths, folder, target, digest, created, config or ImageConfig())
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))


def tag(paths: Paths, ref: str, name: str) -> None:
    """Give an image another name; one that had it loses it. Raises ``NotFound``, ``Invalid``."""
    folder = folder_of(paths, ref)
    if folder is None:
        raise _missing(ref)
    target = name_path(paths, name)
    if target.name == HOST:
        raise Invalid(
            f"'{HOST}' means the host's own root file system", hint="choose another name", code=codes.IMAGE_NOT_FOUND
        )
    with edge("naming the image"):
        if target.resolve() != folder:
            _vacate(target)
            target.symlink_to(folder.name)


def untag(paths: Paths, name: str) -> None:
    """Take a name from an image, which keeps the others, or its id alone."""
    with edge("taking the name"):
        _vacate(name_path(paths, name))


async def remove(paths: Paths, image: Image) -> None:
    """Delete an image with all its names."""
    with edge("removing the image"):
        for name in image.names:
            path = name_path(paths, name)
            if path.is_symlink():
                path.unlink()
        grave = Path(tempfile.mkdtemp(prefix=".import-", dir=paths.images))
        image.folder.rename(grave / "image")
        await asyncio.to_thread(shutil.rmtree, grave)


def _vacate(path: Path) -> None:
    """Make a name free: a link goes; a folder takes its id as its name, and links to it follow."""
    if path.is_symlink():
        path.unlink()
    elif path.is_dir():
        other = path.with_name(_id_of(path))
        links = [entry for entry in path.parent.iterdir() if entry.is_symlink() and entry.resolve() == path]
        path.rename(other)
        for link in links:
            link.unlink()
            link.symlink_to(other.name)


def _make_folder(images: Path) -> Path:
    """A folder beside the images to unpack into, under a name that no image can have."""
    with edge("making the image directory"):
        images.mkdir(mode=0o711, parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".import-", dir=images))
        (folder / "rootfs").mkdir(0o755)
    return folder


def _finish(paths: Paths, folder: Path, target: Path | None, digest: str, created: float, config: ImageConfig) -> Image:
    """Give an unpacked image its facts and its name. The id is that of the archive and the settings."""
    with edge("finishing the image"):
        told = msgspec.to_builtins(config)
        identifier = hashlib.sha256(f"{digest} {json.dumps(told, sort_keys=True)} {created}".encode()).hexdigest()
        facts = {"id": identifier, "size_bytes": _tidy(folder / "rootfs"), "created": created, "config": told}
        (folder / "image.json").write_text(json.dumps(facts), "utf-8")
        folder.chmod(0o700)
        if target is None:
            target = Path(paths.images, identifier)
        _vacate(target)
        folder.rename(target)
    names = (full_name(unquote(target.name)),) if target.name != identifier else ()
    return _image(target, names)


async def _unpack(rootfs: Path, tarball: AsyncIterator[bytes]) -> str:
    """Feed a tarball to GNU tar; returns its SHA-256. Raises ``Invalid`` with tar's complaint."""
    beginning, digest = b"", hashlib.sha256()
    async for piece in tarball:
        digest.update(piece)
        beginning += piece
        if len(beginning) >= MARK_BYTES:
            break
    option = next((option for mark, option in COMPRESSIONS if beginning.startswith(mark)), None)
    if not beginning:
        raise Invalid("the tarball is empty", hint="give a tar archive of a root file system", code=codes.IMAGE_INVALID)
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
            if await feed(writing, beginning):
                async for piece in tarball:
                    digest.update(piece)
                    if not await feed(writing, piece):
                        break
        except BaseException:
            child.send(signal.SIGKILL)
            await asyncio.shield(child.ended)
            raise
        finally:
            os.close(writing)
        if await asyncio.shield(child.ended) != 0:
            complaints.seek(0)
            said = complaints.read(1 << 12).decode("utf-8", "replace").strip() or "tar failed"
            raise Invalid(
                f"cannot unpack the tarball: {said.splitlines()[0]}",
                hint="is it a tar archive?",
                code=codes.IMAGE_INVALID,
            )
    return digest.hexdigest()


def _tidy(folder: Path) -> int:
    """Take out what has no place in an image (devices: a container gets its own), and count the bytes of all plain
    files, each inode once."""
    seen: dict[int, int] = {}
    for where, _, names in os.walk(folder):
        for name in names:
            path = Path(where, name)
            facts = path.lstat()
            if stat.S_ISCHR(facts.st_mode) or stat.S_ISBLK(facts.st_mode):
                path.unlink()
            elif stat.S_ISREG(facts.st_mode):
                seen[facts.st_ino] = facts.st_size
    return sum(seen.values())
