"""What can be done with a running container beside starting and ending it: its clock, its limits, its health, its use."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fairlead.model import codes
from fairlead.model.errors import Conflict, Internal, Invalid
from fairlead.model.limits import Limits
from fairlead.model.runspec import ExecSpec
from fairlead.runtime import cgroups
from fairlead.runtime.bundle import CGROUP_PARENT
from fairlead.runtime.conmon import readable
from fairlead.runtime.layout import files_of, runc_root
from fairlead.runtime.lifecycle import Containers
from fairlead.runtime.processes import capture, run
from fairlead.runtime.volumes import Volumes

#: Characters kept of what a health command writes (Docker: maxOutputLen).
PROBE_OUTPUT_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Traffic:
    """Counters of one interface inside a container since it was made."""

    name: str
    rx: tuple[int, int, int, int]
    tx: tuple[int, int, int, int]


class Steering(Containers):
    """Containers that can be steered."""

    async def suspend(self, container_id: str, *, resume: bool) -> None:
        """Freeze all processes of a container, or let them go on. Raises ``Internal`` with what runc says."""
        await self._runc_says("resume" if resume else "pause", container_id)

    def is_suspended(self, container_id: str) -> bool:
        """Whether its processes are frozen, or about to be."""
        for path, frozen in (("freezer/{}/freezer.state", ("FROZEN", "FREEZING")), ("{}/cgroup.freeze", ("1",))):
            place = cgroups.CGROUP_ROOT / path.format(f"{CGROUP_PARENT.lstrip('/')}/{container_id}")
            if place.exists():
                return place.read_text().strip() in frozen
        return False

    async def limit(self, container_id: str, limits: Limits) -> None:
        """Hold a running container to other limits. Raises ``Internal`` with what the kernel says."""
        possible, _ = cgroups.possible(limits)
        wanted = cgroups.resources(possible)
        if not wanted:
            return
        plan = files_of(self._paths, container_id).run / "limits.json"
        plan.write_text(json.dumps(wanted), "utf-8")
        try:
            await self._runc_says("update", "--resources", str(plan), container_id)
        finally:
            plan.unlink(missing_ok=True)

    async def probe(self, container_id: str, words: tuple[str, ...], timeout_s: float) -> tuple[int, str]:
        """Run a health command: (exit code, beginning of its output); -1 when it took longer than ``timeout_s``.
        Raises what starting a command raises."""
        files = files_of(self._paths, container_id)
        exec_id = self._execs.create(container_id, files, ExecSpec(args=words))
        stream = self._execs.start(exec_id)
        output = b""
        try:
            async with asyncio.timeout(timeout_s):
                while (piece := await stream.read()) is not None:
                    output = (output + piece[1])[:PROBE_OUTPUT_BYTES]
        except TimeoutError:
            self._execs.kill(exec_id)
            return -1, f"Health check exceeded timeout ({timeout_s:g}s)"
        finally:
            await stream.close()
        code = self._execs.inspect(exec_id)["ExitCode"]
        self._execs.forget(exec_id)
        return (code if isinstance(code, int) else -1), output.decode("utf-8", "replace")

    async def top(self, container_id: str, words: tuple[str, ...]) -> tuple[list[str], list[list[str]]]:
        """The host's ``ps`` of a container's processes: titles and rows. Raises ``Conflict`` when it does not run,
        ``Invalid`` for options without a PID column or that ``ps`` refuses."""
        members = set(cgroups.members(container_id))
        if not self.pid_of(container_id):
            raise Conflict(
                f"container {container_id} is not running", hint="start it first", code=codes.CONTAINER_NOT_RUNNING
            )
        code, text, said = await capture(["ps", *words])
        if code != 0:
            raise Invalid(f"ps: {said or 'failed'}", hint="give options of ps(1)", code=codes.START_FAILED)
        titles, *lines = text.splitlines() or [""]
        columns = titles.split()
        if "PID" not in columns:
            raise Invalid(
                "Couldn't find PID field in ps output",
                hint="choose columns with pid among them",
                code=codes.START_FAILED,
            )
        place = columns.index("PID")
        rows = [line.split(None, len(columns) - 1) for line in lines]
        return columns, [
            row for row in rows if len(row) > place and row[place].isdecimal() and int(row[place]) in members
        ]

    def usage(self, container_id: str) -> cgroups.Usage:
        """What a container has used since its start."""
        return cgroups.usage(container_id)

    def traffic(self, container_id: str) -> list[Traffic]:
        """Counters of its interfaces but loopback; empty when it does not run or has the host's network."""
        pid = self.pid_of(container_id)
        with suppress(OSError):
            if pid and Path(f"/proc/{pid}/ns/net").stat().st_ino != Path("/proc/self/ns/net").stat().st_ino:
                return parse_traffic(Path(f"/proc/{pid}/net/dev").read_text())
        return []

    async def drop_volume(self, name: str) -> None:
        """Remove a volume; raises ``NotFound``."""
        await Volumes(self._paths).remove(name)

    async def _runc_says(self, verb: str, *words: str) -> None:
        code, said = await run([self._runc, "--root", str(runc_root(self._paths)), verb, *words])
        if code != 0:
            raise Internal(f"Cannot {verb} container {words[-1]}: {readable(said)}", code=codes.START_FAILED)


def parse_traffic(text: str) -> list[Traffic]:
    """The interfaces of ``/proc/net/dev``: (bytes, packets, errors, dropped) each way, without loopback."""
    found = []
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(":")
        numbers = [int(word) for word in rest.split()]
        if len(numbers) >= 12 and name.strip() != "lo":
            rx, tx = numbers[0:4], numbers[8:12]
            found.append(Traffic(name.strip(), (rx[0], rx[1], rx[2], rx[3]), (tx[0], tx[1], tx[2], tx[3])))
    return found
