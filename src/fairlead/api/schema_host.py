"""``HostConfig``: what binds a container to its host, as clients write it, and as values of the model."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Struct, field

from fairlead.api.ports import HostPortBody
from fairlead.model import codes
from fairlead.model.container import LOG_BYTES_MAX, LOG_FILES_MAX, LogSettings
from fairlead.model.errors import Invalid, NotImplementedHere
from fairlead.model.health import RestartPolicy
from fairlead.model.limits import Device, Limits, Powers, Ulimit, parse_size
from fairlead.model.mount import Mount, parse_volume

#: A whole number that every reader of ours can take.
Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
#: Log drivers that mean our one: files that ``logs`` reads.
_LOG_DRIVERS = ("", "json-file", "local", "k8s-file")
#: Most files of a log. Reason: reading the tail opens them all. Our choice.
_LOG_FILES_MAX = 100


class RestartBody(Struct):
    """When to start a container again."""

    name: str | None = field(name="Name", default=None)
    retries: Whole | None = field(name="MaximumRetryCount", default=None)

    def policy(self) -> RestartPolicy:
        """As a value of the model."""
        return RestartPolicy(self.name or "no", self.retries or 0)


class TmpfsBody(Struct):
    """Settings of memory as a mount."""

    size_bytes: Whole | None = field(name="SizeBytes", default=None)
    mode: Whole | None = field(name="Mode", default=None)
    options: list[list[str]] | None = field(name="Options", default=None)


class BindBody(Struct):
    """Settings of a host path as a mount."""

    propagation: str | None = field(name="Propagation", default=None)
    create_source: bool | None = field(name="CreateMountpoint", default=None)


class VolumeBody(Struct):
    """Settings of a volume as a mount."""

    no_copy: bool | None = field(name="NoCopy", default=None)
    subpath: str | None = field(name="Subpath", default=None)


class MountBody(Struct):
    """One mount in the long form."""

    type: str = field(name="Type", default="")
    source: str | None = field(name="Source", default=None)
    target: str = field(name="Target", default="")
    read_only: bool | None = field(name="ReadOnly", default=None)
    bind: BindBody | None = field(name="BindOptions", default=None)
    volume: VolumeBody | None = field(name="VolumeOptions", default=None)
    tmpfs: TmpfsBody | None = field(name="TmpfsOptions", default=None)

    def mount(self) -> Mount:
        """As a value of the model; raises ``NotImplementedHere``."""
        bind, volume, tmpfs = self.bind or BindBody(), self.volume or VolumeBody(), self.tmpfs or TmpfsBody()
        if volume.subpath:
            raise NotImplementedHere(
                "a part of a volume cannot be mounted", hint="mount the whole volume", code=codes.MOUNT_INVALID
            )
        options = ["=".join(pair) for pair in tmpfs.options or ()]
        if tmpfs.size_bytes:
            options.append(f"size={tmpfs.size_bytes}")
        if tmpfs.mode:
            options.append(f"mode={tmpfs.mode:o}")
        return Mount(
            self.type,
            self.target,
            self.source or "",
            bool(self.read_only),
            propagation=bind.propagation or "",
            make_source=bool(bind.create_source),
            copy=not volume.no_copy,
            options=tuple(options),
        )


class UlimitBody(Struct):
    """A limit of each process."""

    name: str = field(name="Name", default="")
    soft: Whole = field(name="Soft", default=0)
    hard: Whole = field(name="Hard", default=0)


class DeviceBody(Struct):
    """A device of the host."""

    host: str = field(name="PathOnHost", default="")
    inside: str = field(name="PathInContainer", default="")
    permissions: str = field(name="CgroupPermissions", default="rwm")

    def device(self) -> Device:
        """As a value of the model; raises ``Invalid``."""
        if not self.host.startswith("/dev/") or ".." in self.host or not set(self.permissions) <= set("rwm"):
            raise Invalid(f"bad device specification: {self.host}", hint="write it like /dev/fuse:/dev/fuse:rwm")
        inside = self.inside or self.host
        if not inside.startswith("/") or ".." in inside:
            raise Invalid(f"{inside} is not an absolute path", hint="begin the place inside with /")
        return Device(self.host, inside, self.permissions or "rwm")


class LogBody(Struct):
    """How output is kept."""

    type: str | None = field(name="Type", default=None)
    config: dict[str, str] | None = field(name="Config", default=None)

    def settings(self) -> LogSettings:
        """As a value of the model; raises ``Invalid``, or ``NotImplementedHere`` for another driver."""
        driver, given = self.type or "", self.config or {}
        if driver not in _LOG_DRIVERS:
            raise NotImplementedHere(f"logger: no log driver named '{driver}' is registered", hint="use json-file")
        unknown = set(given) - {"max-size", "max-file", "compress", "mode", "labels", "env", "tag"}
        if unknown:
            raise Invalid(f"unknown log opt '{min(unknown)}' for json-file log driver", hint="max-size, max-file")
        size = given.get("max-size", "")
        files = given.get("max-file", "")
        if files and (not files.isdecimal() or not 1 <= int(files[:4]) <= _LOG_FILES_MAX):
            raise Invalid(f"invalid value for max-file: {files}", hint=f"a number from 1 to {_LOG_FILES_MAX}")
        bytes_max = -1 if size == "-1" else parse_size(size) if size else LOG_BYTES_MAX
        return LogSettings(bytes_max, int(files) if files else (1 if size else LOG_FILES_MAX), "json-file", given)


class LimitsBody(Struct):
    """What a cgroup holds a container to: part of ``HostConfig``, and the body of an update."""

    memory: Whole | None = field(name="Memory", default=None)
    memory_swap: Whole | None = field(name="MemorySwap", default=None)
    memory_reservation: Whole | None = field(name="MemoryReservation", default=None)
    memory_swappiness: Whole | None = field(name="MemorySwappiness", default=None)
    oom_kill_disable: bool | None = field(name="OomKillDisable", default=None)
    nano_cpus: Whole | None = field(name="NanoCpus", default=None)
    cpu_shares: Whole | None = field(name="CpuShares", default=None)
    cpu_period: Whole | None = field(name="CpuPeriod", default=None)
    cpu_quota: Whole | None = field(name="CpuQuota", default=None)
    cpuset_cpus: str | None = field(name="CpusetCpus", default=None)
    cpuset_mems: str | None = field(name="CpusetMems", default=None)
    pids: Whole | None = field(name="PidsLimit", default=None)
    blkio_weight: Whole | None = field(name="BlkioWeight", default=None)

    def limits(self) -> Limits:
        """As a value of the model."""
        swappiness = self.memory_swappiness
        return Limits(
            memory_bytes=self.memory or 0,
            memory_swap_bytes=self.memory_swap or 0,
            memory_reservation_bytes=self.memory_reservation or 0,
            memory_swappiness=-1 if swappiness is None else swappiness,
            oom_kill_disable=bool(self.oom_kill_disable),
            nano_cpus=self.nano_cpus or 0,
            cpu_shares=self.cpu_shares or 0,
            cpu_period_us=self.cpu_period or 0,
            cpu_quota_us=self.cpu_quota or 0,
            cpuset_cpus=self.cpuset_cpus or "",
            cpuset_mems=self.cpuset_mems or "",
            pids=self.pids if self.pids is not None and self.pids > 0 else -1 if self.pids else 0,
            blkio_weight=self.blkio_weight or 0,
        )


class UpdateBody(LimitsBody):
    """``POST /containers/{id}/update``."""

    restart: RestartBody | None = field(name="RestartPolicy", default=None)


class HostBody(LimitsBody):
    """``HostConfig``."""

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
    tmpfs: dict[str, str] | None = field(name="Tmpfs", default=None)
    read_only: bool | None = field(name="ReadonlyRootfs", default=None)
    restart: RestartBody | None = field(name="RestartPolicy", default=None)
    log: LogBody | None = field(name="LogConfig", default=None)
    privileged: bool | None = field(name="Privileged", default=None)
    cap_add: list[str] | None = field(name="CapAdd", default=None)
    cap_drop: list[str] | None = field(name="CapDrop", default=None)
    security_opt: list[str] | None = field(name="SecurityOpt", default=None)
    group_add: list[str] | None = field(name="GroupAdd", default=None)
    devices: list[DeviceBody] | None = field(name="Devices", default=None)
    device_rules: list[str] | None = field(name="DeviceCgroupRules", default=None)
    device_requests: list[object] | None = field(name="DeviceRequests", default=None)
    init: bool | None = field(name="Init", default=None)
    pid_mode: str | None = field(name="PidMode", default=None)
    ipc_mode: str | None = field(name="IpcMode", default=None)
    uts_mode: str | None = field(name="UTSMode", default=None)
    userns_mode: str | None = field(name="UsernsMode", default=None)
    cgroup_parent: str | None = field(name="CgroupParent", default=None)
    cgroupns_mode: str | None = field(name="CgroupnsMode", default=None)
    sysctls: dict[str, str] | None = field(name="Sysctls", default=None)
    ulimits: list[UlimitBody] | None = field(name="Ulimits", default=None)
    shm_bytes: Whole | None = field(name="ShmSize", default=None)
    oom_score_adj: Whole | None = field(name="OomScoreAdj", default=None)
    links: list[str] | None = field(name="Links", default=None)
    volumes_from: list[str] | None = field(name="VolumesFrom", default=None)
    volume_driver: str | None = field(name="VolumeDriver", default=None)
    runtime: str | None = field(name="Runtime", default=None)
    storage: dict[str, str] | None = field(name="StorageOpt", default=None)
    blkio_devices: list[object] | None = field(name="BlkioWeightDevice", default=None)
    read_bps: list[object] | None = field(name="BlkioDeviceReadBps", default=None)
    write_bps: list[object] | None = field(name="BlkioDeviceWriteBps", default=None)
    read_iops: list[object] | None = field(name="BlkioDeviceReadIOps", default=None)
    write_iops: list[object] | None = field(name="BlkioDeviceWriteIOps", default=None)
    cpu_realtime: Whole | None = field(name="CpuRealtimeRuntime", default=None)

    def refuse_unknown(self) -> None:
        """Raise ``NotImplementedHere`` for the first field that asks for what cannot be given here."""
        asked = {
            "legacy links": (self.links, "connect both containers to one network: their names resolve there"),
            "volumes of other containers": (self.volumes_from, "mount the same named volume in both"),
            "other OCI runtimes": (self.runtime not in (None, "", "runc"), "leave --runtime out"),
            "user namespaces": (self.userns_mode not in (None, "", "host"), "leave --userns out"),
            "other cgroup parents": (self.cgroup_parent, "leave --cgroup-parent out"),
            "storage options": (self.storage, "limit --memory: what the container writes counts as its memory"),
            "device requests (GPUs)": (self.device_requests, "give the devices with --device"),
            "limits of single block devices": (
                self.blkio_devices or self.read_bps or self.write_bps or self.read_iops or self.write_iops,
                "use --blkio-weight",
            ),
            "realtime CPU time": (self.cpu_realtime, "use --cpus or --cpu-shares"),
            "other volume drivers": (self.volume_driver not in (None, "", "local"), "use the driver local"),
            "IPC namespaces of other containers": (
                (self.ipc_mode or "").startswith("container:"),
                "use --ipc host for both, or a shared volume",
            ),
        }
        for what, (value, hint) in asked.items():
            if value:
                raise NotImplementedHere(f"{what} are not implemented", hint=hint)

    def all_mounts(self, volumes: dict[str, object]) -> tuple[Mount, ...]:
        """Mounts in the long form: those asked so, memory, and volumes without a name. Raises ``Invalid``."""
        made = [body.mount() for body in self.mounts or ()]
        for target, options in (self.tmpfs or {}).items():
            made.append(Mount("tmpfs", target, options=tuple(option for option in options.split(",") if option)))
        taken = {mount.target for mount in made} | {parse_volume(text).target for text in self.binds or ()}
        made += [Mount("volume", target, anonymous=True) for target in volumes if target.rstrip("/") not in taken]
        return tuple(made)

    def powers(self) -> Powers:
        """As a value of the model; raises ``Invalid`` or ``NotImplementedHere``."""
        security = _security(self.security_opt or [])
        return Powers(
            privileged=bool(self.privileged),
            cap_add=tuple(self.cap_add or ()),
            cap_drop=tuple(self.cap_drop or ()),
            no_new_privileges=security["no-new-privileges"],
            seccomp_unconfined=security["seccomp"],
            unmasked=security["systempaths"],
            group_add=tuple(self.group_add or ()),
            devices=tuple(body.device() for body in self.devices or ()),
            device_rules=tuple(self.device_rules or ()),
            init=bool(self.init),
            pid_mode=_mode("PID", self.pid_mode, ("host",), shared=True),
            ipc_mode=_mode("IPC", self.ipc_mode, ("host", "private", "shareable", "none")),
            uts_mode=_mode("UTS", self.uts_mode, ("host",)),
            cgroupns_mode=_mode("cgroup namespace", self.cgroupns_mode, ("host", "private")),
            sysctls=self.sysctls or {},
            ulimits=tuple(Ulimit(body.name, body.soft, body.hard) for body in self.ulimits or ()),
            shm_bytes=self.shm_bytes or 0,
            oom_score_adj=self.oom_score_adj or 0,
        )


def _mode(kind: str, mode: str | None, allowed: tuple[str, ...], *, shared: bool = False) -> str:
    """A namespace mode; raises ``Invalid`` with Docker's words."""
    text = mode or ""
    if text in ("", *allowed) or (shared and text.startswith("container:") and text != "container:"):
        return text
    raise Invalid(f"invalid {kind} mode: {text}", hint="one of " + ", ".join(allowed))


def _security(options: list[str]) -> dict[str, bool]:
    """The security options that are known here; raises ``Invalid`` or ``NotImplementedHere``."""
    found = {"no-new-privileges": False, "seccomp": False, "systempaths": False}
    for option in options:
        name, _, value = option.replace(":", "=", 1).partition("=")
        if name == "no-new-privileges" and value in ("", "true", "false"):
            found[name] = value != "false"
        elif name in ("seccomp", "systempaths", "apparmor", "label") and value in ("unconfined", "disable"):
            found[name] = True
        elif name == "seccomp" and value == "builtin":
            found[name] = False
        elif name in ("seccomp", "apparmor", "label", "credentialspec"):
            raise NotImplementedHere(
                f"security option {name} with a profile of one's own is not implemented", hint=f"{name}=unconfined"
            )
        else:
            raise Invalid(f'invalid --security-opt 2: "{option}"', hint="no-new-privileges, or seccomp=unconfined")
    return found
