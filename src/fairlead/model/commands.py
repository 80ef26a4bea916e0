"""All that can be asked of a node. References (``network``, ``container``) are a full id, a name, or an id prefix."""

from __future__ import annotations

from dataclasses import dataclass, field

from fairlead.model.container import ContainerConfig
from fairlead.model.endpoint import EndpointSettings
from fairlead.model.health import RestartPolicy
from fairlead.model.limits import Limits
from fairlead.model.network import Network, PoolRequest
from fairlead.model.sandbox import SandboxSettings
from fairlead.model.target import Foreign


@dataclass(frozen=True, slots=True)
class CreateNetwork:
    """Make a network; the answer is the new ``Network``. ``ipv4`` None means the default (on). ``config_only`` makes a
    set of settings only, ``config_from`` names the one to copy (Docker)."""

    name: str
    driver: str = ""
    ipv4: bool | None = None
    ipv6: bool | None = None
    internal: bool = False
    attachable: bool = False
    scope: str = ""
    ipam_driver: str = "default"
    ipam_options: dict[str, str] = field(default_factory=dict)
    pools: tuple[PoolRequest, ...] = ()
    options: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    config_only: bool = False
    config_from: str = ""


@dataclass(frozen=True, slots=True)
class RemoveNetwork:
    """Remove a network without endpoints; the answer is the removed ``Network``."""

    network: str


@dataclass(frozen=True, slots=True)
class ConnectNetwork:
    """Attach a container to a network, at once when it runs, else at its next start; the answer is None.

    ``container`` may also name a sandbox without a container, or a ``model.target``; then ``foreign`` is what was found
    there, and ``sandbox`` what is asked of the sandbox that is made for it if it has none."""

    network: str
    container: str
    settings: EndpointSettings = EndpointSettings()
    sandbox: SandboxSettings = SandboxSettings()
    foreign: Foreign | None = None
    #: The node itself wants it, whose own sandboxes nobody else connects.
    own: bool = False


@dataclass(frozen=True, slots=True)
class DisconnectNetwork:
    """Detach a container from a network; ``force`` also detaches an endpoint whose container is unknown. ``foreign`` is
    what was found at the target that ``container`` names, None if it is gone."""

    network: str
    container: str
    force: bool = False
    foreign: Foreign | None = None
    #: The node itself wants it, whose own sandboxes nobody else disconnects.
    own: bool = False


@dataclass(frozen=True, slots=True)
class CreateSandbox:
    """Make a sandbox without a container: around a namespace of others, or (``foreign`` None) in a new, empty one. The
    answer is the new ``Sandbox``. ``own``: it is the node's, which may join networks that only services may."""

    settings: SandboxSettings
    foreign: Foreign | None = None
    own: bool = False


@dataclass(frozen=True, slots=True)
class RemoveSandbox:
    """Take a sandbox without a container out of all its networks and forget it; a namespace of others stays. The node's
    ``own`` ones only it itself removes."""

    sandbox: str
    own: bool = False


@dataclass(frozen=True, slots=True)
class CreateContainer:
    """Record a container; an empty name is chosen for the user. The answer is the new ``Container``. With ``task_id`` it
    is for that task of a service: it may have the addresses that are leased for the task, in networks that containers
    made by hand may not join."""

    name: str
    config: ContainerConfig
    task_id: str = ""


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Prepare the sandbox, join the networks, start the process; the answer is None, or ``AlreadyThere``."""

    container: str


@dataclass(frozen=True, slots=True)
class StopContainer:
    """Stop signal (empty: the container's own), then SIGKILL after ``timeout_s`` (None: the container's own); done when
    the process is gone."""

    container: str
    timeout_s: int | None = None
    signal: str = ""


@dataclass(frozen=True, slots=True)
class KillContainer:
    """Send a signal (name or number text) to the container's first process."""

    container: str
    signal: str = "SIGKILL"


@dataclass(frozen=True, slots=True)
class RemoveContainer:
    """Forget a container that does not run, or with ``force`` kill it first; ``volumes`` takes its anonymous volumes
    away too."""

    container: str
    force: bool = False
    volumes: bool = False


@dataclass(frozen=True, slots=True)
class RenameContainer:
    """Give a container another name; the DNS names follow."""

    container: str
    name: str


@dataclass(frozen=True, slots=True)
class PauseContainer:
    """Stop the clock of a container's processes, or with ``resume`` let it go on."""

    container: str
    resume: bool = False


@dataclass(frozen=True, slots=True)
class UpdateContainer:
    """Other limits and another restart policy; None leaves what is."""

    container: str
    limits: Limits | None = None
    restart: RestartPolicy | None = None


@dataclass(frozen=True, slots=True)
class InstallNetwork:
    """Know a network of the cluster (scope ``swarm``) as a manager says it is; the answer is the ``Network``. Said again
    it changes nothing. One that is known already may have grown by subnets, or have other labels."""

    network: Network


@dataclass(frozen=True, slots=True)
class WithdrawNetwork:
    """Forget a network of the cluster, and its leases; the answer is the ``Network``, or ``AlreadyThere`` for one that is
    not known. Refused (``Forbidden``) while endpoints of this node are in it."""

    network_id: str


Command = (
    CreateNetwork
    | RemoveNetwork
    | ConnectNetwork
    | DisconnectNetwork
    | CreateSandbox
    | RemoveSandbox
    | CreateContainer
    | StartContainer
    | StopContainer
    | KillContainer
    | RemoveContainer
    | RenameContainer
    | PauseContainer
    | UpdateContainer
    | InstallNetwork
    | WithdrawNetwork
)


@dataclass(frozen=True, slots=True)
class AlreadyThere:
    """Answer of a command that had nothing to do (HTTP 304)."""
