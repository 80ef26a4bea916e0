"""The body of ``POST /containers/create`` and of ``POST /containers/{id}/exec``.

Fields that would change what the container may do, and that this version cannot honour, are refused with 501 when
they carry anything; fields that only tune it are named in the answer's warnings.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import msgspec
from msgspec import Struct, field

from fairlead.api.ports import HostPortBody, expand_key, parse_bindings
from fairlead.api.schema_network import EndpointBody
from fairlead.model.container import STOP_TIMEOUT_S, ContainerConfig
from fairlead.model.endpoint import EndpointSettings
from fairlead.model.errors import Invalid, NotImplementedHere
from fairlead.model.runspec import ExecSpec

#: A command is a list of words, or one word.
Words = list[str] | str
#: Seconds to wait at a stop, in a range that fits every clock; -1 is Docker's "for ever".
StopSeconds = Annotated[int, msgspec.Meta(ge=-1, le=2**31 - 1)]

#: Longest wait at a stop that stands for "for ever" (seconds, 68 years).
FOR_EVER_S = 2**31 - 1


class RestartBody(Struct):
    """When to start a container again."""

    name: str | None = field(name="Name", default=None)


class MountBody(Struct):
    """One mount in the long form."""

    type: str = field(name="Type", default="")
    source: str = field(name="Source", default="")
    target: str = field(name="Target", default="")
    read_only: bool | None = field(name="ReadOnly", default=None)


class HostBody(Struct):
    """``HostConfig``: what binds a container to its host."""

    network_mode: str | None = field(name="NetworkMode", default=None)
    port_bindings: dict[str, list[HostPortBody] | None] | None = field(name="PortBindings", default=None)
    publish_all: bool | None = field(name="PublishAllPorts", default=None)
    auto_remove: bool | None = field(name="AutoRemove", default=None)
    dns: list[str] | None = field(name="Dns", default=None)
    dns_search: list[str] | None = field(name="DnsSearch", default=None)
    dns_options: list[str] | None = field(name="DnsOptions", default=None)
    extra_hosts: list[str] | None = field(name="ExtraHosts", default=None)
    binds: list[str] | None = field(name="Binds", default=None)
    mounts: list[MountBody] | None = field(name="Mounts", default=None)
    read_only: bool | None = field(name="ReadonlyRootfs", default=None)
    restart: RestartBody | None = field(name="RestartPolicy", default=None)
    privileged: bool | None = field(name="Privileged", default=None)
    cap_add: list[str] | None = field(name="CapAdd", default=None)
    cap_drop: list[str] | None = field(name="CapDrop", default=None)
    security_opt: list[str] | None = field(name="SecurityOpt", default=None)
    links: list[str] | None = field(name="Links", default=None)
    volumes_from: list[str] | None = field(name="VolumesFrom", default=None)
    devices: list[object] | None = field(name="Devices", default=None)
    tmpfs: dict[str, str] | None = field(name="Tmpfs", default=None)
    pid_mode: str | None = field(name="PidMode", default=None)
    userns_mode: str | None = field(name="UsernsMode", default=None)
    sysctls: dict[str, str] | None = field(name="Sysctls", default=None)
    memory: int | None = field(name="Memory", default=None)
    nano_cpus: int | None = field(name="NanoCpus", default=None)
    cpu_shares: int | None = field(name="CpuShares", default=None)
    pids_limit: int | None = field(name="PidsLimit", default=None)
    init: bool | None = field(name="Init", default=None)


class NetworkingBody(Struct):
    """``NetworkingConfig``: what is asked of each network."""

    endpoints: dict[str, EndpointBody | None] | None = field(name="EndpointsConfig", default=None)


class ContainerCreateBody(Struct):
    """``POST /containers/create``."""

    image: str = field(name="Image", default="")
    cmd: Words | None = field(name="Cmd", default=None)
    entrypoint: Words | None = field(name="Entrypoint", default=None)
    env: list[str] | None = field(name="Env", default=None)
    working_dir: str | None = field(name="WorkingDir", default=None)
    user: str | None = field(name="User", default=None)
    hostname: str | None = field(name="Hostname", default=None)
    domainname: str | None = field(name="Domainname", default=None)
    tty: bool | None = field(name="Tty", default=None)
    open_stdin: bool | None = field(name="OpenStdin", default=None)
    labels: dict[str, str] | None = field(name="Labels", default=None)
    stop_signal: str | None = field(name="StopSignal", default=None)
    stop_timeout_s: StopSeconds | None = field(name="StopTimeout", default=None)
    exposed: dict[str, object] | None = field(name="ExposedPorts", default=None)
    mac: str | None = field(name="MacAddress", default=None)
    healthcheck: object = field(name="Healthcheck", default=None)
    host: HostBody | None = field(name="HostConfig", default=None)
    networking: NetworkingBody | None = field(name="NetworkingConfig", default=None)

    def config(self) -> ContainerConfig:
        """What is asked, as a value of the model; raises ``Invalid`` or ``NotImplementedHere``."""
        host = self.host or HostBody()
        _refuse_unknown_powers(host)
        if not self.image:
            raise Invalid("no image was given", hint="use `host` for the host's own root file system")
        mode = "bridge" if host.network_mode in (None, "", "default") else str(host.network_mode)
        return ContainerConfig(
            image=self.image,
            command=_words(self.cmd),
            entrypoint=_words(self.entrypoint),
            env=tuple(self.env or ()),
            working_dir=self.working_dir or "",
            user=self.user or "",
            hostname=self.hostname or "",
            domainname=self.domainname or "",
            tty=bool(self.tty),
            open_stdin=bool(self.open_stdin),
            labels=self.labels or {},
            stop_signal=self.stop_signal or "SIGTERM",
            stop_timeout_s=self._stop_timeout(),
            network_mode=mode,
            endpoints=self._endpoints(mode),
            ports=parse_bindings(host.port_bindings or {}),
            exposed=tuple(dict.fromkeys(port for key in self.exposed or {} for port in expand_key(key))),
            publish_all=bool(host.publish_all),
            auto_remove=bool(host.auto_remove),
            dns=tuple(host.dns or ()),
            dns_search=tuple(host.dns_search or ()),
            dns_options=tuple(host.dns_options or ()),
            extra_hosts=tuple(host.extra_hosts or ()),
            binds=(*map(_bind, host.binds or ()), *map(_mount, host.mounts or ())),
            read_only=bool(host.read_only),
        )

    def warnings(self) -> list[str]:
        """One sentence for each field that is heard and not obeyed."""
        host = self.host or HostBody()
        ignored = {
            "HostConfig.Memory": host.memory,
            "HostConfig.NanoCpus": host.nano_cpus,
            "HostConfig.CpuShares": host.cpu_shares,
            "HostConfig.PidsLimit": host.pids_limit if host.pids_limit != -1 else None,
            "HostConfig.Init": host.init,
            "Healthcheck": self.healthcheck,
        }
        return [f"{name} is not supported and was ignored" for name, value in ignored.items() if value]

    def _stop_timeout(self) -> int:
        if self.stop_timeout_s is None:
            return STOP_TIMEOUT_S
        return FOR_EVER_S if self.stop_timeout_s < 0 else self.stop_timeout_s

    def _endpoints(self, mode: str) -> dict[str, EndpointSettings]:
        """Settings by network; the container-wide MAC address goes to the network of the mode (Docker, API < 1.44)."""
        asked = (self.networking.endpoints if self.networking else None) or {}
        result: dict[str, EndpointSettings] = {}
        for name, body in asked.items():
            settings = body.settings() if body else EndpointSettings()
            lone = mode in ("host", "none") or mode.startswith("container:")
            if not (lone and name in (mode, "default") and settings == EndpointSettings()):
                result["bridge" if name == "default" else name] = settings
        if self.mac:
            first = result.get(mode, EndpointSettings())
            if first.mac and first.mac.lower() != self.mac.lower():
                raise Invalid(
                    "conflicting MAC addresses: the container-wide MAC address must match the endpoint-specific one",
                    hint="give one of the two",
                )
            result[mode] = replace(first, mac=self.mac)
        return result


class ExecBody(Struct):
    """``POST /containers/{id}/exec``."""

    cmd: Words | None = field(name="Cmd", default=None)
    env: list[str] | None = field(name="Env", default=None)
    working_dir: str | None = field(name="WorkingDir", default=None)
    user: str | None = field(name="User", default=None)
    tty: bool | None = field(name="Tty", default=None)
    stdin: bool | None = field(name="AttachStdin", default=None)
    privileged: bool | None = field(name="Privileged", default=None)

    def spec(self) -> ExecSpec:
        """What is asked, as a value of the model; raises ``Invalid``."""
        args = _words(self.cmd)
        if not args:
            raise Invalid("No exec command specified", hint="write the command after the container's name")
        if self.privileged:
            raise NotImplementedHere("privileged commands are not implemented", hint="leave --privileged out")
        return ExecSpec(
            args=args,
            env=tuple(self.env or ()),
            working_dir=self.working_dir or "",
            user=self.user or "",
            tty=bool(self.tty),
            open_stdin=bool(self.stdin),
        )


class ExecStartBody(Struct):
    """``POST /exec/{id}/start``."""

    detach: bool | None = field(name="Detach", default=None)
    tty: bool | None = field(name="Tty", default=None)


def _words(words: Words | None) -> tuple[str, ...]:
    return (words,) if isinstance(words, str) else tuple(words or ())


def _refuse_unknown_powers(host: HostBody) -> None:
    """Raise ``NotImplementedHere`` for the first field that asks for what this version cannot give."""
    restart = host.restart.name if host.restart else None
    if restart not in (None, "", "no"):
        raise NotImplementedHere(
            f"restart policy {restart} is not implemented", hint="start the container again with `fairlead start`"
        )
    asked = {
        "privileged containers": host.privileged,
        "adding capabilities": host.cap_add,
        "dropping capabilities": host.cap_drop,
        "security options": [option for option in host.security_opt or () if "no-new-privileges" not in option],
        "legacy links": host.links,
        "volumes of other containers": host.volumes_from,
        "device mappings": host.devices,
        "tmpfs mounts": host.tmpfs,
        "PID namespace sharing": host.pid_mode,
        "user namespace modes": host.userns_mode,
        "container sysctls": host.sysctls,
    }
    for what, value in asked.items():
        if value:
            raise NotImplementedHere(f"{what} are not implemented", hint="leave the option out")


def _bind(text: str) -> str:
    source, colon, rest = text.partition(":")
    if not colon or not rest.startswith("/"):
        raise Invalid(f"invalid volume specification: {text!r}", hint="write SOURCE:/target[:ro]")
    if not source.startswith("/"):
        raise NotImplementedHere(f"named volume {source!r}: volumes are not implemented", hint="bind a host directory")
    return text


def _mount(mount: MountBody) -> str:
    if mount.type != "bind":
        raise NotImplementedHere(f"mount type {mount.type!r} is not implemented", hint="use type=bind")
    if ":" in mount.source or ":" in mount.target:
        raise Invalid("invalid mount: a path with a colon cannot be bound")
    return _bind(f"{mount.source}:{mount.target}" + (":ro" if mount.read_only else ""))
