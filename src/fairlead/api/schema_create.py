"""The body of ``POST /containers/create`` and of ``POST /containers/{id}/exec``.

Fields that ask for what cannot be given here are refused with 501 when they carry anything.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import msgspec
from msgspec import Struct, field

from fairlead.api.ports import expand_key, parse_bindings
from fairlead.api.schema_host import HostBody
from fairlead.api.schema_network import EndpointBody
from fairlead.model import codes
from fairlead.model.container import STOP_TIMEOUT_S, ContainerConfig, LogSettings
from fairlead.model.endpoint import EndpointSettings
from fairlead.model.errors import Invalid
from fairlead.model.health import HealthCheck, RestartPolicy
from fairlead.model.limits import NANO
from fairlead.model.runspec import ExecSpec, check_program

#: A command is a list of words, or one word.
Words = list[str] | str
#: Seconds to wait at a stop, in a range that fits every clock; -1 is Docker's "for ever".
StopSeconds = Annotated[int, msgspec.Meta(ge=-1, le=2**31 - 1)]

#: A span of time in nanoseconds (Go's time.Duration).
Nanoseconds = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]

#: Longest wait at a stop that stands for "for ever" (seconds, 68 years).
FOR_EVER_S = 2**31 - 1


class HealthBody(Struct):
    """How to ask for a container's health; times in nanoseconds."""

    test: list[str] | None = field(name="Test", default=None)
    interval: Nanoseconds | None = field(name="Interval", default=None)
    timeout: Nanoseconds | None = field(name="Timeout", default=None)
    start_period: Nanoseconds | None = field(name="StartPeriod", default=None)
    start_interval: Nanoseconds | None = field(name="StartInterval", default=None)
    retries: Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)] | None = field(name="Retries", default=None)

    def check(self) -> HealthCheck | None:
        """As a value of the model, None for what leaves it to the image; raises ``Invalid``."""
        kind, *words = self.test or [""]
        if kind not in ("", "NONE", "CMD", "CMD-SHELL"):
            raise Invalid(f"Unknown healthcheck type '{kind}' (expected 'CMD')", hint="CMD, CMD-SHELL or NONE")
        if kind in ("CMD", "CMD-SHELL") and not words:
            raise Invalid(f"Missing command after {kind} in HEALTHCHECK", hint="give the command to run")
        if not kind:
            return None
        return HealthCheck(
            command=tuple(words),
            shell=kind == "CMD-SHELL",
            interval_s=(self.interval or 0) / NANO,
            timeout_s=(self.timeout or 0) / NANO,
            start_period_s=(self.start_period or 0) / NANO,
            start_interval_s=(self.start_interval or 0) / NANO,
            retries=self.retries or 0,
        )


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
    healthcheck: HealthBody | None = field(name="Healthcheck", default=None)
    volumes: dict[str, object] | None = field(name="Volumes", default=None)
    host: HostBody | None = field(name="HostConfig", default=None)
    networking: NetworkingBody | None = field(name="NetworkingConfig", default=None)

    def config(self) -> ContainerConfig:
        """What is asked, as a value of the model; raises ``Invalid`` or ``NotImplementedHere``."""
        host = self.host or HostBody()
        host.refuse_unknown()
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
            stop_signal=self.stop_signal or "",
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
            binds=tuple(host.binds or ()),
            read_only=bool(host.read_only),
            mounts=host.all_mounts(self.volumes or {}),
            limits=host.limits(),
            powers=host.powers(),
            health=self.healthcheck.check() if self.healthcheck else None,
            restart=host.restart.policy() if host.restart else RestartPolicy(),
            logging=host.log.settings() if host.log else LogSettings(),
        )

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
                    code=codes.OPTIONS_CONFLICT,
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
    detach_keys: str | None = field(name="DetachKeys", default=None)

    def spec(self) -> ExecSpec:
        """What is asked, as a value of the model; raises ``Invalid``."""
        args = _words(self.cmd)
        if not args:
            raise Invalid("No exec command specified", hint="write the command after the container's name")
        check_program(self.user or "", self.working_dir or "")
        return ExecSpec(
            args=args,
            env=tuple(self.env or ()),
            working_dir=self.working_dir or "",
            user=self.user or "",
            tty=bool(self.tty),
            open_stdin=bool(self.stdin),
            privileged=bool(self.privileged),
            detach_keys=self.detach_keys or "",
        )


class ExecStartBody(Struct):
    """``POST /exec/{id}/start``."""

    detach: bool | None = field(name="Detach", default=None)
    tty: bool | None = field(name="Tty", default=None)


def _words(words: Words | None) -> tuple[str, ...]:
    return (words,) if isinstance(words, str) else tuple(words or ())
