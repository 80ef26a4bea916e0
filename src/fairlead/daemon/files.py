"""The name files of containers: written in place, since they are bound into running containers by inode."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from fairlead.discovery import hosts
from fairlead.discovery.hosts import HostLine
from fairlead.model.faults import Reach, pass_by

#: Fault points: what is to be a file's content is noted; it is the content; a line of the hosts file is changed.
POINTS = ("files.noted", "files.written", "files.edited")

#: Readable by every user inside a container, as in any system.
_MODE = 0o644
_FOLDER_MODE = 0o711


class NameFiles:
    """``hosts``, ``resolv.conf`` and ``hostname`` of each container, below one directory of ours."""

    def __init__(self, directory: str, reach: Reach = pass_by) -> None:
        self._reach = reach
        self._directory = Path(directory)
        self._directory.mkdir(parents=True, exist_ok=True, mode=_FOLDER_MODE)

    def write(self, container_id: str, files: Mapping[str, str], *, anew: bool) -> None:
        """Write whole files. Unless ``anew``, a file that somebody edited since we wrote it is left alone, and one that
        says the same already is not touched; a container that is gone gets none."""
        folder = self._directory / container_id
        if anew:
            folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
        elif not folder.is_dir():
            return
        for name, text in files.items():
            digest = _digest(text.encode())
            if anew or self._written(folder, name) not in (digest, None):
                self._replace(folder, name, text.encode())

    def edit_hosts(self, container_id: str, add: tuple[HostLine, ...], remove: tuple[HostLine, ...]) -> None:
        """Take exactly equal lines out of the hosts file and append others; a file that is gone stays gone."""
        self._edit_hosts(container_id, lambda text: hosts.add(hosts.remove(text, remove) if remove else text, add))

    def align_hosts(
        self, container_id: str, names: tuple[str, ...], lines: tuple[HostLine, ...], kept: tuple[HostLine, ...]
    ) -> None:
        """Bring a hosts file in line with the records, see ``hosts.align``; a file that is gone stays gone."""
        self._edit_hosts(container_id, lambda text: hosts.align(text, names, lines, kept))

    def _replace(self, folder: Path, name: str, data: bytes) -> None:
        """Write a file and, around it, down which contents are ours: until the end all that a crash may leave is."""
        path, note = folder / name, folder / f"{name}.hash"
        try:
            before = path.read_bytes()
        except FileNotFoundError:
            before = b""
        torn = data + before[len(data) :]
        _write(note, "\n".join(map(_digest, (before, torn, data))))
        self._reach("files.noted")
        _write(path, data.decode())
        self._reach("files.written")
        _write(note, _digest(data))

    def _edit_hosts(self, container_id: str, edit: Callable[[str], str]) -> None:
        path = self._directory / container_id / "hosts"
        try:
            text = path.read_text()
        except FileNotFoundError:
            return
        changed = edit(text)
        if changed != text:
            _write(path, changed)
            self._reach("files.edited")

    def _written(self, folder: Path, name: str) -> str | None:
        """The digest of a file as we wrote it last, empty if it is not there; None if somebody has edited it since."""
        try:
            digest = _digest((folder / name).read_bytes())
            return digest if digest in (folder / f"{name}.hash").read_text().split() else None
        except FileNotFoundError:
            return ""


def _write(path: Path, text: str) -> None:
    """In place, cut to length afterwards: ext4 flushes a file to disk that was emptied first, which takes milliseconds."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode())
        file.truncate()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
