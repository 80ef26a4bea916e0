"""Files of a container as tar archives, out and in, whatever its processes do to its tree meanwhile.

Every step is taken from a descriptor: the root is opened once, each path is resolved by openat2(2) with the root as its
root, and the last component is never followed. A symbolic link or a rename under our feet can so lead to another place
of the container, never to one outside of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO

from fairlead.model.errors import Forbidden, Invalid, NotFound
from fairlead.runtime.mounts import open_beneath

#: Bytes copied at a time.
_BLOCK_BYTES = 1 << 18
#: Most directories below each other in an archive of ours. Reason: a tree that grows while it is read must end; Linux
#: paths have 4096 bytes, thus at most 2048 names.
_DEPTH_MAX = 2048
_PLACE = os.O_PATH | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class Facts:
    """A file as it is; ``mode`` with its kind, ``link`` the target of a symbolic link."""

    name: str
    size: int
    mode: int
    modified: float
    link: str = ""


def facts(root: int, path: str) -> Facts:
    """What a path is, a symbolic link at its end not followed unless a slash says so. Raises ``FileNotFoundError``,
    ``NotADirectoryError``."""
    with _opened(root, path) as (descriptor, name):
        found = os.fstat(descriptor)
        link = os.readlink("", dir_fd=descriptor) if stat.S_ISLNK(found.st_mode) else ""
        return Facts(name, found.st_size, found.st_mode, found.st_mtime, link)


def read(root: int, path: str, sink: IO[bytes]) -> None:
    """Write a file or a directory with all in it as a tar archive; entries begin with its own name. Raises
    ``OSError``."""
    with (
        _opened(root, path) as (descriptor, name),
        tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        _Writer(archive).add(descriptor, name or ".", 0)


def export(root: int, sink: IO[bytes]) -> None:
    """Write a whole tree as a tar archive; entries begin at its root. Raises ``OSError``."""
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        _Writer(archive).add_children(root, "", 0)


def write(root: int, path: str, source: IO[bytes], *, no_overwrite: bool, keep_owners: bool) -> None:
    """Unpack a tar archive into the directory ``path``. Raises ``Invalid`` for what is no archive or names what cannot
    be, ``NotFound``, ``Forbidden``; what was unpacked before stays."""
    try:
        folder = open_beneath(root, path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError as fault:
        raise NotFound(f"Could not find the file {path} in container") from fault
    except NotADirectoryError as fault:
        raise Invalid("extraction point is not a directory", hint="name a directory of the container") from fault
    except OSError as fault:
        if fault.errno not in (errno.ENAMETOOLONG, errno.ELOOP):
            raise
        raise Invalid(f"no directory can be called {path[:40]!r}: {fault.strerror}") from fault
    try:
        with tarfile.open(fileobj=source, mode="r|*") as archive:
            _unpack(folder, archive, no_overwrite=no_overwrite, keep_owners=keep_owners)
    except tarfile.TarError as fault:
        raise Invalid(f"cannot unpack the archive: {fault}", hint="send a tar archive") from fault
    except OSError as fault:
        meaning = Forbidden if isinstance(fault, PermissionError) or fault.errno == errno.EROFS else Invalid
        raise meaning(f"cannot write {fault.filename or path}: {fault.strerror}") from fault
    finally:
        os.close(folder)


@contextlib.contextmanager
def _opened(root: int, path: str) -> Iterator[tuple[int, str]]:
    """A place's descriptor and name. A slash or ``/.`` at the end asks for what a symbolic link leads to."""
    parts = PurePosixPath("/" + path)
    name = parts.name if ".." not in parts.parts else PurePosixPath(os.path.normpath(parts)).name
    follow = path.endswith(("/", "/.")) or not name
    descriptor = open_beneath(root, path or "/", os.O_PATH | (os.O_DIRECTORY if follow else os.O_NOFOLLOW))
    try:
        yield descriptor, name
    finally:
        os.close(descriptor)


class _Writer:
    """A tree on its way into an archive; a file of several names goes in once."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._seen: dict[tuple[int, int], str] = {}

    def add(self, descriptor: int, name: str, depth: int) -> None:
        """Put what an O_PATH descriptor stands for into the archive, directories with all in them."""
        found = os.fstat(descriptor)
        entry = _entry(found, name)
        if entry is None:
            return
        if stat.S_ISLNK(found.st_mode):
            entry.linkname = os.readlink("", dir_fd=descriptor)
        key = (found.st_dev, found.st_ino)
        if not stat.S_ISDIR(found.st_mode) and found.st_nlink > 1:
            first = self._seen.setdefault(key, name)
            if first != name:
                entry.type, entry.linkname, entry.size = tarfile.LNKTYPE, first, 0
                self._archive.addfile(entry)
                return
        if stat.S_ISREG(found.st_mode):
            with open(f"/proc/self/fd/{descriptor}", "rb") as file:
                self._archive.addfile(entry, _Exactly(file, entry.size))
        else:
            self._archive.addfile(entry)
        if stat.S_ISDIR(found.st_mode) and depth < _DEPTH_MAX:
            self.add_children(descriptor, name, depth)

    def add_children(self, descriptor: int, name: str, depth: int) -> None:
        """The same for all that is in a directory; ``name`` is empty for the archive's own root."""
        folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=descriptor)
        try:
            for child in sorted(os.listdir(folder)):
                try:
                    opened = os.open(child, _PLACE | os.O_CLOEXEC, dir_fd=folder)
                except FileNotFoundError:  # gone since it was listed
                    continue
                try:
                    self.add(opened, f"{name}/{child}" if name else child, depth + 1)
                finally:
                    os.close(opened)
        finally:
            os.close(folder)


class _Exactly:
    """A file that has just the size that was announced, whatever happens to it meanwhile."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._left = size

    def read(self, size: int = -1) -> bytes:
        """The next bytes, zeros where the file has become too short."""
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._file.read(wanted)
        self._left -= wanted
        return data + bytes(wanted - len(data))


def _entry(found: os.stat_result, name: str) -> tarfile.TarInfo | None:
    """The head of an archive's entry; None for a socket, which has no place in one."""
    kinds = (
        (stat.S_ISREG, tarfile.REGTYPE),
        (stat.S_ISDIR, tarfile.DIRTYPE),
        (stat.S_ISLNK, tarfile.SYMTYPE),
        (stat.S_ISFIFO, tarfile.FIFOTYPE),
        (stat.S_ISCHR, tarfile.CHRTYPE),
        (stat.S_ISBLK, tarfile.BLKTYPE),
    )
    kind = next((kind for check, kind in kinds if check(found.st_mode)), None)
    if kind is None:
        return None
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = kind, stat.S_IMODE(found.st_mode), int(found.st_mtime)
    entry.uid, entry.gid = found.st_uid, found.st_gid
    entry.size = found.st_size if kind == tarfile.REGTYPE else 0
    if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
        entry.devmajor, entry.devminor = os.major(found.st_rdev), os.minor(found.st_rdev)
    return entry


def _unpack(folder: int, archive: tarfile.TarFile, *, no_overwrite: bool, keep_owners: bool) -> None:
    for entry in archive:
        path = PurePosixPath("/" + entry.name)
        if ".." in path.parts:
            raise Invalid(f"invalid name in the archive: {entry.name!r}", hint="names must not contain ..")
        if not path.name:
            continue
        parent = _make_parents(folder, path.parent)
        try:
            _place(archive, entry, parent, path.name, folder, no_overwrite=no_overwrite)
            _dress(entry, parent, path.name, keep_owners=keep_owners)
        finally:
            os.close(parent)


def _make_parents(folder: int, path: PurePosixPath) -> int:
    """A descriptor of a directory below ``folder``, made where it is missing; symbolic links on the way are followed
    inside the folder."""
    try:
        return open_beneath(folder, str(path), os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        above = _make_parents(folder, path.parent)
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path.name, 0o755, dir_fd=above)
        return os.open(path.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
    finally:
        os.close(above)


def _place(
    archive: tarfile.TarFile, entry: tarfile.TarInfo, parent: int, name: str, folder: int, *, no_overwrite: bool
) -> None:
    """Make what an entry says in a directory; what is there and differs in kind goes first."""
    there = _kind(parent, name)
    if no_overwrite and there is not None and (there == stat.S_IFDIR) != entry.isdir():
        what = "directory" if there == stat.S_IFDIR else "non-directory"
        raise Invalid(
            f'cannot overwrite {what} "{entry.name}" with {"directory" if entry.isdir() else "non-directory"}'
        )
    if entry.isdir():
        if there not in (None, stat.S_IFDIR):
            os.unlink(name, dir_fd=parent)
            there = None
        if there is None:
            os.mkdir(name, 0o700, dir_fd=parent)
        return
    if there == stat.S_IFDIR:
        raise Invalid(f'cannot overwrite directory "{entry.name}" with non-directory')
    if there is not None:
        os.unlink(name, dir_fd=parent)
    if entry.isreg():
        _write_file(archive, entry, parent, name)
    elif entry.issym():
        os.symlink(entry.linkname, name, dir_fd=parent)
    elif entry.islnk():
        _link(folder, entry.linkname, parent, name)
    elif entry.isfifo():
        os.mkfifo(name, 0o600, dir_fd=parent)
    elif entry.ischr() or entry.isblk():
        raise Invalid(f"device {entry.name!r} in the archive: devices are not copied", hint="leave it out")


def _write_file(archive: tarfile.TarFile, entry: tarfile.TarInfo, parent: int, name: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    content = archive.extractfile(entry)
    with os.fdopen(os.open(name, flags, 0o600, dir_fd=parent), "wb") as file:
        while content is not None and (block := content.read(_BLOCK_BYTES)):
            file.write(block)


def _link(folder: int, target: str, parent: int, name: str) -> None:
    """Another name for a file that was unpacked before: looked for below the directory we unpack into."""
    path = PurePosixPath("/" + target)
    if ".." in path.parts or not path.name:
        raise Invalid(f"invalid link in the archive: {target!r}", hint="links must stay inside")
    source = open_beneath(folder, str(path.parent), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.link(path.name, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
    finally:
        os.close(source)


def _dress(entry: tarfile.TarInfo, parent: int, name: str, *, keep_owners: bool) -> None:
    """Owner, mode and time of what an entry made, of it and nothing else."""
    descriptor = os.open(name, _PLACE | os.O_CLOEXEC, dir_fd=parent)
    try:
        if keep_owners:
            os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        if not entry.issym():
            os.chmod(f"/proc/self/fd/{descriptor}", stat.S_IMODE(entry.mode))
            if not entry.isdir():
                os.utime(f"/proc/self/fd/{descriptor}", (entry.mtime, entry.mtime))
    finally:
        os.close(descriptor)


def _kind(parent: int, name: str) -> int | None:
    """The kind of what has a name in a directory; None for nothing."""
    try:
        return stat.S_IFMT(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return None
