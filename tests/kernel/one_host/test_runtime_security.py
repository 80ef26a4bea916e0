"""What a container's own tree, its descriptors and its network may not be used for."""

from __future__ import annotations

import io
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest
from tests.kernel.one_host.host import Host
from tests.kernel.one_host.programs import IDLE
from tests.kernel.one_host.waiting import until

from fairlead.api.client import ApiError
from fairlead.model.errors import NetError
from fairlead.runtime import archive

#: Copies in and out under a renamer. Enough that a racy copy escapes with near certainty (a naive one does in under 50).
ROUNDS = 300
#: Rounds after which at least one copy each way must have met the directory and not the link.
ROUNDS_MAX = 100 * ROUNDS


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A root file system that borrows the host's programs and lies wherever it can."""
    root = tmp_path / "image"
    for name in ("usr", "proc", "sys", "dev", "tmp", "data"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        (root / name).symlink_to(f"usr/{name}")
    return root


def snapshot(*folders: Path) -> dict[str, tuple[int, int, int]]:
    """Every entry of some folders: inode, size, time of change."""
    entries = [entry for folder in folders for entry in folder.iterdir()]
    return {str(entry): (entry.lstat().st_ino, entry.lstat().st_size, entry.lstat().st_mtime_ns) for entry in entries}


def lies_etc_is_the_root(root: Path) -> None:
    (root / "etc").symlink_to("/")


def lies_resolv_conf_is_passwd(root: Path) -> None:
    (root / "etc").mkdir()
    (root / "etc/resolv.conf").symlink_to("../../../../../../../../etc/passwd")
    (root / "etc/hosts").symlink_to("/../../../../../../../../etc/shadow")


def lies_targets_lead_outside(root: Path) -> None:
    (root / "etc").mkdir()
    (root / "vol").symlink_to("/../../../../../../../../../etc")
    (root / "mem").symlink_to("../../../../../../../../../root")


@pytest.mark.parametrize("lie", [lies_etc_is_the_root, lies_resolv_conf_is_passwd, lies_targets_lead_outside])
def test_sec_29_nothing_is_written_outside_a_root_that_lies(
    host: Host, image: Path, lie: Callable[[Path], None]
) -> None:
    lie(image)
    before = snapshot(Path("/"), Path("/etc"), Path("/root"))
    mounts = {"Binds": ["/usr:/usr:ro", "secvol:/vol"], "Tmpfs": {"/mem": ""}}
    command = ["sh", "-c", "cat /etc/resolv.conf /etc/hosts; echo x > /vol/x; echo y > /mem/y"]
    container = host.create("liar", command, host_config={"NetworkMode": "bridge", **mounts}, Image=str(image))
    try:
        host.api.post(f"/containers/{container.id}/start")
        host.api.post(f"/containers/{container.id}/wait")
    except ApiError as refused:
        assert refused.status in (400, 500)
    finally:
        container.remove()
        host.api.delete("/volumes/secvol")
    assert snapshot(Path("/"), Path("/etc"), Path("/root")) == before


def tar_of(name: str, data: bytes) -> BinaryIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
    buffer.seek(0)
    return buffer


@contextmanager
def renamer(root: Path, outside: Path) -> Iterator[None]:
    """Swaps a directory with a link that leads outside, as fast as it can."""
    (root / "swap").mkdir()
    (root / "swap/file").write_text("inside")
    (root / "lie").symlink_to(outside)
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            (root / "swap").rename(root / "aside")
            (root / "lie").rename(root / "swap")
            (root / "swap").rename(root / "lie")
            (root / "aside").rename(root / "swap")

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_sec_29_copies_stay_inside_under_a_racing_renamer(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "file").write_text("secret")
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY)
    written = read = 0
    with renamer(root, outside):
        for number in range(ROUNDS_MAX):
            if number >= ROUNDS and written and read:
                break
            try:
                archive.write(descriptor, "/swap", tar_of(f"new{number}", b"x"), no_overwrite=False, keep_owners=False)
                written += 1
            except NetError:
                pass
            try:
                sink = io.BytesIO()
                archive.read(descriptor, "/swap/file", sink)
                assert b"secret" not in sink.getvalue()
                read += 1
            except OSError:
                pass
    os.close(descriptor)
    assert os.listdir(outside) == ["file"]
    assert (outside / "file").read_text() == "secret"
    assert written > 0
    assert read > 0


@pytest.mark.parametrize(
    ("name", "kind", "link"),
    [
        ("../escaped", tarfile.REGTYPE, ""),
        ("out/escaped", tarfile.REGTYPE, ""),
        ("hard", tarfile.LNKTYPE, "../../../../../../etc/hostname"),
        ("hard", tarfile.LNKTYPE, "out/secret"),
        ("disk", tarfile.BLKTYPE, ""),
    ],
)
def test_sec_29_hostile_archives_write_nothing_outside(tmp_path: Path, name: str, kind: bytes, link: str) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (root / "out").symlink_to(outside)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, link
        tar.addfile(entry)
    buffer.seek(0)
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        with pytest.raises(NetError):
            archive.write(descriptor, "/", buffer, no_overwrite=False, keep_owners=True)
    finally:
        os.close(descriptor)
    assert os.listdir(outside) == ["secret"]
    assert not (tmp_path / "escaped").exists()
    assert (outside / "secret").stat().st_nlink == 1


def test_sec_29_copies_through_the_api_resolve_inside(host: Host) -> None:
    script = "echo inside > /tmp/hostname; ln -s / /tmp/up; ln -s /proc/1/root /tmp/magic; exec sleep 1000"
    with host.run("links", ["sh", "-c", script]) as box:
        until(lambda: os.path.lexists(f"/proc/{box.pid}/root/tmp/magic"), "its links")
        for path in ("/tmp/up/tmp/hostname", "/../../../../../../tmp/hostname"):
            with host.api.open("GET", f"/containers/{box.id}/archive", {"path": path}) as reply:
                tar = tarfile.open(fileobj=io.BytesIO(reply.read()))  # noqa: SIM115 (in memory)
            file = tar.extractfile("hostname")
            assert file is not None
            assert file.read() == b"inside\n"
        with pytest.raises(ApiError):
            host.api.call("HEAD", f"/containers/{box.id}/archive", {"path": "/tmp/magic/tmp/hostname"})


def test_sec_31_every_child_has_exactly_three_descriptors(host: Host, tmp_path: Path) -> None:
    script = "ls /proc/$$/fd > /out/{}; exit 0"
    config = {"Binds": [f"{tmp_path}:/out"]}
    health = {"Test": ["CMD", "bash", "-c", script.format("health")], "Interval": 50_000_000}
    command = ["bash", "-c", script.format("init").replace("exit 0", "exec sleep 1000")]
    with host.run("fds", command, host_config={"NetworkMode": "bridge", **config}, Healthcheck=health) as box:
        box.exec("bash", "-c", script.format("exec"))
        until(lambda: all((tmp_path / name).exists() for name in ("init", "health", "exec")), "all three looked")
        until((tmp_path / "health").read_text, "the health command's answer")
        for name in ("init", "health", "exec"):
            assert (tmp_path / name).read_text().split() == ["0", "1", "2"], name
        monitor = next(int(entry) for entry in os.listdir("/proc") if entry.isdecimal() and _watches(entry, box.id))
        held = [os.readlink(f"/proc/{monitor}/fd/{number}") for number in os.listdir(f"/proc/{monitor}/fd")]
        strangers = [name for name in held if "node.db" in name or "fairlead.sock" in name or "netns" in name]
        assert strangers == []


def _watches(pid: str, container_id: str) -> bool:
    """Whether a process is the conmon of a container."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return False
    return words[0].rpartition("/")[2] == "conmon" and container_id in words


def test_sec_23_no_socket_of_ours_can_be_reached_from_the_hosts_network(host: Host) -> None:
    with host.run("peer", ["sh", "-c", "exec sleep 1000"], network="host") as box, host.run("other", IDLE):
        table = box.exec("cat", "/proc/net/unix").stdout
        names = [line.split()[7] for line in table.splitlines()[1:] if len(line.split()) > 7]
        abstract = [name for name in names if name.startswith("@")]
        assert abstract == []
        ours = [name for name in names if name.startswith(str(host.run_dir))]
        assert any("fairlead.sock" in name for name in ours), "the API is among them"
        for name in ours:
            assert box.exec("test", "-e", name, check=False).returncode != 0, name
        assert (host.run_dir / "fairlead.sock").stat().st_mode & 0o007 == 0
