"""Container: a process tree under an OCI runtime, in a sandbox that we prepared."""

from __future__ import annotations

from dataclasses import dataclass, field

from fairlead.model.endpoint import EndpointSettings, PortRequest
from fairlead.model.health import Health, HealthCheck, RestartPolicy
from fairlead.model.limits import Limits, Powers
from fairlead.model.mount import Mount

#: Seconds between the stop signal and SIGKILL (Docker's default).
STOP_TIMEOUT_S = 10
#: Bound of a container's log by default: 2 files of 10 MiB. Docker's own default is no bound, which fills disks.
LOG_BYTES_MAX, LOG_FILES_MAX = 10 << 20, 2


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How much output is kept: ``files`` of at most ``size_bytes`` each; ``size_bytes`` -1 is without bound."""

    size_bytes: int = LOG_BYTES_MAX
    files: int = LOG_FILES_MAX
    driver: str = "json-file"
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """What the user asked of a container. ``image`` is ``host``, a directory, or the name of an imported rootfs;
    ``network_mode`` is ``default``, ``bridge``, ``none``, ``host``, ``container:<ref>`` or a network's name;
    ``endpoints`` maps network references to what is asked there. ``binds`` are texts of ``-v``, ``mounts`` the long
    form and anonymous volumes. ``health`` None means that the image decides, one without a command that nobody asks."""

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
    mounts: tuple[Mount, ...] = ()
    limits: Limits = Limits()
    powers: Powers = Powers()
    health: HealthCheck | None = None
    restart: RestartPolicy = RestartPolicy()
    logging: LogSettings = LogSettings()


@dataclass(frozen=True, slots=True)
class ContainerState:
    """Where a container is in its life. ``status`` is Docker's word: ``created``, ``running``, ``paused``,
    ``restarting``, ``exited``, ``dead``; ``starting`` and ``stopping`` are ours and shown as ``created``/``running``.
    Times are epoch seconds, 0 = never. ``monitor_pid`` is the process that watches the container (and outlives the
    daemon). ``stopped`` says that somebody asked for the end, ``backoff_s`` how long the last start by the restart
    policy was put off, ``restarts`` how many there were since the last start by hand;
    ``removing`` that the container is to be removed at its end, also if the daemon ends before, ``remove_volumes``
    that its anonymous volumes go with it."""

    status: str = "created"
    pid: int = 0
    monitor_pid: int = 0
    exit_code: int = 0
    error: str = ""
    started: float = 0.0
    finished: float = 0.0
    oom_killed: bool = False
    stopped: bool = False
    restarts: int = 0
    backoff_s: float = 0.0
    health: Health | None = None
    removing: bool = False
    remove_volumes: bool = False


@dataclass(frozen=True, slots=True)
class Container:
    """A container as stored. ``task_id`` is the task of a service that it is for, empty for one made by hand."""

    id: str
    name: str
    created: float
    config: ContainerConfig
    state: ContainerState = ContainerState()
    task_id: str = ""

    @property
    def running(self) -> bool:
        """Whether its process exists (also while it is being stopped, or is paused)."""
        return self.state.status in ("running", "stopping", "paused")
