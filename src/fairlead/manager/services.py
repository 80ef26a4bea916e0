"""Services: made, changed, rolled back, removed; their virtual addresses and published ports."""

from __future__ import annotations

from dataclasses import replace

from fairlead.manager import forgetting, ingress, leases, refusals, updater
from fairlead.manager.core import Turn
from fairlead.manager.service_specs import checked
from fairlead.model import codes
from fairlead.model.cluster import Lease
from fairlead.model.cluster_commands import CreateService, RemoveService, UpdateService
from fairlead.model.errors import Exhausted, NetError
from fairlead.model.events import Notice
from fairlead.model.service import VIP, Service, ServiceSpec, ServiceVip
from fairlead.pki.ids import new_cluster_id


def create(turn: Turn, command: CreateService) -> Service:
    """Record a service; its tasks follow."""
    spec = checked(turn, command.spec, None)
    service = Service(new_cluster_id(turn.core.chance), turn.at, turn.at, spec)
    service = allocate(turn, _published(turn, service))
    turn.state.put(service)
    turn.tell_service("create", service)
    turn.core.work.services[service.id] = None
    return service


def update(turn: Turn, command: UpdateService) -> Service:
    """Give a service another spec, or the one before."""
    present = turn.state.service(command.service)
    refusals.check_version(command.version, present.version)
    changed = _back(turn, present) if command.rollback else _forth(turn, present, command.spec or present.spec)
    changed = allocate(turn, _published(turn, changed))
    turn.state.put(changed)
    turn.tell_service("update", changed, **_difference(present.spec, changed.spec))
    turn.core.work.services[changed.id] = None
    turn.core.work.services.update(turn.core.work.short)  # some may wait for ports that it had
    return changed


def remove(turn: Turn, command: RemoveService) -> Service:
    """Let a service go: its name and ports are free now, the rest when its tasks have ended."""
    present = turn.state.service(command.service)
    turn.core.ports = turn.core.ports.withdraw(present.id, present.ports)
    gone = turn.put_service(replace(present, removing=True))
    turn.tell_service("remove", gone)
    turn.core.work.services[gone.id] = None
    turn.core.work.services.update(turn.core.work.short)  # some may wait for its ports
    return present


def forget(turn: Turn, service: Service) -> None:
    """Its last task has ended."""
    for vip in service.vips:
        _release(turn, service, vip)
    turn.state.drop(service)


def allocate(turn: Turn, service: Service) -> Service:
    """Give a service a virtual address in each of its networks, keeping those that it has. What is exhausted is noted and tried
    again when something is freed."""
    networks = [one for one in ingress.networks_of(turn, service.spec) if one in turn.state.networks]
    wanted = networks if service.spec.endpoint_mode == VIP else []
    vips, pending = [], ""
    for vip in service.vips:
        if vip.network_id in wanted:
            vips.append(vip)
        else:
            _release(turn, service, vip)
    had = {vip.network_id for vip in vips}
    for network_id in wanted:
        if network_id in had:
            continue
        network = turn.state.networks[network_id]
        try:
            lease = leases.grant(turn, network, "", holder=f"{leases.SERVICE}{service.id}")
        except Exhausted as error:
            pending = f"{error.message}: {error.hint}"
            continue
        vips.append(ServiceVip(network_id, *leases.with_lengths(network, lease)))
    return replace(service, vips=tuple(vips), pending=pending)


def is_served(turn: Turn, service: Service) -> bool:
    """Whether a service has all that its spec wants of ports and virtual addresses; not so after a rollback that nobody asked
    for, or when something was exhausted."""
    pairs = zip(service.spec.ports, service.ports, strict=False)
    has_ports = len(service.ports) == len(service.spec.ports) and all(
        has == replace(wish, published=wish.published or has.published) for wish, has in pairs
    )
    networks = {*ingress.networks_of(turn, service.spec)}
    wanted = networks if service.spec.endpoint_mode == VIP else set()
    return has_ports and not service.pending and {vip.network_id for vip in service.vips} == wanted


def serve(turn: Turn, service: Service) -> Service:
    """Give a service what its spec wants; what it cannot have is noted as pending."""
    try:
        with_ports = _published(turn, service)
    except NetError as error:
        return replace(service, pending=error.message)
    return allocate(turn, with_ports)


def resume(turn: Turn) -> None:
    """Take, at a start, the ports that services have."""
    for service in turn.state.services.values():
        if service.removing:
            continue
        try:
            turn.core.ports, _ = turn.core.ports.publish(service.id, service.ports)
        except NetError as error:
            turn.notices.append(Notice("service", "unusable", service.id, {"reason": error.message}, turn.at, "swarm"))


def _forth(turn: Turn, present: Service, wanted: ServiceSpec) -> Service:
    spec = checked(turn, wanted, present)
    return replace(
        present,
        spec=spec,
        previous=present.spec,
        spec_version=present.spec_version + 1,
        update_status=None,
        version=present.version + 1,
        updated=turn.at,
    )


def _back(turn: Turn, present: Service) -> Service:
    if present.previous is None:
        raise refusals.precondition(
            f"service {present.spec.name} does not have a previous spec",
            hint="it was not updated, or is rolled back already",
            code=codes.NO_PREVIOUS_SPEC,
        )
    checked(turn, present.previous, present)
    return updater.roll_back(turn, present, "manually requested rollback", manually=True)


def _published(turn: Turn, service: Service) -> Service:
    """With the ports that its spec wants; raises ``Invalid``, ``Exhausted`` when it cannot have one."""
    turn.core.ports, ports = turn.core.ports.publish(service.id, service.spec.ports, service.ports)
    return replace(service, ports=ports)


def _release(turn: Turn, service: Service, vip: ServiceVip) -> None:
    lease = turn.state.leases.get(f"{vip.network_id}/{vip.address.partition('/')[0]}")
    if isinstance(lease, Lease) and lease.holder == f"{leases.SERVICE}{service.id}" and not lease.resting:
        forgetting.rest(turn, lease)
        turn.retry.add(vip.network_id)


def _difference(before: ServiceSpec, after: ServiceSpec) -> dict[str, str]:
    """Attributes of a service event (Docker: image and replicas, new and old)."""
    found: dict[str, str] = {}
    if before.task.container.image != after.task.container.image:
        found |= {"image.old": before.task.container.image, "image.new": after.task.container.image}
    if before.replicas != after.replicas:
        found |= {"replicas.old": str(before.replicas), "replicas.new": str(after.replicas)}
    return found
