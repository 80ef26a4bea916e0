"""The list of nodes, and how a command names one."""

from __future__ import annotations

from fairlead.api.client import Client
from fairlead.cli.console import record, text
from fairlead.cli.table import Kind, Row, natural

NODE = Kind(
    headers={
        "ID": "ID",
        "Hostname": "HOSTNAME",
        "Status": "STATUS",
        "Availability": "AVAILABILITY",
        "ManagerStatus": "MANAGER STATUS",
        "EngineVersion": "ENGINE VERSION",
        "TLSStatus": "TLS STATUS",
        "Self": "SELF",
        "Address": "ADDRESS",
    },
    shown=("ID", "Hostname", "Status", "Availability", "ManagerStatus", "EngineVersion"),
    key="ID",
    order=lambda row: natural(row["Hostname"]),
)

#: How the own node is called in commands (Docker).
SELF = "self"


def node_row(node: dict[str, object], own: str, *, marked: bool) -> Row:
    """A node's row out of its JSON; with ``marked`` the own node's id has Docker's star."""
    told, spec = record(node.get("Description")), record(node.get("Spec"))
    status, manager = record(node.get("Status")), record(node.get("ManagerStatus"))
    identifier = text(node.get("ID"))
    reachability = text(manager.get("Reachability")).capitalize()
    return {
        "ID": f"{identifier} *" if marked and identifier == own else identifier,
        "Hostname": text(told.get("Hostname")),
        "Status": text(status.get("State")).capitalize(),
        "Availability": text(spec.get("Availability")).capitalize(),
        "ManagerStatus": "Leader" if manager.get("Leader") else reachability,
        "EngineVersion": text(record(told.get("Engine")).get("EngineVersion")),
        "TLSStatus": "Ready" if record(told.get("TLSInfo")).get("TrustRoot") else "Unknown",
        "Self": "true" if identifier == own else "false",
        "Address": text(status.get("Addr")),
    }


def node_path(client: Client, ref: str) -> str:
    """The id of a node that a command names; ``self`` is the own one."""
    if ref != SELF:
        return ref
    return text(record(record(client.get("/info")).get("Swarm")).get("NodeID")) or SELF
