"""``ContainerSpec`` of a service's tasks in the Engine API's JSON, both ways.

What a client reads it can send back unchanged: ``service update`` of every client does just that.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct, field

from fairlead.api.schema_create import HealthBody
from fairlead.api.schema_host import MountBody, UlimitBody, Whole
from fairlead.api.schema_host_config import health_json
from fairlead.model import codes
from fairlead.model.container import STOP_TIMEOUT_S, ContainerConfig, LogSettings
from fairlead.model.errors import Invalid, NotImplementedHere
from fairlead.model.limits import NANO, Limits, Powers, Ulimit
from fairlead.model.mount import Mount, check_mount, check_unique

#: The host's own root file system, and how clients of registries write it: they give every name a tag.
_HOST_IMAGE, _HOST_TAGGED = "host", "host:latest"
_UNCONFINED = "unconfined"


class ModeBody(Struct):
    """A profile of the kernel's security modules."""

    mode: str | None = field(name="Mode", default=None)
    profile: str | None = field(name="Profile", default=None)


class PrivilegesBody(Struct):
    """What processes may do."""

    no_new: bool | None = field(name="NoNewPrivileges", default=None)
    seccomp: ModeBody | None = field(name="Seccomp", default=None)
    app_armor: ModeBody | None = field(name="AppArmor", default=None)
    credentials: object = field(name="CredentialSpec", default=None)
    selinux: object = field(name="SELinuxContext", default=None)


class DnsBody(Struct):
    """Name servers of its own."""

    servers: list[str] | None = field(name="Nameservers", default=None)
    search: list[str] | None = field(name="Search", default=None)
    options: list[str] | None = field(name="Options", default=None)


class ContainerSpecBody(Struct):
    """What a task runs."""

    image: str | None = field(name="Image", default=None)
    labels: dict[str, str] | None = field(name="Labels", default=None)
    command: list[str] | None = field(name="Command", default=None)
    args: list[str] | None = field(name="Args", default=None)
    hostname: str | None = field(name="Hostname", default=None)
    env: list[str] | None = field(name="Env", default=None)
    dir: str | None = field(name="Dir", default=None)
    user: str | None = field(name="User", default=None)
    groups: list[str] | None = field(name="Groups", default=None)
    privileges: PrivilegesBody | None = field(name="Privileges", default=None)
    init: bool | None = field(name="Init", default=None)
    stop_signal: str | None = field(name="StopSignal", default=None)
    tty: bool | None = field(name="TTY", default=None)
    open_stdin: bool | None = field(name="OpenStdin", default=None)
    read_only: bool | None = field(name="ReadOnly", default=None)
    mounts: list[MountBody] | None = field(name="Mounts", default=None)
    grace: Whole | None = field(name="StopGracePeriod", default=None)
    healthcheck: HealthBody | None = field(name="Healthcheck", default=None)
    hosts: list[str] | None = field(name="Hosts", default=None)
    dns: DnsBody | None = field(name="DNSConfig", default=None)
    secrets: list[object] | None = field(name="Secrets", default=None)
    configs: list[object] | None = field(name="Configs", default=None)
    sysctls: dict[str, str] | None = field(name="Sysctls", default=None)
    cap_add: list[str] | None = field(name="CapabilityAdd", default=None)
    cap_drop: list[str] | None = field(name="CapabilityDrop", default=None)
    ulimits: list[UlimitBody] | None = field(name="Ulimits", default=None)
    oom_score_adj: Whole | None = field(name="OomScoreAdj", default=None)

    def config(self, limits: Limits, logging: LogSettings) -> ContainerConfig:
        """As a value of the model; raises ``Invalid`` or ``NotImplementedHere``."""
        if self.secrets or self.configs:
            raise NotImplementedHere("secrets and configs are not implemented", hint="mount a directory of the nodes")
        if not self.image:
            raise Invalid(
                "ContainerSpec: image reference must be provided",
                hint="`host` is the nodes' own root file system",
                code=codes.SERVICE_INVALID,
            )
        dns = self.dns or DnsBody()
        mounts = tuple(check_mount(body.mount()) for body in self.mounts or ())
        check_unique(mounts)
        return ContainerConfig(
            image=_HOST_IMAGE if self.image == _HOST_TAGGED else self.image,
            command=tuple(self.args or ()),
            entrypoint=tuple(self.command or ()),
            env=tuple(self.env or ()),
            working_dir=self.dir or "",
            user=self.user or "",
            hostname=self.hostname or "",
            tty=bool(self.tty),
            open_stdin=bool(self.open_stdin),
            labels=self.labels or {},
            stop_signal=self.stop_signal or "",
            stop_timeout_s=STOP_TIMEOUT_S if self.grace is None else max(0, -(-self.grace // NANO)),
            dns=tuple(dns.servers or ()),
            dns_search=tuple(dns.search or ()),
            dns_options=tuple(dns.options or ()),
            extra_hosts=tuple(_extra_hosts(self.hosts or ())),
            read_only=bool(self.read_only),
            mounts=mounts,
            limits=limits,
            powers=self._powers(),
            health=self.healthcheck.check() if self.healthcheck else None,
            logging=logging,
        )

    def _powers(self) -> Powers:
        asked = self.privileges or PrivilegesBody()
        if asked.credentials or (asked.seccomp and asked.seccomp.profile):
            raise NotImplementedHere(
                "a security profile of one's own is not implemented", hint="leave it out, or unconfined"
            )
        return Powers(
            cap_add=tuple(self.cap_add or ()),
            cap_drop=tuple(self.cap_drop or ()),
            no_new_privileges=bool(asked.no_new),
            seccomp_unconfined=asked.seccomp is not None and asked.seccomp.mode == _UNCONFINED,
            group_add=tuple(self.groups or ()),
            init=bool(self.init),
            sysctls=self.sysctls or {},
            ulimits=tuple(Ulimit(body.name, body.soft, body.hard) for body in self.ulimits or ()),
            oom_score_adj=self.oom_score_adj or 0,
        )


def container_spec_json(config: ContainerConfig) -> dict[str, object]:
    """What a task runs; fields that say nothing are left out, as Docker leaves them."""
    powers = config.powers
    privileges: dict[str, object] = {"NoNewPrivileges": True} if powers.no_new_privileges else {}
    if powers.seccomp_unconfined:
        privileges["Seccomp"] = {"Mode": _UNCONFINED}
    dns = {"Nameservers": list(config.dns), "Search": list(config.dns_search), "Options": list(config.dns_options)}
    body: dict[str, object] = {
        "Labels": config.labels,
        "Command": list(config.entrypoint),
        "Args": list(config.command),
        "Hostname": config.hostname,
        "Env": list(config.env),
        "Dir": config.working_dir,
        "User": config.user,
        "Groups": list(powers.group_add),
        "Privileges": privileges,
        "Init": powers.init,
        "StopSignal": config.stop_signal,
        "TTY": config.tty,
        "OpenStdin": config.open_stdin,
        "ReadOnly": config.read_only,
        "Mounts": [_mount_json(mount) for mount in config.mounts],
        "Healthcheck": health_json(config.health),
        "Hosts": [f"{address} {name}" for name, _, address in (line.partition(":") for line in config.extra_hosts)],
        "DNSConfig": {key: value for key, value in dns.items() if value},
        "Sysctls": powers.sysctls,
        "CapabilityAdd": list(powers.cap_add),
        "CapabilityDrop": list(powers.cap_drop),
        "Ulimits": [{"Name": item.name, "Soft": item.soft, "Hard": item.hard} for item in powers.ulimits],
        "OomScoreAdj": powers.oom_score_adj,
    }
    said = {key: value for key, value in body.items() if value}
    return {"Image": config.image, **said, "StopGracePeriod": config.stop_timeout_s * NANO, "Isolation": "default"}


def log_driver_json(logging: LogSettings) -> dict[str, object]:
    """``LogDriver`` of a task, empty for the usual one."""
    if logging == LogSettings():
        return {}
    return {"LogDriver": {"Name": logging.driver, "Options": logging.options}}


def _extra_hosts(lines: Iterable[str]) -> Iterable[str]:
    """``name:address`` out of lines of hosts(5), as services have them; raises ``Invalid``."""
    for line in lines:
        address, *names = line.split()
        if not names:
            raise Invalid(f"invalid hosts entry {line!r}", hint="write ADDRESS NAME", code=codes.SERVICE_INVALID)
        for name in names:
            yield f"{name}:{address}"


def _mount_json(mount: Mount) -> dict[str, object]:
    body: dict[str, object] = {"Type": mount.kind, "Source": mount.source, "Target": mount.target}
    if mount.read_only:
        body["ReadOnly"] = True
    if mount.propagation or mount.make_source:
        bind = {"Propagation": mount.propagation, "CreateMountpoint": mount.make_source}
        body["BindOptions"] = {key: value for key, value in bind.items() if value}
    if not mount.copy:
        body["VolumeOptions"] = {"NoCopy": True}
    if mount.options:
        body["TmpfsOptions"] = {"Options": [option.split("=", 1) for option in mount.options]}
    return body
