"""A service in words for people, as ``docker service inspect --pretty`` writes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from fairlead.cli.console import record, records, text
from fairlead.model.limits import NANO

_UNITS = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))


def pretty(service: Mapping[str, object], network_name: Callable[[str], str]) -> str:
    """All of it, without a newline at the end; ``network_name`` finds the name of a network's id."""
    return "\n".join(_lines(service, network_name))


def _lines(service: Mapping[str, object], network_name: Callable[[str], str]) -> Iterator[str]:
    spec = record(service.get("Spec"))
    task = record(spec.get("TaskTemplate"))
    yield f"\nID:\t\t{text(service.get('ID'))}"
    yield f"Name:\t\t{text(spec.get('Name'))}"
    labels = record(spec.get("Labels"))
    if labels:
        yield "Labels:"
        yield from (f" {key}={value}" for key, value in sorted(labels.items()))
    mode = record(spec.get("Mode"))
    yield f"Service Mode:\t{'Global' if 'Global' in mode else 'Replicated'}"
    if "Replicated" in mode:
        yield f" Replicas:\t{record(mode['Replicated']).get('Replicas')}"
    if text(service.get("Pending")):
        yield f"Pending:\t{text(service['Pending'])}"
    yield from _status(record(service.get("UpdateStatus")))
    yield from _placement(record(task.get("Placement")))
    yield from _rule("UpdateConfig:", record(spec.get("UpdateConfig")), "Update order:")
    yield from _rule("RollbackConfig:", record(spec.get("RollbackConfig")), "Rollback order:")
    yield from _container(record(task.get("ContainerSpec")))
    yield from _resources(record(task.get("Resources")))
    yield from _reached(service, task, network_name)


def _status(status: Mapping[str, object]) -> Iterator[str]:
    if not status:
        return
    yield "UpdateStatus:"
    yield f" State:\t\t{text(status.get('State'))}"
    yield f" Started:\t{text(status.get('StartedAt'))}"
    if status.get("CompletedAt"):
        yield f" Completed:\t{text(status['CompletedAt'])}"
    yield f" Message:\t{text(status.get('Message'))}"


def _placement(placement: Mapping[str, object]) -> Iterator[str]:
    yield "Placement:"
    constraints = placement.get("Constraints")
    if isinstance(constraints, list) and constraints:
        yield f" Constraints:\t[{' '.join(map(str, constraints))}]"
    preferences = [
        f"spread={text(record(one.get('Spread')).get('SpreadDescriptor'))}"
        for one in records(placement.get("Preferences"))
    ]
    if preferences:
        yield f" Preferences:\t{' '.join(preferences)}"
    if placement.get("MaxReplicas"):
        yield f" Max Replicas Per Node:\t{placement['MaxReplicas']}"


def _rule(title: str, rule: Mapping[str, object], order: str) -> Iterator[str]:
    yield title
    yield f" Parallelism:\t{rule.get('Parallelism')}"
    if rule.get("Delay"):
        yield f" Delay:\t\t{span(rule['Delay'])}"
    yield f" On failure:\t{text(rule.get('FailureAction'))}"
    yield f" Monitoring Period: {span(rule.get('Monitor'))}"
    yield f" Max failure ratio: {float(text(rule.get('MaxFailureRatio')) or '0'):g}"
    yield f" {order:<18} {text(rule.get('Order'))}"


def _container(container: Mapping[str, object]) -> Iterator[str]:
    yield "ContainerSpec:"
    yield f" Image:\t\t{text(container.get('Image'))}"
    for title, key in (("Command:\t", "Command"), ("Args:\t\t", "Args"), ("Env:\t\t", "Env")):
        words = container.get(key)
        if isinstance(words, list) and words:
            yield f" {title}{' '.join(map(str, words))}"
    for title, key in (("Dir:\t\t", "Dir"), ("User:\t\t", "User"), ("Hostname:\t", "Hostname")):
        if container.get(key):
            yield f" {title}{text(container[key])}"
    mounts = records(container.get("Mounts"))
    if mounts:
        yield "Mounts:"
    for mount in mounts:
        yield f" Target:\t{text(mount.get('Target'))}"
        yield f"  Source:\t{text(mount.get('Source'))}"
        yield f"  ReadOnly:\t{str(bool(mount.get('ReadOnly'))).lower()}"
        yield f"  Type:\t\t{text(mount.get('Type'))}"


def _resources(resources: Mapping[str, object]) -> Iterator[str]:
    if not resources:
        return
    yield "Resources:"
    for name in ("Reservations", "Limits"):
        group = record(resources.get(name))
        if group:
            yield f" {name}:"
        if group.get("NanoCPUs"):
            yield f"  CPU:\t\t{int(text(group['NanoCPUs'])) / NANO:g}"
        if group.get("MemoryBytes"):
            yield f"  Memory:\t{_size(int(text(group['MemoryBytes'])))}"


def _reached(
    service: Mapping[str, object], task: Mapping[str, object], network_name: Callable[[str], str]
) -> Iterator[str]:
    networks = records(task.get("Networks"))
    if networks:
        yield f"Networks: {' '.join(network_name(text(item.get('Target'))) for item in networks)} "
    for item in networks:
        addresses = item.get("Addresses")
        if isinstance(addresses, list) and addresses:
            yield f" Addresses in {network_name(text(item.get('Target')))}: {', '.join(map(str, addresses))}"
    endpoint = record(service.get("Endpoint"))
    yield f"Endpoint Mode:\t{text(record(endpoint.get('Spec')).get('Mode'))}"
    for vip in records(endpoint.get("VirtualIPs")):
        yield f" Virtual IP:\t{text(vip.get('Addr'))} ({network_name(text(vip.get('NetworkID')))})"
    ports = records(endpoint.get("Ports"))
    if ports:
        yield "Ports:"
    for port in ports:
        yield f" PublishedPort = {port.get('PublishedPort', 0)}"
        yield f"  Protocol = {text(port.get('Protocol'))}"
        yield f"  TargetPort = {port.get('TargetPort')}"
        yield f"  PublishMode = {text(port.get('PublishMode'))}"
        if port.get("HostIP"):
            yield f"  HostIP = {text(port['HostIP'])}"


def span(nanoseconds: object) -> str:
    """A span of time as Go writes it: ``1m30s``, ``500ms``."""
    seconds = int(text(nanoseconds) or "0") / NANO
    if 0 < seconds < 1:
        return f"{seconds * 1000:g}ms"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    ahead = (f"{hours}h{minutes}m" if hours else f"{minutes}m") if hours or minutes else ""
    return f"{ahead}{rest:g}s"


def _size(size_bytes: int) -> str:
    for unit, step in _UNITS:
        if size_bytes >= step:
            return f"{size_bytes / step:.4g}{unit}"
    return f"{size_bytes}B"
