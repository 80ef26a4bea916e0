"""``TaskTemplate`` of a service, and tasks, in the Engine API's JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from fairlead.api.schema import stamp
from fairlead.api.schema_host import LogBody, Whole
from fairlead.api.schema_service_container import ContainerSpecBody, container_spec_json, log_driver_json
from fairlead.model import codes
from fairlead.model.addresses import parse_address
from fairlead.model.cluster import ClusterNetwork
from fairlead.model.container import LogSettings
from fairlead.model.errors import Invalid, NotImplementedHere
from fairlead.model.limits import NANO, Limits, check_limits
from fairlead.model.service import (
    ANY,
    RESTART_DELAY_S,
    Placement,
    Resources,
    Restart,
    ServiceNetwork,
    ServicePort,
    Task,
    TaskSpec,
    TaskState,
)

#: Most addresses that one range of ``Addresses`` stands for: more slots than that on one network is a slip of the pen.
_RANGE_MAX = 4096


class LimitBody(Struct):
    """The most that a task may use."""

    nano_cpus: Whole | None = field(name="NanoCPUs", default=None)
    memory: Whole | None = field(name="MemoryBytes", default=None)
    pids: Whole | None = field(name="Pids", default=None)


class ReservationBody(Struct):
    """What a task needs free on its node."""

    nano_cpus: Whole | None = field(name="NanoCPUs", default=None)
    memory: Whole | None = field(name="MemoryBytes", default=None)
    generic: list[object] | None = field(name="GenericResources", default=None)


class ResourcesBody(Struct):
    """Limits and reservations."""

    limits: LimitBody | None = field(name="Limits", default=None)
    reservations: ReservationBody | None = field(name="Reservations", default=None)


class TaskRestartBody(Struct):
    """What follows a task's end; nanoseconds."""

    condition: str | None = field(name="Condition", default=None)
    delay: Whole | None = field(name="Delay", default=None)
    attempts: Whole | None = field(name="MaxAttempts", default=None)
    window: Whole | None = field(name="Window", default=None)

    def restart(self) -> Restart:
        """As a value of the model."""
        return Restart(
            self.condition or ANY,
            RESTART_DELAY_S if self.delay is None else span_s(self.delay),
            self.attempts or 0,
            span_s(self.window),
        )


class SpreadBody(Struct):
    """A label over whose values tasks are spread."""

    descriptor: str = field(name="SpreadDescriptor", default="")


class PreferenceBody(Struct):
    """A wish for where tasks run."""

    spread: SpreadBody | None = field(name="Spread", default=None)


class PlacementBody(Struct):
    """Where tasks may run."""

    constraints: list[str] | None = field(name="Constraints", default=None)
    preferences: list[PreferenceBody] | None = field(name="Preferences", default=None)
    max_replicas: Whole | None = field(name="MaxReplicas", default=None)

    def placement(self) -> Placement:
        """As a value of the model."""
        spread = tuple(one.spread.descriptor for one in self.preferences or () if one.spread is not None)
        return Placement(tuple(self.constraints or ()), spread, self.max_replicas or 0)


class AttachmentBody(Struct):
    """A network of the tasks. ``addresses`` (ours) are for slots 1, 2, …: single ones, or ranges ``A-B``; null on an
    update leaves them as they are, since other clients do not know of them."""

    target: str = field(name="Target", default="")
    aliases: list[str] | None = field(name="Aliases", default=None)
    driver_opts: dict[str, str] | None = field(name="DriverOpts", default=None)
    addresses: list[str] | None = field(name="Addresses", default=None)

    def network(self, known: Mapping[str, ServiceNetwork]) -> ServiceNetwork:
        """As a value of the model; raises ``Invalid``."""
        before = known.get(self.target)
        kept = before.addresses if before is not None and self.addresses is None else ()
        return ServiceNetwork(
            self.target, tuple(self.aliases or ()), self.driver_opts or {}, kept or expand(self.addresses or ())
        )


class LogDriverBody(Struct):
    """How output is kept, in the words of services."""

    name: str | None = field(name="Name", default=None)
    options: dict[str, str] | None = field(name="Options", default=None)

    def settings(self) -> LogSettings:
        """As a value of the model; raises ``Invalid`` or ``NotImplementedHere``."""
        return LogBody(self.name, self.options).settings()


class TaskSpecBody(Struct):
    """``TaskTemplate``."""

    container: ContainerSpecBody | None = field(name="ContainerSpec", default=None)
    plugin: object = field(name="PluginSpec", default=None)
    resources: ResourcesBody | None = field(name="Resources", default=None)
    restart: TaskRestartBody | None = field(name="RestartPolicy", default=None)
    placement: PlacementBody | None = field(name="Placement", default=None)
    networks: list[AttachmentBody] | None = field(name="Networks", default=None)
    log: LogDriverBody | None = field(name="LogDriver", default=None)
    force: Whole | None = field(name="ForceUpdate", default=None)
    runtime: str | None = field(name="Runtime", default=None)

    def spec(self, networks: Sequence[AttachmentBody], known: Mapping[str, ServiceNetwork]) -> TaskSpec:
        """As a value of the model; ``networks`` stand at the service in old clients' requests. Raises ``Invalid`` or
        ``NotImplementedHere``."""
        if self.plugin or self.runtime not in (None, "", "container"):
            raise NotImplementedHere("tasks that are no containers are not implemented", hint="use the usual runtime")
        resources = self.resources or ResourcesBody()
        limits, reserved = resources.limits or LimitBody(), resources.reservations or ReservationBody()
        if reserved.generic:
            raise NotImplementedHere("generic resources are not implemented", hint="use labels and --constraint")
        capped = check_limits(
            Limits(memory_bytes=limits.memory or 0, nano_cpus=limits.nano_cpus or 0, pids=limits.pids or 0)
        )
        return TaskSpec(
            container=(self.container or ContainerSpecBody()).config(
                capped, self.log.settings() if self.log else LogSettings()
            ),
            reservations=Resources(
                reserved.nano_cpus or 0,
                reserved.memory or 0,
            ),
            restart=(self.restart or TaskRestartBody()).restart(),
            placement=(self.placement or PlacementBody()).placement(),
            networks=tuple(body.network(known) for body in self.networks or networks),
            force=self.force or 0,
        )


def expand(texts: Sequence[str]) -> tuple[str, ...]:
    """Single addresses out of ``A`` and ``A-B``; raises ``Invalid``."""
    found: list[str] = []
    for text in texts:
        first, dash, last = text.partition("-")
        low = parse_address(first)
        high = parse_address(last) if dash else low
        if low.version != high.version or not 0 <= int(high) - int(low) < _RANGE_MAX:
            raise Invalid(
                f"invalid range of addresses: {text}",
                hint=f"write the smaller address first, of one family, and at most {_RANGE_MAX} of them",
                code=codes.SERVICE_INVALID,
            )
        found += [str(low + offset) for offset in range(int(high) - int(low) + 1)]
    return tuple(found)


def span_s(span: int | None) -> float:
    """Seconds of nanoseconds, 0 for null."""
    return (span or 0) / NANO


def task_spec_json(spec: TaskSpec) -> dict[str, object]:
    """``TaskTemplate``, defaults included."""
    limits = spec.container.limits
    caps = {"NanoCPUs": limits.nano_cpus, "MemoryBytes": limits.memory_bytes, "Pids": limits.pids}
    reserved = {"NanoCPUs": spec.reservations.nano_cpus, "MemoryBytes": spec.reservations.memory_bytes}
    resources = {
        name: {key: value for key, value in group.items() if value}
        for name, group in (("Limits", caps), ("Reservations", reserved))
    }
    placement: dict[str, object] = {"Constraints": list(spec.placement.constraints)}
    placement["Preferences"] = [{"Spread": {"SpreadDescriptor": label}} for label in spec.placement.spread]
    placement["MaxReplicas"] = spec.placement.max_replicas
    return {
        "ContainerSpec": container_spec_json(spec.container),
        "Resources": {name: group for name, group in resources.items() if group},
        "RestartPolicy": {
            "Condition": spec.restart.condition,
            "Delay": round(spec.restart.delay_s * NANO),
            "MaxAttempts": spec.restart.max_attempts,
            **({"Window": round(spec.restart.window_s * NANO)} if spec.restart.window_s else {}),
        },
        "Placement": {key: value for key, value in placement.items() if value},
        **({"Networks": [_attachment_json(network) for network in spec.networks]} if spec.networks else {}),
        **log_driver_json(spec.container.logging),
        "ForceUpdate": spec.force,
        "Runtime": "container",
    }


def _attachment_json(network: ServiceNetwork) -> dict[str, object]:
    said = {
        "Aliases": list(network.aliases),
        "DriverOpts": network.driver_opts,
        "Addresses": list(network.addresses),
    }
    return {"Target": network.network, **{key: value for key, value in said.items() if value}}


def port_json(port: ServicePort) -> dict[str, object]:
    """A published port."""
    body: dict[str, object] = {"Name": port.name} if port.name else {}
    body |= {"Protocol": port.protocol, "TargetPort": port.target}
    if port.published:
        body["PublishedPort"] = port.published
    body["PublishMode"] = port.mode
    return {**body, "HostIP": port.host_ip} if port.host_ip else body


def task_json(task: Task, networks: Mapping[str, ClusterNetwork]) -> dict[str, object]:
    """A task. ``networks`` are the cluster's, by id."""
    status = task.status
    told: dict[str, object] = {
        "Timestamp": stamp(status.at),
        "State": status.state.name.lower(),
        "Message": status.message,
    }
    if status.error:
        told["Err"] = status.error
    if status.container_id or status.state >= TaskState.STARTING:
        told["ContainerStatus"] = {
            "ContainerID": status.container_id,
            "PID": status.pid,
            "ExitCode": status.exit_code,
        }
    told["PortStatus"] = {"Ports": [port_json(port) for port in status.ports]} if status.ports else {}
    body: dict[str, object] = {
        "ID": task.id,
        "Version": {"Index": task.version},
        "CreatedAt": stamp(task.created),
        "UpdatedAt": stamp(task.updated),
        "Name": task.name,
        "Labels": {},
        "Spec": task_spec_json(task.spec),
        "ServiceID": task.service_id,
        **({"Slot": task.slot} if task.slot else {}),
        **({"NodeID": task.node_id} if task.node_id else {}),
        "Status": told,
        "DesiredState": task.desired.name.lower(),
        "SpecVersion": task.spec_version,
    }
    attached = [
        {
            "Network": _network_json(networks[place.network_id]),
            "Addresses": [address for address in (place.ipv4, place.ipv6) if address],
        }
        for place in task.addresses
        if place.network_id in networks
    ]
    return {**body, "NetworksAttachments": attached} if attached else body


def _network_json(item: ClusterNetwork) -> dict[str, object]:
    """A network in Docker's words for swarms, which differ from those of ``/networks``."""
    network = item.network
    pools = [{"Subnet": pool.subnet, "Gateway": pool.gateway} for pool in network.pools]
    return {
        "ID": item.id,
        "Version": {"Index": item.version},
        "CreatedAt": stamp(network.created),
        "Spec": {
            "Name": network.name,
            "Labels": network.labels,
            "DriverConfiguration": {"Name": network.driver},
            "IPv6Enabled": network.ipv6,
            "Attachable": network.attachable,
            "Internal": network.internal,
            "Scope": network.scope,
        },
        "DriverState": {"Name": network.driver, "Options": network.options},
        "IPAMOptions": {"Driver": {"Name": network.ipam_driver}, "Configs": pools},
    }
