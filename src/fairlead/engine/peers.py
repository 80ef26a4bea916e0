"""Endpoints of other nodes: plans for their addresses, registrations for their names."""

from __future__ import annotations

import re
from dataclasses import replace

from fairlead.balance.ingress import is_entry
from fairlead.engine import balancing, ingress, pairs
from fairlead.engine.core import Core, Turn, peer_owner
from fairlead.engine.hearsay import NAMES_TTL_S, Hearsay
from fairlead.engine.outcome import Crew, Register, Unregister
from fairlead.model.addresses import bare, is_v6, parse_address, parse_mac, parse_subnet
from fairlead.model.backend import Backend, is_sound
from fairlead.model.cluster import PORTS_MAX, Peer, PeerNames
from fairlead.model.errors import NetError
from fairlead.model.events import NamesSeen, PeersComplete, PeersSeen
from fairlead.model.ids import check_name
from fairlead.model.network import Network
from fairlead.model.state import lease_at
from fairlead.plan.objects import NOTHING, Plan

#: Names that one endpoint of another node may have; Docker gives each four and as many as a user asks for.
_NAMES_MAX = 64
#: A port as text; 65535 is the last.
_PORT, _PORT_LAST = re.compile("([1-9][0-9]{0,4})/(tcp|udp|sctp)"), 65535


def seen(turn: Turn, event: PeersSeen) -> int:
    """Learn of peers; how many of them make no sense and count as gone. A record is believed as to where its endpoint is,
    and as to nothing else: an address outside the network or of its gateway is nobody's."""
    network = turn.state.networks.get(event.network_id)
    if network is None:
        return 0
    told = turn.core.hearsay.setdefault(network.id, Hearsay())
    known = _Known(network)
    touched: set[str] = set()
    moved: set[str] = set()
    senseless = 0
    for endpoint_id, peer in event.changes:
        sound = known.sound(endpoint_id, peer) if peer is not None else None
        senseless += sound is None and peer is not None
        either = [one for one in (told.peers.get(endpoint_id), sound) if one is not None]
        moved |= {one.vtep for one in either}
        if any(is_entry(one.mac) for one in either):
            ingress.touch_tasks(turn, network)
        touched |= told.learn(endpoint_id, sound)
    if turn.core.inhabited(network.id):
        turn.owners |= {peer_owner(network.id, address): None for address in sorted(touched)}
        pairs.touch(turn, network.id, sorted(moved))
    return senseless


def complete(turn: Turn, event: PeersComplete) -> None:
    """All peers of a network are told."""
    network = turn.state.networks.get(event.network_id)
    if network is not None:
        turn.core.hearsay.setdefault(network.id, Hearsay()).complete = True
        turn.touch_network(network)
        turn.say(Crew(network.id))
        pairs.touch(turn, network.id, ())


def named(turn: Turn, event: NamesSeen) -> None:
    """Let the names of peers resolve, or resolve no more."""
    network = turn.state.networks.get(event.network_id)
    if network is None:
        return
    told = turn.core.hearsay.setdefault(network.id, Hearsay())
    known = _Known(network)
    for endpoint_id, names in event.changes:
        if endpoint_id in turn.state.endpoints:
            continue  # our own are not for others to name
        sound = known.names(names) if names is not None else None
        if sound is not None:
            told.named.add(endpoint_id)
            balancing.put(turn, network, sound, is_local=False)
            if network.ingress:
                continue  # nobody has a name there
            ipv4, ipv6 = bare(sound.ipv4), bare(sound.ipv6)
            turn.say(Register(network.id, network.name, endpoint_id, sound.names, ipv4, ipv6, NAMES_TTL_S, sound.ports))
        elif endpoint_id in told.named:
            told.named.discard(endpoint_id)
            balancing.drop(turn, network.id, endpoint_id)
            turn.say(Unregister(network.id, endpoint_id))


def forget(turn: Turn, network_id: str) -> None:
    """What was told of a network counts no more: gossip of it is joined anew, or was left for good."""
    told = turn.core.hearsay.pop(network_id, None)
    if told is not None:
        turn.undo.append(lambda: turn.core.hearsay.__setitem__(network_id, told))
        silence(turn, network_id, told)


def silence(turn: Turn, network_id: str, told: Hearsay) -> None:
    """No peer of a network has a name any more, or a place in Linux."""
    for endpoint_id in sorted(told.named):
        turn.say(Unregister(network_id, endpoint_id))
        balancing.drop(turn, network_id, endpoint_id)
    touch(turn, network_id, told)


def touch_address(turn: Turn, network_id: str, address: str) -> None:
    """An endpoint of this node has an address: whoever was said to have it is another matter."""
    told = turn.core.hearsay.get(network_id)
    if told is not None and address in told.claims:
        turn.owners[peer_owner(network_id, address)] = None


def touch(turn: Turn, network_id: str, told: Hearsay) -> None:
    """The plans of all peers of a network are to be derived anew."""
    turn.owners |= {peer_owner(network_id, address): None for address in sorted(told.claims)}
    pairs.touch(turn, network_id, sorted(told.places))


def plan(core: Core, network_id: str, address: str) -> Plan:
    """What must exist so that an address on another node is reached."""
    network, told = core.state.networks.get(network_id), core.hearsay.get(network_id)
    if network is None or told is None or not core.inhabited(network_id):
        return NOTHING
    peer, spans = told.claimant(address), core.spanning(network)
    if peer is None or spans is None or _ours(core, network_id, address, peer):
        return NOTHING
    return spans.peer_plan(network, peer, address, core.node)


def plans(core: Core) -> dict[str, Plan]:
    """Those of all peers, by owner."""
    return {
        peer_owner(network_id, address): plan(core, network_id, address)
        for network_id, told in core.hearsay.items()
        if core.inhabited(network_id)
        for address in told.claims
    }


def _ours(core: Core, network_id: str, address: str, peer: Peer) -> bool:
    """Whether the address was leased to this node after it was to the peer's."""
    lease = lease_at(core.state, network_id, address)
    return lease is not None and lease.generation >= peer.generation


class _Known:
    """What records of a network are checked by, prepared once for many of them."""

    def __init__(self, network: Network) -> None:
        self._id = network.id
        self._subnets = [parse_subnet(pool.subnet) for pool in network.pools]
        self._gateways = {pool.gateway for pool in network.pools}
        self._places: dict[str, str] = {}

    def sound(self, endpoint_id: str, peer: Peer) -> Peer | None:
        """The record in canonical form, None if it makes no sense."""
        try:
            ipv4, ipv6 = self._address(peer.ipv4, v6=False), self._address(peer.ipv6, v6=True)
            vtep, mac = self._place(peer.vtep), parse_mac(peer.mac)
        except NetError:
            return None
        if peer.endpoint_id != endpoint_id or peer.network_id != self._id or not (ipv4 or ipv6):
            return None
        return Peer(self._id, endpoint_id, ipv4, ipv6, mac, vtep, peer.generation)

    def names(self, names: PeerNames) -> PeerNames | None:
        """So too; names that cannot be one are left out."""
        try:
            ipv4, ipv6 = self._address(names.ipv4, v6=False), self._address(names.ipv6, v6=True)
        except NetError:
            return None
        good = tuple(name for name in names.names[:_NAMES_MAX] if _is_name(name))
        ports = tuple(port for port in names.ports[:PORTS_MAX] if _is_port(port))
        if not good or not (ipv4 or ipv6):
            return None
        return replace(names, names=good, ipv4=ipv4, ipv6=ipv6, ports=ports, backend=self._backend(names.backend))

    def _backend(self, told: Backend | None) -> Backend | None:
        """What it is to a service, None if that makes no sense."""
        if told is None:
            return None
        try:
            vip4, vip6 = self._address(told.vip4, v6=False), self._address(told.vip6, v6=True)
        except NetError:
            return None
        good = tuple(name for name in told.names[:_NAMES_MAX] if _is_name(name))
        sound = replace(told, names=good, vip4=vip4, vip6=vip6)
        return sound if is_sound(sound) else None

    def _place(self, text: str) -> str:
        """A node's address; most peers are on one of a few nodes."""
        if text not in self._places:
            self._places[text] = str(parse_address(text))
        return self._places[text]

    def _address(self, cidr: str, *, v6: bool) -> str:
        """The bare address; empty if there is none, or none that an endpoint could have."""
        if not cidr:
            return ""
        address = parse_address(bare(cidr))
        text = str(address)
        inside = is_v6(text) == v6 and any(address in subnet for subnet in self._subnets)
        return text if inside and text not in self._gateways else ""


def _is_name(text: str) -> bool:
    try:
        check_name("endpoint", text)
    except NetError:
        return False
    return True


def _is_port(text: str) -> bool:
    found = _PORT.fullmatch(text)
    return found is not None and int(found[1]) <= _PORT_LAST
