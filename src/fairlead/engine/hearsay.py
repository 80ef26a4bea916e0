"""What gossip tells of one network of the cluster: who is on other nodes, and who answers to which name there.

Kept in memory only: it is told anew after every start. Several may claim an address for a while, since news of an end and
of a beginning travel apart: the claim of the newest lease is right.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from fairlead.model.addresses import bare
from fairlead.model.cluster import Peer

#: Seconds that clients may keep the address of a name of the cluster: its endpoint may be on another node soon, with
#: another address, and that is known everywhere in less.
NAMES_TTL_S = 2


@dataclass(slots=True)
class Hearsay:
    """Peers by endpoint, claims by bare address, endpoints whose names are registered, and how many peers are told of at each
    place (the address where a node's tunnels end). ``complete``: all is told."""

    peers: dict[str, Peer] = field(default_factory=dict)
    claims: dict[str, dict[str, Peer]] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)
    places: Counter[str] = field(default_factory=Counter)
    complete: bool = False

    def learn(self, endpoint_id: str, peer: Peer | None) -> set[str]:
        """An endpoint is there, has changed or (None) is gone; the addresses whose right claim may be another now."""
        known = self.peers.pop(endpoint_id, None)
        if known == peer:
            if peer is not None:
                self.peers[endpoint_id] = peer
            return set()
        touched: set[str] = set()
        if known is not None:
            self.places[known.vtep] -= 1
            if not self.places[known.vtep]:
                del self.places[known.vtep]
            for address in addresses(known):
                touched |= self._together(address)
                claims = self.claims[address]
                claims.pop(endpoint_id, None)
                if not claims:
                    del self.claims[address]
        if peer is not None:
            self.peers[endpoint_id] = peer
            self.places[peer.vtep] += 1
            for address in addresses(peer):
                self.claims.setdefault(address, {})[endpoint_id] = peer
                touched |= self._together(address)
        return touched

    def claimant(self, address: str) -> Peer | None:
        """Who is right to claim an address: the newest lease; of equal ones the greater id, so that all nodes agree. An
        endpoint that is not right about its first address is gone, and its second one with it."""
        best = max(self.claims.get(address, {}).values(), key=_order, default=None)
        if best is None:
            return None
        first = next(addresses(best))
        return best if first == address or self.claimant(first) is best else None

    def _together(self, address: str) -> set[str]:
        """An address and all that its claimants have beside it."""
        claims = self.claims.get(address, {})
        return {address, *(other for peer in claims.values() for other in addresses(peer))}


def addresses(peer: Peer) -> Iterator[str]:
    """The bare addresses of an endpoint, IPv4 first."""
    return (bare(cidr) for cidr in (peer.ipv4, peer.ipv6) if cidr)


def _order(peer: Peer) -> tuple[int, str]:
    return peer.generation, peer.endpoint_id
