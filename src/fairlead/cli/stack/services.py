"""A service of a Compose file as the spec that the API takes."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping

from fairlead.cli.compose.document import Items, Place, Section, fault
from fairlead.cli.container.creation import environment
from fairlead.cli.container.wishes import ulimit
from fairlead.cli.service.ports import Port, of_fields, short
from fairlead.cli.stack import deployment
from fairlead.cli.stack.keys import Keys, as_text
from fairlead.cli.stack.mounts import mounts
from fairlead.cli.stack.scalars import flag, labels, number, span_ns, whole
from fairlead.model.errors import Invalid

Body = dict[str, object]

#: Label of everything that belongs to a stack, and of a service its image as the file names it (Docker).
NAMESPACE, IMAGE = "com.docker.stack.namespace", "com.docker.stack.image"

_OUTSIDE = "containers that need it are made with `fairlead run`"
#: Keys of services that are known and not honoured, and why or what to do.
_IGNORED: Mapping[str, str] = {
    "build": "nothing is built here; import the image on each node",
    "annotations": "use labels",
    "attach": "tasks run in the background",
    "blkio_config": _OUTSIDE,
    "cgroup": _OUTSIDE,
    "cgroup_parent": _OUTSIDE,
    "container_name": "a task's container is named after service, slot and task",
    "cpu_count": "use deploy.resources",
    "cpu_percent": "use deploy.resources",
    "cpu_period": "use deploy.resources",
    "cpu_quota": "use deploy.resources",
    "cpu_rt_period": "use deploy.resources",
    "cpu_rt_runtime": "use deploy.resources",
    "cpu_shares": "use deploy.resources",
    "cpus": "use deploy.resources.limits.cpus",
    "cpuset": "use deploy.placement",
    "credential_spec": _OUTSIDE,
    "depends_on": "services start together; let programs wait for what they need",
    "develop": "it is for development",
    "device_cgroup_rules": _OUTSIDE,
    "devices": _OUTSIDE,
    "domainname": "use hostname",
    "external_links": "names on a common network resolve without it",
    "gpus": _OUTSIDE,
    "ipc": _OUTSIDE,
    "isolation": "it means something on other systems only",
    "label_file": "write the labels into the file",
    "links": "names on a common network resolve without it; use aliases",
    "mac_address": "tasks get addresses of their own",
    "mem_limit": "use deploy.resources.limits.memory",
    "mem_reservation": "use deploy.resources.reservations.memory",
    "mem_swappiness": _OUTSIDE,
    "memswap_limit": _OUTSIDE,
    "oom_kill_disable": _OUTSIDE,
    "pid": _OUTSIDE,
    "pids_limit": "use deploy.resources.limits.pids",
    "platform": "images are of the node's kind",
    "privileged": "use cap_add",
    "pull_policy": "there is no registry",
    "restart": "use deploy.restart_policy",
    "runtime": "tasks run under runc",
    "security_opt": _OUTSIDE,
    "shm_size": "mount a tmpfs at /dev/shm",
    "storage_opt": "use deploy.resources.limits.memory",
    "use_api_socket": "mount the socket",
    "userns_mode": _OUTSIDE,
    "uts": _OUTSIDE,
    "volumes_from": "name the same volume in both services",
}
_REFUSED: Mapping[str, str] = {
    "extends": "write the keys out, or give a second file with -c",
    "configs": "configs are not implemented: mount a directory of the nodes",
    "secrets": "secrets are not implemented: mount a directory of the nodes",
}
_NETWORK_IGNORED: Mapping[str, str] = {
    "gw_priority": "the first network that leads out does",
    "interface_name": "interfaces are named eth0, eth1, … in the order of networks",
    "link_local_ips": "tasks get none by hand",
    "mac_address": "tasks get addresses of their own",
}


class Names:
    """What the names in a file are called in the cluster."""

    def __init__(self, stack: str, networks: Mapping[str, str], volumes: dict[str, str]) -> None:
        self.stack = stack
        self.networks = networks
        self.volumes = volumes

    def of(self, key: str) -> str:
        """A service's."""
        return f"{self.stack}_{key}"


def service_spec(key: str, given: Keys, names: Names, read: Callable[[str], list[str]]) -> Body:
    """The spec of a service; ``read`` gives the variables in a file of them. Raises ``Invalid``."""
    for word, hint in _REFUSED.items():
        if word in given:
            raise fault(given.at(word), f"{given.path}.{word} is not implemented", hint)
    image = given.text("image")
    if not image:
        raise fault(given.section.place, f"{given.path}: no image specified", "name one with image")
    deploy = given.below("deploy")
    namespace = {NAMESPACE: names.stack}
    task: Body = {
        "ContainerSpec": {**_container(given, image, read), "Mounts": mounts(given, names.volumes)},
        "Resources": deployment.resources(deploy),
        "RestartPolicy": deployment.restart(deploy),
        "Placement": deployment.placement(deploy),
        "Networks": _networks(key, given, names),
    }
    container = task["ContainerSpec"]
    if isinstance(container, dict):
        container["Labels"] = {**labels(given), **namespace}
    logging = given.below("logging")
    if logging.section:
        task["LogDriver"] = {"Name": logging.text("driver"), "Options": labels(logging, "options")}
        logging.end()
    spec: Body = {
        "Name": names.of(key),
        "Labels": {**labels(deploy), IMAGE: image, **namespace},
        "TaskTemplate": task,
        "Mode": deployment.mode(deploy, whole(given, "scale")),
        "UpdateConfig": deployment.rule(deploy, "update_config"),
        "RollbackConfig": deployment.rule(deploy, "rollback_config"),
        "EndpointSpec": {"Mode": deploy.text("endpoint_mode"), "Ports": _ports(given)},
    }
    for word in ("expose", "profiles"):  # what is exposed is reached anyway; profiles have chosen already
        given.raw(word)
    if "network_mode" in given:
        given.note("network_mode", "use networks")
    given.raw("network_mode")
    deploy.end()
    given.end(_IGNORED)
    return spec


def _container(given: Keys, image: str, read: Callable[[str], list[str]]) -> Body:
    dns = {"Nameservers": given.texts("dns"), "Search": given.texts("dns_search"), "Options": given.texts("dns_opt")}
    body: Body = {
        "Image": image,
        "Command": _words(given, "entrypoint"),
        "Args": _words(given, "command"),
        "Env": _environment(given, read),
        "Hostname": given.text("hostname"),
        "Dir": given.text("working_dir"),
        "User": given.text("user"),
        "Groups": given.texts("group_add"),
        "TTY": flag(given, "tty"),
        "OpenStdin": flag(given, "stdin_open"),
        "ReadOnly": flag(given, "read_only"),
        "Init": flag(given, "init"),
        "StopSignal": given.text("stop_signal"),
        "StopGracePeriod": span_ns(given, "stop_grace_period"),
        "Healthcheck": _health(given),
        "Hosts": _hosts(given),
        "DNSConfig": dns if any(dns.values()) else None,
        "Sysctls": labels(given, "sysctls"),
        "CapabilityAdd": given.texts("cap_add"),
        "CapabilityDrop": given.texts("cap_drop"),
        "Ulimits": _ulimits(given),
        "OomScoreAdj": whole(given, "oom_score_adj"),
    }
    return {name: value for name, value in body.items() if value not in (None, "", [], {})}


def _words(given: Keys, key: str) -> list[str]:
    """A command: a list of words, or one text in the shell's quoting."""
    value = given.raw(key)
    if isinstance(value, Items):
        return [as_text(item) for item in value]
    try:
        return shlex.split(given.text(key))
    except ValueError as error:
        raise given.wrong(key, f"has a quote that is not closed: {error}") from error


def _environment(given: Keys, read: Callable[[str], list[str]]) -> list[str]:
    """Variables: of files first, then those of the service, which win. A name alone takes our own value."""
    found: dict[str, str] = {}
    for item, place in _files(given):
        name, required = _env_file(item, place, given)
        path = os.path.join(os.path.dirname(place.file), os.path.expanduser(name))
        if not required and not os.path.exists(path):
            continue
        for line in environment((), read(path)):
            variable, _, value = line.partition("=")
            found[variable] = value
    for variable, written in given.table("environment").items():
        if written is not None:
            found[variable] = written
        elif variable in os.environ:
            found[variable] = os.environ[variable]
    return [f"{variable}={value}" for variable, value in found.items()]


def _files(given: Keys) -> list[tuple[object, Place]]:
    value = given.raw("env_file")
    if value is None or isinstance(value, Items):
        return given.items("env_file")
    return [(value, given.at("env_file"))]


def _env_file(item: object, place: Place, given: Keys) -> tuple[str, bool]:
    """Path of a file of variables, and whether it must be there."""
    if not isinstance(item, Section):
        return as_text(item), True
    one = Keys(item, f"{given.path}.env_file", given.notes)
    name, required = one.text("path"), flag(one, "required")
    if not name:
        raise fault(place, f"{given.path}.env_file: path is required")
    one.end({"format": "files are read as lines NAME=value"})
    return name, required is not False


def _health(given: Keys) -> Body | None:
    if "healthcheck" not in given:
        given.raw("healthcheck")
        return None
    asked = given.below("healthcheck")
    value = asked.raw("test")
    test = [as_text(item) for item in value] if isinstance(value, Items) else []
    if isinstance(value, str):
        test = ["CMD-SHELL", value]
    if flag(asked, "disable"):
        test = ["NONE"]
    body: Body = {
        "Test": test,
        "Interval": span_ns(asked, "interval"),
        "Timeout": span_ns(asked, "timeout"),
        "StartPeriod": span_ns(asked, "start_period"),
        "StartInterval": span_ns(asked, "start_interval"),
        "Retries": whole(asked, "retries"),
    }
    asked.end()
    return {name: value for name, value in body.items() if value not in (None, [])}


def _hosts(given: Keys) -> list[str]:
    """``ADDRESS NAME`` lines out of ``name=address``, ``name:address`` or a mapping of name to addresses."""
    value = given.raw("extra_hosts")
    lines = []
    if isinstance(value, Section):
        for name, addresses in value.items():
            for address in addresses if isinstance(addresses, Items) else [addresses]:
                lines.append((name, as_text(address)))
    else:
        for item, place in given.items("extra_hosts"):
            words = as_text(item)
            name, found, address = words.partition("=" if "=" in words else ":")
            if not found:
                raise fault(place, f"invalid extra host {words!r}", "write NAME=ADDRESS")
            lines.append((name, address))
    return [f"{address.removeprefix('[').removesuffix(']')} {name}" for name, address in lines]


def _ulimits(given: Keys) -> list[Body]:
    limits = given.below("ulimits")
    made = []
    for name in limits.section:
        value = limits.raw(name)
        if isinstance(value, Section):
            one = limits.below(name)
            made.append(ulimit(f"{name}={whole(one, 'soft') or 0}:{whole(one, 'hard') or 0}"))
            one.end()
        else:
            made.append(ulimit(f"{name}={as_text(value)}"))
    return made


def _networks(key: str, given: Keys, names: Names) -> list[Body]:
    """Attachments, ordered by priority, then name; a service without any is in ``default``."""
    value = given.raw("networks")
    if isinstance(value, Items):
        wanted = [
            (as_text(item), Keys(Section(place), given.path, given.notes)) for item, place in given.items("networks")
        ]
    elif value is None:
        wanted = [("default", Keys(Section(given.section.place), given.path, given.notes))]
    else:
        wanted = list(given.each("networks"))
    made = []
    for name, asked in wanted:
        if name not in names.networks:
            raise fault(
                asked.section.place,
                f'service "{key}" refers to undefined network {name}: invalid compose project',
                f"write {name} below the top-level networks",
            )
        priority = number(asked, "priority") or 0.0
        body: Body = {"Target": names.networks[name], "Aliases": [*asked.texts("aliases"), key]}
        body["DriverOpts"] = labels(asked, "driver_opts")
        ipv4, ipv6 = asked.texts("ipv4_address"), asked.texts("ipv6_address")
        if ipv4 and ipv6:
            asked.note("ipv6_address", "a task's IPv6 address goes with its IPv4 address")
        body["Addresses"] = [part.strip() for text in ipv4 or ipv6 for part in text.split(",")]
        asked.end(_NETWORK_IGNORED)
        made.append((-priority, name, body))
    return [body for _, _, body in sorted(made, key=lambda item: item[:2])]


def _ports(given: Keys) -> list[Port]:
    made: list[Port] = []
    for item, place in given.items("ports"):
        try:
            if isinstance(item, Section):
                fields = {name: as_text(value) for name, value in item.items() if not name.startswith("x-")}
                made += of_fields(fields, as_text(dict(item)))
            else:
                made += short(as_text(item))
        except Invalid as error:
            raise fault(place, error.message, error.hint) from error
    return made
