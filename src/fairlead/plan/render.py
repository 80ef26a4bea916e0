"""Plans as text: one line for each object, in the order in which a change makes them, stable between runs."""

from __future__ import annotations

from collections.abc import Iterable

from fairlead.plan.diff import Change, Create, Step
from fairlead.plan.ipvs import VirtualService
from fairlead.plan.objects import (
    Address,
    Announce,
    Backends,
    Bridge,
    Chain,
    Connections,
    Element,
    Exact,
    Fdb,
    Flow,
    Neighbour,
    Netns,
    Object,
    Plan,
    PortHold,
    Route,
    Set,
    Sysctl,
    Table,
    Veth,
    Vxlan,
)
from fairlead.plan.returns import ReturnPaths
from fairlead.plan.xfrm import ExactXfrm, XfrmPolicy, XfrmState


def lines(plan: Plan) -> list[str]:
    """The objects of a plan, sorted by rank and key; the rules of a chain follow it, indented."""
    found: list[str] = []
    for item in sorted(plan.values(), key=lambda item: (item.rank, item.key)):
        found.append(line(item))
        if isinstance(item, Chain):
            found.extend(f"    {rule}" for rule in item.rules)
    return found


def text(plan: Plan) -> str:
    """The whole plan, each line ended; empty text for an empty plan."""
    return "".join(f"{entry}\n" for entry in lines(plan))


def steps(changes: Iterable[Step]) -> list[str]:
    """A change, in its order: ``-`` goes, ``+`` comes, ``~`` is changed in place (what it becomes)."""
    found: list[str] = []
    for step in changes:
        if isinstance(step, Change):
            found.append(f"~ {line(step.after)}")
        else:
            found.append(f"{'+' if isinstance(step, Create) else '-'} {line(step.object)}")
    return found


def line(item: Object) -> str:
    """One object. ``@`` names the namespace; none is written for the node's own."""
    match item:
        case Netns():
            return f"netns {item.name}"
        case PortHold():
            host = f"[{item.address}]" if ":" in item.address else item.address
            return f"port {host}:{item.port}/{item.proto}"
        case Sysctl():
            return f"sysctl {item.path}{_at(item.ns)} = {item.value}{_option('link', item.link)}"
        case Bridge():
            adopt = " adopt" if item.adopt else ""
            return f"bridge {item.name}{_at(item.ns)} mac {item.mac} mtu {item.mtu} alias {item.alias}{adopt}"
        case Veth():
            return _veth(item)
        case Vxlan():
            end = f"[{item.local}]" if ":" in item.local else item.local
            return (
                f"vxlan {item.name}{_at(item.ns)} vni {item.vni} local {end}:{item.port} master {item.master}"
                f" mtu {item.mtu} alias {item.alias}"
            )
        case Fdb() | Neighbour() | Exact():
            return _peer(item)
        case Address():
            return f"address {item.cidr} on {item.link}{_at(item.ns)}"
        case Route():
            metric = f" metric {item.metric}" if item.metric else ""
            noun = "local route" if item.local else "route"
            return f"{noun} {item.destination}{_option('via', item.via)} on {item.link}{_at(item.ns)}{metric}"
        case Table() | Set() | Chain() | Element() | Backends():
            return _firewall(item)
        case Flow():
            host = f"[{item.address}]" if ":" in item.address else item.address
            return f"flow {item.proto} {item.host_port} -> {host}:{item.port}{_at(item.ns)}"
        case Connections():
            return f"connections of {item.address}{_at(item.ns)}"
        case XfrmState() | XfrmPolicy() | ExactXfrm():
            return _xfrm(item)
        case ReturnPaths():
            return f"ways back on {item.link}{_at(item.ns)} by {len(item.ways)} nodes"
        case VirtualService():
            to = ", ".join(f"{address} weight {weight}" for address, weight in item.destinations)
            return f"virtual service {item.address}{_at(item.ns)} mark {item.mark:#010x} {item.scheduler} -> {to}"
        case Announce():
            addresses = " ".join(filter(None, (item.ipv4, item.ipv6)))
            return (
                f"announce {addresses} on {item.link}{_at(item.ns)} {item.messages} times every {item.interval_ms} ms"
            )


def _peer(item: Fdb | Neighbour | Exact) -> str:
    match item:
        case Fdb():
            return f"fdb {item.mac} -> {item.remote} on {item.link}{_at(item.ns)}"
        case Neighbour():
            return f"neighbour {item.address} mac {item.mac} on {item.link}{_at(item.ns)}"
        case Exact():
            return f"nothing else known to {item.link}{_at(item.ns)}"


def _xfrm(item: XfrmState | XfrmPolicy | ExactXfrm) -> str:
    match item:
        case XfrmState():
            return f"encrypted {item.source} -> {item.target} spi {item.spi:#010x}"
        case XfrmPolicy():
            then = f"with spi {item.spi:#010x}" if item.spi else "drop"
            return f"to be encrypted {item.source} -> {item.target} udp {item.port} {then}"
        case ExactXfrm():
            return "nobody else encrypted for"


def _veth(item: Veth) -> str:
    flags = (" isolated" if item.isolated else "") + (" hairpin" if item.hairpin else "")
    return (
        f"veth {item.name}{_at(item.ns)}{_option('master', item.master)}{flags} mtu {item.mtu}"
        f" peer {item.peer}{_at(item.peer_ns)} mac {item.peer_mac} alias {item.alias}"
    )


def _firewall(item: Table | Set | Chain | Element | Backends) -> str:
    match item:
        case Table():
            return f"table {item.family} {item.name}{_at(item.ns)}"
        case Set():
            noun, type_ = ("map", f"{item.type} : {item.value_type}") if item.value_type else ("set", item.type)
            return f"{noun} {item.family} {item.table} {item.name}{_at(item.ns)} type {type_}"
        case Chain():
            return f"chain {item.family} {item.table} {item.name}{_at(item.ns)}{_option('hook:', item.hook)}"
        case Element():
            value = f" : {item.value}" if item.value else ""
            return f"element {item.family} {item.table} {item.set}{_at(item.ns)} {{ {item.element}{value} }}"
        case Backends():
            to = f"{item.verdict} {{ {', '.join(item.targets)} }}"
            return f"backends {item.family} {item.table} {item.index}{_at(item.ns)} {item.address} -> {to}"


def _at(ns: str) -> str:
    return f"@{ns}" if ns else ""


def _option(word: str, value: str) -> str:
    return f" {word} {value}" if value else ""
