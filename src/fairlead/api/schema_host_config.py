"""``HostConfig``, ``Mounts`` and ``Healthcheck`` of a container in the Engine API's JSON."""

from __future__ import annotations

from fairlead.api.ports import bindings_json
from fairlead.model.container import Container
from fairlead.model.health import HealthCheck
from fairlead.model.limits import NANO
from fairlead.model.mount import Mount, parse_volume

#: Bytes of /dev/shm unless asked otherwise (Docker).
_SHM_BYTES = 64 << 20


def host_config(container: Container, network_mode: str) -> dict[str, object]:
    """What binds a container to its host."""
    config, limits = container.config, container.config.limits
    return {
        "Binds": list(config.binds) or None,
        "ContainerIDFile": "",
        "LogConfig": {"Type": config.logging.driver, "Config": config.logging.options},
        "NetworkMode": network_mode,
        "PortBindings": bindings_json(config.ports),
        "RestartPolicy": {"Name": config.restart.name, "MaximumRetryCount": config.restart.retries},
        "AutoRemove": config.auto_remove,
        "PublishAllPorts": config.publish_all,
        "VolumeDriver": "",
        "VolumesFrom": None,
        "Dns": list(config.dns),
        "DnsOptions": list(config.dns_options),
        "DnsSearch": list(config.dns_search),
        "ExtraHosts": list(config.extra_hosts) or None,
        "Links": None,
        "ReadonlyRootfs": config.read_only,
        "Runtime": "runc",
        "Mounts": [_asked_mount(mount) for mount in config.mounts if mount.kind != "tmpfs" and not mount.anonymous],
        "Tmpfs": {mount.target: ",".join(mount.options) for mount in config.mounts if mount.kind == "tmpfs"},
        "Memory": limits.memory_bytes,
        "MemorySwap": limits.memory_swap_bytes or 2 * limits.memory_bytes,
        "MemoryReservation": limits.memory_reservation_bytes,
        "MemorySwappiness": limits.memory_swappiness if limits.memory_swappiness >= 0 else None,
        "OomKillDisable": limits.oom_kill_disable,
        "NanoCpus": limits.nano_cpus,
        "CpuShares": limits.cpu_shares,
        "CpuPeriod": limits.cpu_period_us,
        "CpuQuota": limits.cpu_quota_us,
        "CpusetCpus": limits.cpuset_cpus,
        "CpusetMems": limits.cpuset_mems,
        "PidsLimit": limits.pids or None,
        "BlkioWeight": limits.blkio_weight,
        **_powers(container),
    }


def _powers(container: Container) -> dict[str, object]:
    powers = container.config.powers
    security = {
        "no-new-privileges": powers.no_new_privileges,
        "seccomp=unconfined": powers.seccomp_unconfined,
        "systempaths=unconfined": powers.unmasked,
    }
    return {
        "Privileged": powers.privileged,
        "CapAdd": list(powers.cap_add) or None,
        "CapDrop": list(powers.cap_drop) or None,
        "SecurityOpt": [name for name, on in security.items() if on] or None,
        "GroupAdd": list(powers.group_add) or None,
        "Devices": [
            {"PathOnHost": item.host, "PathInContainer": item.inside, "CgroupPermissions": item.permissions}
            for item in powers.devices
        ],
        "DeviceCgroupRules": list(powers.device_rules) or None,
        "Init": powers.init or None,
        "PidMode": powers.pid_mode,
        "IpcMode": powers.ipc_mode or "private",
        "UTSMode": powers.uts_mode,
        "UsernsMode": "",
        "CgroupnsMode": powers.cgroupns_mode or "host",
        "CgroupParent": "",
        "Sysctls": powers.sysctls,
        "Ulimits": [{"Name": item.name, "Soft": item.soft, "Hard": item.hard} for item in powers.ulimits],
        "ShmSize": powers.shm_bytes or _SHM_BYTES,
        "OomScoreAdj": powers.oom_score_adj,
    }


def all_mounts(container: Container) -> tuple[Mount, ...]:
    """Everything that a container mounts."""
    return (*map(parse_volume, container.config.binds), *container.config.mounts)


def mount_json(mount: Mount, volume_path: str = "") -> dict[str, object]:
    """A mount in ``Mounts``; ``volume_path`` is where a volume lies."""
    body: dict[str, object] = {"Type": mount.kind}
    if mount.kind == "volume":
        body |= {"Name": mount.source, "Driver": "local"}
    return {
        **body,
        "Source": volume_path if mount.kind == "volume" else mount.source,
        "Destination": mount.target,
        "Mode": mount.mode,
        "RW": not mount.read_only,
        "Propagation": (mount.propagation or "rprivate") if mount.kind == "bind" else "",
    }


def health_json(check: HealthCheck | None) -> dict[str, object] | None:
    """``Config.Healthcheck``."""
    if check is None:
        return None
    if not check.command:
        return {"Test": ["NONE"]}
    return {
        "Test": ["CMD-SHELL" if check.shell else "CMD", *check.command],
        "Interval": round(check.interval_s * NANO),
        "Timeout": round(check.timeout_s * NANO),
        "StartPeriod": round(check.start_period_s * NANO),
        "StartInterval": round(check.start_interval_s * NANO),
        "Retries": check.retries,
    }


def _asked_mount(mount: Mount) -> dict[str, object]:
    """A mount as it was asked for."""
    body: dict[str, object] = {"Type": mount.kind, "Source": mount.source, "Target": mount.target}
    if mount.read_only:
        body["ReadOnly"] = True
    if mount.propagation:
        body["BindOptions"] = {"Propagation": mount.propagation}
    return body
