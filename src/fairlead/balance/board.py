"""The services of one network as a node knows them: ready tasks, slots, whose a virtual address is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from fairlead.balance import slots
from fairlead.balance.contract import Aim
from fairlead.model.backend import CLIENT_IP, ROUND_ROBIN, Backend


@dataclass(frozen=True, slots=True)
class Task:
    """An endpoint that is ready. Addresses are bare, or empty; ``local``: on this node; ``ports`` are what it offers
    (``80/tcp``), ``name`` is what it is called."""

    backend: Backend
    ipv4: str
    ipv6: str
    local: bool
    ports: tuple[str, ...] = ()
    name: str = ""


@dataclass(slots=True)
class _Service:
    """What is known of a service. ``told`` is what was said of it last; it is the same for all tasks, but for weights and
    while it changes. ``slots`` are endpoints' ids."""

    told: Backend
    tasks: dict[str, Task] = field(default_factory=dict)
    slots: tuple[str, ...] = ()

    def weights(self) -> dict[str, int]:
        """Of those that get connections: with preference for local ones those, if any weighs something."""
        every = {key: task.backend.weight for key, task in self.tasks.items()}
        near = {key: weight for key, weight in every.items() if weight and self.tasks[key].local}
        return near if near and self.told.prefer_local else every


class Board:
    """Changes and look-ups cost what one service has tasks."""

    def __init__(self) -> None:
        self._services: dict[str, _Service] = {}
        self._service_of: dict[str, str] = {}
        self._claims: dict[str, dict[str, None]] = {}
        #: Numbers of targets that there have been: what is made for one stays, since it is used again soon.
        self.sizes: set[int] = set()

    def put(self, endpoint_id: str, task: Task) -> set[str]:
        """An endpoint is ready, or has changed; ids of services whose aims may be others now."""
        service_id = task.backend.service_id
        touched = self.drop(endpoint_id) if self._service_of.get(endpoint_id, service_id) != service_id else set()
        service = self._services.get(service_id)
        if service is None:
            service = self._services[service_id] = _Service(task.backend)
        elif service.tasks.get(endpoint_id) == task:
            return touched
        if _vips(service.told) != _vips(task.backend):
            touched |= self._disclaim(service_id, service.told)
        service.told = task.backend
        for vip in _vips(service.told):
            self._claims.setdefault(vip, {})[service_id] = None
        service.tasks[endpoint_id] = task
        self._service_of[endpoint_id] = service_id
        self._settle(service)
        return touched | {service_id}

    def drop(self, endpoint_id: str) -> set[str]:
        """An endpoint gets nothing any more."""
        service_id = self._service_of.pop(endpoint_id, "")
        if not service_id:
            return set()
        service = self._services[service_id]
        del service.tasks[endpoint_id]
        self._settle(service)
        if service.tasks:
            return {service_id}
        del self._services[service_id]
        return {service_id} | self._disclaim(service_id, service.told)

    def task(self, endpoint_id: str) -> Task | None:
        """What is known of an endpoint."""
        service_id = self._service_of.get(endpoint_id)
        return self._services[service_id].tasks[endpoint_id] if service_id else None

    def endpoints(self, service_id: str) -> list[str]:
        """Ids of a service's ready tasks' endpoints."""
        return [*self._services[service_id].tasks] if service_id in self._services else []

    def tasks(self, service_id: str) -> tuple[Task, ...]:
        """A service's ready tasks, whether or not it has a virtual address."""
        service = self._services.get(service_id)
        return tuple(service.tasks[key] for key in sorted(service.tasks)) if service is not None else ()

    def local(self) -> list[str]:
        """The endpoints of this node."""
        return [key for service in self._services.values() for key, task in service.tasks.items() if task.local]

    def __iter__(self) -> Iterator[str]:
        """Ids of the services that have a ready task."""
        return iter(self._services)

    def seen(self, service_id: str) -> Backend | None:
        """What is known of a service, with those virtual addresses only that are its: of several that claim one the first
        has it, until its last task is gone. None: there is no such service, or it has no address."""
        service = self._services.get(service_id)
        if service is None:
            return None
        told = service.told
        vip4, vip6 = (vip if self._has(service_id, vip) else "" for vip in (told.vip4, told.vip6))
        return Backend(service_id, told.names, vip4, vip6) if vip4 or vip6 else None

    def slots(self, service_id: str) -> tuple[Task, ...]:
        """The tasks that get a service's connections, each as often as it weighs."""
        service = self._services.get(service_id)
        return tuple(service.tasks[key] for key in service.slots) if service is not None else ()

    def buckets(self, service_id: str, count: int) -> tuple[Task, ...]:
        """The tasks for so many parts of all clients, the same on all nodes that know the same tasks."""
        service = self._services.get(service_id)
        if service is None or not service.slots:
            return ()
        weights = service.weights()
        return tuple(service.tasks[slots.choose(f"{number}", weights)] for number in range(count))

    def ports(self, service_id: str) -> tuple[str, ...]:
        """What a service offers, each once."""
        tasks = self._services[service_id].tasks.values() if service_id in self._services else ()
        return tuple(dict.fromkeys(port for task in tasks for port in task.ports))

    def aims(self, service_id: str, source: str) -> Iterator[Aim]:
        """What the virtual addresses of a service lead to for who has the (bare) address ``source``."""
        seen, service = self.seen(service_id), self._services.get(service_id)
        if seen is None or service is None:
            return
        chosen = service.slots
        if service.told.algorithm == CLIENT_IP:
            chosen = (slots.choose(source, service.weights()),) if chosen else ()
        tasks = [service.tasks[key] for key in chosen]
        in_turn = service.told.algorithm == ROUND_ROBIN
        if seen.vip4:
            yield Aim(service_id, seen.vip4, tuple(task.ipv4 for task in tasks if task.ipv4), in_turn)
        if seen.vip6:
            yield Aim(service_id, seen.vip6, tuple(task.ipv6 for task in tasks if task.ipv6), in_turn)

    def _settle(self, service: _Service) -> None:
        if not _vips(service.told):
            service.slots = ()
            return
        service.slots = slots.arrange(service.slots, service.weights())
        if service.told.algorithm == CLIENT_IP:
            self.sizes.add(1)
        tasks = [service.tasks[key] for key in service.slots]
        self.sizes |= {sum(1 for task in tasks if task.ipv4), sum(1 for task in tasks if task.ipv6)} - {0}

    def _has(self, service_id: str, vip: str) -> bool:
        return bool(vip) and next(iter(self._claims.get(vip, ())), "") == service_id

    def _disclaim(self, service_id: str, told: Backend) -> set[str]:
        """Give virtual addresses up; who has them now."""
        heirs: set[str] = set()
        for vip in _vips(told):
            claims = self._claims.get(vip, {})
            claims.pop(service_id, None)
            heirs |= {*claims}
            if not claims:
                self._claims.pop(vip, None)
        return heirs


def _vips(told: Backend) -> tuple[str, ...]:
    return tuple(vip for vip in (told.vip4, told.vip6) if vip)
