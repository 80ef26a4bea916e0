"""A container as tests hold it."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path
from typing import Any

from tests.kernel.one_host.namespace import Namespace
from tests.kernel.one_host.waiting import until

from fairlead.api.client import ApiError, Client

_LISTEN = {"tcp": "0A", "udp": "07"}  # net/tcp_states.h: TCP_LISTEN; a bound UDP socket shows TCP_CLOSE


class Container:
    """One container of a host; ``ns`` is its network once it runs."""

    def __init__(self, api: Client, identifier: str, name: str) -> None:
        self.api = api
        self.id = identifier
        self.name = name
        self._ns: Namespace | None = None

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def inspect(self) -> dict[str, Any]:
        """Everything the daemon knows of it."""
        found = self.api.get(f"/containers/{self.id}/json")
        assert isinstance(found, dict)
        return found

    def start(self) -> None:
        """Start it; servers of ours in it are waited for."""
        self.api.post(f"/containers/{self.id}/start")
        for word in self.inspect()["Config"]["Cmd"] or ():
            proto, _, port = word.partition(":")
            if proto in _LISTEN and port.isdigit():
                self.wait_listening(int(port), proto)

    def stop(self) -> None:
        """Kill it and wait for its end."""
        self.api.post(f"/containers/{self.id}/stop", query={"t": 0})
        self._forget_namespace()

    def remove(self) -> None:
        """Kill and remove it; one that is gone is fine."""
        self._forget_namespace()
        try:
            self.api.delete(f"/containers/{self.id}", {"force": True})
        except ApiError as error:
            if error.status != 404:
                raise

    @property
    def pid(self) -> int:
        """Its first process."""
        return int(self.inspect()["State"]["Pid"])

    @property
    def ns(self) -> Namespace:
        """Its network namespace."""
        if self._ns is None:
            self._ns = Namespace.of(self.pid)
        return self._ns

    def ip(self, network: str = "") -> str:
        """Its IPv4 address in a network, or in its only one."""
        return str(self._place(network)["IPAddress"])

    def ip6(self, network: str = "") -> str:
        """Its IPv6 address."""
        return str(self._place(network)["GlobalIPv6Address"])

    def host_port(self, key: str) -> int:
        """The host's port that reaches ``80/tcp``."""
        return int(self.inspect()["NetworkSettings"]["Ports"][key][0]["HostPort"])

    def exec(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in it, through the daemon."""
        body = {"Cmd": list(words), "AttachStdout": True, "AttachStderr": True}
        made = self.api.post(f"/containers/{self.id}/exec", body)
        assert isinstance(made, dict)
        with contextlib.closing(self.api.hijack(f"/exec/{made['Id']}/start", body={})) as reply:
            pieces = list(reply.frames())
        text = {name: b"".join(data for kind, data in pieces if kind == name).decode() for name in ("stdout", "stderr")}
        state = self.api.get(f"/exec/{made['Id']}/json")
        assert isinstance(state, dict)
        done = subprocess.CompletedProcess(words, int(state["ExitCode"]), text["stdout"], text["stderr"])
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(words)}: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def read(self, path: str) -> str:
        """A file as it is inside."""
        return Path(f"/proc/{self.pid}/root{path}").read_text()

    def wait_listening(self, port: int, proto: str = "tcp") -> None:
        """Until a server in it has opened a port."""
        wait_listening(self.pid, port, proto, self.name)

    def _place(self, network: str) -> dict[str, Any]:
        places: dict[str, dict[str, Any]] = self.inspect()["NetworkSettings"]["Networks"]
        return places[network] if network else next(iter(places.values()))

    def _forget_namespace(self) -> None:
        if self._ns is not None:
            self._ns.close()
            self._ns = None


def wait_listening(pid: int, port: int, proto: str, who: str) -> None:
    """Until somebody in the network of a process has opened a port."""
    table = Path(f"/proc/{pid}/net/{proto}")

    def found() -> bool:
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
        return any(int(row[1].rpartition(":")[2], 16) == port and row[3] == _LISTEN[proto] for row in rows)

    until(found, f"{who} listens on {port}/{proto}")
