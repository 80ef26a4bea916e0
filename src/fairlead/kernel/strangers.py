"""Who else keeps a firewall in the node's own namespace, as far as it is seen from outside: by tables and base chains."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairlead.kernel.ruleset import TABLE_MARK

#: Our chain in the table ``filter`` of iptables, and our zone in firewalld.
HOOK_CHAIN, HOOK_ZONE = "FAIRLEAD", "fairlead"
#: Tables of the old iptables that are in use here, one a line; the file is missing where the kernel has none.
_LEGACY = "/proc/thread-self/net/ip_tables_names"
#: The families whose chains see packets between bridges and elsewhere.
_FAMILIES = frozenset({"ip", "ip6", "inet"})


@dataclass(frozen=True, slots=True)
class Strangers:
    """Others on this host: ``bridges`` by name; the firewalls ``docker`` (its chain DOCKER-USER), ``firewalld`` and
    ``ufw``, which have chains; ``legacy``, the old iptables has tables; ``hooked``, which of them have lines of
    ours; base chains that drop what they do not know,
    forwarded (``dropping_forward``) or for the host (``dropping_input``), as ``family table chain``."""

    bridges: tuple[str, ...] = ()
    docker: bool = False
    firewalld: bool = False
    ufw: bool = False
    legacy: bool = False
    hooked: frozenset[str] = frozenset()
    dropping_forward: tuple[str, ...] = ()
    dropping_input: tuple[str, ...] = ()


def look(bridges: tuple[str, ...], chains: Iterable[dict[str, Any]]) -> Strangers:
    """What is seen in the namespace of the thread, given the JSON of ``list chains``."""
    found = [entry["chain"] for entry in chains if "chain" in entry]
    others = [chain for chain in found if not str(chain["table"]).startswith(TABLE_MARK)]
    names = {str(chain["name"]) for chain in others}
    return Strangers(
        bridges=bridges,
        docker="DOCKER-USER" in names,
        firewalld=any(chain["table"] == "firewalld" for chain in others),
        ufw="ufw-user-input" in names,
        legacy=_legacy(),
        hooked=frozenset(_hooked(others)),
        dropping_forward=_dropping(others, "forward"),
        dropping_input=_dropping(others, "input"),
    )


def _hooked(chains: Iterable[dict[str, Any]]) -> Iterator[str]:
    for chain in chains:
        if chain["table"] == "filter" and chain["name"] == HOOK_CHAIN:
            yield "docker-user"
        if chain["table"] == "firewalld" and str(chain["name"]).endswith(f"_{HOOK_ZONE}"):
            yield "firewalld"


def _dropping(chains: Iterable[dict[str, Any]], hook: str) -> tuple[str, ...]:
    return tuple(
        sorted(
            f"{chain['family']} {chain['table']} {chain['name']}"
            for chain in chains
            if chain.get("hook") == hook and chain.get("policy") == "drop" and chain["family"] in _FAMILIES
        )
    )


def _legacy() -> bool:
    try:
        return bool(Path(_LEGACY).read_text(encoding="ascii").split())
    except OSError:
        return False
