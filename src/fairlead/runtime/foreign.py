"""Containers of other engines: which process is the first one in them. Asked each time, never remembered."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass

from fairlead.model import codes
from fairlead.model.errors import Conflict, Internal, Invalid, NotFound, Unavailable
from fairlead.runtime.processes import ENVIRONMENT

#: Docker's own place for its socket.
DOCKER_HOST = "unix:///var/run/docker.sock"
#: Seconds for an engine's answer: Docker's takes milliseconds, Podman starts a program that takes a tenth of one.
_ANSWER_S = 15.0
#: Bytes of an answer: a container with thousands of labels and mounts stays far below.
_ANSWER_BYTES_MAX = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ForeignEngines:
    """Where they are. ``docker_host`` is ``unix:///path``; ``podman_root`` and ``podman_runroot`` are those of
    podman(1), empty for its defaults."""

    docker_host: str = DOCKER_HOST
    podman_root: str = ""
    podman_runroot: str = ""

    async def pid(self, kind: str, name: str) -> int:
        """The first process of a container; ``name`` keeps to the grammar of names. Raises ``NotFound``, ``Conflict``
        when it does not run, ``Unavailable`` when the engine does not answer."""
        return await (self._docker(name) if kind == "docker" else self._podman(name))

    async def _docker(self, name: str) -> int:
        if not self.docker_host.startswith("unix://"):
            raise Invalid(
                f"Docker at {self.docker_host} cannot be asked: its containers are on another machine",
                hint="start the daemon with --docker-host unix:///path/to/docker.sock",
                code=codes.ENGINE_UNREACHABLE,
            )
        path = self.docker_host.removeprefix("unix://")
        try:
            status, body = await asyncio.wait_for(_get(path, f"/containers/{name}/json"), _ANSWER_S)
        except (OSError, TimeoutError, ValueError) as error:
            raise Unavailable(
                f"Docker does not answer at {path}: {str(error) or 'it takes too long'}",
                hint="start dockerd, or name its socket by the daemon's option --docker-host",
                code=codes.ENGINE_UNREACHABLE,
            ) from error
        if status == 404:
            raise NotFound(
                f"Docker has no container {name}", hint="`docker ps` lists those that run", code=codes.TARGET_NOT_FOUND
            )
        if status != 200:
            raise Internal(
                f"Docker answered with status {status} about container {name}", code=codes.ENGINE_UNREACHABLE
            )
        state = body.get("State")
        return _running("Docker", name, state.get("Pid") if isinstance(state, dict) else None)

    async def _podman(self, name: str) -> int:
        places = [*_flag("--root", self.podman_root), *_flag("--runroot", self.podman_runroot)]
        words = ["podman", *places, "container", "inspect", "--format", "{{.State.Pid}}", name]
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=dict(ENVIRONMENT),
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise Unavailable(
                f"cannot run podman: {error.strerror}", hint="is Podman installed?", code=codes.ENGINE_UNREACHABLE
            ) from error
        try:
            output, complaint = await asyncio.wait_for(process.communicate(), _ANSWER_S)
        except TimeoutError as error:
            raise Unavailable(
                "podman takes too long to answer", hint="try `podman ps` by hand", code=codes.ENGINE_UNREACHABLE
            ) from error
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode:
            words_of_it = complaint.decode(errors="replace").strip().splitlines()
            last = words_of_it[-1][:200] if words_of_it else f"exit code {process.returncode}"
            if "no such container" in last or "no container with" in last:
                raise NotFound(
                    f"Podman has no container {name}",
                    hint="`podman ps` lists those that run",
                    code=codes.TARGET_NOT_FOUND,
                )
            raise Internal(f"podman failed: {last}", code=codes.ENGINE_UNREACHABLE)
        text = output.decode(errors="replace").strip()
        return _running("Podman", name, int(text) if text.isdigit() else None)


def _flag(name: str, value: str) -> list[str]:
    return [name, value] if value else []


def _running(engine: str, name: str, pid: object) -> int:
    if not isinstance(pid, int) or pid <= 0:
        raise Conflict(
            f"{engine}'s container {name} is not running",
            hint=f"`{engine.lower()} start {name}` first",
            code=codes.CONTAINER_NOT_RUNNING,
        )
    return pid


async def _get(socket_path: str, target: str) -> tuple[int, dict[str, object]]:
    """One question in HTTP/1.0, whose answer ends with the connection: status and JSON. Raises ``OSError`` and
    ``ValueError``."""
    reader, writer = await asyncio.open_unix_connection(socket_path, limit=_ANSWER_BYTES_MAX)
    try:
        writer.write(f"GET {target} HTTP/1.0\r\nHost: docker\r\n\r\n".encode("ascii"))
        await writer.drain()
        data = bytearray()
        while piece := await reader.read(65536):
            data += piece
            if len(data) > _ANSWER_BYTES_MAX:
                raise ValueError("its answer is too long")
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    head, _, body = bytes(data).partition(b"\r\n\r\n")
    words = head.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise ValueError("its answer is not HTTP")
    answer = json.loads(body) if body.strip() else {}
    return int(words[1]), answer if isinstance(answer, dict) else {}
