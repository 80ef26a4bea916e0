"""Sandbox: a network namespace with its name files and its ordered endpoints (CNM)."""

from __future__ import annotations

from dataclasses import dataclass, field

from fairlead.model.endpoint import PortRequest
from fairlead.model.target import Foreign

#: How names are served in a namespace that is not ours: what its programs send to their own servers is led to the
#: embedded resolver, which passes on what it does not know; or the resolver only listens; or there is none.
DNS_MODES = ("intercept", "listen", "off")


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """What the user asks of a sandbox without a container. ``name`` empty: taken from the target. ``dns`` are servers
    to ask instead of those in its resolv.conf, ``dns_mode`` one of ``DNS_MODES`` or empty for the first."""

    name: str = ""
    ports: tuple[PortRequest, ...] = ()
    dns: tuple[str, ...] = ()
    dns_mode: str = ""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A sandbox as stored. ``netns`` is the name of a namespace that we hold, empty for the host's own (mode ``host``).
    ``endpoints`` are endpoint ids in the order they were joined. Without a container (``container_id`` empty) it has
    ``settings`` of its own; ``foreign`` if the namespace was made by others; ``passing`` if it was made by a connect
    and goes with its last endpoint; ``administered`` if a container in it may, or might once, change its network; ``own``
    if the node made it for itself, so that it may join networks that only services may."""

    id: str
    container_id: str
    netns: str
    hostname: str = ""
    domainname: str = ""
    extra_hosts: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    settings: SandboxSettings = field(default_factory=SandboxSettings)
    foreign: Foreign | None = None
    passing: bool = False
    administered: bool = False
    own: bool = False

    @property
    def name(self) -> str:
        """What it is called, empty for a container's."""
        return self.settings.name
