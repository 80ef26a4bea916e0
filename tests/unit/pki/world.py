"""A cluster's authority and nodes with certificates, all drawn from one seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from fairlead.gossip.identity import Identity as GossipIdentity
from fairlead.model.cluster import CERTIFICATE_S, MANAGER, Authority
from fairlead.pki.authority import Subject, issue, new_authority
from fairlead.pki.ids import new_cluster_id
from fairlead.pki.keys import new_key
from fairlead.pki.requests import Request, make_request

#: The moment of all tests: 2026-11-21 00:00:00 UTC.
AT = 1795219200.0
HOUR_S, DAY_S = 3600.0, 86400.0


@dataclass
class Certified:
    """A node with its certificate and what it trusts."""

    node_id: str
    key: str
    gossip: GossipIdentity
    chain: str
    roots: str


@dataclass
class World:
    """One cluster, begun ``at``; ``chance`` is the only source of it."""

    seed: int = 1
    at: float = AT
    chance: random.Random = field(init=False)
    cluster_id: str = field(init=False)
    authority: Authority = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.cluster_id = new_cluster_id(self.chance)
        self.authority = new_authority(self.chance, self.at)

    def node(self, role: str = MANAGER, at: float | None = None, valid_s: float = CERTIFICATE_S) -> Certified:
        """A node that joins at the cluster's beginning, unless told otherwise."""
        key, gossip = new_key(self.chance), GossipIdentity(self.chance.randbytes(32))
        node = Certified(new_cluster_id(self.chance), key, gossip, "", "")
        self.renew(node, role, at, valid_s)
        return node

    def renew(
        self, node: Certified, role: str = MANAGER, at: float | None = None, valid_s: float = CERTIFICATE_S
    ) -> None:
        """A fresh certificate, and the roots that are sent along."""
        request = Request.read(make_request(node.key, node.gossip))
        subject = Subject(node.node_id, role, self.cluster_id)
        node.chain = issue(self.authority, request, subject, valid_s, self.at if at is None else at, self.chance)
        node.roots = self.authority.certificate
