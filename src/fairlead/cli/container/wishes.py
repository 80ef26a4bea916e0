"""The flags of a new container that are not about networks: health, restarts, limits, powers, mounts, logs."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping

import click

from fairlead.cli.console import pairs, text
from fairlead.model import codes
from fairlead.model.errors import Invalid
from fairlead.model.limits import NANO, parse_size

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|us|s|m|h)")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}

OPTIONS = (
    click.option("--health-cmd", default="", metavar="TEXT", help="Ask for its health by this command."),
    click.option("--health-interval", default="", metavar="SPAN", help="Time between two questions (30s)."),
    click.option("--health-timeout", default="", metavar="SPAN", help="Time for an answer (30s)."),
    click.option("--health-retries", type=int, default=0, metavar="N", help="Failures that make it unhealthy (3)."),
    click.option("--health-start-period", default="", metavar="SPAN", help="Failures do not count at first."),
    click.option("--health-start-interval", default="", metavar="SPAN", help="Time between questions then (5s)."),
    click.option("--no-healthcheck", is_flag=True, help="Never ask, whatever the image says."),
    click.option("-m", "--memory", default="", metavar="SIZE", help="Most memory, such as 64m."),
    click.option("--memory-swap", default="", metavar="SIZE", help="Memory and swap together; -1: no limit."),
    click.option("--memory-reservation", default="", metavar="SIZE", help="Memory it keeps when memory is short."),
    click.option("--cpus", type=float, default=0.0, metavar="N", help="Most CPUs, such as 0.5."),
    click.option("-c", "--cpu-shares", type=int, default=0, metavar="N", help="Its weight (1024)."),
    click.option("--cpuset-cpus", default="", metavar="LIST", help="CPUs it may use: 0-2,4."),
    click.option("--pids-limit", type=int, default=0, metavar="N", help="Most processes; -1: no limit."),
    click.option("--blkio-weight", type=int, default=0, metavar="N", help="Its weight at disks, 10 to 1000."),
    click.option("--ulimit", "ulimits", multiple=True, metavar="NAME=SOFT[:HARD]", help="A limit of each process."),
    click.option("--shm-size", default="", metavar="SIZE", help="Size of /dev/shm (64m)."),
    click.option("--oom-score-adj", type=int, default=0, metavar="N", help="Who goes first when memory is out."),
    click.option("--cap-add", multiple=True, metavar="CAP", help="A capability more; ALL."),
    click.option("--cap-drop", multiple=True, metavar="CAP", help="A capability less; ALL."),
    click.option("--privileged", is_flag=True, help="All capabilities, all devices."),
    click.option("--device", "devices", multiple=True, metavar="HOST[:INSIDE[:rwm]]", help="A device of the host."),
    click.option("--security-opt", "security", multiple=True, metavar="TEXT", help="no-new-privileges, seccomp=…"),
    click.option("--group-add", multiple=True, metavar="GROUP", help="Another group of its user."),
    click.option("--init", is_flag=True, help="Put a program before it that reaps processes."),
    click.option("--pid", "pid_mode", default="", metavar="MODE", help="host, or container:NAME."),
    click.option("--ipc", "ipc_mode", default="", metavar="MODE", help="host, private, or none."),
    click.option("--uts", "uts_mode", default="", metavar="MODE", help="host."),
    click.option("--cgroupns", "cgroupns_mode", default="", metavar="MODE", help="host or private."),
    click.option("--sysctl", "sysctls", multiple=True, metavar="NAME=VALUE", help="A setting of its own kernel part."),
    click.option("--mount", "mounts", multiple=True, metavar="type=T,src=S,dst=D", help="A mount in the long form."),
    click.option("--tmpfs", multiple=True, metavar="PATH[:OPTIONS]", help="Memory mounted at a path."),
    click.option("--log-driver", default="", metavar="NAME", help="json-file."),
    click.option("--log-opt", "log_options", multiple=True, metavar="K=V", help="max-size=10m, max-file=2."),
)

#: Fields of ``--mount`` -> what they mean.
_SOURCE, _TARGET, _READ_ONLY = ("source", "src"), ("target", "dst", "destination"), ("readonly", "ro")


def health(given: Mapping[str, object]) -> dict[str, object]:
    """``Healthcheck`` of the request, empty when nothing is said about it. Raises ``Invalid``."""
    spans = {
        "Interval": span_ns(text(given["health_interval"])),
        "Timeout": span_ns(text(given["health_timeout"])),
        "StartPeriod": span_ns(text(given["health_start_period"])),
        "StartInterval": span_ns(text(given["health_start_interval"])),
    }
    command, retries = text(given["health_cmd"]), given["health_retries"]
    if given["no_healthcheck"]:
        if command or retries or any(spans.values()):
            raise Invalid("--no-healthcheck conflicts with --health-* options", hint="leave one of them out")
        return {"Healthcheck": {"Test": ["NONE"]}}
    if not command and not retries and not any(spans.values()):
        return {}
    test = {"Test": ["CMD-SHELL", command]} if command else {}
    return {"Healthcheck": {**test, **spans, "Retries": retries}}


def host(given: Mapping[str, object]) -> dict[str, object]:
    """The part of ``HostConfig`` for these flags; raises ``Invalid``."""
    many = {key: [str(item) for item in value] for key, value in given.items() if isinstance(value, tuple)}
    return {
        **limits(given),
        "RestartPolicy": policy(text(given["restart"])),
        "Ulimits": [ulimit(item) for item in many["ulimits"]],
        "ShmSize": size(text(given["shm_size"])),
        "OomScoreAdj": given["oom_score_adj"],
        "CapAdd": many["cap_add"],
        "CapDrop": many["cap_drop"],
        "Privileged": given["privileged"],
        "Devices": [_device(item) for item in many["devices"]],
        "SecurityOpt": many["security"],
        "GroupAdd": many["group_add"],
        "Init": given["init"] or None,
        "PidMode": given["pid_mode"],
        "IpcMode": given["ipc_mode"],
        "UTSMode": given["uts_mode"],
        "CgroupnsMode": given["cgroupns_mode"],
        "Sysctls": pairs(many["sysctls"], what="sysctl"),
        "Mounts": [mount(item) for item in many["mounts"]],
        "Tmpfs": {target: options for target, _, options in (item.partition(":") for item in many["tmpfs"])},
        "LogConfig": {"Type": given["log_driver"], "Config": pairs(many["log_options"], what="log option")},
    }


def limits(given: Mapping[str, object]) -> dict[str, object]:
    """The limits that ``run`` and ``update`` share; raises ``Invalid``."""
    cpus = given["cpus"]
    return {
        "Memory": size(text(given["memory"])),
        "MemorySwap": size(text(given["memory_swap"])),
        "MemoryReservation": size(text(given["memory_reservation"])),
        "NanoCpus": round(cpus * NANO) if isinstance(cpus, float) else 0,
        "CpuShares": given["cpu_shares"],
        "CpusetCpus": given["cpuset_cpus"],
        "PidsLimit": given["pids_limit"] or None,
        "BlkioWeight": given["blkio_weight"],
    }


def policy(words: str) -> dict[str, object]:
    """``RestartPolicy`` out of ``on-failure:3``; raises ``Invalid``."""
    name, colon, retries = words.partition(":")
    if colon and not retries.isdecimal():
        raise Invalid("maximum retry count must be an integer", hint="write it like on-failure:3")
    return {"Name": name, "MaximumRetryCount": int(retries) if colon else 0}


def size(words: str) -> int:
    """Bytes of ``64m``, 0 for nothing, -1 for no limit; raises ``Invalid``."""
    return -1 if words == "-1" else parse_size(words) if words else 0


def span_ns(words: str) -> int:
    """Nanoseconds of ``1m30s``, 0 for nothing; raises ``Invalid``."""
    if words in ("", "0"):
        return 0
    parts = _SPAN.findall(words)
    if "".join(number + unit for number, unit in parts) != words:
        raise Invalid(f"invalid duration {words!r}", hint="write it like 500ms, 30s or 1m30s")
    return round(sum(float(number) * _SECONDS[unit] for number, unit in parts) * NANO)


def ulimit(words: str) -> dict[str, object]:
    """A limit of each process out of ``nofile=1024:4096``; raises ``Invalid``."""
    name, equals, value = words.partition("=")
    soft, _, hard = value.partition(":")
    numbers = [soft, hard or soft]
    if not equals or not all(re.fullmatch(r"-1|\d{1,19}", number) for number in numbers):
        raise Invalid(f"invalid ulimit argument: {words}", hint="write it like nofile=1024:4096")
    return {"Name": name, "Soft": int(numbers[0]), "Hard": int(numbers[1])}


def _device(words: str) -> dict[str, object]:
    source, target, permissions = (*words.split(":"), "", "")[:3]
    if target and set(target) <= set("rwm") and not permissions:
        target, permissions = "", target
    return {"PathOnHost": source, "PathInContainer": target or source, "CgroupPermissions": permissions or "rwm"}


def mount(words: str) -> dict[str, object]:
    """A mount out of ``type=bind,src=/a,dst=/b,readonly``; raises ``Invalid``."""
    made: dict[str, object] = {"Type": "volume"}
    for field in next(csv.reader([words]), []):
        key, _, value = field.partition("=")
        on = value.lower() in ("", "1", "true")
        if key == "type":
            made["Type"] = value
        elif key in _SOURCE:
            made["Source"] = value
        elif key in _TARGET:
            made["Target"] = value
        elif key in _READ_ONLY:
            made["ReadOnly"] = on
        elif key == "bind-propagation":
            made["BindOptions"] = {"Propagation": value}
        elif key == "volume-nocopy":
            made["VolumeOptions"] = {"NoCopy": on}
        elif key == "tmpfs-size":
            made["TmpfsOptions"] = {**_options(made), "SizeBytes": size(value)}
        elif key == "tmpfs-mode":
            made["TmpfsOptions"] = {**_options(made), "Mode": int(value, 8) if re.fullmatch("[0-7]+", value) else 0}
        else:
            raise Invalid(
                f"invalid argument {words!r} for --mount: unexpected key '{key}'",
                hint="type, src, dst, ro",
                code=codes.MOUNT_INVALID,
            )
    if "Target" not in made:
        raise Invalid(
            f"invalid argument {words!r} for --mount: target is required",
            hint="add dst=/path",
            code=codes.MOUNT_INVALID,
        )
    return made


def _options(made: Mapping[str, object]) -> dict[str, object]:
    found = made.get("TmpfsOptions")
    return dict(found) if isinstance(found, Mapping) else {}
