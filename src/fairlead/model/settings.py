"""Settings of a daemon, grouped by the room that receives them."""

from __future__ import annotations

from dataclasses import dataclass, field

#: Docker's default local pools in order (libnetwork ipamutils): (base, size of the subnets cut from it).
DEFAULT_POOLS_V4: tuple[tuple[str, int], ...] = (
    ("172.17.0.0/16", 16),
    ("172.18.0.0/16", 16),
    ("172.19.0.0/16", 16),
    ("172.20.0.0/14", 16),
    ("172.24.0.0/14", 16),
    ("172.28.0.0/14", 16),
    ("192.168.0.0/16", 20),
)

#: Device of the network ``bridge`` (Docker: docker0).
DEFAULT_BRIDGE = "fairlead0"


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What the engine needs to know. ``default_pools`` replaces Docker's when given; ``quarantine_s`` is how long a
    freed address rests before automatic choice takes it again, so that late packets for its last holder do not reach
    another one (neighbour caches do not matter: an address keeps its MAC). ``default_bridge`` is the device of the network
    ``bridge``; empty, there is no such network (dockerd: --bridge none). ``dns``, ``dns_search`` and
    ``dns_options`` are for containers that name none of their own (dockerd's flags). ``default_network_opts`` holds, by
    driver, options of networks to come that do not say otherwise (dockerd: default-network-opts)."""

    hostname: str
    default_pools: tuple[tuple[str, int], ...] = ()
    quarantine_s: float = 5.0
    default_bridge: str = DEFAULT_BRIDGE
    mtu: int = 1500
    ip_forward: bool = True
    publish_address: str = ""
    ask_host_firewall: bool = False
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    default_network_opts: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Paths:
    """Where a daemon keeps its things: ``state`` survives a reboot, ``run`` need not."""

    state: str = "/var/lib/fairlead"
    run: str = "/run/fairlead"

    @property
    def socket(self) -> str:
        """The API's Unix socket."""
        return f"{self.run}/fairlead.sock"

    @property
    def netns(self) -> str:
        """The directory in which sandboxes' namespaces are bound."""
        return f"{self.run}/netns"

    @property
    def containers(self) -> str:
        """The directory with one folder for each container: name files, logs, bundle."""
        return f"{self.state}/containers"

    @property
    def images(self) -> str:
        """The directory with one folder for each imported rootfs."""
        return f"{self.state}/images"
