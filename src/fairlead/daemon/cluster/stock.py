"""The node's stock of leases: what is in use, what lies in reserve, what a manager is to know of it.

Per network a few free addresses are kept, so that containers start without asking, and when there is nobody to ask.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from fairlead.model.cluster import ENTRY, Lease
from fairlead.model.session import OWN, RESTING, LeaseWish
from fairlead.model.state import State, leases_of_network
from fairlead.pki.ids import is_cluster_id

#: Free leases of a network that a node keeps; below which number it asks for more; above which it gives back.
RESERVE, RESERVE_MIN, RESERVE_MAX = 4, 2, 8

_Use = tuple[str, int, str]


class Stock:
    """Reads the engine's records; remembers what was said of them in the present session."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._reported: dict[str, tuple[int, str]] = {}
        #: Leases (id -> generation) that were given back, until a manager has taken them.
        self._returned: dict[str, int] = {}
        #: What of these was told in the present session. The same address may come and go again in it, by another generation.
        self._returns_said: set[tuple[str, int]] = set()
        #: Leases (ids) that a manager wants back as soon as nobody uses them.
        self._recalled: set[str] = set()
        #: Networks of which a manager had no address left.
        self.unmet: set[str] = set()

    def of(self, network_id: str) -> list[Lease]:
        """All leases of a network."""
        return leases_of_network(self._state, network_id)

    def free(self, network_id: str) -> list[Lease]:
        """Those that nobody holds, nobody remembers, and that are for no task."""
        return [lease for lease in self.of(network_id) if not (lease.holder or lease.resting or lease.task_id)]

    def reported(self) -> None:
        """All is being said to a manager, in its first word; what was given back is to be said again."""
        self._returns_said.clear()
        self._reported = {lease.id: self._use(lease) for lease in self._state.leases.values()}

    def told(self) -> tuple[Lease, ...]:
        """All that is held, as a manager is told."""
        return tuple(replace(lease, holder=self._holder(lease)) for lease in self._state.leases.values())

    def recalled(self, lease_ids: Iterable[str]) -> None:
        """A manager wants these back once they are free, and to hear of them now."""
        self._recalled.update(lease_ids)
        for name in lease_ids:
            self._reported[name] = (-1, "")  # said again, also what he knows

    def uses(self) -> tuple[_Use, ...]:
        """What is used in another way than was said last; it is being said."""
        now = {lease.id: self._use(lease) for lease in self._state.leases.values()}
        news = tuple((name, *use) for name, use in now.items() if self._reported.get(name, (use[0], "")) != use)
        self._reported = now
        return news

    def wishes(self, networks: Iterable[str], removing: Collection[str]) -> list[LeaseWish]:
        """What is wanted of the networks that this node takes part in."""
        found = []
        for network_id in networks:
            free = len(self.free(network_id))
            if free < RESERVE_MIN and network_id not in removing and self._takes_part(network_id):
                found.append(LeaseWish(network_id, len(self.of(network_id)) + RESERVE - free))
        return found

    def _takes_part(self, network_id: str) -> bool:
        """Whether containers made by hand join a network here, and not tasks only, who bring their addresses along."""
        network = self._state.networks.get(network_id)
        if network is None or not network.attachable:
            return False
        return any(not lease.task_id and lease.id not in self._recalled for lease in self.of(network_id))

    def surplus(self, removing: Collection[str]) -> list[Lease]:
        """What is to be given back: what is beyond the reserve, and all of networks that are to go."""
        found: list[Lease] = []
        for network_id in dict.fromkeys(lease.network_id for lease in self._state.leases.values()):
            free = self.free(network_id)
            if network_id in removing:
                found += free
            elif len(free) > RESERVE_MAX:
                found += free[RESERVE:]
            if self._recalled:
                found += [one for one in free if one.id in self._recalled and one not in found]
        return found

    def returns(self, surplus: Iterable[Lease]) -> tuple[tuple[str, int], ...]:
        """What is to be told to a manager as given back, (lease id, generation): those of a surplus that are gone from the
        records by now, and what was not said in this session yet."""
        self._returned.update((one.id, one.generation) for one in surplus if one.id not in self._state.leases)
        news = tuple(entry for entry in self._returned.items() if entry not in self._returns_said)
        self._returns_said.update(news)
        self._returns_said.intersection_update(self._returned.items())
        return news

    def welcome(self, leases: Iterable[Lease]) -> tuple[Lease, ...]:
        """Of what a manager says this node has, all but what has been given back meanwhile; as this node keeps it."""
        return tuple(as_kept(lease) for lease in leases if self._returned.get(lease.id) != lease.generation)

    def unnamed(self, leases: Iterable[Lease]) -> tuple[str, ...]:
        """What is held here and not named by a manager who names all."""
        named = {lease.id for lease in leases}
        for name in [name for name in self._returned if name not in named]:
            del self._returned[name]
        return tuple(name for name in self._state.leases if name not in named)

    def taken_back(self, lease_ids: Iterable[str]) -> None:
        """A manager has taken these."""
        for name in lease_ids:
            self._returned.pop(name, None)
            self._recalled.discard(name)

    def _use(self, lease: Lease) -> tuple[int, str]:
        """Generation and holder, as a manager is told."""
        return lease.generation, RESTING if lease.resting else self._holder(lease)

    def _holder(self, lease: Lease) -> str:
        endpoint = self._state.endpoints.get(lease.holder)
        sandbox = self._state.sandboxes.get(endpoint.sandbox_id) if endpoint is not None else None
        return OWN if sandbox is not None and sandbox.own else lease.holder


def as_kept(lease: Lease) -> Lease:
    """A lease in a manager's words as one of this node's records: who holds it there is a task, the node's entry, or what
    this node itself has said."""
    task_id = lease.holder if lease.holder == ENTRY or is_cluster_id(lease.holder) else ""
    return replace(lease, holder="", resting=False, task_id=task_id)
