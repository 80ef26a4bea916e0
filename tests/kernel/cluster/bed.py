"""Lab hosts that are nodes of one cluster, and what tests ask of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.kernel.one_host.host import FAIRLEAD
from tests.kernel.one_host.waiting import FACTOR, PATIENCE_S, until

from fairlead.api.client import ApiError, Client
from fairlead.lab.lab import Lab
from fairlead.lab.layout import Host
from fairlead.model.errors import NetError

#: The network that tests talk over.
SEA = "sea"
#: Seconds one program may take.
PROGRAM_S = 60.0 * FACTOR
#: Seconds until dig asks a server that is silent once more.
DIG_S = 3
#: Keeps a container alive and answers: TCP on 7000 says the container's host name to whoever connects.
_ANSWER = """
import os, socket
listener = socket.create_server(("", 7000), backlog=128)
while True:
    client, _ = listener.accept()
    client.sendall(os.uname().nodename.encode())
    client.close()
"""
#: Asks ``host`` (a name or an address) who it is: what the container there says within so many seconds, or nothing.
_WHO = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], 7000), timeout=float(sys.argv[2])) as link:
        print(link.recv(256).decode())
except OSError:
    pass
"""


class Cluster:
    """A lab with a cluster of ``count`` hosts, of which ``h1`` is the manager."""

    def __init__(self, folder: Path, count: int) -> None:
        self.lab = Lab(str(folder), "lab", dict(os.environ))
        self.hosts: dict[str, Host] = {host.name: host for host in self.lab.up(count, with_swarm=True)}
        self._pids: dict[tuple[str, str], int] = {}

    def close(self) -> None:
        """Leave nothing."""
        self.lab.down()

    def api(self, host: str) -> Client:
        """A client of a host's daemon."""
        return Client(self.hosts[host].url)

    def cli(self, host: str, *words: str, ok: bool = True) -> str:
        """What ``fairlead`` prints on a host; with ``ok=False`` it must fail, and its complaint is answered."""
        entry = self.lab.entry(host, [FAIRLEAD, *words], "/")
        done = subprocess.run(
            entry.arguments, env=entry.environment, capture_output=True, text=True, timeout=PROGRAM_S, check=False
        )
        assert (done.returncode == 0) == ok, f"{host}$ fairlead {' '.join(words)}: {done.stdout}{done.stderr}"
        return (done.stdout if ok else done.stderr).strip()

    def network(self, name: str = SEA, *flags: str) -> str:
        """Make an attachable overlay; its id."""
        return self.cli("h1", "network", "create", "-d", "overlay", "--attachable", *flags, name)

    def start(self, host: str, name: str, network: str = SEA, **endpoint: object) -> None:
        """Start a container that says its name to who connects."""
        body = {
            "Image": "host",
            "Hostname": name,
            "Cmd": ["/usr/bin/python3", "-c", _ANSWER],
            "HostConfig": {"NetworkMode": network},
            "NetworkingConfig": {"EndpointsConfig": {network: endpoint}},
        }
        api = self.api(host)
        made: Any = api.post("/containers/create", body, query={"name": name})
        try:
            api.post(f"/containers/{made['Id']}/start")
        except ApiError:
            api.delete(f"/containers/{made['Id']}", query={"force": True})
            raise

    def remove(self, host: str, name: str) -> None:
        """Kill and remove a container."""
        self._pids.pop((host, name), None)
        self.api(host).delete(f"/containers/{name}", query={"force": True, "v": True})

    def inspect(self, host: str, name: str) -> dict[str, Any]:
        """All about a container."""
        found: Any = self.api(host).get(f"/containers/{name}/json")
        return dict(found)

    def address(self, host: str, name: str, network: str = SEA) -> str:
        """A container's IPv4 address."""
        return str(self.inspect(host, name)["NetworkSettings"]["Networks"][network]["IPAddress"])

    def inside(self, host: str, name: str, *words: str) -> list[str]:
        """The command line that runs a program in a container's network and files."""
        pid = self._pids.get((host, name)) or self.inspect(host, name)["State"]["Pid"]
        self._pids[host, name] = pid
        return ["nsenter", f"--net=/proc/{pid}/ns/net", f"--mount=/proc/{pid}/ns/mnt", *words]

    def run_inside(self, host: str, name: str, *words: str) -> str:
        """What a program prints in a container's network; empty when it fails."""
        done = subprocess.run(
            self.inside(host, name, *words), capture_output=True, text=True, timeout=PROGRAM_S, check=False
        )
        return done.stdout.strip()

    def who(self, host: str, name: str, target: str, wait_s: float = 1.0) -> str:
        """Who answers a container at a name or address; empty for nobody. ``wait_s`` is short for who asks again."""
        return self.run_inside(host, name, "/usr/bin/python3", "-c", _WHO, target, str(wait_s))

    def resolve(self, host: str, name: str, target: str) -> list[str]:
        """The addresses that a name has for a container; for ``-xADDRESS`` its names. None when the server says that there are
        none: while it is silent, or not there, it is asked again, as any resolver does."""
        words = ("dig", "+noall", "+comments", "+answer", "+tries=1", f"+time={DIG_S}", target)

        def said() -> list[str]:
            lines = self.run_inside(host, name, *words).splitlines()
            return lines if any("status: " in line for line in lines) else []

        lines = until(said, f"{name} on {host} is told of {target}")
        return [line.split()[-1] for line in lines if line and not line.startswith(";")]

    def meets(self, host: str, name: str, target: str, patience_s: float = PATIENCE_S) -> None:
        """Wait until a container reaches another by its name."""
        self.answers(host, name, target, target, patience_s)

    def answers(self, host: str, name: str, target: str, who: str, patience_s: float = PATIENCE_S) -> None:
        """Wait until a container finds ``who`` at a name or address."""
        until(lambda: self.who(host, name, target) == who, f"{name} on {host} finds {who} at {target}", patience_s)

    def plug(self, host: str, *, into: bool) -> None:
        """Pull a host's cable out of the switch, or put it back."""
        place = self.lab._layout.switch
        command = ["nsenter", f"--net={place.file('net')}", "ip", "link", "set", host, "up" if into else "down"]
        subprocess.run(command, check=True, timeout=PROGRAM_S)

    def miss_sooner(self) -> None:
        """Have who is away missed after 6 seconds instead of 15: three signs of life."""
        self.cli("h1", "swarm", "update", "--dispatcher-heartbeat", "2s")

    def kill_daemon(self, host: str) -> None:
        """The daemon dies at once; containers run on."""
        self.lab.stop(host, signal.SIGKILL)

    def start_daemon(self, host: str) -> None:
        """A new daemon, which answers when this returns."""
        try:
            self.lab.start(host)
        except NetError as error:
            raise AssertionError(f"{error}: {error.hint}") from error

    def nodes(self, manager: str = "h1") -> dict[str, str]:
        """State by host name, as the manager sees it."""
        found: Any = self.api(manager).get("/nodes")
        return {node["Description"]["Hostname"]: node["Status"]["State"] for node in found}

    def metrics(self, host: str) -> dict[str, float]:
        """A host's metrics, by name and labels as they are written."""
        with self.api(host).open("GET", "/fairlead/metrics") as reply:
            lines = reply.read().decode().splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}

    def rows(self, host: str) -> set[tuple[str, str, str]]:
        """(network's link, MAC or address, where it leads) of all entries of all overlays of a host that we set."""
        netns = Path(self.hosts[host].run) / "netns"
        found: set[tuple[str, str, str]] = set()
        for file in netns.glob("ov-*"):
            for words in (("bridge", "-json", "fdb", "show"), ("ip", "-json", "neighbour", "show", "nud", "permanent")):
                entry = self.lab.entry(host, ["nsenter", f"--net={file}", *words], "/")
                said = subprocess.run(entry.arguments, capture_output=True, text=True, timeout=PROGRAM_S, check=True)
                for row in json.loads(said.stdout or "[]"):
                    link = row.get("ifname") or row.get("dev", "")
                    target = row.get("lladdr") or row.get("dst")
                    if link.startswith("vx-") and target:
                        found.add((link, row["mac"] if "mac" in row else row["dst"], target))
        return found


def at_once(commands: Sequence[Sequence[str]]) -> list[str]:
    """What several programs print that run at a time."""
    running = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for words in commands]
    return [process.communicate(timeout=PROGRAM_S)[0].strip() for process in running]
