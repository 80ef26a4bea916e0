"""The verbs of a lab. Everything is found from the lab's directory, so each works after a crash of another."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fairlead.lab import daemons, identity, swarm, sweep, underlay
from fairlead.lab.layout import Host, Layout, check_count, hosts_text, layout_of, resolv_conf_text
from fairlead.model import codes
from fairlead.model.errors import Conflict, Forbidden, NotFound

_R = TypeVar("_R", int, list[str])

#: Variables that would lead a daemon or a command elsewhere than to its own host.
_NOT_INHERITED = ("FAIRLEAD_HOST", "DOCKER_HOST", "NOTIFY_SOCKET")


@dataclass(frozen=True, slots=True)
class HostStatus:
    """What ``lab status`` tells of one host. ``state`` is ``ready``, ``starting`` (runs, does not answer) or
    ``stopped``; ``pid`` is 0 then."""

    host: Host
    pid: int
    state: str


@dataclass(frozen=True, slots=True)
class Entry:
    """How to run a command on a host: the arguments to execute, and the environment."""

    arguments: list[str]
    environment: dict[str, str]


class Lab:
    """One lab below ``base``; ``environment`` is what its daemons and commands inherit."""

    def __init__(self, base: str, name: str, environment: dict[str, str]) -> None:
        self._layout: Layout = layout_of(base, name)
        self._environment = {key: value for key, value in environment.items() if key not in _NOT_INHERITED}

    def up(self, count: int, *, with_daemons: bool = True, with_swarm: bool = False) -> tuple[Host, ...]:
        """Make ``count`` hosts and start their daemons; returns when all of them answer and, with ``with_swarm``, are
        nodes of one cluster whose manager is the first.

        Raises ``Conflict`` if the lab is up, and on any other fault takes down again what it made.
        """
        check_count(count)
        _need_root()
        base = Path(self._layout.base)
        made = [str(place) for place in (base, *base.parents) if not place.exists()]
        base.mkdir(parents=True, exist_ok=True)
        try:
            Path(self._layout.root).mkdir(mode=0o755)
        except FileExistsError:
            raise Conflict(
                f"the lab {self._layout.name} is up already", hint=f"{self._hint('down')} first", code=codes.LAB
            ) from None
        try:
            hosts = self._furnish(count, made)
            if with_daemons:
                self._start(hosts)
                if with_swarm:
                    swarm.form(hosts)
        except BaseException:
            self.down()
            raise
        return hosts

    def down(self) -> bool:
        """Stop the daemons, remove their containers and everything else of the lab; False if there was nothing."""
        layout = self._layout
        if not Path(layout.root).is_dir():
            return False
        _need_root()
        hosts = layout.hosts(self._count())
        identifiers = sweep.containers(hosts)
        for host in hosts:
            daemons.remove_containers(host)
            daemons.stop(host)
        identifiers |= sweep.containers(hosts)  # managers replaced what was being removed
        sweep.kill([layout.switch, *(host.place for host in hosts)], identifiers)
        sweep.remove_cgroups(identifiers)
        underlay.close_namespaces(layout)
        made = self._recorded("made", [])
        shutil.rmtree(layout.root)
        for directory in made:
            try:
                Path(directory).rmdir()
            except OSError:
                break  # another lab, or somebody else's files
        return True

    def status(self) -> tuple[HostStatus, ...]:
        """How each host is."""
        return tuple(_status(host) for host in self.hosts())

    def hosts(self) -> tuple[Host, ...]:
        """The hosts of the lab; raises ``NotFound`` if it is not up."""
        if not Path(self._layout.record).exists():
            raise NotFound(f"the lab {self._layout.name} is not up", hint="fairlead lab up --hosts 2", code=codes.LAB)
        return self._layout.hosts(self._count())

    def host(self, name: str) -> Host:
        """The host called ``name``; raises ``NotFound``."""
        return self._layout.find(name, len(self.hosts()))

    def entry(self, name: str, command: list[str], directory: str) -> Entry:
        """How to run a command on a host, in ``directory`` where it exists there."""
        _need_root()
        host = self.host(name)
        environment = self._environment | {"FAIRLEAD_HOST": host.url, "DOCKER_HOST": host.url}
        return Entry(underlay.enter(host.place, directory, command), environment)

    def start(self, name: str) -> Host:
        """Start the daemon of a host that has none; returns when it answers."""
        _need_root()
        host = self.host(name)
        if _status(host).pid:
            raise Conflict(
                f"the daemon of {name} runs already", hint=f"{self._hint(f'stop {name}')} first", code=codes.LAB
            )
        self._start((host,))
        return host

    def stop(self, name: str, what: signal.Signals = signal.SIGTERM) -> Host:
        """End the daemon of a host by a signal; its containers run on. Raises ``Conflict`` if it does not run."""
        _need_root()
        host = self.host(name)
        if not daemons.stop(host, what):
            raise Conflict(f"the daemon of {name} does not run", hint=self._hint(f"start {name}"), code=codes.LAB)
        return host

    def _furnish(self, count: int, made: list[str]) -> tuple[Host, ...]:
        layout = self._layout
        hosts = layout.hosts(count)
        Path(layout.record).write_text(json.dumps({"hosts": count, "made": made}))
        underlay.open_namespaces(layout)
        underlay.make_switch(layout)
        for host in hosts:
            for directory in (host.root, host.state, host.run):
                Path(directory).mkdir()
            Path(host.hosts).write_text(hosts_text(hosts))
            Path(host.resolv_conf).write_text(resolv_conf_text())
            underlay.make_host(layout, host)
        return hosts

    def _start(self, hosts: tuple[Host, ...]) -> None:
        started = [(host, daemons.start(host, self._environment)) for host in hosts]
        for host, process in started:
            daemons.wait_ready(host, process)

    def _count(self) -> int:
        """How many hosts there are; 0 when the lab died before it knew."""
        return self._recorded("hosts", 0)

    def _recorded(self, key: str, otherwise: _R) -> _R:
        """What the lab's record says, of the type of what is answered ``otherwise``."""
        try:
            found = json.loads(Path(self._layout.record).read_text())[key]
        except (OSError, ValueError, KeyError, TypeError):
            return otherwise
        return found if isinstance(found, type(otherwise)) else otherwise

    def _hint(self, verb: str) -> str:
        return f"fairlead lab {verb} --name {self._layout.name}"


def _status(host: Host) -> HostStatus:
    known = identity.load(host.pid)
    if known is None or not known.is_alive():
        return HostStatus(host, 0, "stopped")
    return HostStatus(host, known.pid, "ready" if daemons.is_ready(host) else "starting")


def _need_root() -> None:
    if os.geteuid() != 0:
        raise Forbidden("a lab makes network namespaces, which needs root", hint="run it through sudo", code=codes.LAB)
