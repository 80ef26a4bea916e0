"""Where the files of one container lie."""

from __future__ import annotations

from dataclasses import dataclass

from fairlead.model.ids import check_name
from fairlead.model.settings import Paths


@dataclass(frozen=True, slots=True)
class Files:
    """The two folders of a container: ``run`` (bundle, mounts, sockets; need not survive a reboot) and ``state`` (log
    and exit status; must). The bundle is ``run`` itself, since conmon puts its sockets beside ``config.json``."""

    run: str
    state: str

    @property
    def config(self) -> str:
        """The OCI configuration."""
        return f"{self.run}/config.json"

    @property
    def rootfs(self) -> str:
        """Where the copy-on-write root is mounted."""
        return f"{self.run}/rootfs"

    @property
    def layer(self) -> str:
        """The tmpfs with the writable layer."""
        return f"{self.run}/layer"

    @property
    def pid(self) -> str:
        """Process id of the container's first process, written by runc."""
        return f"{self.run}/pid"

    @property
    def monitor_pid(self) -> str:
        """Process id of conmon, written by conmon."""
        return f"{self.run}/conmon.pid"

    @property
    def attach(self) -> str:
        """conmon's SOCK_SEQPACKET socket; its name is conmon's choice."""
        return f"{self.run}/attach"

    @property
    def control(self) -> str:
        """conmon's FIFO for terminal sizes; its name is conmon's choice."""
        return f"{self.run}/ctl"

    @property
    def log(self) -> str:
        """Output of the container in conmon's k8s-file form."""
        return f"{self.state}/log"

    @property
    def exit(self) -> str:
        """Exit status in decimal, written by conmon at the end; its name is conmon's choice."""
        return f"{self.state}/exit"


def files_of(paths: Paths, container_id: str) -> Files:
    """The folders of a container; raises ``Invalid`` for an identifier that must not become a path."""
    check_name("container", container_id)
    return Files(run=f"{paths.run}/containers/{container_id}", state=f"{paths.containers}/{container_id}")


def runc_root(paths: Paths) -> str:
    """Where runc keeps its own state of our containers."""
    return f"{paths.run}/runc"
