"""The two engines that are compared, each on a host of its own, driven over its API socket by the same calls."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.api import Api, ApiFailure
from bench.hosts import Host, NotMeasured, Process, children, rss_bytes
from bench.programs import Programs

#: Where both cut their subnets from, so that hundreds of networks fit.
_POOL = "base=10.64.0.0/10,size=24"
#: Seconds for a daemon to answer.
_READY_S = 60.0
_STEP_S = 0.002
#: The programs that containers have.
_FILES = ("pause", "flow")
#: Control groups are left by what is killed; they can be removed once the kernel has buried the last process.
_SWEEP_S = 5.0


class Engine:
    """A daemon and what was asked of it."""

    title = ""

    def __init__(self, folder: Path, programs: Programs) -> None:
        self.folder = folder
        folder.mkdir()
        self._programs = programs
        self._containers: list[str] = []
        self.host = Host(self.title, programs)
        try:
            self.host.neighbour()
            self._prepare()
            self.start_s = self.start()
        except BaseException:
            self.close()
            raise

    @property
    def socket(self) -> str:
        """The path of the API socket."""
        return str(self.folder / "api.sock")

    def start(self) -> float:
        """Start the daemon; seconds until it answers."""
        begin = time.perf_counter()
        self.daemon = self.host.start(*self._command(), log=self.folder / "log")
        while time.perf_counter() - begin < _READY_S:
            if self.daemon.ended:
                raise NotMeasured(f"{self.title} did not start: {self._last_words()}")
            api = Api(self.socket)
            with contextlib.suppress(OSError, ApiFailure), contextlib.closing(api):
                if api.exchange("GET", "/_ping", None)[0] == 200:
                    self.api = Api(self.socket)
                    return time.perf_counter() - begin
            time.sleep(_STEP_S)
        raise NotMeasured(f"{self.title} did not answer: {self._last_words()}")

    def stop(self) -> None:
        """Stop the daemon; containers go on if the engine lets them."""
        self.api.close()
        self.daemon.stop()

    def memory_bytes(self) -> int:
        """Resident memory of the daemon and of the daemons that it keeps."""
        return sum(rss_bytes(pid) for pid in (self.daemon.pid, *children(self.daemon.pid)))

    def network(self, name: str) -> float:
        """Make a network; seconds."""
        return self.api.timed("POST", "/networks/create", {"Name": name})

    def delete_network(self, name: str) -> float:
        return self.api.timed("DELETE", f"/networks/{name}")

    def connect(self, network: str, container: str, api: Api | None = None, **settings: object) -> float:
        body = {"Container": container, "EndpointConfig": settings}
        return (api or self.api).timed("POST", f"/networks/{network}/connect", body)

    def disconnect(self, network: str, container: str) -> float:
        return self.api.timed("POST", f"/networks/{network}/disconnect", {"Container": container, "Force": True})

    def container(
        self,
        name: str,
        network: str,
        *,
        ports: Mapping[int, int] | None = None,
        dns: Iterable[str] = (),
        command: tuple[str, ...] = ("/pause",),
    ) -> float:
        """Make and start a container; seconds that the start took. ``ports``: of the host -> of the container. Its
        files are our programs."""
        bindings = {f"{inner}/tcp": [{"HostPort": str(outer)}] for outer, inner in (ports or {}).items()}
        host = {"NetworkMode": network, "PortBindings": bindings, "Dns": list(dns)}
        body = {"Image": self.image(), "Cmd": list(command), "HostConfig": host}
        body["ExposedPorts"] = {key: {} for key in bindings}
        made: Any = self.api.call("POST", f"/containers/create?name={name}", body)
        self._containers.append(made["Id"])
        return self.api.timed("POST", f"/containers/{name}/start")

    def remove(self, name: str) -> float:
        """Kill and remove a container; seconds."""
        return self.api.timed("DELETE", f"/containers/{name}?force=1")

    def netns(self, container: str) -> str:
        """A path to a container's network namespace."""
        found: Any = self.api.call("GET", f"/containers/{container}/json")
        return self.host.netns_of(found["State"]["Pid"])

    def address(self, container: str, network: str) -> str:
        found: Any = self.api.call("GET", f"/containers/{container}/json")
        return str(found["NetworkSettings"]["Networks"][network]["IPAddress"])

    def close(self) -> None:
        """End the host with all that is in it, and take away what is left in shared places."""
        self.host.close()
        if isinstance(process := getattr(self, "daemon", None), Process):
            process.stop()
        self._sweep_control_groups()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _prepare(self) -> None:
        rootfs = self.folder / "rootfs"
        rootfs.mkdir()
        for name in _FILES:
            shutil.copy(self._programs[name], rootfs / name)

    def _command(self) -> list[str]:
        raise NotImplementedError

    def image(self) -> str:
        """What containers are made of: our programs and nothing else."""
        raise NotImplementedError

    def _cgroup_parents(self) -> str:
        raise NotImplementedError

    def _sweep_control_groups(self) -> None:
        deadline = time.monotonic() + _SWEEP_S
        parents = [path for path in _hierarchies(self._cgroup_parents()) if path.is_dir()]
        while time.monotonic() < deadline:
            left = [path for parent in parents for name in self._containers if (path := parent / name).is_dir()]
            for path in (*left, *parents):
                with contextlib.suppress(OSError):  # busy, or another's container lives in the parent
                    path.rmdir()
            if not any(path.is_dir() for path in left):
                return
            time.sleep(0.05)

    def _last_words(self) -> str:
        lines = (self.folder / "log").read_text(errors="replace").splitlines()
        return lines[-1] if lines else "it said nothing"


class Fairlead(Engine):
    """Ours."""

    title = "fairlead"

    @property
    def socket(self) -> str:
        return str(self.folder / "run/fairlead.sock")

    def _command(self) -> list[str]:
        program = str(Path(sys.executable).parent / "fairlead")
        places = ["--state-dir", str(self.folder / "state"), "--run-dir", str(self.folder / "run")]
        return [program, "daemon", *places, "--default-address-pool", _POOL]

    def image(self) -> str:
        return str(self.folder / "rootfs")

    def _cgroup_parents(self) -> str:
        return "fairlead"


class Docker(Engine):
    """The peer: Debian's engine with its defaults, in directories of its own."""

    title = "docker"

    def start(self) -> float:
        seconds = super().start()
        images: Any = self.api.call("GET", "/images/json")
        if not images:
            self._import()
        return seconds

    def _command(self) -> list[str]:
        if shutil.which("dockerd") is None:
            raise NotMeasured("dockerd is not installed (Debian package docker.io)")
        places = {"data-root": "data", "exec-root": "exec", "pidfile": "pid", "host": "api.sock"}
        words = [f"--{name}={'unix://' * (name == 'host')}{self.folder / place}" for name, place in places.items()]
        parent = f"--cgroup-parent=/{self._cgroup_parents()}"
        return ["dockerd", *words, parent, "--live-restore", "--default-address-pool", _POOL]

    def image(self) -> str:
        return "pause"

    def _cgroup_parents(self) -> str:
        return f"fairlead-bench-{self.folder.parent.name.rpartition('-')[2]}"

    def _import(self) -> None:
        tarball = self.folder / "rootfs.tar"
        with tarfile.open(tarball, "w") as archive:
            for name in _FILES:
                archive.add(self.folder / "rootfs" / name, name)
        target = "/images/create?fromSrc=-&repo=pause"
        status, answer = self.api.exchange("POST", target, tarball.read_bytes(), "application/x-tar")
        if status != 200:
            raise NotMeasured(f"docker: import of the image: {answer.decode(errors='replace')}")


def _hierarchies(parent: str) -> list[Path]:
    """Where a control group may be: directly in a hierarchy, or below the group that we ourselves are in."""
    own = [line.rpartition(":")[2].strip("/") for line in Path("/proc/self/cgroup").read_text().splitlines()]
    roots = [Path("/sys/fs/cgroup"), *(path for path in Path("/sys/fs/cgroup").glob("*") if path.is_dir())]
    return [root / group / parent for root in roots for group in {"", *own}]


def docker_version() -> str:
    """For the report's head."""
    try:
        return subprocess.run(["dockerd", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "no Docker engine"
