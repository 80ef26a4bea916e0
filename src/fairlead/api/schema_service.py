"""Services in the Engine API's JSON, both ways.

Beside Docker's fields: ``HostIP`` of a port, ``Addresses`` of a network, ``Pending`` of a service.
Docker's own client drops fields that it does not know when it sends a spec back, so what is absent in an update stays.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from fairlead.api.schema import stamp
from fairlead.api.schema_host import Whole
from fairlead.api.schema_service_task import (
    AttachmentBody,
    TaskSpecBody,
    port_json,
    span_s,
    task_spec_json,
)
from fairlead.model import codes
from fairlead.model.addresses import parse_address
from fairlead.model.errors import Invalid, NotImplementedHere
from fairlead.model.limits import NANO
from fairlead.model.service import (
    GLOBAL,
    INGRESS,
    MONITOR_S,
    PAUSE,
    REPLICATED,
    STOP_FIRST,
    VIP,
    Service,
    ServiceNetwork,
    ServicePort,
    ServiceSpec,
    Task,
    TaskSpec,
    TaskState,
    UpdateRule,
    UpdateStatus,
)

#: Characters of an image's name in the name that is made of it; names are labels of DNS (63 octets).
_NAME_WORDS = 40
_PortKey = tuple[int, int, str]


class ReplicatedBody(Struct):
    """How many tasks there are to be."""

    replicas: Whole | None = field(name="Replicas", default=None)


class ModeBody(Struct):
    """How tasks are counted: one of these."""

    replicated: ReplicatedBody | None = field(name="Replicated", default=None)
    global_: dict[str, object] | None = field(name="Global", default=None)
    replicated_job: dict[str, object] | None = field(name="ReplicatedJob", default=None)
    global_job: dict[str, object] | None = field(name="GlobalJob", default=None)

    def mode(self) -> tuple[str, int]:
        """Mode and number of replicas; raises ``Invalid`` or ``NotImplementedHere``."""
        if self.replicated_job is not None or self.global_job is not None:
            raise NotImplementedHere("jobs are not implemented", hint="use --restart-condition none")
        if self.global_ is not None and self.replicated is not None:
            raise Invalid("a service is replicated or global, not both", code=codes.SERVICE_INVALID)
        if self.global_ is not None:
            return GLOBAL, 0
        replicas = self.replicated.replicas if self.replicated is not None else None
        return REPLICATED, 1 if replicas is None else replicas


class UpdateRuleBody(Struct):
    """How tasks are exchanged; nanoseconds."""

    parallelism: Whole | None = field(name="Parallelism", default=None)
    delay: Whole | None = field(name="Delay", default=None)
    failure_action: str | None = field(name="FailureAction", default=None)
    monitor: Whole | None = field(name="Monitor", default=None)
    max_failure_ratio: float | None = field(name="MaxFailureRatio", default=None)
    order: str | None = field(name="Order", default=None)

    def rule(self) -> UpdateRule:
        """As a value of the model."""
        return UpdateRule(
            1 if self.parallelism is None else self.parallelism,
            span_s(self.delay),
            self.failure_action or PAUSE,
            span_s(self.monitor) or MONITOR_S,
            self.max_failure_ratio or 0.0,
            self.order or STOP_FIRST,
        )


class ServicePortBody(Struct):
    """A port to publish. ``host_ip`` (ours) null leaves on an update what the same port has."""

    name: str | None = field(name="Name", default=None)
    protocol: str | None = field(name="Protocol", default=None)
    target: Whole = field(name="TargetPort", default=0)
    published: Whole | None = field(name="PublishedPort", default=None)
    mode: str | None = field(name="PublishMode", default=None)
    host_ip: str | None = field(name="HostIP", default=None)

    def port(self, known: Mapping[_PortKey, ServicePort]) -> ServicePort:
        """As a value of the model; raises ``Invalid``."""
        published, protocol = self.published or 0, (self.protocol or "tcp").lower()
        before = known.get((self.target, published, protocol))
        host_ip = before.host_ip if before is not None and self.host_ip is None else self.host_ip
        return ServicePort(
            self.target,
            published,
            protocol,
            self.mode or INGRESS,
            self.name or "",
            str(parse_address(host_ip, "host IP")) if host_ip else "",
        )


class EndpointSpecBody(Struct):
    """How a service is reached."""

    mode: str | None = field(name="Mode", default=None)
    ports: list[ServicePortBody] | None = field(name="Ports", default=None)


class ServiceSpecBody(Struct):
    """``POST /services/create`` and ``POST /services/{id}/update``."""

    name: str | None = field(name="Name", default=None)
    labels: dict[str, str] | None = field(name="Labels", default=None)
    task: TaskSpecBody | None = field(name="TaskTemplate", default=None)
    mode: ModeBody | None = field(name="Mode", default=None)
    update: UpdateRuleBody | None = field(name="UpdateConfig", default=None)
    rollback: UpdateRuleBody | None = field(name="RollbackConfig", default=None)
    networks: list[AttachmentBody] | None = field(name="Networks", default=None)
    endpoint: EndpointSpecBody | None = field(name="EndpointSpec", default=None)

    def spec(self, known: ServiceSpec | None = None, names: Mapping[str, str] | None = None) -> ServiceSpec:
        """As a value of the model; ``known`` is the spec that it is to replace, ``names`` are the names of networks by
        id. Raises ``Invalid`` or ``NotImplementedHere``."""
        endpoint = self.endpoint or EndpointSpecBody()
        mode, replicas = (self.mode or ModeBody()).mode()
        before = known.ports if known is not None else ()
        ports = {(port.target, port.published, port.protocol): port for port in before}
        task = (self.task or TaskSpecBody()).spec(self.networks or (), _by_ref(known, names or {}))
        return ServiceSpec(
            name=self.name or _invented(task),
            task=task,
            labels=self.labels or {},
            mode=mode,
            replicas=replicas,
            update=(self.update or UpdateRuleBody()).rule(),
            rollback=(self.rollback or UpdateRuleBody()).rule(),
            endpoint_mode=endpoint.mode or VIP,
            ports=tuple(body.port(ports) for body in endpoint.ports or ()),
        )


def _invented(task: TaskSpec) -> str:
    """A name for a service that was given none: after its image, so that people recognise it."""
    image = task.container.image.rpartition("/")[2].partition(":")[0].partition("@")[0]
    plain = "".join(sign if sign.isascii() and sign.isalnum() else "-" for sign in image)[:_NAME_WORDS].strip("-")
    return f"{plain or 'service'}-{secrets.token_hex(3)}"


def _by_ref(known: ServiceSpec | None, names: Mapping[str, str]) -> dict[str, ServiceNetwork]:
    """The networks of a spec by id and by name: an update may quote either."""
    networks = known.task.networks if known is not None else ()
    return {ref: item for item in networks for ref in (item.network, names.get(item.network, item.network))}


def service_json(service: Service, running: Iterable[Task] | None = None) -> dict[str, object]:
    """A service; with ``running`` (its tasks) how many there are and should be."""
    body: dict[str, object] = {
        "ID": service.id,
        "Version": {"Index": service.version},
        "CreatedAt": stamp(service.created),
        "UpdatedAt": stamp(service.updated),
        "Spec": spec_json(service.spec),
        "Endpoint": _endpoint_json(service),
    }
    if service.previous is not None:
        body["PreviousSpec"] = spec_json(service.previous)
    if service.update_status is not None:
        body["UpdateStatus"] = _status_json(service.update_status)
    if running is not None:
        body["ServiceStatus"] = _counts(service, running)
    if service.pending:
        body["Pending"] = service.pending
    return body


def spec_json(spec: ServiceSpec) -> dict[str, object]:
    """A service's spec, defaults included."""
    mode: dict[str, object] = {"Global": {}} if spec.mode == GLOBAL else {"Replicated": {"Replicas": spec.replicas}}
    return {
        "Name": spec.name,
        "Labels": spec.labels,
        "TaskTemplate": task_spec_json(spec.task),
        "Mode": mode,
        "UpdateConfig": _rule_json(spec.update),
        "RollbackConfig": _rule_json(spec.rollback),
        "EndpointSpec": _endpoint_spec_json(spec),
    }


def _endpoint_spec_json(spec: ServiceSpec) -> dict[str, object]:
    ports = [port_json(port) for port in spec.ports]
    return {"Mode": spec.endpoint_mode, **({"Ports": ports} if ports else {})}


def _endpoint_json(service: Service) -> dict[str, object]:
    body: dict[str, object] = {"Spec": _endpoint_spec_json(service.spec)}
    if service.ports:
        body["Ports"] = [port_json(port) for port in service.ports]
    if service.vips:
        body["VirtualIPs"] = [
            {"NetworkID": vip.network_id, "Addr": address}
            for vip in service.vips
            for address in (vip.address, vip.ipv6)
            if address
        ]
    return body


def _rule_json(rule: UpdateRule) -> dict[str, object]:
    return {
        "Parallelism": rule.parallelism,
        "Delay": round(rule.delay_s * NANO),
        "FailureAction": rule.failure_action,
        "Monitor": round(rule.monitor_s * NANO),
        "MaxFailureRatio": rule.max_failure_ratio,
        "Order": rule.order,
    }


def _status_json(status: UpdateStatus) -> dict[str, object]:
    body: dict[str, object] = {"State": status.state, "StartedAt": stamp(status.started)}
    if status.completed:
        body["CompletedAt"] = stamp(status.completed)
    return {**body, "Message": status.message}


def _counts(service: Service, tasks: Iterable[Task]) -> dict[str, object]:
    """Docker counts the tasks that run, and as desired the replicas, or where there is no such number the tasks that
    are to run."""
    wanted = [task for task in tasks if task.desired == TaskState.RUNNING]
    running = sum(task.status.state == TaskState.RUNNING for task in wanted)
    desired = service.spec.replicas if service.spec.mode == REPLICATED else len(wanted)
    return {"RunningTasks": running, "DesiredTasks": desired, "CompletedTasks": 0}
