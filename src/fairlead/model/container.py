"""Container: a process tree under an OCI runtime, in a sandbox that we prepared."""

from __future__ import annotations

from dataclasses import dataclass, field

from fairlead.model.endpoint import EndpointSettings, PortRequest

#: Seconds between the stop signal and SIGKILL (Docker's default).
STOP_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """What the user asked of a container. ``image`` is ``host``, a directory, or the name of an imported rootfs;
    ``network_mode`` is ``default``, ``bridge``, ``none``, ``host``, ``container:<ref>`` or a network's name;
    ``endpoints`` maps network references to what is asked there."""

    image: str
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    hostname: str = ""
    domainname: str = ""
    tty: bool = False
    open_stdin: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    stop_signal: str = "SIGTERM"
    stop_timeout_s: int = STOP_TIMEOUT_S
    network_mode: str = "default"
    endpoints: dict[str, EndpointSettings] = field(default_factory=dict)
    ports: tuple[PortRequest, ...] = ()
    exposed: tuple[str, ...] = ()
    publish_all: bool = False
    auto_remove: bool = False
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    binds: tuple[str, ...] = ()
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class ContainerState:
    """Where a container is in its life. ``status`` is Docker's word: ``created``, ``running``, ``exited``, ``dead``;
    ``starting`` and ``stopping`` are ours and shown as ``created``/``running``. Times are epoch seconds, 0 = never.
    ``monitor_pid`` is the process that watches the container (and outlives the daemon)."""

    status: str = "created"
    pid: int = 0
    monitor_pid: int = 0
    exit_code: int = 0
    error: str = ""
    started: float = 0.0
    finished: float = 0.0


@dataclass(frozen=True, slots=True)
class Container:
    """A container as stored."""

    id: str
    name: str
    created: float
    config: ContainerConfig
    state: ContainerState = ContainerState()

    @property
    def running(self) -> bool:
        """Whether its process exists (also while it is being stopped)."""
        return self.state.status in ("running", "stopping")
