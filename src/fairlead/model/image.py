"""Image: a root file system and what its maker says about how to run it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from fairlead.model import codes
from fairlead.model.container import ContainerConfig
from fairlead.model.errors import Invalid
from fairlead.model.health import HealthCheck
from fairlead.model.mount import Mount

#: Tag that a name without one has (Docker).
DEFAULT_TAG = "latest"
#: The stop signal when neither user nor image names one (Docker).
STOP_SIGNAL = "SIGTERM"


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What a container of the image gets unless its user says otherwise; ``exposed`` like ``80/tcp``."""

    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    exposed: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    stop_signal: str = ""
    health: HealthCheck | None = None


def with_defaults(config: ContainerConfig, image: ImageConfig) -> ContainerConfig:
    """What the user asked, completed by the image (moby: daemon/commit.go, merge). An entrypoint of the user's own
    takes the image's command away."""
    own = config.entrypoint
    command = config.command or (() if own else image.command)
    named = {entry.partition("=")[0] for entry in config.env}
    below = tuple(entry for entry in image.env if entry.partition("=")[0] not in named)
    taken = {mount.target for mount in config.mounts}
    volumes = tuple(Mount("volume", target, anonymous=True) for target in image.volumes if target not in taken)
    return replace(
        config,
        command=command,
        entrypoint=own or image.entrypoint,
        env=(*below, *config.env),
        working_dir=config.working_dir or image.working_dir,
        user=config.user or image.user,
        exposed=tuple(dict.fromkeys((*config.exposed, *image.exposed))),
        mounts=(*config.mounts, *volumes),
        labels={**image.labels, **config.labels},
        stop_signal=config.stop_signal or image.stop_signal or STOP_SIGNAL,
        health=image.health if config.health is None else config.health,
    )


def parse_changes(lines: Iterable[str]) -> ImageConfig:
    """``--change`` instructions (Dockerfile's ``CMD``, ``ENTRYPOINT``, ``ENV``, ``WORKDIR``, ``USER``, ``EXPOSE``,
    ``LABEL``, ``VOLUME``, ``STOPSIGNAL``) as an image's defaults; raises ``Invalid``."""
    config = ImageConfig()
    for line in lines:
        word, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        if not rest:
            raise Invalid(
                f"invalid change {line!r}",
                hint='write it like CMD ["nginx", "-g", "daemon off;"]',
                code=codes.IMAGE_INVALID,
            )
        match word.upper():
            case "CMD":
                config = replace(config, command=_words(rest))
            case "ENTRYPOINT":
                config = replace(config, entrypoint=_words(rest))
            case "ENV":
                config = replace(config, env=(*config.env, *_pairs(rest)))
            case "LABEL":
                labels = {key: value for key, _, value in (pair.partition("=") for pair in _pairs(rest))}
                config = replace(config, labels={**config.labels, **labels})
            case "WORKDIR":
                config = replace(config, working_dir=rest)
            case "USER":
                config = replace(config, user=rest)
            case "STOPSIGNAL":
                config = replace(config, stop_signal=rest)
            case "EXPOSE":
                ports = tuple(port if "/" in port else f"{port}/tcp" for port in rest.split())
                config = replace(config, exposed=(*config.exposed, *ports))
            case "VOLUME":
                config = replace(config, volumes=(*config.volumes, *_list(rest)))
            case _:
                raise Invalid(
                    f"{word} is not a valid change command",
                    hint="CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, …",
                    code=codes.IMAGE_INVALID,
                )
    return config


def full_name(name: str) -> str:
    """A name as images carry it: ``alpine`` and ``docker.io/library/alpine`` are ``alpine:latest``."""
    plain = name.removeprefix("index.").removeprefix("docker.io/").removeprefix("library/")
    last = plain.rpartition("/")[2]
    return plain if ":" in last or "@" in last else f"{plain}:{DEFAULT_TAG}"


def _words(text: str) -> tuple[str, ...]:
    """The JSON form as words, the other one for the shell."""
    return _json_list(text) or ("/bin/sh", "-c", text)


def _list(text: str) -> tuple[str, ...]:
    return _json_list(text) or tuple(text.split())


def _json_list(text: str) -> tuple[str, ...] | None:
    """A JSON list of texts; None for anything else."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return tuple(found) if isinstance(found, list) and all(isinstance(word, str) for word in found) else None


def _pairs(text: str) -> tuple[str, ...]:
    """``A=b C="d e"``, or the old form ``A b``."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise Invalid(
            f"invalid change: {text!r}: {error}", hint='write it like ENV NAME="some value"', code=codes.IMAGE_INVALID
        ) from error
    if all("=" in word for word in words):
        return tuple(words)
    name, _, value = text.partition(" ")
    return (f"{name}={value.strip()}",)
