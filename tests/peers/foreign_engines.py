"""Debian's Docker engine and Podman with places of their own, started on a test's host and gone with it."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from tests.kernel.one_host.foreigners import Foreigner
from tests.kernel.one_host.host import Host
from tests.kernel.one_host.namespace import PROGRAM_S, Namespace
from tests.kernel.one_host.waiting import until

#: Debian's client: a newer one refuses Debian's engine for the age of its API.
DOCKER = "/usr/bin/docker"
#: The usual limits of these engines exceed those of a confined machine.
_LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096")
_USR = ("--volume", "/usr:/usr:ro")


def skeleton(folder: Path) -> Path:
    """A root file system that has its own /etc and takes all programs from the machine's /usr."""
    folder.mkdir()
    for name in ("usr", "proc", "sys", "dev", "etc", "tmp", "run", "root"):
        (folder / name).mkdir()
    for name in ("bin", "lib", "lib64", "sbin"):
        (folder / name).symlink_to(f"usr/{name}")
    (folder / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (folder / "etc/nsswitch.conf").write_text("hosts: files dns\n")
    for name in ("resolv.conf", "hosts"):
        (folder / "etc" / name).touch()
    return folder


class Engine:
    """What both are for a test: start a container, find it, remove it."""

    kind = ""

    def __init__(self, host: Host, folder: Path) -> None:
        self.host = host
        self.folder = folder
        self.parent = f"fairlead-t-{secrets.token_hex(4)}"
        self._stack = contextlib.ExitStack()

    def call(self, *words: str, check: bool = True) -> str:
        """Its command line."""
        done = subprocess.run(
            self._words(*words),
            capture_output=True,
            text=True,
            check=False,
            timeout=PROGRAM_S,
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode:
            raise AssertionError(f"{self.kind} {' '.join(words)}: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def launch(self, name: str, network: str, command: Sequence[str]) -> None:
        """Start a container."""
        words = ("run", "--detach", "--name", name, "--network", network, *_LIMITS, *_USR, *self._more_flags())
        self.call(*words, *self._image(), *command)

    def run(self, name: str, network: str, command: Sequence[str]) -> Foreigner:
        """A running container."""
        self.launch(name, network, command)
        return self.find(name)

    def remove(self, *names: str) -> None:
        """Kill and remove containers."""
        self.call("rm", "--force", *self._at_once(), *names)

    def find(self, name: str) -> Foreigner:
        """A container that runs."""
        pid = int(self.call("container", "inspect", "--format", "{{.State.Pid}}", name))
        ns = self._stack.enter_context(contextlib.closing(Namespace.of(pid)))
        return Foreigner(f"{self.kind}:{name}", ns, pid)

    def close(self) -> None:
        """Remove all containers, stop what was started."""
        self._stack.close()
        names = self.call("ps", "--all", "--quiet").split()
        if names:
            self.remove(*names)

    def sweep(self) -> None:
        """Take away the control groups, which engines leave to whoever comes next."""
        own = [line.rpartition(":")[2].strip("/") for line in Path("/proc/self/cgroup").read_text().splitlines()]
        roots = [Path("/sys/fs/cgroup"), *(path for path in Path("/sys/fs/cgroup").glob("*") if path.is_dir())]
        places = {root / group / self.parent for root in roots for group in {"", *own}}
        until(lambda: not _removed(places), "the control groups are empty and gone")

    def _at_once(self) -> tuple[str, ...]:
        return ()

    def _more_flags(self) -> tuple[str, ...]:
        return ()

    def _words(self, *words: str) -> list[str]:
        raise NotImplementedError

    def _image(self) -> tuple[str, ...]:
        raise NotImplementedError


def _removed(places: Iterable[Path]) -> list[Path]:
    """Remove control groups, inner ones first; those that are still there, since a process dies in them."""
    for place in places:
        for folder, _, _ in os.walk(place, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
    return [place for place in places if place.exists()]


class DockerEngine(Engine):
    """``dockerd`` in the host's network, with its own directories and its usual firewall."""

    kind = "docker"

    def __init__(self, host: Host, folder: Path) -> None:
        super().__init__(host, folder)
        self.socket = folder / "docker.sock"
        # The sockets below it must have short names (sun_path).
        self._exec_root = Path("/run") / self.parent
        places = {"data-root": folder / "docker", "exec-root": self._exec_root, "pidfile": folder / "docker.pid"}
        flags = [f"--{name}={path}" for name, path in places.items()]
        flags += [f"--host=unix://{self.socket}", "--storage-driver=vfs", f"--cgroup-parent=/{self.parent}"]
        with (folder / "dockerd.log").open("ab") as log:
            self._process = subprocess.Popen(
                host.ns.command("dockerd", *flags), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until(self._answers, "dockerd's first answer", 60)
        archive = folder / "skeleton.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(skeleton(folder / "docker-rootfs"), ".")
        self.call("import", str(archive), "skeleton")

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._process.terminate()
            self._process.wait(PROGRAM_S)
            shutil.rmtree(self._exec_root, ignore_errors=True)
            self.sweep()

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            log = (self.folder / "dockerd.log").read_text(errors="replace")
            raise AssertionError(f"dockerd ended with {self._process.returncode}: {log[-2000:]}")
        return subprocess.run(self._words("version"), capture_output=True, check=False).returncode == 0

    def _words(self, *words: str) -> list[str]:
        return [DOCKER, "--host", f"unix://{self.socket}", *words]

    def _image(self) -> tuple[str, ...]:
        return ("skeleton",)


class PodmanEngine(Engine):
    """Podman with its own store, in the host's network."""

    kind = "podman"

    def __init__(self, host: Host, folder: Path) -> None:
        super().__init__(host, folder)
        self.root, self.runroot = folder / "podman", Path("/run") / self.parent
        self._rootfs = skeleton(folder / "podman-rootfs")
        self._locks = Path("/dev/shm/libpod_lock")
        self._had_locks = self._locks.exists()

    def close(self) -> None:
        super().close()
        shutil.rmtree(self.runroot, ignore_errors=True)
        if not self._had_locks:
            self._locks.unlink(missing_ok=True)
        self.sweep()

    def _at_once(self) -> tuple[str, ...]:
        return ("--time", "0")

    def _more_flags(self) -> tuple[str, ...]:
        return ("--cgroup-parent", f"/{self.parent}")

    def _words(self, *words: str) -> list[str]:
        places = ["--root", str(self.root), "--runroot", str(self.runroot), "--storage-driver", "vfs"]
        engine = ["--cgroup-manager", "cgroupfs", "--runtime", "runc", "--events-backend", "file"]
        return self.host.ns.command("podman", *places, *engine, *words)

    def _image(self) -> tuple[str, ...]:
        return ("--rootfs", str(self._rootfs))


@pytest.fixture(scope="module")
def engines(make_host: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, Engine, Engine]]:
    """A host with a daemon that knows both engines."""
    missing = [name for name in ("dockerd", "podman", DOCKER) if shutil.which(name) is None]
    if missing:
        pytest.skip(f"programs are missing: {', '.join(missing)}; ./run test installs them")
    assert callable(make_host)
    host: Host = make_host()
    folder = tmp_path_factory.mktemp("e")
    podman = PodmanEngine(host, folder)
    host.flags = (
        *("--docker-host", f"unix://{folder}/docker.sock"),
        *("--podman-root", str(podman.root)),
        *("--podman-runroot", str(podman.runroot)),
    )
    host.start()
    with contextlib.ExitStack() as stack:
        stack.callback(podman.close)
        docker = DockerEngine(host, folder)
        stack.callback(docker.close)
        yield host, docker, podman
