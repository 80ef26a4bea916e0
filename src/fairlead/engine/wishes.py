"""What a container may ask of its host beside its networks, checked before anything is recorded."""

from __future__ import annotations

import re

from fairlead.model import codes
from fairlead.model.container import ContainerConfig
from fairlead.model.errors import Invalid
from fairlead.model.health import check_health, check_policy
from fairlead.model.limits import OOM_SCORE_ADJ, Powers, check_limits, check_ulimit
from fairlead.model.mount import check_mount, check_unique, parse_volume
from fairlead.model.signals import signal_number

#: A kernel setting's name (sysctl(8)), with dots or slashes.
_SYSCTL = re.compile(r"[a-zA-Z0-9_.:@*/-]+\Z")
#: Settings that a namespace has for itself and that runc lets a container set (runc: libcontainer/configs/validate).
_IPC_SYSCTLS = frozenset(
    "kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shmall kernel.shmmax kernel.shmmni "
    "kernel.shm_rmid_forced".split()
)


def check_wishes(config: ContainerConfig) -> None:
    """Raise ``Invalid`` for the first wish that cannot be met by any machine, with Docker's words."""
    signal_number(config.stop_signal)
    check_policy(config.restart, auto_remove=config.auto_remove)
    if config.health is not None:
        check_health(config.health)
    mounts = (*map(parse_volume, config.binds), *map(check_mount, config.mounts))
    check_unique(mounts)
    check_limits(config.limits)
    _check_powers(config, config.powers)


def _check_powers(config: ContainerConfig, powers: Powers) -> None:
    for ulimit in powers.ulimits:
        check_ulimit(ulimit)
    if not OOM_SCORE_ADJ[0] <= powers.oom_score_adj <= OOM_SCORE_ADJ[1]:
        raise Invalid(
            f"Invalid value {powers.oom_score_adj}, range for oom score adj is [-1000, 1000]", code=codes.LIMIT_INVALID
        )
    if powers.shm_bytes < 0:
        raise Invalid("SHM size can not be less than 0", code=codes.LIMIT_INVALID)
    if powers.uts_mode == "host" and config.hostname:
        raise Invalid(
            "conflicting options: hostname and the UTS mode", hint="leave one of them out", code=codes.OPTIONS_CONFLICT
        )
    for name in powers.sysctls:
        _check_sysctl(config, name)


def _check_sysctl(config: ContainerConfig, name: str) -> None:
    if not _SYSCTL.match(name) or ".." in name:
        raise Invalid(f"invalid sysctl {name!r}", hint="write it like net.ipv4.ip_forward=1", code=codes.LIMIT_INVALID)
    plain = name.replace("/", ".")
    if plain.startswith("net."):
        if config.network_mode == "host":
            raise Invalid(
                f"sysctl {name} is not allowed in the host's network",
                hint="set it on the host",
                code=codes.LIMIT_INVALID,
            )
    elif plain not in _IPC_SYSCTLS and not plain.startswith("fs.mqueue."):
        raise Invalid(
            f"sysctl {name} is not in a separate kernel namespace",
            hint="net.*, fs.mqueue.* and System V IPC ones are",
            code=codes.LIMIT_INVALID,
        )
