"""What a node and its manager say to each other in a session (2377/tcp, one JSON value a line).

The node says ``Hello`` when it opens a session; the manager answers with full ``Assignments`` and from then on tells
changes. Each carries what it follows (``applies_to``) and what it leads to (``results_in``): a node that is elsewhere
says ``Resync`` and is told everything again. Everything a node says may be said twice, so a lost answer costs nothing:
what it asks for is a level to be reached, not a step.
"""

from __future__ import annotations

from dataclasses import dataclass

from fairlead.model.cluster import Lease, NodeDescription, Ring
from fairlead.model.http_mesh import HttpMesh, RoutedService
from fairlead.model.network import Network
from fairlead.model.runspec import LogLine
from fairlead.model.service import Task, TaskStatus

#: Kinds of ``Forget.what``.
FORGET_NODE, FORGET_LEASE = "node", "lease"
#: Holder, in ``LeaseUse``, of an address that nobody uses any more and that is not forgotten everywhere yet.
RESTING = "resting"
#: Holder of an address that the node itself uses, and that it gives back when the network is to go.
OWN = "node"


@dataclass(frozen=True, slots=True)
class HeldKeys:
    """What a node holds of one ring: ``tags`` open, ``primary`` seals (0: none yet)."""

    tags: tuple[int, ...] = ()
    primary: int = 0


@dataclass(frozen=True, slots=True)
class KeyReport:
    """Node: these keys are held and in use now. Said in ``Hello`` and after each change of a ring has been carried out."""

    gossip: HeldKeys = HeldKeys()
    data: HeldKeys = HeldKeys()


@dataclass(frozen=True, slots=True)
class Hello:
    """Node: the first word of a session. ``leases`` are all that it holds, with their holders; one that the manager
    has given to somebody else meanwhile is missing in the answer, which takes it away. ``manager_address`` is host:port
    where it serves as manager, else empty."""

    description: NodeDescription
    keys: KeyReport = KeyReport()
    leases: tuple[Lease, ...] = ()
    manager_address: str = ""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Node: still here."""


@dataclass(frozen=True, slots=True)
class NetworkWish:
    """Node: a container is to join this network (id, name or id prefix), let this node take part. The answer is
    ``NetworkGrant``, or an error with Docker's words; definition, keys and a reserve of leases come as assignments
    with it. A node takes part as long as it has a lease of the network. ``own``: the node itself is to serve there, for
    the HTTP mesh; it may join networks that single containers may not, if a service there has routes."""

    network: str
    own: bool = False


@dataclass(frozen=True, slots=True)
class NetworkGrant:
    """Manager: the answer to ``NetworkWish``."""

    network_id: str


@dataclass(frozen=True, slots=True)
class LeaseWish:
    """Node: let me have ``total`` leases of this network (those that I have counted), or with ``address`` (IPv4) or
    ``ipv6`` or both this very one. The answer is the tuple of leases newly given; they also come as an assignment. Raises
    ``Exhausted``, ``Forbidden`` (in use), ``Invalid`` (outside). A partly met wish is answered with what there is."""

    network_id: str
    total: int = 0
    address: str = ""
    ipv6: str = ""
    #: Somebody waits for it: where nothing is left, one from another node's reserve is called back.
    needed: bool = False


@dataclass(frozen=True, slots=True)
class LeaseReturn:
    """Node: these leases are free here, and what gossip told of them has been forgotten everywhere. Said again until an
    assignment takes them away; an unknown lease or another generation is nothing."""

    leases: tuple[tuple[str, int], ...]
    """(lease id, generation)"""


@dataclass(frozen=True, slots=True)
class LeaseUse:
    """Node: what leases are used for now: (lease id, generation, holder; empty: back in the reserve). Said again, even
    if nothing has changed, when it is asked for (``Assignments.recall``)."""

    uses: tuple[tuple[str, int, str], ...]


@dataclass(frozen=True, slots=True)
class StatusReport:
    """Node: what it says of itself has changed."""

    description: NodeDescription


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Node: of these (``Forget.id``) nothing is left here, neither in gossip's tables nor in Linux."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TaskReport:
    """Node: how its tasks are, (task id, status). Said of each change, and of all tasks when a session was opened; a task
    that the manager does not know any more comes back in ``Assignments.tasks_gone``."""

    statuses: tuple[tuple[str, TaskStatus], ...]


@dataclass(frozen=True, slots=True)
class LogChunk:
    """Node: some of what a task has written, for the ``LogWish`` of this id. With ``last`` nothing follows; ``error`` says
    why, if it is not because there is no more."""

    id: str
    lines: tuple[LogLine, ...] = ()
    last: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class Resync:
    """Node: something was missed, tell me everything."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """Node: it leaves on purpose; it is down at once."""


NodeMessage = (
    Heartbeat
    | NetworkWish
    | LeaseWish
    | LeaseReturn
    | LeaseUse
    | KeyReport
    | StatusReport
    | Forgotten
    | TaskReport
    | Resync
    | Leaving
)


@dataclass(frozen=True, slots=True)
class NetworkAssignment:
    """A network in which the node takes part. ``ring`` holds the keys of its gossip scope, with the tags of the
    cluster's gossip ring; only nodes that take part are given them. With ``removing`` the node is to return every lease that
    is not in use, and to take none of them into use."""

    network: Network
    ring: Ring
    removing: bool = False


@dataclass(frozen=True, slots=True)
class Keys:
    """The shared keys of the cluster: gossip's cluster scope, and the data path's."""

    gossip: Ring
    data: Ring


@dataclass(frozen=True, slots=True)
class NodeView:
    """What a manager says of the node itself. When ``role`` is not its certificate's it asks for a new certificate; also
    when ``renew`` is set (the root is being replaced)."""

    id: str
    role: str
    availability: str
    name: str
    labels: dict[str, str]
    renew: bool = False


@dataclass(frozen=True, slots=True)
class ManagerView:
    """Where a manager serves: host:port. ``gossip_key`` is its public key of gossip, in hexadecimal: its verdicts count."""

    node_id: str
    address: str
    gossip_key: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is the same for all nodes. ``roots`` are the trusted roots (PEM, one after the other), ``intermediate`` what
    to send along with one's own certificate while a root is replaced. ``removed`` are node ids that are out:
    nothing of them is believed."""

    cluster_id: str
    managers: tuple[ManagerView, ...]
    roots: str
    intermediate: str
    heartbeat_s: float
    certificate_s: float
    data_path_port: int
    removed: tuple[str, ...] = ()
    #: Public keys of gossip (hexadecimal) of those nodes: managers pass verdict on them.
    removed_keys: tuple[str, ...] = ()
    #: The HTTP mesh; None: it is off.
    http_mesh: HttpMesh | None = None


@dataclass(frozen=True, slots=True)
class Forget:
    """The manager wants to hear (``Forgotten``) when nothing is left of it: ``what`` is ``node`` (everything told by node
    ``subject``) or ``lease`` (lease id ``subject``, up to ``generation``)."""

    id: str
    what: str
    subject: str
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Assignments:
    """Manager: what a node is to have. ``full``: all of it, what is not named is no longer so. Else a change: networks and
    leases named are new or changed, those in ``*_gone`` (ids) are withdrawn; None means unchanged. ``forget`` is what
    is to be forgotten and confirmed, in addition. Of the leases in ``recall`` (ids) the use is
    to be told; what is free, or will be when it has rested, is to be returned.

    ``tasks`` are new or changed ones (their ``desired`` state, as a rule); one in ``tasks_gone`` is to be ended, if it is
    not, and its container removed. A lease whose holder is a task is for that task only. ``routes`` are services
    with labels of the HTTP mesh, new or changed, wherever they run; those in ``routes_gone`` (ids) have none any more."""

    results_in: str
    applies_to: str = ""
    full: bool = False
    networks: tuple[NetworkAssignment, ...] = ()
    networks_gone: tuple[str, ...] = ()
    leases: tuple[Lease, ...] = ()
    leases_gone: tuple[str, ...] = ()
    keys: Keys | None = None
    node: NodeView | None = None
    settings: Settings | None = None
    forget: tuple[Forget, ...] = ()
    recall: tuple[str, ...] = ()
    tasks: tuple[Task, ...] = ()
    tasks_gone: tuple[str, ...] = ()
    routes: tuple[RoutedService, ...] = ()
    routes_gone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dismissed:
    """Manager: this session is over. ``removed``: the node is out for good."""

    reason: str
    removed: bool = False


@dataclass(frozen=True, slots=True)
class LogWish:
    """Manager: tell what a task has written: its ``tail`` last lines (None: all), not older than ``since`` epoch seconds;
    with ``follow`` until it ends. The answer are ``LogChunk`` of this id, at most ``LOG_WINDOW`` before the first
    ``LogMore``, and one more for each."""

    id: str
    task_id: str
    follow: bool = False
    tail: int | None = None
    since: float | None = None


@dataclass(frozen=True, slots=True)
class LogMore:
    """Manager: a chunk has been read."""

    id: str


@dataclass(frozen=True, slots=True)
class LogEnd:
    """Manager: nobody reads on."""

    id: str


#: Chunks of a task's output that may be on their way: no reader, however slow, has more than these kept for it.
LOG_WINDOW = 8

ManagerMessage = Assignments | Dismissed
#: What is asked of a node beside its assignments.
LogOrder = LogWish | LogMore | LogEnd

#: All that goes up and down a session's line.
Upward = Hello | NodeMessage | LogChunk
Downward = ManagerMessage | LogOrder
