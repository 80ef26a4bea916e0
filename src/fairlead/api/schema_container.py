"""Containers in the Engine API's JSON: a line of ``ps``, and everything."""

from __future__ import annotations

import shlex

from fairlead.api.ports import published_json, rows_json
from fairlead.api.schema import ZERO_TIME, stamp
from fairlead.api.schema_host_config import all_mounts, health_json, host_config, mount_json
from fairlead.api.schema_network import endpoint_json
from fairlead.api.words import human_duration
from fairlead.model.container import Container
from fairlead.model.endpoint import Endpoint, EndpointSettings, PortBinding
from fairlead.model.errors import Ambiguous, NotFound
from fairlead.model.health import Health
from fairlead.model.ids import short
from fairlead.model.network import Network
from fairlead.model.state import State

#: The life of a container in Docker's words; the two that are ours are shown as what they were before.
_SHOWN = {"starting": "created", "stopping": "running"}


def shown_status(container: Container) -> str:
    """Docker's word for where a container is in its life."""
    return _SHOWN.get(container.state.status, container.state.status)


def status_line(container: Container, now: float) -> str:
    """The STATUS column, such as ``Up 3 minutes`` or ``Exited (0) 2 hours ago``."""
    status = shown_status(container)
    if status in ("running", "paused"):
        up = f"Up {human_duration(now - container.state.started)}"
        return f"{up} (Paused)" if status == "paused" else up + _health_word(container)
    if status == "restarting":
        return f"Restarting ({container.state.exit_code}) {human_duration(now - container.state.finished)} ago"
    if status == "exited":
        return f"Exited ({container.state.exit_code}) {human_duration(now - container.state.finished)} ago"
    return status.capitalize()


def _health_word(container: Container) -> str:
    health = container.state.health
    if health is None:
        return ""
    return f" ({health.status})" if health.status != "starting" else " (health: starting)"


def network_mode(container: Container) -> str:
    """The mode as Docker shows it: ``default`` is ``bridge``."""
    return "bridge" if container.config.network_mode == "default" else container.config.network_mode


def networks_of(state: State, container: Container) -> dict[str, object]:
    """A container's places by network name: those joined, then those that wait for the next start."""
    result: dict[str, object] = {}
    for endpoint in state.endpoints_of_container(container.id):
        network = state.networks.get(endpoint.network_id)
        if network is not None and not endpoint.leads_out:
            result[network.name] = endpoint_json(endpoint.settings, network, endpoint)
    mode = network_mode(container)
    waiting = dict(container.config.endpoints)
    if not waiting and not result and not mode.startswith("container:"):
        waiting[mode] = EndpointSettings()
    for ref, settings in waiting.items():
        network = find_network(state, ref)
        name = network.name if network else ref
        if name not in result:
            result[name] = endpoint_json(settings, network, None)
    return result


def find_network(state: State, ref: str) -> Network | None:
    """The network that a reference means, or None when there is none or are several."""
    try:
        return state.network(ref)
    except (NotFound, Ambiguous):
        return None


def exposed_ports(container: Container) -> list[str]:
    """Every port that is exposed or asked to be published, once."""
    asked = [f"{port.container_port}/{port.proto}" for port in container.config.ports]
    return list(dict.fromkeys([*container.config.exposed, *asked]))


def container_row(state: State, container: Container, now: float) -> dict[str, object]:
    """A line of ``GET /containers/json``."""
    command = [*container.config.entrypoint, *container.config.command]
    exposed = exposed_ports(container) if container.running else []
    return {
        "Id": container.id,
        "Names": [f"/{container.name}"],
        "Image": container.config.image,
        "ImageID": "",
        "Command": shlex.join(command),
        "Created": int(container.created),
        "Ports": rows_json(exposed, bindings_of(state, container)),
        "Labels": container.config.labels,
        "State": shown_status(container),
        "Status": status_line(container, now),
        "HostConfig": {"NetworkMode": network_mode(container)},
        "NetworkSettings": {"Networks": networks_of(state, container)},
        "Mounts": [mount_json(mount) for mount in all_mounts(container)],
    }


def bindings_of(state: State, container: Container) -> list[PortBinding]:
    """All published ports of a container, each once."""
    endpoints: list[Endpoint] = state.endpoints_of_container(container.id)
    return list(dict.fromkeys(binding for endpoint in endpoints for binding in endpoint.bindings))


def container_inspect(state: State, container: Container) -> dict[str, object]:
    """``GET /containers/{id}/json``."""
    command = [*container.config.entrypoint, *container.config.command]
    return {
        "Id": container.id,
        "Created": stamp(container.created),
        "Path": command[0] if command else "",
        "Args": command[1:],
        "State": _state(container),
        "Image": container.config.image,
        "Name": f"/{container.name}",
        "RestartCount": container.state.restarts,
        "Driver": "overlay",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": None,
        "HostConfig": host_config(container, network_mode(container)),
        "Mounts": [mount_json(mount) for mount in all_mounts(container)],
        "Config": _config(container),
        "NetworkSettings": _network_settings(state, container),
    }


def _state(container: Container) -> dict[str, object]:
    state = container.state
    status = shown_status(container)
    return {
        "Status": status,
        "Running": status in ("running", "paused", "restarting"),
        "Paused": status == "paused",
        "Restarting": status == "restarting",
        "OOMKilled": state.oom_killed,
        "Dead": status == "dead",
        "Pid": state.pid if container.running else 0,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": stamp(state.started),
        "FinishedAt": stamp(state.finished) if state.finished else ZERO_TIME,
        **({"Health": _health(state.health)} if state.health is not None else {}),
    }


def _health(health: Health) -> dict[str, object]:
    return {
        "Status": health.status,
        "FailingStreak": health.failing_streak,
        "Log": [
            {"Start": stamp(item.start), "End": stamp(item.end), "ExitCode": item.exit_code, "Output": item.output}
            for item in health.log
        ],
    }


def _config(container: Container) -> dict[str, object]:
    config = container.config
    return {
        "Hostname": config.hostname or short(container.id),
        "Domainname": config.domainname,
        "User": config.user,
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "ExposedPorts": {port: {} for port in exposed_ports(container)},
        "Tty": config.tty,
        "OpenStdin": config.open_stdin,
        "StdinOnce": False,
        "Env": list(config.env),
        "Cmd": list(config.command) or None,
        "Image": config.image,
        "Volumes": {mount.target: {} for mount in config.mounts if mount.anonymous} or None,
        "WorkingDir": config.working_dir,
        "Entrypoint": list(config.entrypoint) or None,
        "OnBuild": None,
        "Labels": config.labels,
        "StopSignal": config.stop_signal,
        "StopTimeout": config.stop_timeout_s,
        **({"Healthcheck": health_json(config.health)} if config.health is not None else {}),
    }


def _network_settings(state: State, container: Container) -> dict[str, object]:
    sandbox = state.sandbox_of(container.id)
    ports = published_json(exposed_ports(container), bindings_of(state, container)) if container.running else {}
    return {
        "SandboxID": sandbox.id if sandbox else "",
        "SandboxKey": sandbox.netns if sandbox else "",
        "Ports": ports,
        "Networks": networks_of(state, container),
    }
