"""Namespaces that are not Fairlead's, for tests that connect them: processes, and names of ``ip netns``."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.kernel.one_host.host import Host
from tests.kernel.one_host.namespace import PROGRAM_S, Namespace
from tests.kernel.one_host.programs import IDLE
from tests.kernel.one_host.waiting import until


class Foreigner:
    """A namespace of others; ``target`` names it, ``ns`` is a way in for the test, ``pid`` a process in it (or 0)."""

    def __init__(self, target: str, ns: Namespace, pid: int = 0) -> None:
        self.target = target
        self.ns = ns
        self.pid = pid

    def command(self, *words: str) -> list[str]:
        """A command line that runs inside, with the files that its programs see."""
        if self.pid:
            return ["nsenter", f"--target={self.pid}", "--net", "--mount", "--", *words]
        return ["ip", "netns", "exec", self.target.partition(":")[2], *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run it."""
        return subprocess.run(self.command(*words), capture_output=True, text=True, check=False, timeout=PROGRAM_S)

    def resolve(self, name: str, kind: str = "ahosts") -> str:
        """The first address (or with ``hosts`` the name) that a program there gets from the C library."""
        words = self.run("getent", kind, name).stdout.split()
        return words[1 if kind == "hosts" else 0] if words else ""

    def lead_out(self) -> None:
        """Give it an interface and a default route of its own, as a container of another engine has."""
        self.ns.ip("link", "add", "eth0", "type", "veth", "peer", "name", "far0")
        self.ns.ip("address", "add", "192.0.2.2/24", "dev", "eth0")
        for link in ("eth0", "far0"):
            self.ns.ip("link", "set", link, "up")
        self.ns.ip("route", "add", "default", "via", "192.0.2.1")

    def links(self) -> list[str]:
        """Names of its interfaces."""
        return sorted(row["ifname"] for row in json.loads(self.ns.ip("-j", "link")))

    def settled(self) -> bool:
        """Whether nothing of Fairlead is there any more."""
        rows = json.loads(self.ns.ip("-j", "-d", "link"))
        ours = [row for row in rows if str(row.get("ifalias", "")).startswith("fairlead:")]
        return not ours and "fairlead" not in self.ns.run("nft", "list", "ruleset").stdout


@contextlib.contextmanager
def process(*command: str, loopback: bool = True) -> Iterator[Foreigner]:
    """A process in a network namespace of its own."""
    words = ("ip link set lo up; " if loopback else "") + 'exec "$@"'
    with subprocess.Popen(["unshare", "--net", "sh", "-c", words, "sh", *(command or IDLE)]) as child:
        try:
            until(lambda: _runs_apart(child.pid), "the program runs in its own namespace")
            with contextlib.closing(Namespace.of(child.pid)) as ns:
                yield Foreigner(f"pid:{child.pid}", ns, child.pid)
        finally:
            child.kill()


@contextlib.contextmanager
def named(name: str = "") -> Iterator[Foreigner]:
    """A namespace that ``ip netns`` made."""
    name = name or f"t{secrets.token_hex(3)}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        with contextlib.closing(Namespace(os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC))) as ns:
            yield Foreigner(f"netns:{name}", ns)
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=False, stderr=subprocess.DEVNULL)


def sandboxes(host: Host) -> list[dict[str, Any]]:
    """What ``fairlead sandbox ls`` knows."""
    found = host.get("/fairlead/sandboxes")
    assert isinstance(found, list)
    return found


def held(host: Host) -> list[str]:
    """Namespaces of others that the daemon holds."""
    return [path.name for path in (host.run_dir / "netns").iterdir() if path.name.startswith("x-")]


def _runs_apart(pid: int) -> bool:
    apart = os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
    return apart and Path(f"/proc/{pid}/comm").read_text().strip() not in ("unshare", "sh")
