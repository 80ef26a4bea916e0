"""What the door between nodes (2377/tcp) needs to know, and to ask of the member behind it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from msgspec import Struct, field

from fairlead.model.cluster import ACTIVE, NodeDescription


class AdmitBody(Struct):
    """``POST /join``: a machine asks to be let in. ``request`` is a certificate signing request (PEM). ``address`` is where
    it was seen, said by a manager that passes on what it was asked; from anyone else it counts for nothing."""

    token: str = field(name="Token", default="")
    request: str = field(name="Request", default="")
    description: NodeDescription = field(name="Description", default_factory=lambda: NodeDescription(""))
    availability: str = field(name="Availability", default=ACTIVE)
    address: str = field(name="Address", default="")


class RenewBody(Struct):
    """``POST /renew``: a member asks for a certificate in place of its own. ``node`` is whose it is, said by a manager that
    passes the wish on with that node's present certificate (``proof``, DER in base64)."""

    request: str = field(name="Request", default="")
    proof: str = field(name="Proof", default="")


class AdmittedBody(Struct):
    """The answer to both: who the node is, its certificate with what belongs to it (PEM), the trusted roots (PEM), the
    managers (``host:port``), and what all nodes of a cluster have in common."""

    node_id: str = field(name="NodeID")
    cluster_id: str = field(name="ClusterID")
    role: str = field(name="Role")
    certificate: str = field(name="Certificate")
    roots: str = field(name="Roots")
    managers: list[str] = field(name="Managers", default_factory=list)
    data_path_port: int = field(name="DataPathPort", default=0)
    #: Where the manager saw the node: what it advertises unless it was told otherwise.
    address: str = field(name="Address", default="")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the address that the connection comes from, and the certificate (DER) that TLS has verified the chain
    of; empty for a stranger."""

    address: str
    certificate: bytes = b""


class Line(Protocol):
    """The manager's end of an open session."""

    def heard(self, line: bytes) -> None:
        """A line came from the node; raises ``Invalid`` for one that is none."""

    def lines(self) -> AsyncIterator[bytes]:
        """What is to be said, until the session is over."""

    def ended(self) -> None:
        """The connection has gone."""


class Control(Protocol):
    """A manager, as other nodes see it. Whatever a caller may not do raises ``Forbidden``."""

    @property
    def context(self) -> ssl.SSLContext:
        """How the door proves who it is and whom it believes; asked at each connection, since certificates change."""

    def root(self) -> str:
        """The root (PEM) that a join token names the digest of."""

    def check(self, caller: Caller, *roles: str) -> str:
        """Whether the caller is a member in one of these roles now; its node id."""

    async def join(self, caller: Caller, wish: AdmitBody) -> AdmittedBody:
        """Let a machine in that shows a token."""

    async def renew(self, caller: Caller, wish: RenewBody) -> AdmittedBody:
        """Give a member a new certificate."""

    def session(self, caller: Caller) -> Line:
        """Open a session with a node; raises ``Unavailable`` on a manager that does not lead."""
