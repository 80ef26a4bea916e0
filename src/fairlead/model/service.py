"""Service and task: desired state over many nodes, and the units of work that make it true (Docker: swarm mode).

Records of the cluster's store. Ids are 25 characters of base 36, as swarm's. A task is never changed into another: an
update makes new tasks and ends the old ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from fairlead.model.container import ContainerConfig

REPLICATED, GLOBAL = "replicated", "global"
VIP, DNSRR = "vip", "dnsrr"
INGRESS, HOST = "ingress", "host"
STOP_FIRST, START_FIRST = "stop-first", "start-first"
PAUSE, CONTINUE, ROLLBACK = "pause", "continue", "rollback"
ANY, ON_FAILURE, NEVER = "any", "on-failure", "none"

#: Seconds before a task is started anew (swarmkit's default restart delay).
RESTART_DELAY_S = 5.0
#: Seconds for which a task that was updated is watched (swarmkit's default monitor).
MONITOR_S = 5.0


class TaskState(IntEnum):
    """How far a task has come; only ever grows. The numbers are swarmkit's, which leave room."""

    NEW = 0
    PENDING = 64
    ASSIGNED = 192
    ACCEPTED = 256
    PREPARING = 320
    READY = 384
    STARTING = 448
    RUNNING = 512
    COMPLETE = 576
    SHUTDOWN = 640
    FAILED = 704
    REJECTED = 768
    REMOVE = 800
    ORPHANED = 832


@dataclass(frozen=True, slots=True)
class Resources:
    """CPUs in billionths, memory in bytes; 0: none asked."""

    nano_cpus: int = 0
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Restart:
    """What follows a task's end: ``condition`` ``any``, ``on-failure`` or ``none``; at most ``max_attempts`` (0: no
    bound) within ``window_s`` (0: ever)."""

    condition: str = ANY
    delay_s: float = RESTART_DELAY_S
    max_attempts: int = 0
    window_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Placement:
    """Where tasks may run. ``constraints`` are texts like ``node.labels.disk==ssd``, ``spread`` labels over whose values
    tasks are spread in turn; ``max_replicas`` on one node (0: no bound)."""

    constraints: tuple[str, ...] = ()
    spread: tuple[str, ...] = ()
    max_replicas: int = 0


@dataclass(frozen=True, slots=True)
class ServiceNetwork:
    """A network of a service's tasks (id once the service is stored), with aliases of the service there. ``addresses`` are
    wanted for its slots, the first for slot 1 and so on (``--ip``); with a range of them, as single addresses."""

    network: str
    aliases: tuple[str, ...] = ()
    driver_opts: dict[str, str] = field(default_factory=dict)
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """What a task is: a container (whose own ``endpoints``, ``ports`` and ``restart`` stay empty), and rules for it.
    ``force`` counts ``service update --force``."""

    container: ContainerConfig
    reservations: Resources = Resources()
    restart: Restart = Restart()
    placement: Placement = Placement()
    networks: tuple[ServiceNetwork, ...] = ()
    force: int = 0


@dataclass(frozen=True, slots=True)
class UpdateRule:
    """How tasks are exchanged: ``parallelism`` at a time (0: all), ``delay_s`` after each, watched for ``monitor_s``; more
    than ``max_failure_ratio`` of them failing leads to ``failure_action``."""

    parallelism: int = 1
    delay_s: float = 0.0
    failure_action: str = PAUSE
    monitor_s: float = MONITOR_S
    max_failure_ratio: float = 0.0
    order: str = STOP_FIRST


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A published port. ``published`` 0 means chosen for the user (30000 to 32767). ``host_ip`` is the address of the
    node that it is bound to, empty for all (ours; Docker has none)."""

    target: int
    published: int = 0
    protocol: str = "tcp"
    mode: str = INGRESS
    name: str = ""
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """What the user wants. ``replicas`` counts in mode ``replicated`` only."""

    name: str
    task: TaskSpec
    labels: dict[str, str] = field(default_factory=dict)
    mode: str = REPLICATED
    replicas: int = 1
    update: UpdateRule = UpdateRule()
    rollback: UpdateRule = UpdateRule()
    endpoint_mode: str = VIP
    ports: tuple[ServicePort, ...] = ()


@dataclass(frozen=True, slots=True)
class UpdateStatus:
    """How an update goes: ``updating``, ``paused``, ``completed``, ``rollback_started``, ``rollback_paused``,
    ``rollback_completed``. Epoch seconds."""

    state: str
    started: float
    completed: float = 0.0
    message: str = ""


@dataclass(frozen=True, slots=True)
class ServiceVip:
    """The virtual addresses of a service in a network, ``address/length``; kept for its life. ``ipv6`` is empty where the
    network has none."""

    network_id: str
    address: str
    ipv6: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """A service as stored. ``spec_version`` counts specs; tasks say of which they are. ``previous`` is what a rollback
    leads to. ``ports`` have their published numbers. ``pending`` says what could not be allocated."""

    id: str
    created: float
    updated: float
    spec: ServiceSpec
    previous: ServiceSpec | None = None
    spec_version: int = 1
    update_status: UpdateStatus | None = None
    vips: tuple[ServiceVip, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    pending: str = ""
    #: Set while its tasks are being ended because it is to go.
    removing: bool = False
    version: int = 1


@dataclass(frozen=True, slots=True)
class TaskAddress:
    """A task's place in a network: addresses as ``address/length`` or empty, leased to its node under ``generation``."""

    network_id: str
    ipv4: str = ""
    ipv6: str = ""
    generation: int = 0


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """What was seen of a task. ``message`` is what it does or waits for, ``error`` why it ended or cannot go on."""

    state: TaskState = TaskState.NEW
    at: float = 0.0
    message: str = "created"
    error: str = ""
    container_id: str = ""
    pid: int = 0
    exit_code: int = 0
    #: Host ports that were given (mode ``host``), once it runs.
    ports: tuple[ServicePort, ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """A task as stored. ``slot`` counts from 1 in mode ``replicated`` and is 0 in mode ``global``. ``desired`` is where
    managers want it to be; ``service_name`` and ``spec`` are those of its making."""

    id: str
    service_id: str
    service_name: str
    slot: int
    created: float
    updated: float
    spec: TaskSpec
    spec_version: int
    ports: tuple[ServicePort, ...] = ()
    node_id: str = ""
    desired: TaskState = TaskState.RUNNING
    status: TaskStatus = TaskStatus()
    addresses: tuple[TaskAddress, ...] = ()
    version: int = 1
    endpoint_mode: str = VIP
    #: Epoch seconds before which it is not to run (restart delay).
    not_before: float = 0.0
    #: When it was seen running first; 0: not yet. The manager's clock, as all times of a task that managers store.
    ran: float = 0.0
    #: When its slot was restarted before, newest last; kept only as far as ``Restart.max_attempts`` asks for it.
    restarts: tuple[float, ...] = ()
    #: Virtual addresses that lead to it, and how (the service's labels that begin with ``fairlead.lb.``).
    vips: tuple[ServiceVip, ...] = ()
    balancing: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The container's name: ``service.slot.id``, or ``service.node.id`` in mode ``global`` (Docker)."""
        return f"{self.service_name}.{self.slot or self.node_id}.{self.id}"

    @property
    def over(self) -> bool:
        """Whether it has ended or never will begin."""
        return self.status.state > TaskState.RUNNING
