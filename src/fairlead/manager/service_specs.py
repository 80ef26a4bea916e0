"""What a service can be: refused in swarm's words where it cannot; networks named become ids."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from fairlead.manager import constraints, ingress, leases, refusals, routed
from fairlead.manager.core import Turn
from fairlead.model import backend, codes
from fairlead.model.addresses import is_v6, parse_address
from fairlead.model.cluster import ClusterNetwork
from fairlead.model.errors import Invalid, NotImplementedHere
from fairlead.model.network import PREDEFINED
from fairlead.model.service import (
    ANY,
    CONTINUE,
    DNSRR,
    GLOBAL,
    HOST,
    INGRESS,
    NEVER,
    ON_FAILURE,
    PAUSE,
    REPLICATED,
    ROLLBACK,
    START_FIRST,
    STOP_FIRST,
    VIP,
    Service,
    ServiceNetwork,
    ServicePort,
    ServiceSpec,
    TaskSpec,
    UpdateRule,
)

#: Names of services are labels of DNS (RFC 1035 section 2.3.4: 63 octets).
_NAME_LENGTH_MAX = 63
_NAME = re.compile(r"[a-zA-Z0-9](?:[-_]*[A-Za-z0-9]+)*\Z")
_PORTS_MAX = 65535


def checked(turn: Turn, spec: ServiceSpec, present: Service | None) -> ServiceSpec:
    """The spec with its networks as ids; raises ``NetError`` for one that cannot be."""
    _check_name(turn, spec, present)
    if spec.mode not in (REPLICATED, GLOBAL):
        raise _invalid(f"unrecognized service mode {spec.mode!r}", "replicated or global")
    if present is not None and present.spec.mode != spec.mode:
        raise NotImplementedHere(
            "rpc error: code = Unimplemented desc = service mode change is not allowed",
            hint="remove the service and make it anew",
        )
    if spec.mode == REPLICATED and spec.replicas < 0:
        raise _invalid("the number of replicas cannot be negative", "0 stops all of them")
    _check_task(spec.task)
    _check_rule("UpdateConfig", spec.update, (PAUSE, CONTINUE, ROLLBACK))
    _check_rule("RollbackConfig", spec.rollback, (PAUSE, CONTINUE))
    _check_ports(spec)
    networks = tuple(_network(turn, spec, wanted) for wanted in spec.task.networks)
    if len({one.network for one in networks}) < len(networks):
        raise _invalid("a network is named twice", "name each network once")
    for chosen in (spec.labels, *(one.driver_opts for one in networks)):
        wrong = backend.fault(chosen)
        if wrong:
            raise _invalid(wrong, "what begins with fairlead.lb. says how connections to a service are shared out")
    settled = replace(spec, task=replace(spec.task, networks=networks))
    ingress.check(turn, settled)
    routed.check(turn, settled, present)
    return settled


def _check_name(turn: Turn, spec: ServiceSpec, present: Service | None) -> None:
    if not spec.name:
        raise _invalid("meta: name must be provided", "give the service a name")
    if len(spec.name) > _NAME_LENGTH_MAX:
        raise _invalid("name must be 63 characters or fewer", "it is a name in DNS")
    if not _NAME.match(spec.name):
        raise _invalid("name must be valid as a DNS name component", "letters, digits, - and _ inside")
    if present is not None and present.spec.name != spec.name:
        raise NotImplementedHere(
            "rpc error: code = Unimplemented desc = renaming services is not supported",
            hint="remove the service and make it anew under the other name",
        )
    known = turn.state.service_named(spec.name)
    if known is not None and (present is None or known.id != present.id):
        raise refusals.exists(
            f"name conflicts with an existing object: service {spec.name} already exists",
            hint=f"`fairlead service update {spec.name}` changes the one that is there",
            code=codes.SERVICE_EXISTS,
        )


def _check_task(task: TaskSpec) -> None:
    rule, placement, asked = task.restart, task.placement, task.reservations
    if not task.container.image:
        raise _invalid("ContainerSpec: image reference must be provided", "name an image, or host")
    if rule.condition not in (ANY, ON_FAILURE, NEVER):
        raise _invalid(f"invalid restart condition {rule.condition!r}", "none, on-failure or any")
    if rule.delay_s < 0:
        raise _invalid("TaskSpec: restart-delay cannot be negative", "5s is usual")
    if rule.window_s < 0:
        raise _invalid("TaskSpec: restart-window cannot be negative", "0 counts all restarts")
    if rule.max_attempts < 0:
        raise _invalid("TaskSpec: restart-max-attempts cannot be negative", "0 is without bound")
    if asked.nano_cpus < 0 or asked.memory_bytes < 0:
        raise _invalid("invalid reservation: it cannot be negative", "0 reserves nothing")
    if placement.max_replicas < 0:
        raise _invalid("max replicas per node cannot be negative", "0 is without bound")
    for text in placement.constraints:
        constraints.parse(text)
    for key in placement.spread:
        if not key.lower().startswith(("node.labels.", "engine.labels.")):
            raise _invalid(f"invalid placement preference {key!r}", "spread=node.labels.NAME")


def _check_rule(what: str, rule: UpdateRule, actions: Sequence[str]) -> None:
    if rule.parallelism < 0:
        raise _invalid(f"{what}: parallelism cannot be negative", "0 exchanges all at once")
    if rule.delay_s < 0:
        raise _invalid(f"{what}: delay cannot be negative", "0s waits not at all")
    if rule.monitor_s < 0:
        raise _invalid(f"{what}: monitor cannot be negative", "5s is usual")
    if not 0 <= rule.max_failure_ratio <= 1:
        raise _invalid(f"{what}: maxfailureratio cannot be less than 0 or bigger than 1", "0.2 bears one of five")
    if rule.failure_action not in actions:
        raise _invalid(f"{what}: unrecognized failure action {rule.failure_action!r}", " or ".join(actions))
    if rule.order not in (STOP_FIRST, START_FIRST):
        raise _invalid(f"{what}: unrecognized order {rule.order!r}", f"{STOP_FIRST} or {START_FIRST}")


def _check_ports(spec: ServiceSpec) -> None:
    if spec.endpoint_mode not in (VIP, DNSRR):
        raise _invalid(f"unrecognized endpoint mode {spec.endpoint_mode!r}", "vip or dnsrr")
    for port in spec.ports:
        if not (0 < port.target <= _PORTS_MAX and 0 <= port.published <= _PORTS_MAX):
            raise _invalid(f"EndpointSpec: port {port.published}:{port.target} is out of range", "1 to 65535")
        if port.protocol not in ("tcp", "udp", "sctp") or port.mode not in (INGRESS, HOST):
            raise _invalid(
                f"EndpointSpec: port {port.target}/{port.protocol} in mode {port.mode} is unknown",
                "tcp, udp, sctp; ingress, host",
            )
        if port.mode == INGRESS and spec.endpoint_mode == DNSRR:
            raise _invalid(
                "EndpointSpec: port published with ingress mode can't be used with dnsrr mode",
                "publish it in mode host, or leave --endpoint-mode out",
            )
    named = Counter((one.published, one.protocol, one.host_ip) for one in spec.ports if one.published)
    if any(count > 1 for count in named.values()) or len(set(map(_key, spec.ports))) < len(spec.ports):
        raise _invalid("EndpointSpec: duplicate published ports provided", "publish each port once")


def _key(port: ServicePort) -> tuple[object, ...]:
    return (port.target, port.published, port.protocol, port.mode, port.host_ip)


def _network(turn: Turn, spec: ServiceSpec, wanted: ServiceNetwork) -> ServiceNetwork:
    if wanted.network in PREDEFINED:
        return wanted  # of the node itself
    network = turn.state.network(wanted.network)
    if network.ingress:
        raise _invalid(
            f'Service cannot be explicitly attached to the ingress network "{network.network.name}"',
            "its published ports are there without that",
        )
    if network.removing:
        raise _invalid(f"network {network.network.name} is being removed", "wait until it is gone, and make it anew")
    wanted = replace(wanted, network=network.id, addresses=tuple(str(parse_address(one)) for one in wanted.addresses))
    _check_fixed(spec, wanted, network)
    return wanted


def _check_fixed(spec: ServiceSpec, wanted: ServiceNetwork, network: ClusterNetwork) -> None:
    """Addresses that were named for single slots."""
    if not wanted.addresses:
        return
    if spec.mode == GLOBAL:
        raise _invalid("addresses cannot be named for a global service", "its tasks have no numbers")
    if len(set(wanted.addresses)) < len(wanted.addresses):
        raise _invalid("an address is named twice", "name one for each replica")
    if START_FIRST in (spec.update.order, spec.rollback.order):
        raise _invalid(
            "addresses cannot be named together with the order start-first",
            "a task and its successor cannot have one address at the same time: use stop-first",
        )
    for address in wanted.addresses:
        leases.check_inside(network, address)
    if len({is_v6(one) for one in wanted.addresses}) > 1:
        raise _invalid("addresses of both families are named for one network", "name IPv4 addresses, or IPv6 ones")


def _invalid(text: str, hint: str) -> Invalid:
    return refusals.bad_argument(text, hint=hint, code=codes.SERVICE_INVALID)
