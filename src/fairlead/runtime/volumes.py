"""Named volumes: directories of ours that outlive containers. ``<state>/volumes/<name>/_data`` is what they see."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fairlead.model import codes
from fairlead.model.errors import Internal, Invalid, NotFound
from fairlead.model.mount import check_volume_name
from fairlead.model.settings import Paths
from fairlead.runtime.mounts import edge, open_in_root
from fairlead.runtime.processes import Child

#: The only driver: directories of this machine.
DRIVER = "local"
_ANONYMOUS_LABEL = "com.docker.volume.anonymous"


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume as found. ``created`` is epoch seconds; ``path`` what containers see."""

    name: str
    path: str
    created: float
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def anonymous(self) -> bool:
        """Whether nobody gave it its name."""
        return _ANONYMOUS_LABEL in self.labels


class Volumes:
    """All volumes of one daemon."""

    def __init__(self, paths: Paths) -> None:
        self._folder = Path(paths.state, "volumes")

    def create(
        self, name: str, labels: Mapping[str, str] | None = None, *, driver: str = DRIVER, anonymous: bool = False
    ) -> Volume:
        """Make a volume, or find the one of that name. Raises ``Invalid`` for a name or driver that cannot be."""
        check_volume_name(name)
        if driver not in ("", DRIVER):
            raise NotFound(
                f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found',
                hint=f"use the driver {DRIVER}",
                code=codes.VOLUME_NOT_FOUND,
            )
        found = self.find(name)
        if found is not None:
            return found
        given = {**(labels or {}), **({_ANONYMOUS_LABEL: ""} if anonymous else {})}
        with edge("making the volume"):
            self._folder.mkdir(mode=0o711, parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=self._folder))
            (fresh / "_data").mkdir(0o755)
            (fresh / "volume.json").write_text(json.dumps({"created": time.time(), "labels": given}), "utf-8")
            fresh.chmod(0o701)
            fresh.rename(self._folder / name)
        return self.get(name)

    def find(self, name: str) -> Volume | None:
        """The volume of that name, if there is one."""
        folder = self._folder / check_volume_name(name)
        if not (folder / "_data").is_dir():
            return None
        try:
            facts = json.loads((folder / "volume.json").read_text("utf-8"))
            return Volume(name, str(folder / "_data"), float(facts["created"]), dict(facts["labels"]))
        except (OSError, ValueError, KeyError, TypeError):
            return Volume(name, str(folder / "_data"), 0.0)

    def get(self, name: str) -> Volume:
        """The volume of that name; raises ``NotFound``."""
        try:
            found = self.find(name)
        except Invalid:
            found = None
        if found is None:
            raise NotFound(
                f"get {name}: no such volume",
                hint="`fairlead volume ls` lists what is there",
                code=codes.VOLUME_NOT_FOUND,
            )
        return found

    def all(self) -> list[Volume]:
        """Every volume in order of names."""
        try:
            names = sorted(folder.name for folder in self._folder.iterdir() if not folder.name.startswith("."))
        except FileNotFoundError:
            return []
        return [volume for volume in map(self.find, names) if volume is not None]

    async def remove(self, name: str) -> None:
        """Delete a volume with all in it; from this call on its name is free. Raises ``NotFound``, ``Internal``."""
        self.get(name)
        with edge("removing the volume"):
            grave = Path(tempfile.mkdtemp(prefix=".gone-", dir=self._folder))
            (self._folder / name).rename(grave / "volume")
            await asyncio.to_thread(shutil.rmtree, grave)

    async def fill(self, volume: Volume, rootfs: Path, target: str) -> None:
        """Give an empty volume what the image has at ``target``, with its owner and mode (Docker). Nothing there, or
        something in the volume already, is fine. Raises ``Internal``."""
        with edge("filling the volume"):
            if os.listdir(volume.path):
                return
            try:
                source = open_in_root(rootfs, target, os.O_RDONLY | os.O_DIRECTORY)
            except (FileNotFoundError, NotADirectoryError):
                return
            try:
                await self._copy(source, volume)
            finally:
                os.close(source)

    async def _copy(self, source: int, volume: Volume) -> None:
        facts = os.fstat(source)
        if os.listdir(source):
            words = ["cp", "--archive", "--no-target-directory", f"/proc/self/fd/{source}/.", volume.path]
            code = await Child(words, pass_fds=(source,)).ended
            if code != 0:
                raise Internal(
                    f"cannot copy what the image has into volume {volume.name}",
                    hint="is the disk full?",
                    code=codes.MOUNT_INVALID,
                )
        os.chown(volume.path, facts.st_uid, facts.st_gid)
        os.chmod(volume.path, stat.S_IMODE(facts.st_mode))


def tidy(paths: Paths) -> None:
    """Delete what an interrupted creation or removal left."""
    folder = Path(paths.state, "volumes")
    with contextlib.suppress(FileNotFoundError):
        for left in folder.glob(".*"):
            shutil.rmtree(left, ignore_errors=True)
