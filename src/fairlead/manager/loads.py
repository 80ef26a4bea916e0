"""Loads: what the tasks of a node take of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from fairlead.model.service import HOST, ServicePort, Task, TaskState


@dataclass(slots=True)
class Load:
    """Of one node: what is reserved (billionths of CPUs, bytes), and the host ports, of tasks that have not ended; and how
    many tasks are to run there, in all and by service."""

    nano_cpus: int = 0
    memory_bytes: int = 0
    tasks: int = 0
    services: Counter[str] = field(default_factory=Counter)
    #: (protocol, port) -> addresses that it is bound to (empty: all of them).
    ports: dict[tuple[str, int], Counter[str]] = field(default_factory=dict)

    def add(self, task: Task, sign: int) -> None:
        """Take a task in (``sign`` 1) or out (-1). One that only waits for its node takes nothing yet."""
        if task.over or task.status.state < TaskState.ASSIGNED:
            return
        asked = task.spec.reservations
        self.nano_cpus += sign * asked.nano_cpus
        self.memory_bytes += sign * asked.memory_bytes
        for port in _host_ports(task.ports):
            bound = self.ports.setdefault((port.protocol, port.published), Counter())
            bound[port.host_ip] += sign
        if task.desired <= TaskState.RUNNING:
            self.tasks += sign
            self.services[task.service_id] += sign

    def has_free(self, ports: tuple[ServicePort, ...]) -> bool:
        """Whether none of the host ports is taken: by an address that is the same, or that stands for all."""
        for port in _host_ports(ports):
            bound = self.ports.get((port.protocol, port.published))
            for address, count in bound.items() if bound is not None else ():
                if count and (not address or not port.host_ip or address == port.host_ip):
                    return False
        return True


def _host_ports(ports: tuple[ServicePort, ...]) -> list[ServicePort]:
    return [port for port in ports if port.mode == HOST and port.published]
