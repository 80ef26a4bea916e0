"""Flags of one value: where each belongs in a service's spec, and how it is read."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping

from fairlead.cli.console import pairs, record, text
from fairlead.cli.container import wishes
from fairlead.cli.container.wishes import size, span_ns
from fairlead.model import codes
from fairlead.model.errors import Invalid
from fairlead.model.limits import NANO

Spec = dict[str, object]
_Read = Callable[[object], object]

_TASK = "TaskTemplate"
_CONTAINER = (_TASK, "ContainerSpec")
_LIMITS, _RESERVED = (_TASK, "Resources", "Limits"), (_TASK, "Resources", "Reservations")
_RESTART = (_TASK, "RestartPolicy")


def _as_is(value: object) -> object:
    return value


def _span(value: object) -> object:
    return span_ns(text(value))


def _size(value: object) -> object:
    return 0 if text(value) == "0" else size(text(value))


def _cpus(value: object) -> object:
    return round(float(text(value)) * NANO)


def _words(value: object) -> object:
    return shlex.split(text(value))


def _rules() -> dict[str, tuple[tuple[str, ...], _Read]]:
    fields: dict[str, tuple[str, _Read]] = {
        "parallelism": ("Parallelism", _as_is),
        "delay": ("Delay", _span),
        "monitor": ("Monitor", _span),
        "order": ("Order", _as_is),
        "failure_action": ("FailureAction", _as_is),
        "max_failure_ratio": ("MaxFailureRatio", _as_is),
    }
    sections = {"update": "UpdateConfig", "rollback": "RollbackConfig"}
    return {
        f"{kind}_{name}": ((section, field), read)
        for kind, section in sections.items()
        for name, (field, read) in fields.items()
    }


_PLACES: Mapping[str, tuple[tuple[str, ...], _Read]] = {
    "name": (("Name",), _as_is),
    "image": ((*_CONTAINER, "Image"), _as_is),
    "args": ((*_CONTAINER, "Args"), _words),
    "entrypoint": ((*_CONTAINER, "Command"), _words),
    "hostname": ((*_CONTAINER, "Hostname"), _as_is),
    "init": ((*_CONTAINER, "Init"), _as_is),
    "oom_score_adj": ((*_CONTAINER, "OomScoreAdj"), _as_is),
    "read_only": ((*_CONTAINER, "ReadOnly"), _as_is),
    "stop_grace_period": ((*_CONTAINER, "StopGracePeriod"), _span),
    "stop_signal": ((*_CONTAINER, "StopSignal"), _as_is),
    "tty": ((*_CONTAINER, "TTY"), _as_is),
    "user": ((*_CONTAINER, "User"), _as_is),
    "workdir": ((*_CONTAINER, "Dir"), _as_is),
    "limit_cpu": ((*_LIMITS, "NanoCPUs"), _cpus),
    "limit_memory": ((*_LIMITS, "MemoryBytes"), _size),
    "limit_pids": ((*_LIMITS, "Pids"), _as_is),
    "reserve_cpu": ((*_RESERVED, "NanoCPUs"), _cpus),
    "reserve_memory": ((*_RESERVED, "MemoryBytes"), _size),
    "restart_condition": ((*_RESTART, "Condition"), _as_is),
    "restart_delay": ((*_RESTART, "Delay"), _span),
    "restart_max_attempts": ((*_RESTART, "MaxAttempts"), _as_is),
    "restart_window": ((*_RESTART, "Window"), _span),
    "replicas_max_per_node": ((_TASK, "Placement", "MaxReplicas"), _as_is),
    "log_driver": ((_TASK, "LogDriver", "Name"), _as_is),
    "endpoint_mode": (("EndpointSpec", "Mode"), _as_is),
    **_rules(),
}


def section(spec: Spec, *path: str) -> Spec:
    """The object at a path, made on the way."""
    for name in path:
        found = spec.get(name)
        if not isinstance(found, dict):
            found = {}
            spec[name] = found
        spec = found
    return spec


def apply(spec: Spec, given: Mapping[str, object]) -> None:
    """Write the flags that were given into a spec; raises ``Invalid``."""
    for name, (path, read) in _PLACES.items():
        value = given.get(name)
        if value is not None:
            section(spec, *path[:-1])[path[-1]] = read(value)
    options = given.get("log_options")
    if isinstance(options, tuple) and options:
        section(spec, _TASK, "LogDriver")["Options"] = pairs(map(str, options), what="log option")
    _capabilities(spec, given)
    _health(spec, given)
    _replicas(spec, given)


def _replicas(spec: Spec, given: Mapping[str, object]) -> None:
    replicas = given.get("replicas")
    if replicas is None:
        return
    mode = section(spec, "Mode")
    if "Global" in mode:
        raise Invalid("replicas can only be used with replicated mode", code=codes.FLAG_INVALID)
    mode["Replicated"] = {"Replicas": replicas}


def _capabilities(spec: Spec, given: Mapping[str, object]) -> None:
    """What is added is dropped no more, and the other way round."""
    container = section(spec, *_CONTAINER)
    names = {"CapabilityAdd": given.get("cap_add"), "CapabilityDrop": given.get("cap_drop")}
    asked = {key: [_capability(name) for name in value] for key, value in names.items() if isinstance(value, tuple)}
    if not any(asked.values()):
        return
    for key, other in (("CapabilityAdd", "CapabilityDrop"), ("CapabilityDrop", "CapabilityAdd")):
        present = container.get(key)
        kept = [name for name in present if name not in asked[other]] if isinstance(present, list) else []
        container[key] = list(dict.fromkeys([*kept, *asked[key]]))


def _capability(name: str) -> str:
    plain = name.upper()
    return plain if plain == "ALL" or plain.startswith("CAP_") else f"CAP_{plain}"


def _health(spec: Spec, given: Mapping[str, object]) -> None:
    names = ("health_cmd", "health_interval", "health_timeout", "health_start_period", "health_start_interval")
    asked: dict[str, object] = {name: given.get(name) or "" for name in names}
    asked |= {"health_retries": given.get("health_retries") or 0, "no_healthcheck": bool(given.get("no_healthcheck"))}
    made = record(wishes.health(asked).get("Healthcheck"))
    if made:
        container = section(spec, *_CONTAINER)
        before = {} if asked["no_healthcheck"] else record(container.get("Healthcheck"))
        container["Healthcheck"] = {**before, **{key: value for key, value in made.items() if value}}
