"""What the engine wants done, in the order in which it must be done: persist, apply, act, tell."""

from __future__ import annotations

from dataclasses import dataclass, field

from fairlead.discovery.hosts import HostLine
from fairlead.discovery.resolver import View
from fairlead.discovery.wire import TTL_S
from fairlead.model.cluster import Peer, PeerNames
from fairlead.model.errors import NetError
from fairlead.model.events import Event, Notice
from fairlead.model.runspec import RunSpec
from fairlead.model.state import Change
from fairlead.model.target import Foreign
from fairlead.plan.diff import Step
from fairlead.plan.objects import Plan


@dataclass(frozen=True, slots=True)
class Register:
    """Let an endpoint's names resolve in its network; clients may keep what they are told for ``ttl_s`` seconds. ``ports``
    (``80/tcp``) are found below the names."""

    network_id: str
    network_name: str
    endpoint_id: str
    names: tuple[str, ...]
    ipv4: str
    ipv6: str
    ttl_s: int = TTL_S
    ports: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unregister:
    """Let an endpoint's names resolve no more."""

    network_id: str
    endpoint_id: str


@dataclass(frozen=True, slots=True)
class OpenResolver:
    """Serve names in a sandbox, or change what an open resolver sees."""

    sandbox_id: str
    view: View


@dataclass(frozen=True, slots=True)
class CloseResolver:
    """Serve names in a sandbox no more."""

    sandbox_id: str


@dataclass(frozen=True, slots=True)
class WriteFiles:
    """Write name files of a container whole (``hosts``, ``resolv.conf``, ``hostname``: text), in place."""

    container_id: str
    files: dict[str, str]


@dataclass(frozen=True, slots=True)
class EditHosts:
    """Add lines to a container's hosts file and take exactly equal ones out; a user's own lines stay."""

    container_id: str
    add: tuple[HostLine, ...] = ()
    remove: tuple[HostLine, ...] = ()


@dataclass(frozen=True, slots=True)
class AlignHosts:
    """Make ``lines`` the ones of a container's hosts file that have exactly ``names``, and leave ``kept`` and all other
    lines alone."""

    container_id: str
    names: tuple[str, ...]
    lines: tuple[HostLine, ...]
    kept: tuple[HostLine, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """Start a container's process; the answer is ``ContainerRunning`` or ``ContainerFailed``."""

    spec: RunSpec


@dataclass(frozen=True, slots=True)
class Terminate:
    """Send ``signal``, and SIGKILL after ``timeout_s`` (negative: never); the end comes as ``ContainerExited``. Before
    the signal the nodes that take part in ``networks`` are to know what was said there, for which they get as long as
    the container does."""

    container_id: str
    signal: str
    timeout_s: int
    networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Signal:
    """Send a signal to a container's first process."""

    container_id: str
    signal: str


@dataclass(frozen=True, slots=True)
class Suspend:
    """Stop the clock of a container's processes, or with ``resume`` let it go on."""

    container_id: str
    resume: bool = False


@dataclass(frozen=True, slots=True)
class Wake:
    """Tell the engine ``event`` after ``after_s`` seconds; a later one of the same ``key`` takes its place."""

    key: str
    after_s: float
    event: Event


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask a container for its health: run ``words`` in it for ``timeout_s`` seconds at most; the answer is
    ``HealthProbed`` with the same ``pid``."""

    container_id: str
    pid: int
    words: tuple[str, ...]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Release:
    """After a container's end: give back what only a running one needs; its files and log stay."""

    container_id: str


@dataclass(frozen=True, slots=True)
class Discard:
    """Remove everything the runtime holds of a container, and its files; also ``volumes`` that are its alone."""

    container_id: str
    volumes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WatchNamespace:
    """Learn when a namespace of others goes; the word is ``NamespaceGone``. Asked again, watch what is said now."""

    sandbox_id: str
    foreign: Foreign


@dataclass(frozen=True, slots=True)
class ForgetNamespace:
    """Watch the namespace of a sandbox no more."""

    sandbox_id: str


@dataclass(frozen=True, slots=True)
class JoinScope:
    """The first endpoint of this node is in a network of the cluster: take part in what gossip tells there. Said again
    at a restart; nothing to do when that is so already."""

    network_id: str


@dataclass(frozen=True, slots=True)
class LeaveScope:
    """The last endpoint of this node has left a network of the cluster: gossip of it is no more ours."""

    network_id: str


@dataclass(frozen=True, slots=True)
class Publish:
    """Tell the other nodes of a network where an endpoint is. Done before its process starts."""

    network_id: str
    peer: Peer


@dataclass(frozen=True, slots=True)
class Retract:
    """Tell them that an endpoint is gone. When every node has forgotten it, the answer is ``AddressForgotten`` for this
    lease and generation."""

    network_id: str
    endpoint_id: str
    lease_id: str
    generation: int


@dataclass(frozen=True, slots=True)
class PublishNames:
    """Tell them the names of an endpoint: it is ready."""

    network_id: str
    names: PeerNames


@dataclass(frozen=True, slots=True)
class RetractNames:
    """Tell them that an endpoint is not ready, or will be gone. Done before its process is told to stop."""

    network_id: str
    endpoint_id: str


@dataclass(frozen=True, slots=True)
class Crew:
    """The ready tasks of a service in a network are others: whoever leads requests to them is to know. Without a service:
    all that the others know of the network has been told."""

    network_id: str
    service_id: str = ""


Message = (
    Register
    | Unregister
    | OpenResolver
    | WatchNamespace
    | ForgetNamespace
    | CloseResolver
    | WriteFiles
    | EditHosts
    | AlignHosts
    | Run
    | Terminate
    | Signal
    | Suspend
    | Wake
    | Probe
    | Release
    | Discard
    | JoinScope
    | LeaveScope
    | Publish
    | Retract
    | PublishNames
    | RetractNames
    | Crew
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One decision. ``operation`` is the number under which ``Applied`` or ``Failed`` comes back. ``plans`` holds, for
    each owner touched, all that must exist of it. ``error`` is the answer to the caller when a fact (not the command)
    made it fail, raised after the outcome is carried out. With ``wait_exit`` the answer waits for that container. With ``repair`` Linux is to
    be made what all plans say, since it refused to follow a fact."""

    operation: int
    changes: tuple[Change, ...] = ()
    plans: dict[str, Plan] = field(default_factory=dict)
    messages: tuple[Message, ...] = ()
    notices: tuple[Notice, ...] = ()
    reply: object = None
    error: NetError | None = None
    wait_exit: str = ""
    repair: bool = False


@dataclass(frozen=True, slots=True)
class Preview:
    """What a command would do, without doing it: the records it would write, and for each owner the steps in Linux."""

    changes: tuple[Change, ...] = ()
    steps: dict[str, tuple[Step, ...]] = field(default_factory=dict)
