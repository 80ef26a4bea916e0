"""An engine with a seeded chance and a clock by hand, spoken to as the daemon does."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from fairlead.drivers.contract import Node
from fairlead.drivers.registry import built_in
from fairlead.engine.engine import Engine
from fairlead.engine.outcome import Outcome, Run
from fairlead.model.commands import (
    Command,
    ConnectNetwork,
    CreateContainer,
    CreateNetwork,
    StartContainer,
)
from fairlead.model.container import Container, ContainerConfig
from fairlead.model.endpoint import EndpointSettings, PortRequest
from fairlead.model.errors import NetError
from fairlead.model.events import Applied, ContainerExited, ContainerRunning, Event, Failed, RestartDue
from fairlead.model.network import Network
from fairlead.model.settings import DEFAULT_POOLS_V4, EngineSettings, Paths
from fairlead.model.state import Record
from fairlead.plan.objects import Plan


def new_engine() -> Engine:
    """An engine that remembers nothing yet."""
    settings = EngineSettings("host1", DEFAULT_POOLS_V4)
    return Engine(settings, Paths(), built_in(), random.Random(1), Node(), "seed")


@dataclass
class World:
    """What the edges would hold: the plans that stand and the records that were written."""

    engine: Engine = field(default_factory=new_engine)
    now: float = 100.0
    standing: dict[str, Plan] = field(default_factory=dict)
    written: dict[tuple[str, str], Record] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        outcome = self.engine.restore([], self.now, self.now)
        self.standing |= outcome.plans
        self._write(outcome)

    def tell(self, message: Command | Event, failure: NetError | None = None) -> Outcome:
        """Hand a message in and carry the outcome out; with ``failure`` the kernel refuses it."""
        self.now += 1
        outcome = self.engine.handle(message, self.now, self.now)
        self._write(outcome)
        self.outcomes.append(outcome)
        if failure is not None:
            return self.tell(Failed(outcome.operation, failure))
        self.standing |= outcome.plans
        if outcome.operation:
            self.engine.handle(Applied(outcome.operation), self.now, self.now)
        return outcome

    def network(self, name: str, **more: object) -> Network:
        """Create a network."""
        reply = self.tell(CreateNetwork(name, **more)).reply  # type: ignore[arg-type]
        assert isinstance(reply, Network)
        return reply

    def container(self, name: str, *networks: str, ports: tuple[PortRequest, ...] = (), **more: object) -> Container:
        """Create a container in networks."""
        settings = {network: EndpointSettings() for network in networks}
        config = ContainerConfig(
            "host",
            ("true",),
            network_mode=networks[0] if networks else "default",
            endpoints=settings,
            ports=ports,
            **more,  # type: ignore[arg-type]
        )
        reply = self.tell(CreateContainer(name, config)).reply
        assert isinstance(reply, Container)
        return reply

    def start(self, name: str) -> Outcome:
        """Start a container; its process runs at once."""
        outcome = self.tell(StartContainer(name))
        for message in outcome.messages:
            if isinstance(message, Run):
                self.tell(ContainerRunning(message.spec.container_id, 4242, 4241, self.now))
        return outcome

    def start_due(self, name: str) -> Outcome:
        """The time that a restart was put off is over; its process runs at once."""
        outcome = self.tell(RestartDue(self.engine.state.container(name).id))
        for message in outcome.messages:
            if isinstance(message, Run):
                self.tell(ContainerRunning(message.spec.container_id, 4242, 4241, self.now))
        return outcome

    def run(self, name: str, *networks: str, ports: tuple[PortRequest, ...] = (), **more: object) -> Container:
        """Create and start."""
        self.container(name, *networks, ports=ports, **more)
        self.start(name)
        return self.engine.state.container(name)

    def end(self, name: str, code: int = 0) -> Outcome:
        """The container's process ends."""
        return self.tell(ContainerExited(self.engine.state.container(name).id, code, self.now))

    def connect(self, network: str, container: str, **settings: object) -> Outcome:
        """Connect a container."""
        return self.tell(ConnectNetwork(network, container, EndpointSettings(**settings)))  # type: ignore[arg-type]

    def address(self, container: str, network: str) -> str:
        """A container's IPv4 address with length in a network."""
        state = self.engine.state
        wanted = state.network(network).id
        found = state.endpoints_of_container(state.container(container).id)
        return next(endpoint.ipv4 for endpoint in found if endpoint.network_id == wanted)

    def records(self) -> dict[tuple[str, str], Record]:
        """All records of the engine, as the store keys them."""
        state = self.engine.state
        tables = {
            "network": state.networks,
            "endpoint": state.endpoints,
            "sandbox": state.sandboxes,
            "container": state.containers,
            "lease": state.leases,
        }
        return {(kind, key): value for kind, table in tables.items() for key, value in table.items()}  # type: ignore[attr-defined]

    def check(self) -> None:
        """What must hold after every step: records written, plans standing, nothing of what is gone."""
        assert self.written == self.records()
        wanted = {owner: plan for owner, plan in self.engine.plans().items() if plan}
        assert {owner: plan for owner, plan in self.standing.items() if plan} == wanted
        held = [(e.network_id, e.ipv4) for e in self.engine.state.endpoints.values() if e.ipv4]
        assert len(held) == len(set(held))

    def _write(self, outcome: Outcome) -> None:
        for change in outcome.changes:
            if change.after is None:
                self.written.pop((change.kind, change.id), None)
            else:
                self.written[change.kind, change.id] = change.after
