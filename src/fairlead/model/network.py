"""Network: a group of endpoints that can reach each other (CNM)."""

from __future__ import annotations

from dataclasses import dataclass, field

from fairlead.model import codes
from fairlead.model.errors import Conflict, Forbidden, Invalid
from fairlead.model.ids import check_name

#: Networks that exist from the first start and can be neither created nor removed (Docker).
PREDEFINED = ("bridge", "host", "none")
#: Reserved beside the predefined networks (Docker).
_RESERVED = (*PREDEFINED, "default")
#: The local network through which sandboxes in networks of the cluster lead out, and publish ports of their node
#: (Docker: docker_gwbridge).
GATEWAY_BRIDGE = "fairlead_gwbridge"
#: Scope of networks that a manager made for the whole cluster (Docker).
SWARM = "swarm"


@dataclass(frozen=True, slots=True)
class PoolRequest:
    """What the user asked of one subnet of a network; empty text means "choose for me"."""

    subnet: str = ""
    ip_range: str = ""
    gateway: str = ""
    aux: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pool:
    """One subnet that a network holds: prefix, part used for automatic choice, gateway, reserved addresses."""

    id: str
    subnet: str
    ip_range: str = ""
    gateway: str = ""
    aux: dict[str, str] = field(default_factory=dict)
    #: Whether the user named a gateway or range himself; decides what ``inspect`` echoes.
    asked: bool = False

    @property
    def v6(self) -> bool:
        """Whether this is an IPv6 subnet."""
        return ":" in self.subnet


@dataclass(frozen=True, slots=True)
class Network:
    """A network as stored. ``created`` is wall-clock seconds since the epoch."""

    id: str
    name: str
    driver: str
    created: float
    scope: str = "local"
    ipv4: bool = True
    ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    ipam_driver: str = "default"
    ipam_options: dict[str, str] = field(default_factory=dict)
    pools: tuple[Pool, ...] = ()
    options: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    #: A set of settings for other networks: no driver, no subnets of its own, no endpoints.
    config_only: bool = False
    #: Name of the config-only network that the settings were copied from, or empty text.
    config_from: str = ""
    #: The subnets that networks made from this config-only network are to have.
    wanted_pools: tuple[PoolRequest, ...] = ()
    #: The one of published ports (Docker: ingress): no names, no virtual addresses, in it tasks are reached at their ports only.
    ingress: bool = False

    @property
    def predefined(self) -> bool:
        """Whether this is one of ``bridge``, ``host``, ``none``."""
        return self.name in PREDEFINED

    def gateway(self, *, v6: bool) -> str:
        """The gateway address of the first pool of a family, or empty text."""
        return next((pool.gateway for pool in self.pools if pool.v6 == v6 and pool.gateway), "")


def check_new_name(name: str, *, taken: bool) -> None:
    """Raise ``Forbidden``, ``Invalid`` or ``Conflict``, in Docker's words, for what cannot be a new network's name."""
    if name in _RESERVED:
        raise Forbidden(
            f"operation is not permitted on predefined {name} network ",
            hint="choose another name",
            code=codes.NETWORK_PREDEFINED,
        )
    if not name.strip():
        raise Invalid("network name cannot be empty", hint="give the network a name", code=codes.NAME_INVALID)
    check_name("network", name)
    if taken:
        raise Conflict(
            f"network with name {name} already exists",
            hint="`fairlead network ls` lists what is there; choose another name",
            code=codes.NETWORK_EXISTS,
        )
