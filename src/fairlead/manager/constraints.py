"""Constraints: on which nodes tasks may run, as texts like ``node.labels.disk==ssd`` (swarmkit: constraint)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network

from fairlead.manager import refusals
from fairlead.model import codes
from fairlead.model.cluster import ClusterNode

_KEY = re.compile(r"[a-z_][a-z0-9\-_.]+\Z", re.IGNORECASE)
_VALUE = re.compile(r"[a-z0-9:\-_\s.*()?+\[\]\\^$|/]+\Z", re.IGNORECASE)
_NODE_LABELS, _ENGINE_LABELS = "node.labels.", "engine.labels."
#: What each key without a name of its own looks at.
_FACTS = {
    "node.id": lambda node: node.id,
    "node.hostname": lambda node: node.description.hostname,
    "node.role": lambda node: node.spec.role,
    "node.platform.os": lambda node: node.description.os,
    "node.platform.arch": lambda node: node.description.architecture,
}
_IP = "node.ip"


@dataclass(frozen=True, slots=True)
class Constraint:
    """``key`` is equal (or ``is_not``) to ``value``, letters of any case."""

    key: str
    is_not: bool
    value: str

    def admits(self, node: ClusterNode) -> bool:
        """Whether a node fits."""
        if self.key.lower() == _IP:
            return self._is_at(node) != self.is_not
        return (_fact(node, self.key).lower() == self.value.lower()) != self.is_not

    def _is_at(self, node: ClusterNode) -> bool:
        try:
            address = ip_address(node.address or node.description.advertise)
            return address in ip_network(self.value, strict=False)
        except ValueError:
            return False


@lru_cache(maxsize=4096)
def parse(text: str) -> Constraint:
    """Read a constraint; raises ``Invalid`` in swarm's words."""
    for operator in ("==", "!="):
        key, found, value = text.partition(operator)
        if found:
            break
    else:
        raise _refusal(text, "constraint expected one operator from ==, !=")
    key, value = key.strip(), value.strip()
    if not _KEY.match(key):
        raise _refusal(text, f"key '{key}' is invalid")
    if not _VALUE.match(value):
        raise _refusal(text, f"value '{value}' is invalid")
    lower = key.lower()
    if not (lower in _FACTS or lower == _IP or lower.startswith((_NODE_LABELS, _ENGINE_LABELS))):
        raise _refusal(text, f"key '{key}' is invalid")
    return Constraint(key, operator == "!=", value)


def admits(node: ClusterNode, constraints: tuple[str, ...]) -> bool:
    """Whether a node fits all constraints."""
    return all(parse(text).admits(node) for text in constraints)


def label(node: ClusterNode, key: str) -> str:
    """The value of ``node.labels.NAME`` or ``engine.labels.NAME``, empty when the node has no such label."""
    lower = key.lower()
    if lower.startswith(_NODE_LABELS):
        return node.spec.labels.get(key[len(_NODE_LABELS) :], "")
    if lower.startswith(_ENGINE_LABELS):
        return node.description.labels.get(key[len(_ENGINE_LABELS) :], "")
    return ""


def _fact(node: ClusterNode, key: str) -> str:
    look = _FACTS.get(key.lower())
    return look(node) if look is not None else label(node, key)


def _refusal(text: str, why: str) -> Exception:
    return refusals.bad_argument(
        why,
        hint=f"{text!r}: a constraint is KEY==VALUE or KEY!=VALUE with node.id, node.hostname, node.ip, node.role, "
        "node.platform.os, node.platform.arch, node.labels.NAME or engine.labels.NAME",
        code=codes.SERVICE_INVALID,
    )
