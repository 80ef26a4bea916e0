"""Scheduler: which node a task is given to, and if none, why (swarmkit: scheduler).

Nodes are filtered once for a group of equal tasks, then each task goes to the best of them: where the service failed least of
late, in the branch of each placement preference with the fewest tasks of the service, where the service has the fewest
tasks, and then where there are the fewest in all. A chosen node is put back with its new load, so a task costs
the logarithm of the nodes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush

from fairlead.manager import constraints
from fairlead.manager.loads import Load
from fairlead.manager.roster import Roster
from fairlead.model.cluster import ACTIVE, READY, ClusterNode
from fairlead.model.service import Task

#: Failures of a service on a node within which time (seconds) put it last (swarmkit: 5 within 5 minutes).
FAILURES_MAX, FAILURES_S = 5, 300.0


@dataclass(slots=True)
class _Branch:
    """Nodes that have the same values of the preferences so far. ``count`` is of the service's tasks there."""

    count: int = 0
    size: int = 0
    children: dict[str, _Branch] = field(default_factory=dict)
    heap: list[tuple[int, int, int, str]] = field(default_factory=list)


class Choice:
    """The nodes that tasks like ``example`` may be given to. ``failures`` counts those of late by node; ``encrypted``: the
    tasks are in an encrypted network."""

    def __init__(
        self,
        example: Task,
        nodes: Iterable[ClusterNode],
        roster: Roster,
        failures: Mapping[str, int],
        *,
        encrypted: bool = False,
    ) -> None:
        self._example, self._roster, self._failures = example, roster, failures
        self._filters = _FILTERS if encrypted else _FILTERS[:-1]
        self._refused: Counter[int] = Counter()
        self._root = _Branch()
        self._nodes: dict[str, ClusterNode] = {}
        for node in nodes:
            refusal = self._refusal(node, roster.load(node.id))
            if refusal is not None:
                self._refused[refusal] += 1
                continue
            self._nodes[node.id] = node
            path = self._path(node)
            for branch in path:
                branch.count += roster.load(node.id).services[example.service_id]
                branch.size += 1
            self._put(path[-1], node.id)

    def best(self) -> str:
        """The node for the next task, empty when there is none. It is taken out; ``put_back`` follows."""
        while self._root.size:
            branch, path = self._root, [self._root]
            while branch.children:
                branch = min((one for one in branch.children.values() if one.size), key=lambda one: one.count)
                path.append(branch)
            *_, node_id = heappop(branch.heap)
            for one in path:
                one.size -= 1
            refusal = self._refusal(self._nodes[node_id], self._roster.load(node_id))
            if refusal is None:
                return node_id
            self._refused[refusal] += 1
        return ""

    def put_back(self, node_id: str, *, was_given: bool) -> None:
        """The node may be chosen for the next task; it ``was_given`` the one before, or could not take it after all."""
        path = self._path(self._nodes[node_id])
        for branch in path:
            branch.count += was_given
            branch.size += 1
        self._put(path[-1], node_id)

    def why_not(self) -> str:
        """Why there is no node, in swarm's words."""
        said = [
            many.format(self._refused[index]) if self._refused[index] > 1 else one
            for index, (_, one, many) in enumerate(_FILTERS)
            if self._refused[index]
        ]
        return f"no suitable node ({'; '.join(said)})" if said else "no suitable node"

    def _refusal(self, node: ClusterNode, load: Load) -> int | None:
        """The number of the first filter that a node does not pass."""
        for index, (passes, _, _) in enumerate(self._filters):
            if not passes(self._example, node, load):
                return index
        return None

    def _path(self, node: ClusterNode) -> list[_Branch]:
        branch, path = self._root, [self._root]
        for key in self._example.spec.placement.spread:
            branch = branch.children.setdefault(constraints.label(node, key), _Branch())
            path.append(branch)
        return path

    def _put(self, branch: _Branch, node_id: str) -> None:
        load, failures = self._roster.load(node_id), self._failures.get(node_id, 0)
        failed = failures if failures >= FAILURES_MAX else 0
        heappush(branch.heap, (failed, load.services[self._example.service_id], load.tasks, node_id))


def fits(task: Task, node: ClusterNode) -> bool:
    """Whether a task may stay on its node: its constraints hold still."""
    return constraints.admits(node, task.spec.placement.constraints)


def _is_available(task: Task, node: ClusterNode, load: Load) -> bool:
    return node.state == READY and node.spec.availability == ACTIVE


def _has_room(task: Task, node: ClusterNode, load: Load) -> bool:
    asked, there = task.spec.reservations, node.description
    return (not asked.nano_cpus or load.nano_cpus + asked.nano_cpus <= there.nano_cpus) and (
        not asked.memory_bytes or load.memory_bytes + asked.memory_bytes <= there.memory_bytes
    )


def _is_below_limit(task: Task, node: ClusterNode, load: Load) -> bool:
    limit = task.spec.placement.max_replicas
    return not limit or load.services[task.service_id] < limit


def _has_ports(task: Task, node: ClusterNode, load: Load) -> bool:
    return load.has_free(task.ports)


def _is_fit(task: Task, node: ClusterNode, load: Load) -> bool:
    return fits(task, node)


def _can_encrypt(task: Task, node: ClusterNode, load: Load) -> bool:
    return not node.description.no_encryption


#: Each filter, in swarmkit's order: whether a node with its load passes, and what is said of one and of several that do not
#: (swarmkit's words). Its filter of drivers is not needed: every node has the driver of cluster networks. The last one, ours,
#: is for tasks in encrypted networks.
_FILTERS: tuple[tuple[Callable[[Task, ClusterNode, Load], bool], str, str], ...] = (
    (_is_available, "1 node not available for new tasks", "{} nodes not available for new tasks"),
    (_has_room, "insufficient resources on 1 node", "insufficient resources on {} nodes"),
    (_is_fit, "scheduling constraints not satisfied on 1 node", "scheduling constraints not satisfied on {} nodes"),
    (_has_ports, "host-mode port already in use on 1 node", "host-mode port already in use on {} nodes"),
    (_is_below_limit, "max replicas per node limit exceed", "max replicas per node limit exceed"),
    (_can_encrypt, "encrypted networks not supported on 1 node", "encrypted networks not supported on {} nodes"),
)
