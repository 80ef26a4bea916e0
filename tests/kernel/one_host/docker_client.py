"""The real docker clients, spoken to as a person does."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable

from tests.kernel.one_host.host import Host

#: Runs ``docker WORDS``; ``code`` is the exit code that is expected.
Docker = Callable[..., subprocess.CompletedProcess[str]]
#: Seconds that one call of the client may take.
_CALL_S = 90


def clients() -> list[str]:
    """Every docker client on the PATH, each once."""
    found = [shutil.which("docker", path=folder) for folder in os.environ.get("PATH", "").split(os.pathsep)]
    real = {os.path.realpath(path): path for path in found if path}
    return sorted(real.values())


def docker_of(client: str, host: Host) -> Docker:
    """A client that speaks with the daemon of a test."""

    def run(*words: str, code: int | None = 0, text: str = "") -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "DOCKER_HOST": host.url, "HOME": str(host.folder)}
        done = subprocess.run(
            [client, *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_CALL_S,
            **({"input": text} if text else {"stdin": subprocess.DEVNULL}),
        )
        if code is not None:
            said = f"docker {' '.join(words)}: exit {done.returncode}: {done.stdout}{done.stderr}"
            assert done.returncode == code, said
        return done

    return run
