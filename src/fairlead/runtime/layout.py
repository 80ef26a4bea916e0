"""Where the files of one container lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fairlead.model.ids import check_name
from fairlead.model.settings import Paths


@dataclass(frozen=True, slots=True)
class Files:
    """The two folders of a container: ``run`` (bundle, mounts, sockets; need not survive a reboot) and ``state`` (log
    and exit status; must). The bundle is ``run`` itself, since conmon puts its sockets beside ``config.json``."""

    run: Path
    state: Path

    @property
    def config(self) -> Path:
        """The OCI configuration."""
        return self.run / "config.json"

    @property
    def rootfs(self) -> Path:
        """Where the copy-on-write root is mounted."""
        return self.run / "rootfs"

    @property
    def layer(self) -> Path:
        """The tmpfs with the writable layer."""
        return self.run / "layer"

    @property
    def pid(self) -> Path:
        """Process id of the container's first process, written by runc."""
        return self.run / "pid"

    @property
    def monitor_pid(self) -> Path:
        """Process id of conmon, written by conmon."""
        return self.run / "conmon.pid"

    @property
    def attach(self) -> Path:
        """The SOCK_SEQPACKET socket of conmon, which chose the name."""
        return self.run / "attach"

    @property
    def control(self) -> Path:
        """The FIFO by which conmon is told terminal sizes; it chose the name."""
        return self.run / "ctl"

    @property
    def out_of_memory(self) -> Path:
        """Made by conmon, which chose the name and its folder, when the kernel killed for want of memory."""
        return self.state / "oom"

    @property
    def log(self) -> Path:
        """Output of the container in conmon's k8s-file form."""
        return self.state / "log"

    @property
    def exit(self) -> Path:
        """Exit status in decimal, written by conmon at the end, which chose the name."""
        return self.state / "exit"


def files_of(paths: Paths, container_id: str) -> Files:
    """The folders of a container; raises ``Invalid`` for an identifier that must not become a path."""
    check_name("container", container_id)
    return Files(run=Path(paths.run, "containers", container_id), state=Path(paths.containers, container_id))


def runc_root(paths: Paths) -> Path:
    """Where runc keeps its own state of our containers."""
    return Path(paths.run, "runc")
