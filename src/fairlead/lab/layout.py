"""Names, addresses and files of a lab: pure arithmetic, so that every verb finds what another one made."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fairlead.model import codes
from fairlead.model.errors import Invalid, NotFound

#: The underlay: a corner of 198.18.0.0/15, which RFC 2544 reserves for test networks, and a ULA (RFC 4193) beside it.
UNDERLAY_V4 = "198.18.0"
UNDERLAY_V4_BITS = 24
UNDERLAY_V6 = "fd98:18::"
UNDERLAY_V6_BITS = 64
#: Host 1 has .11: the first ten addresses are for the underlay itself (.1 is its router).
FIRST_HOST = 10
#: Hosts in one lab. A daemon takes tens of megabytes, so memory ends before the /24 does.
HOSTS_MAX = 200
#: A Unix socket's path has at most 107 bytes (unix(7)); the lab's name is a part of it.
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
DEFAULT_BASE = "/run/fairlead/lab"
DEFAULT_NAME = "lab"
#: The namespaces that make a host: its view of the file system (bound first: the only one that can be refused), its
#: network, its name.
KINDS = ("mnt", "net", "uts")
#: The namespace of the underlay's bridge, and the bridge in it.
SWITCH = "switch"
UNDERLAY_LINK = "underlay"


@dataclass(frozen=True, slots=True)
class Place:
    """What a directory of ``ns`` holds: the files on which one set of namespaces is mounted."""

    directory: str

    def file(self, kind: str) -> str:
        """The file that holds one of ``KINDS``."""
        return f"{self.directory}/{kind}"


@dataclass(frozen=True, slots=True)
class Host:
    """One host of a lab; ``number`` counts from 1."""

    number: int
    root: str
    place: Place

    @property
    def name(self) -> str:
        """``h1``, ``h2``, …"""
        return f"h{self.number}"

    @property
    def address_v4(self) -> str:
        """Its address on the underlay."""
        return f"{UNDERLAY_V4}.{FIRST_HOST + self.number}"

    @property
    def address_v6(self) -> str:
        """Its IPv6 address on the underlay; the last group reads like the last byte of the IPv4 one."""
        return f"{UNDERLAY_V6}{FIRST_HOST + self.number}"

    @property
    def state(self) -> str:
        """The daemon's state directory."""
        return f"{self.root}/state"

    @property
    def run(self) -> str:
        """The daemon's run directory."""
        return f"{self.root}/run"

    @property
    def socket(self) -> str:
        """The daemon's API socket."""
        return f"{self.run}/fairlead.sock"

    @property
    def log(self) -> str:
        """What the daemon says."""
        return f"{self.root}/daemon.log"

    @property
    def pid(self) -> str:
        """Which process the daemon is."""
        return f"{self.root}/daemon.pid"

    @property
    def hosts(self) -> str:
        """The host's ``/etc/hosts``."""
        return f"{self.root}/hosts"

    @property
    def resolv_conf(self) -> str:
        """The host's ``/etc/resolv.conf``."""
        return f"{self.root}/resolv.conf"

    @property
    def url(self) -> str:
        """What ``FAIRLEAD_HOST`` and ``DOCKER_HOST`` are set to."""
        return f"unix://{self.socket}"


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one lab below ``base``."""

    base: str
    name: str

    @property
    def root(self) -> str:
        """The directory of the lab; it exists exactly as long as the lab does."""
        return f"{self.base}/{self.name}"

    @property
    def namespaces(self) -> str:
        """The mount that holds every namespace of the lab: one unmount lets go of all."""
        return f"{self.root}/ns"

    @property
    def record(self) -> str:
        """The file that says how many hosts there are."""
        return f"{self.root}/lab.json"

    @property
    def switch(self) -> Place:
        """Where the underlay's namespaces are."""
        return Place(f"{self.namespaces}/{SWITCH}")

    def host(self, number: int) -> Host:
        """The host with a number."""
        name = f"h{number}"
        return Host(number, f"{self.root}/{name}", Place(f"{self.namespaces}/{name}"))

    def hosts(self, count: int) -> tuple[Host, ...]:
        """The hosts 1 to ``count``."""
        return tuple(self.host(number) for number in range(1, count + 1))

    def find(self, name: str, count: int) -> Host:
        """The host called ``name``; raises ``NotFound``."""
        for host in self.hosts(count):
            if host.name == name:
                return host
        raise NotFound(f"no host {name} in lab {self.name}", hint=f"its hosts are h1 to h{count}", code=codes.LAB)


def layout_of(base: str, name: str) -> Layout:
    """The files of the lab ``name``; raises ``Invalid`` for a name that cannot be one."""
    if not NAME_PATTERN.fullmatch(name):
        raise Invalid(
            f"{name!r} is not a name for a lab",
            hint="use 1 to 32 small letters, digits, - and _, a letter or digit first",
            code=codes.LAB,
        )
    return Layout(base.rstrip("/"), name)


def check_count(count: int) -> None:
    """Raises ``Invalid`` when a lab cannot have so many hosts."""
    if not 1 <= count <= HOSTS_MAX:
        raise Invalid(f"a lab cannot have {count} hosts", hint=f"choose 1 to {HOSTS_MAX}", code=codes.LAB)


def hosts_text(hosts: tuple[Host, ...]) -> str:
    """``/etc/hosts`` of every host."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    lines += [f"{address} {host.name}" for host in hosts for address in (host.address_v4, host.address_v6)]
    return "\n".join(lines) + "\n"


def resolv_conf_text() -> str:
    """``/etc/resolv.conf`` of every host: the underlay's router, where nothing listens unless a user puts it there, so
    that a question for a foreign name is refused at once instead of timing out."""
    return f"nameserver {UNDERLAY_V4}.1\n"
