"""Sandbox: a network namespace with its name files and its ordered endpoints (CNM)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A sandbox as stored. ``netns`` is the name of a namespace of ours, empty for the host's own (mode ``host``).
    ``endpoints`` are endpoint ids in the order they were joined."""

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
