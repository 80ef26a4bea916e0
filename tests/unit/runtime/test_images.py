"""What an image argument means, and how one is imported."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fairlead.model.errors import Forbidden, Invalid, NotFound
from fairlead.model.settings import Paths
from fairlead.runtime import images


def paths(tmp_path: Path) -> Paths:
    return Paths(state=str(tmp_path / "state"), run=str(tmp_path / "run"))


def tarball(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for info, content in members:
            info.size, info.uid, info.gid = len(content), os.getuid(), os.getgid()
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def member(name: str, *, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


async def pieces(data: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def load(tmp_path: Path, name: str, data: bytes, size: int = 1000) -> None:
    asyncio.run(images.import_tarball(paths(tmp_path), name, pieces(data, size), created=12.5))


def test_host_is_the_root_with_our_directories_hidden(tmp_path: Path) -> None:
    root = images.find(paths(tmp_path), "host", (f"{tmp_path}/other",))
    assert (root.path, root.host) == (Path("/"), True)
    assert {f"{tmp_path}/state", f"{tmp_path}/run", f"{tmp_path}/other", "/var/lib/fairlead"} <= set(root.hidden)
    assert images.find(paths(tmp_path), "/") == images.find(paths(tmp_path), "host")


def test_directory_is_used_with_what_is_ours_inside_hidden(tmp_path: Path) -> None:
    root = images.find(paths(tmp_path), str(tmp_path))
    assert (root.path, root.host, root.hidden) == (tmp_path, False, ("/run", "/state"))


def test_our_own_directories_are_no_image(tmp_path: Path) -> None:
    (tmp_path / "state/images").mkdir(parents=True)
    for image in ("state", "state/images"):
        with pytest.raises(Forbidden):
            images.find(paths(tmp_path), str(tmp_path / image))


@pytest.mark.parametrize("image", ["nothing", "", "../x", "a/b", "/no/such/directory", "a\n", "x" * 300, "..", "-x"])
def test_unknown_image_is_told_with_what_to_do(tmp_path: Path, image: str) -> None:
    with pytest.raises(NotFound, match="No such image: ") as caught:
        images.find(paths(tmp_path), image)
    assert "fairlead image import" in caught.value.hint


@pytest.mark.parametrize("squeeze", [bytes, gzip.compress])
def test_imported_image_is_found_and_listed(tmp_path: Path, squeeze: type[bytes]) -> None:
    data = tarball(
        (member("./", kind=tarfile.DIRTYPE, mode=0o755), b""),
        (member("./tmp", kind=tarfile.DIRTYPE, mode=0o1777), b""),
        (member("./bin/su", mode=0o4755), b"x" * 10),
        (member("./lib", kind=tarfile.SYMTYPE, link="/bin"), b""),
    )
    load(tmp_path, "small", squeeze(data), size=3)
    root = images.find(paths(tmp_path), "small")
    assert images.find(paths(tmp_path), "small:latest") == root
    assert (root.path / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert (root.path / "bin/su").stat().st_mode & 0o7777 == 0o4755
    assert (root.path / "lib").readlink() == Path("/bin")
    facts = [(image.names, image.size_bytes, image.created) for image in images.listing(paths(tmp_path))]
    assert facts == [(("small:latest",), 10, 12.5)]


def test_nothing_is_written_outside_the_image(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    data = tarball(
        (member("/absolute"), b"1"),
        (member("out", kind=tarfile.SYMTYPE, link=str(outside)), b""),
        (member("out/through-link"), b"2"),
        (member("hard", kind=tarfile.LNKTYPE, link="../../../../../../etc/hostname"), b""),
    )
    with pytest.raises(Invalid, match="cannot unpack"):
        load(tmp_path, "evil", data)
    with pytest.raises(Invalid, match="cannot unpack"):
        load(tmp_path, "evil", tarball((member("../escaped"), b"3")))
    assert list(outside.iterdir()) == []
    assert not list((tmp_path / "state").rglob("escaped"))
    assert images.listing(paths(tmp_path)) == []


@pytest.mark.parametrize("data", [b"", b"this is no archive at all" * 100])
def test_what_is_no_tarball_leaves_nothing(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(Invalid):
        load(tmp_path, "bad", data)
    assert list((tmp_path / "state/images").iterdir()) == []


def test_name_that_is_taken_moves_and_the_older_image_keeps_its_id(tmp_path: Path) -> None:
    load(tmp_path, "one", tarball((member("first"), b"1")))
    older = images.listing(paths(tmp_path))[0].id
    images.tag(paths(tmp_path), "one", "team/also:2")
    load(tmp_path, "one", tarball((member("second"), b"2")))
    assert (images.find(paths(tmp_path), "one").path / "second").exists()
    for ref in ("team/also:2", older, f"sha256:{older}", older[:12]):
        assert (images.find(paths(tmp_path), ref).path / "first").exists()
    images.untag(paths(tmp_path), "team/also:2")
    assert sorted(image.names for image in images.listing(paths(tmp_path))) == [(), ("one:latest",)]
    last = next(image for image in images.listing(paths(tmp_path)) if not image.names)
    asyncio.run(images.remove(paths(tmp_path), last))
    assert [image.names for image in images.listing(paths(tmp_path))] == [("one:latest",)]
    with pytest.raises(NotFound):
        images.find(paths(tmp_path), older)


@pytest.mark.parametrize("name", ["host", "../x", "a//b", ".hidden", "a b", "-x", "x\n", "x" * 300, "a/../b"])
def test_name_that_cannot_be_one_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Invalid):
        load(tmp_path, name, tarball((member("x"), b"")))
    assert not (tmp_path / "state").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="devices are made by root only")
def test_sec_29_an_archive_brings_no_devices(tmp_path: Path) -> None:
    disk = member("dev/sda", kind=tarfile.BLKTYPE)
    disk.devmajor, disk.devminor = 8, 0
    load(tmp_path, "devices", tarball((member("dev/x"), b"1"), (disk, b"")))
    assert os.listdir(images.find(paths(tmp_path), "devices").path / "dev") == ["x"]


def test_broken_off_upload_leaves_nothing(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield tarball((member("x"), b"1" * 5000))[:3000]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        asyncio.run(images.import_tarball(paths(tmp_path), "cut", broken(), created=1.0))
    assert list((tmp_path / "state/images").iterdir()) == []
