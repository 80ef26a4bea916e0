"""Network namespaces: made, entered, left and dropped by the calling thread.

A thread that fails to come back would do the node's work in a sandbox, so that ends the process.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path

#: The namespace of the calling thread (not of the process's first one): proc(5).
_HERE = "/proc/thread-self/ns/net"
#: setns/unshare flag of network namespaces, <linux/sched.h>.
_CLONE_NEWNET = 0x40000000
#: Request for the kind of a namespace, <linux/nsfs.h>.
_NS_GET_NSTYPE = 0xB703
#: <linux/mount.h>: bind a file over another; detach now, clean up when no longer busy.
_MS_BIND = 4096
_MNT_DETACH = 2
#: <linux/sockios.h> read and write link flags; <linux/if.h> the link is up.
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
#: struct ifreq of 64-bit Linux: 16 bytes of name, flags, padding to 40 bytes.
_IFREQ = struct.Struct("16sh22x")
#: Settings that links of a new namespace inherit: what a router or neighbour advertises changes nothing in a sandbox.
_INHERITED = ("accept_ra", "accept_redirects")

_libc = ctypes.CDLL(None, use_errno=True)
_libc.setns.argtypes = (ctypes.c_int, ctypes.c_int)
_libc.unshare.argtypes = (ctypes.c_int,)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _return_to(home: int) -> None:
    if _libc.setns(home, _CLONE_NEWNET) != 0:
        os.abort()


@contextmanager
def inside(path: str) -> Iterator[None]:
    """The calling thread is in the namespace at ``path`` (empty: stays where it is) until the block ends. Nothing may
    be awaited inside. Raises ``OSError`` when there is no such namespace; ends the process when it cannot come back."""
    if not path:
        yield
        return
    home = os.open(_HERE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        target = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc.setns(target, _CLONE_NEWNET), f"enter {path}")
        finally:
            os.close(target)
        try:
            yield
        finally:
            _return_to(home)
    finally:
        os.close(home)


def create(path: str) -> None:
    """Make a namespace with its ``lo`` up and keep it at ``path``. Raises ``OSError``; then nothing is left."""
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
    home = os.open(_HERE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.unshare(_CLONE_NEWNET), "unshare the network namespace")
        try:
            _furnish()
            _check(_libc.mount(_HERE.encode(), path.encode(), None, _MS_BIND, None), f"mount on {path}")
        finally:
            _return_to(home)
    except OSError:
        Path(path).unlink()
        raise
    finally:
        os.close(home)


def hold(path: str, source: str, inode: int) -> None:
    """Keep a namespace that others made at ``path``, and bring its ``lo`` up; ``source`` must still be the one with that
    inode. Raises ``OSError``; then nothing is left."""
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
    try:
        descriptor = _open(source)
        try:
            if os.fstat(descriptor).st_ino != inode:
                raise FileNotFoundError(errno.ENOENT, f"{source} is another namespace by now")
            held = f"/proc/thread-self/fd/{descriptor}"
            _check(_libc.mount(held.encode(), path.encode(), None, _MS_BIND, None), f"mount on {path}")
        finally:
            os.close(descriptor)
        with inside(path):
            _raise_loopback()
    except OSError:
        delete(path)
        raise


def inode_of(path: str) -> int:
    """The inode of the network namespace at ``path``. Raises ``OSError``, of code EINVAL for anything else."""
    descriptor = _open(path)
    try:
        return os.fstat(descriptor).st_ino
    finally:
        os.close(descriptor)


def _open(path: str) -> int:
    """A descriptor of the network namespace at ``path``. What else may be there is not opened, only looked at."""
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if os.fstat(place).st_dev != Path(_HERE).stat().st_dev:
            raise OSError(errno.EINVAL, f"{path} is no network namespace")
        descriptor = os.open(f"/proc/thread-self/fd/{place}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(place)
    if ioctl(descriptor, _NS_GET_NSTYPE) != _CLONE_NEWNET:
        os.close(descriptor)
        raise OSError(errno.EINVAL, f"{path} is no network namespace")
    return descriptor


def bind(path: str, descriptor: int) -> None:
    """Keep the namespace behind a descriptor at ``path``. Raises ``OSError``."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o444))
    source = f"/proc/self/fd/{descriptor}"
    _check(_libc.mount(source.encode(), path.encode(), None, _MS_BIND, None), f"mount on {path}")


def _furnish() -> None:
    for setting in _INHERITED:
        try:
            Path(f"/proc/sys/net/ipv6/conf/default/{setting}").write_text("0")
        except FileNotFoundError:
            break  # a kernel without IPv6
    _raise_loopback()


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        _, flags = _IFREQ.unpack(ioctl(control, _SIOCGIFFLAGS, _IFREQ.pack(b"lo", 0)))
        ioctl(control, _SIOCSIFFLAGS, _IFREQ.pack(b"lo", flags | _IFF_UP))


def delete(path: str) -> None:
    """Let go of the namespace at ``path``; it ends when nothing else holds it. Nothing there is nothing to do."""
    while _libc.umount2(path.encode(), _MNT_DETACH) == 0:
        pass  # more than one may be mounted on each other after a crash in the middle
    Path(path).unlink(missing_ok=True)


def is_namespace(path: str) -> bool:
    """Whether a namespace is held at ``path`` (after a reboot only an empty file may be left)."""
    try:
        return Path(path).stat().st_dev == Path(_HERE).stat().st_dev
    except FileNotFoundError:
        return False


def fresh_sockets(path: str, family: int, kind: int, count: int) -> list[socket.socket]:
    """Sockets that belong to the namespace at ``path``. Raises ``OSError``; then none is left open."""
    made: list[socket.socket] = []
    with inside(path):
        try:
            for _ in range(count):
                made.append(socket.socket(family, kind | socket.SOCK_CLOEXEC))
        except OSError:
            for each in made:
                each.close()
            raise
    return made
