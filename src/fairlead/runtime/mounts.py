"""mount(2), umount2(2) and openat2(2), called directly: a ``mount`` process costs more than the mount itself."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from fairlead.model import codes
from fairlead.model.errors import Internal

#: umount2(2) flags (linux/fs.h): detach now and tidy up when the last user is gone; never follow a symbolic link.
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8
#: mount(2) flags (linux/mount.h) for the tmpfs below a writable layer: it holds no device of its own making.
MS_NODEV = 4
#: Number of openat2(2), the same on every architecture that Debian supports (asm-generic/unistd.h).
SYS_OPENAT2 = 437
#: openat2(2) resolve flags (linux/openat2.h): no /proc magic links, treat the directory as the root.
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_IN_ROOT = 0x10
#: Tries of an openat2(2) that a rename on the way disturbed. Reason: each collides only with a rename in its own few
#: microseconds; 128 in a row do not happen without a renamer that does nothing else. Our choice.
OPEN_ATTEMPTS = 128
#: Most mounts that may be stacked on one place of ours before we call it a fault; we never stack any.
STACKED_MAX = 8

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@contextlib.contextmanager
def edge(what: str) -> Iterator[None]:
    """Turn an ``OSError`` inside into our ``Internal``, which says ``what`` failed."""
    try:
        yield
    except OSError as fault:
        where = f" ({fault.filename})" if fault.filename else ""
        raise Internal(f"{what} failed: {fault.strerror or fault}{where}", code=codes.MOUNT_INVALID) from fault


def mount(source: str, target: Path, kind: str, flags: int = 0, options: str = "") -> None:
    """Mount; raises ``OSError``."""
    done = _libc.mount(
        os.fsencode(source), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), os.fsencode(options)
    )
    if done != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"mount {kind}: {os.strerror(code)}", str(target))


def unmount(target: Path) -> None:
    """Take away whatever is mounted at ``target``; nothing mounted, or no such place, is fine. Raises ``OSError``."""
    for _ in range(STACKED_MAX):
        if _libc.umount2(os.fsencode(target), MNT_DETACH | UMOUNT_NOFOLLOW) != 0:
            code = ctypes.get_errno()
            if code in (errno.EINVAL, errno.ENOENT):
                return
            raise OSError(code, os.strerror(code), str(target))


def is_mounted(target: Path) -> bool:
    """Whether something is mounted at ``target``: its device differs from that of its parent."""
    try:
        return target.lstat().st_dev != target.parent.lstat().st_dev
    except FileNotFoundError:
        return False


def mount_copy_on_write(lower: Path, layer: Path, rootfs: Path) -> None:
    """Mount ``lower`` at ``rootfs`` such that writes go to a tmpfs at ``layer`` (kept if it is there already).

    The upper directory must be a tmpfs: the kernel answers ELOOP for an upper directory below a lower one, and the
    host image has ``/`` as its lower directory. Raises ``OSError`` with all mounts of this call taken back.
    """
    layer.mkdir(mode=0o700, parents=True, exist_ok=True)
    rootfs.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = not is_mounted(layer)
    if fresh:
        mount("fairlead-layer", layer, "tmpfs", MS_NODEV, "mode=0700")
    try:
        upper, work = layer / "upper", layer / "work"
        work.mkdir(mode=0o700, exist_ok=True)
        if not upper.is_dir():
            _make_like(upper, lower)
        options = f"lowerdir={_quoted(lower)},upperdir={_quoted(upper)},workdir={_quoted(work)}"
        mount("fairlead", rootfs, "overlay", 0, options)
    except OSError:
        if fresh:
            unmount(layer)
        raise


def _make_like(path: Path, model: Path) -> None:
    """A directory with owner and mode of ``model``: the upper directory gives the merged root its own."""
    facts = model.stat()
    path.mkdir()
    os.chown(path, facts.st_uid, facts.st_gid)
    path.chmod(stat.S_IMODE(facts.st_mode))


def _quoted(path: Path) -> str:
    """A path as a value of an overlay option: backslash, comma and colon have a meaning there."""
    return str(path).replace("\\", "\\\\").replace(",", "\\,").replace(":", "\\:")


def open_in_root(root: Path, path: str, flags: int = os.O_RDONLY | os.O_NONBLOCK, mode: int = 0) -> int:
    """A descriptor of ``path`` inside the tree ``root``, whose symbolic links cannot lead outside of it. Raises
    ``OSError``."""
    folder = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return open_beneath(folder, path, flags, mode)
    finally:
        os.close(folder)


def open_beneath(folder: int, path: str, flags: int, mode: int = 0) -> int:
    """The same for a directory that is open already. Raises ``OSError``; EAGAIN of a rename that came in between is
    met by trying again, as openat2(2) asks."""
    how = _OpenHow(flags=flags | os.O_CLOEXEC, mode=mode, resolve=RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
    for _ in range(OPEN_ATTEMPTS):
        opened: int = _libc.syscall(
            ctypes.c_long(SYS_OPENAT2),
            ctypes.c_int(folder),
            os.fsencode(path),
            ctypes.byref(how),
            ctypes.c_size_t(ctypes.sizeof(how)),
        )
        if opened >= 0:
            return opened
        code = ctypes.get_errno()
        if code != errno.EAGAIN:
            break
    raise OSError(code, os.strerror(code), path)
