"""What the API server needs of a node's containers beside their networks: files, volumes, images, meters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from fairlead.model.image import ImageConfig
from fairlead.model.limits import Limits


@dataclass(frozen=True, slots=True)
class FileStat:
    """A file in a container: ``mode`` is Linux's, with the kind; ``link`` the target of a symbolic link."""

    name: str
    size: int
    mode: int
    modified: float
    link: str = ""


@dataclass(frozen=True, slots=True)
class VolumeInfo:
    """A named volume; ``created`` is epoch seconds, ``users`` ids of containers that mount it."""

    name: str
    path: str
    created: float
    labels: dict[str, str]
    users: tuple[str, ...] = ()
    anonymous: bool = False


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """A root file system with its names (``alpine:latest``); ``users`` are ids of containers made from it."""

    id: str
    names: tuple[str, ...]
    size_bytes: int
    created: float
    config: ImageConfig = ImageConfig()
    users: tuple[str, ...] = ()


class Files(Protocol):
    """The root file systems of containers."""

    async def stat(self, container: str, path: str) -> FileStat:
        """A file as it is, symbolic links at its end not followed; raises ``NotFound``."""

    def read(self, container: str, path: str) -> AsyncIterator[bytes]:
        """A file or directory as a tar archive."""

    async def write(
        self, container: str, path: str, archive: AsyncIterator[bytes], *, no_overwrite: bool, keep_owners: bool
    ) -> None:
        """Unpack a tar archive into a directory; raises ``NotFound``, ``Invalid``, ``Forbidden``."""

    def export(self, container: str) -> AsyncIterator[bytes]:
        """The whole root file system as a tar archive."""


class Volumes(Protocol):
    """Named volumes."""

    def create(self, name: str, labels: Mapping[str, str], driver: str, options: Mapping[str, str]) -> VolumeInfo:
        """Make a volume, or find it; an empty name is chosen. Raises ``Invalid``."""

    def all(self) -> list[VolumeInfo]:
        """Every volume in order of names."""

    def get(self, name: str) -> VolumeInfo:
        """One volume; raises ``NotFound``."""

    async def remove(self, name: str, *, force: bool) -> None:
        """Delete a volume; raises ``NotFound`` (not with ``force``), ``Conflict`` when a container uses it."""


class Images(Protocol):
    """Imported root file systems, and ``host``."""

    def all(self) -> list[ImageInfo]:
        """Every image in order of names."""

    def get(self, ref: str) -> ImageInfo:
        """The image of a name or id; raises ``NotFound``."""

    async def add(self, name: str, tarball: AsyncIterator[bytes], config: ImageConfig) -> ImageInfo:
        """Import a root file system; an empty name leaves it with its id alone. Raises ``Invalid``, ``Conflict``."""

    def tag(self, ref: str, name: str) -> None:
        """Give an image another name, taking it from another image that has it; raises ``NotFound``, ``Invalid``."""

    async def remove(self, ref: str, *, force: bool) -> list[tuple[str, str]]:
        """Take a name away, and with the last one the image: (``Untagged`` or ``Deleted``, what). Raises ``NotFound``,
        ``Conflict`` when a container uses it."""


class Meters(Protocol):
    """What containers use, and what this machine can limit."""

    def possible(self, limits: Limits) -> list[str]:
        """A warning for each limit that this machine cannot keep."""

    def stats(self, container: str) -> dict[str, object]:
        """Docker's ``stats`` of this moment, without those of the moment before."""

    async def top(self, container: str, words: tuple[str, ...]) -> tuple[list[str], list[list[str]]]:
        """Titles and rows of ``ps`` about its processes."""
