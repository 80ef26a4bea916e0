"""``deploy`` of a service: how many tasks, where, and how they are exchanged."""

from __future__ import annotations

from fairlead.cli.compose.document import Section
from fairlead.cli.stack.keys import Keys
from fairlead.cli.stack.scalars import number, one_of, size, span_ns, whole
from fairlead.model.limits import NANO

Body = dict[str, object]

_JOBS = ("replicated-job", "global-job")


def mode(deploy: Keys, scale: int | None) -> Body:
    """``Mode``; ``scale`` is what the service says outside ``deploy``. Raises ``Invalid``."""
    word = one_of(deploy, "mode", ("replicated", "global", *_JOBS))
    replicas = whole(deploy, "replicas")
    if word in _JOBS:
        raise deploy.wrong("mode", "jobs are not implemented")
    if word == "global":
        if replicas is not None:
            raise deploy.wrong("replicas", "replicas can only be used with replicated mode")
        return {"Global": {}}
    wanted = scale if replicas is None else replicas
    return {"Replicated": {"Replicas": 1 if wanted is None else wanted}}


def rule(deploy: Keys, key: str) -> Body:
    """``UpdateConfig`` or ``RollbackConfig``."""
    if key not in deploy:
        deploy.raw(key)
        return {}
    given = deploy.below(key)
    body: Body = {
        "Parallelism": whole(given, "parallelism"),
        "Delay": span_ns(given, "delay"),
        "FailureAction": given.text("failure_action"),
        "Monitor": span_ns(given, "monitor"),
        "MaxFailureRatio": number(given, "max_failure_ratio"),
        "Order": given.text("order"),
    }
    given.end()
    return _said(body)


def restart(deploy: Keys) -> Body:
    """``RestartPolicy``."""
    given = deploy.below("restart_policy")
    body: Body = {
        "Condition": given.text("condition"),
        "Delay": span_ns(given, "delay"),
        "MaxAttempts": whole(given, "max_attempts"),
        "Window": span_ns(given, "window"),
    }
    given.end()
    return _said(body)


def placement(deploy: Keys) -> Body:
    """``Placement``; raises ``Invalid``."""
    given = deploy.below("placement")
    preferences = []
    for item, place in given.items("preferences"):
        if not isinstance(item, Section):
            raise given.wrong("preferences", "must be a list of mappings")
        one = Keys(item, f"{given.path}.preferences", given.notes)
        preferences.append({"Spread": {"SpreadDescriptor": one.text("spread")}})
        one.end()
        del place
    body: Body = {
        "Constraints": given.texts("constraints"),
        "Preferences": preferences,
        "MaxReplicas": whole(given, "max_replicas_per_node"),
    }
    given.end()
    return {key: value for key, value in body.items() if value}


def resources(deploy: Keys) -> Body:
    """``Resources``."""
    given = deploy.below("resources")
    limits, reserved = given.below("limits"), given.below("reservations")
    body: Body = {
        "Limits": _said({**_amounts(limits), "Pids": whole(limits, "pids")}),
        "Reservations": _said(_amounts(reserved)),
    }
    limits.end({"devices": "give devices to containers outside a stack"})
    reserved.end(
        {
            "devices": "GPUs and the like are not given to tasks",
            "generic_resources": "use labels of nodes and placement.constraints",
            "pids": "processes are not reserved",
        }
    )
    given.end()
    return {key: value for key, value in body.items() if value}


def _amounts(given: Keys) -> Body:
    cpus = number(given, "cpus")
    return {"NanoCPUs": None if cpus is None else round(cpus * NANO), "MemoryBytes": size(given, "memory")}


def _said(body: Body) -> Body:
    return {key: value for key, value in body.items() if value not in (None, "")}
