"""Health: whether a container does its work, as a command of its user's finds out; and when it is started again."""

from __future__ import annotations

from dataclasses import dataclass

from fairlead.model import codes
from fairlead.model.errors import Invalid

#: Docker's defaults, seconds and tries (moby: daemon/health.go).
INTERVAL_S, TIMEOUT_S, START_INTERVAL_S, RETRIES = 30.0, 30.0, 5.0, 3
#: Least time of each setting, seconds (Docker: containertypes.MinimumDuration, 1 ms).
DURATION_S_MIN = 0.001
#: Policies of starting again.
POLICIES = ("no", "on-failure", "always", "unless-stopped")


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How to ask. ``command`` are words to run, or one text for the shell with ``shell``; times in seconds; 0 is
    Docker's default."""

    command: tuple[str, ...] = ()
    shell: bool = False
    interval_s: float = 0.0
    timeout_s: float = 0.0
    start_period_s: float = 0.0
    start_interval_s: float = 0.0
    retries: int = 0

    @property
    def words(self) -> tuple[str, ...]:
        """The command as it is run."""
        return ("/bin/sh", "-c", " ".join(self.command)) if self.shell else self.command


@dataclass(frozen=True, slots=True)
class HealthResult:
    """One answer: times are epoch seconds, ``output`` the beginning of what the command wrote."""

    start: float
    end: float
    exit_code: int
    output: str


@dataclass(frozen=True, slots=True)
class Health:
    """What is known: ``starting``, ``healthy`` or ``unhealthy``; failures since the last success; the last answers."""

    status: str = "starting"
    failing_streak: int = 0
    log: tuple[HealthResult, ...] = ()


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When a container is started again at its end. ``retries`` 0 is without bound."""

    name: str = "no"
    retries: int = 0


def check_health(check: HealthCheck) -> None:
    """Raise ``Invalid`` with Docker's words for times and tries that cannot be."""
    times = {
        "Interval": check.interval_s,
        "Timeout": check.timeout_s,
        "StartPeriod": check.start_period_s,
        "StartInterval": check.start_interval_s,
    }
    for name, seconds in times.items():
        if seconds and seconds < DURATION_S_MIN:
            raise Invalid(f"{name} in Healthcheck cannot be less than 1ms", code=codes.LIMIT_INVALID)
    if check.retries < 0:
        raise Invalid("Retries in Healthcheck cannot be negative", code=codes.LIMIT_INVALID)


def check_policy(policy: RestartPolicy, *, auto_remove: bool) -> None:
    """Raise ``Invalid`` with Docker's words for a policy that cannot be."""
    if policy.name not in POLICIES:
        raise Invalid(
            f"invalid restart policy: unknown policy '{policy.name}'; use one of 'no', 'always', 'on-failure', or "
            "'unless-stopped'",
            code=codes.LIMIT_INVALID,
        )
    if policy.retries < 0:
        raise Invalid("invalid restart policy: maximum retry count cannot be negative", code=codes.LIMIT_INVALID)
    if policy.retries and policy.name != "on-failure":
        raise Invalid(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'", code=codes.LIMIT_INVALID
        )
    if auto_remove and policy.name != "no":
        raise Invalid(
            "can't create 'AutoRemove' container with restart policy",
            hint="leave --rm or --restart out",
            code=codes.OPTIONS_CONFLICT,
        )
