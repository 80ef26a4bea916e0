"""A host for tests: a namespace with a daemon in it, an uplink, a neighbour outside, and what is left at the end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.kernel.one_host.containers import Container, wait_listening
from tests.kernel.one_host.leftovers import leftovers
from tests.kernel.one_host.namespace import PROGRAM_S, Namespace
from tests.kernel.one_host.nursery import Life, Nursery
from tests.kernel.one_host.programs import IDLE, echo
from tests.kernel.one_host.waiting import until

from fairlead.api.client import ApiError, Client

ROOT = Path(__file__).resolve().parents[3]
PROGRAMS = str(Path(sys.executable).parent)
FAIRLEAD = f"{PROGRAMS}/fairlead"

#: The uplink: the host has two addresses on it, the neighbour one. Beyond the host lies another network with a
#: machine of its own, for traffic that only passes through.
HOST_V4, HOST_V4_OTHER, NEIGHBOUR_V4 = "198.18.0.1", "198.18.0.3", "198.18.0.2"
HOST_V6, NEIGHBOUR_V6 = "fd98:18::1", "fd98:18::2"
FAR_HOST_V4, FAR_V4 = "198.18.1.1", "198.18.1.2"

Json = dict[str, Any]


class Host:
    """Made with its network; ``start`` starts the daemon, ``close`` ends everything and fails if anything is left."""

    def __init__(self, folder: Path, *, forwarding: bool = True, foreign_bridge: bool = False) -> None:
        self.folder = folder
        self.ns, self.neighbour, self.far = Namespace.new(), Namespace.new(), Namespace.new()
        self.state, self.run_dir = folder / "state", folder / "run"
        self.log = folder / "daemon.log"
        self.url = f"unix://{self.run_dir}/fairlead.sock"
        self.api = Client(self.url)
        self.process: subprocess.Popen[bytes] | Life | None = None
        #: Forks the daemon if there is one; else it is started as a program.
        self.nursery: Nursery | None = None
        self.pools: tuple[str, ...] = ()
        self.flags: tuple[str, ...] = ()
        self.containers: set[str] = set()
        resolv_conf = folder / "resolv.conf"
        resolv_conf.write_text(f"nameserver {NEIGHBOUR_V4}\nsearch corp.example\n")
        self._wire(forwarding=forwarding, foreign_bridge=foreign_bridge)

    def _wire(self, *, forwarding: bool, foreign_bridge: bool) -> None:
        for name, other, own, theirs in (
            ("up0", self.neighbour, (f"{HOST_V4}/24", f"{HOST_V4_OTHER}/24", f"{HOST_V6}/64"), NEIGHBOUR_V4),
            ("up1", self.far, (f"{FAR_HOST_V4}/24",), FAR_V4),
        ):
            self.ns.ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", other.path)
            for address in own:
                self.ns.ip("address", "add", address, "dev", name, *(["nodad"] if ":" in address else []))
            other.ip("address", "add", f"{theirs}/24", "dev", "eth0")
            self.ns.ip("link", "set", name, "up")
            other.ip("link", "set", "eth0", "up")
        self.neighbour.ip("address", "add", f"{NEIGHBOUR_V6}/64", "dev", "eth0", "nodad")
        self.neighbour.ip("route", "add", "default", "via", HOST_V4)
        self.far.ip("route", "add", "default", "via", FAR_HOST_V4)
        if forwarding:
            self.ns.write("net/ipv4/ip_forward", "1")
        if foreign_bridge:
            self.ns.ip("link", "add", "foreign0", "type", "bridge")

    def start(self) -> None:
        """Start the daemon and wait until it answers."""
        self.launch()
        until(self._answers, "the daemon's first answer")

    def launch(
        self, *, wrapper: Sequence[str] = (), keep: Sequence[int] = (), flags: Sequence[str] = (), **environment: str
    ) -> None:
        """Start the daemon, with these variables added to its environment; it is not waited for. ``wrapper`` is a
        command that starts it, ``keep`` are descriptors that it gets, ``flags`` further ones of its own."""
        more = flags
        flags = ["--state-dir", str(self.state), "--run-dir", str(self.run_dir)]
        flags += ["--resolv-conf", str(self.folder / "resolv.conf")]
        for pool in self.pools:
            flags += ["--default-address-pool", pool]
        flags += [*self.flags, *more]
        if self.nursery is not None and not wrapper and not keep:
            self.process = self.nursery.launch(flags, environment, str(self.log))
            return
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.ns.command(*wrapper, FAIRLEAD, "daemon", *flags),
                pass_fds=keep,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
            )

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{self.tail()}")
        return self.responds()

    def responds(self) -> bool:
        """Whether the daemon answers now."""
        try:
            self.api.get("/networks")
        except ApiError:
            return False
        return True

    def tail(self, lines: int = 30) -> str:
        """The end of the daemon's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    @property
    def pid(self) -> int:
        """The daemon's process."""
        assert self.process is not None
        return self.process.pid

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End the daemon; its exit code. Containers run on."""
        assert self.process is not None
        self.process.send_signal(how)
        code = self.process.wait(PROGRAM_S)
        self.process = None
        return code

    def close(self) -> list[str]:
        """End everything; what is left, in words."""
        try:
            if self.process is not None and not self.responds():  # it was told to end together with the run
                self.process.wait(PROGRAM_S)
            if self.process is None or self.process.poll() is not None:
                self.start()
            for row in self.get("/containers/json?all=1"):
                self.containers.add(row["Id"])
                self.api.delete(f"/containers/{row['Id']}?force=1")
            assert self.stop() == 0, self.tail()
            return leftovers(self.folder, self.containers)
        finally:
            if self.process is not None:
                self.process.kill()
                self.process.wait(PROGRAM_S)
            if self.nursery is not None:
                self.nursery.close()
            for namespace in (self.ns, self.neighbour, self.far):
                namespace.close()

    # What a program asks.

    def get(self, path: str) -> Any:
        """The JSON answer of a GET."""
        return self.api.get(path)

    def network(self, name: str, *, subnet: str = "", v6: str = "", **fields: object) -> str:
        """Make a network; its id. ``subnet`` and ``v6`` are prefixes."""
        config = [{"Subnet": prefix} for prefix in (subnet, v6) if prefix]
        body = {"Name": name, "EnableIPv6": bool(v6), "IPAM": {"Config": config}, **fields}
        made = self.api.post("/networks/create", body)
        assert isinstance(made, dict)
        return str(made["Id"])

    def remove_network(self, name: str) -> None:
        """Remove a network."""
        self.api.delete(f"/networks/{name}")

    def connect(self, network: str, container: str, **endpoint: object) -> None:
        """Connect a container to a network."""
        self.api.post(f"/networks/{network}/connect", {"Container": container, "EndpointConfig": endpoint})

    def disconnect(self, network: str, container: str) -> None:
        """Disconnect a container from a network."""
        self.api.post(f"/networks/{network}/disconnect", {"Container": container})

    def create(
        self,
        name: str,
        command: Sequence[str] = IDLE,
        *,
        network: str = "bridge",
        publish: Mapping[str, Sequence[str]] | None = None,
        endpoint: Json | None = None,
        host_config: Json | None = None,
        **fields: object,
    ) -> Container:
        """Create a container. ``publish`` maps ``80/tcp`` to host ``ADDRESS@PORT`` or ``PORT`` texts."""
        bindings = {key: [_binding(text) for text in texts] for key, texts in (publish or {}).items()}
        body = {
            "Image": "host",
            "Cmd": list(command),
            "HostConfig": {"NetworkMode": network, "PortBindings": bindings, **(host_config or {})},
            "NetworkingConfig": {"EndpointsConfig": {network: endpoint}} if endpoint else {},
            **fields,
        }
        made = self.api.post("/containers/create", body, {"name": name})
        assert isinstance(made, dict)
        self.containers.add(str(made["Id"]))
        return Container(self.api, str(made["Id"]), name)

    def run(self, name: str, command: Sequence[str] = IDLE, **fields: Any) -> Container:
        """Create a container and start it; an echo server among the command is waited for."""
        container = self.create(name, command, **fields)
        try:
            container.start()
        except ApiError:
            container.remove()
            raise
        return container

    # What a person types.

    def cli(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Our command line."""
        environment = {**os.environ, "FAIRLEAD_HOST": self.url}
        done = subprocess.run(
            [FAIRLEAD, *words], env=environment, capture_output=True, text=True, check=False, timeout=PROGRAM_S
        )
        if check and done.returncode != 0:
            raise AssertionError(f"fairlead {' '.join(words)}: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done

    # What can be seen of Linux.

    def ruleset(self) -> str:
        """The firewall, without counters."""
        return self.ns.run("nft", "-s", "list", "ruleset").stdout

    def links(self) -> dict[str, Json]:
        """The host's links by name."""
        return {row["ifname"]: row for row in json.loads(self.ns.ip("-j", "-d", "address"))}

    def seen(self) -> Json:
        """Everything that a refused request must leave as it was."""
        return {
            "networks": [self.get(f"/networks/{ref}") for ref in sorted(row["Id"] for row in self.get("/networks"))],
            "containers": [self.get(f"/containers/{row['Id']}/json") for row in self.get("/containers/json?all=1")],
            "firewall": self.ruleset(),
            "addresses": {
                name: [(item["local"], item["prefixlen"]) for item in row["addr_info"]]
                for name, row in self.links().items()
                if not name.startswith("fx-")
            },
            "namespaces": sorted(path.name for path in (self.run_dir / "netns").iterdir()),
        }

    @contextlib.contextmanager
    def server(self, ns: Namespace, tag: str, *wanted: str) -> Iterator[None]:
        """A foreign echo server in a namespace (the host's, the neighbour's), ``wanted`` like ``tcp:80``."""
        with subprocess.Popen(ns.command(*echo(tag, *wanted)), stdin=subprocess.DEVNULL) as process:
            try:
                for item in wanted:
                    proto, _, port = item.partition(":")
                    wait_listening(process.pid, int(port), proto, tag)
                yield
            finally:
                process.kill()

    def listen(self, address: str, port: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """A foreign program's socket on the host."""
        holder = self.ns.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
        try:
            holder.bind((address, port))
            if kind == socket.SOCK_STREAM:
                holder.listen()
        except OSError:
            holder.close()
            raise
        return holder


def _binding(text: str) -> dict[str, str]:
    address, _, port = text.rpartition("@")
    return {"HostIp": address, "HostPort": port}
