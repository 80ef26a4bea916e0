"""Plans that the kernel tests share: one bridge network and its endpoints."""

from __future__ import annotations

from fairlead.plan.objects import (
    Address,
    Bridge,
    Chain,
    Element,
    Fdb,
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

TABLE = ("", "inet", "fairlead")


def node() -> Plan:
    """A table with a map of ports, a verdict map, a base chain and a chain that is jumped to."""
    return Plan(
        [
            Table(*TABLE),
            Set(*TABLE, "ports", "inet_proto . inet_service", "ipv4_addr . inet_service"),
            Set(*TABLE, "inside", "ifname", "verdict"),
            Chain(*TABLE, "inner", ("accept",)),
            Chain(
                *TABLE,
                "passing",
                ("ct state established accept", "jump inner"),
                "type filter hook forward priority filter",
            ),
        ]
    )


def network(mtu: int = 1500, name: str = "br0") -> Plan:
    """A bridge with addresses, a setting and an element of the verdict map."""
    return Plan(
        [
            Bridge("", name, "02:42:00:00:00:01", mtu, f"fairlead:network:{name}"),
            Address("", name, "10.9.0.1/16"),
            Address("", name, "fd00:9::1/64"),
            Sysctl("", f"net/ipv4/conf/{name}/route_localnet", "1", name),
            Element(*TABLE, "inside", f'"{name}"', "jump inner"),
        ]
    )


def sandbox(number: int, *extra: Object, mac: str = "", master: str = "br0", interface: str = "eth0") -> Plan:
    """A sandbox with one endpoint, dual stack."""
    name = f"s{number}"
    return Plan(
        [
            Netns(name),
            Veth(
                "",
                f"v{number}{interface}",
                name,
                interface,
                mac or f"02:42:0a:09:00:{number:02x}",
                1500,
                f"fairlead:endpoint:{number}",
                master,
                hairpin=True,
            ),
            Address(name, interface, f"10.9.0.{number}/16"),
            Address(name, interface, f"fd00:9::{number:x}/64"),
            Route(name, "0.0.0.0/0", interface, "10.9.0.1"),
            Route(name, "::/0", interface, "fd00:9::1"),
            *extra,
        ]
    )


#: The namespace of a tunnel, and the tunnel in it.
OVERLAY, TUNNEL = "ov-1", "vx-001001-1"


def overlay(vni: int = 4097, mtu: int = 1450, local: str = "127.0.0.1", *, ns: str = OVERLAY) -> Plan:
    """A namespace with a bridge and a tunnel whose socket is in the node's own."""
    return Plan(
        [
            Netns(ns),
            Bridge(ns, "ov0", "02:42:00:00:00:09", mtu, "fairlead:network:1"),
            Vxlan(ns, TUNNEL, vni, local, 4789, mtu, "fairlead:vxlan:1", "ov0"),
            Address(ns, "ov0", "10.11.0.1/24"),
        ]
    )


def peer(number: int, remote: str = "192.0.2.2", *, ns: str = OVERLAY) -> Plan:
    """An endpoint on another node."""
    mac = f"02:42:0b:00:{number >> 8:02x}:{number & 255:02x}"
    address = f"10.11.{number >> 8}.{number & 255}"
    return Plan([Fdb(ns, TUNNEL, mac, remote), Neighbour(ns, TUNNEL, address, mac)])


def ports(first: int, count: int) -> Plan:
    """Published TCP ports."""
    found: list[Object] = []
    for port in range(first, first + count):
        found.append(PortHold("tcp", "0.0.0.0", port))
        found.append(Element(*TABLE, "ports", f"tcp . {port}", f"10.9.0.2 . {port}"))
    return Plan(found)


def comparable(plan: Plan) -> set[object]:
    """What two kernels can be compared by: rules and hooks are told in nft's own spelling, so without them."""
    return {Chain(*item.key[1:4], item.name, ()) if isinstance(item, Chain) else item for item in plan.values()}
