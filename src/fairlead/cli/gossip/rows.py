"""The lists of gossip: their columns, and how rows are made of the API's JSON."""

from __future__ import annotations

from fairlead.api.client import human_duration
from fairlead.cli.console import record, text
from fairlead.cli.rows import SHORT_ID
from fairlead.cli.table import Kind, Row, natural

PEER = Kind(
    headers={
        "ID": "PEER ID",
        "NodeID": "NODE ID",
        "Address": "ADDRESS",
        "State": "STATE",
        "RTT": "RTT",
        "Epoch": "EPOCH",
        "Incarnation": "INCARNATION",
        "DataPath": "DATA PATH",
        "MTU": "MTU",
        "Lost": "LOST",
        "Versions": "VERSIONS",
    },
    shown=("ID", "NodeID", "Address", "State", "RTT", "DataPath", "MTU", "Lost"),
    key="ID",
    order=lambda row: natural(row["Address"]),
)

RECORD = Kind(
    headers={
        "Network": "NETWORK",
        "Table": "TABLE",
        "Key": "KEY",
        "Owner": "OWNER",
        "NodeID": "NODE ID",
        "Epoch": "EPOCH",
        "Version": "VERSION",
        "Value": "VALUE",
        "Fault": "FAULT",
    },
    shown=("Table", "Key", "NodeID", "Version", "Value"),
    key="Key",
    order=lambda row: natural(f"{row['Table']} {row['Key']}"),
)


def peer_row(peer: dict[str, object], *, full: bool) -> Row:
    """Another node's row; ``full`` shortens nothing."""
    path, rtt_s, lost_s = record(peer.get("DataPath")), peer.get("RTTSeconds"), peer.get("LostSeconds")
    cut = None if full else SHORT_ID
    versions = record(peer.get("Versions"))
    return {
        "ID": text(peer.get("ID"))[:cut],
        "NodeID": text(peer.get("NodeID"))[:cut],
        "Address": text(peer.get("Address")),
        "State": text(peer.get("State")),
        "RTT": f"{rtt_s * 1000:.3g} ms" if isinstance(rtt_s, int | float) else "",
        "Epoch": text(peer.get("Epoch")),
        "Incarnation": text(peer.get("Incarnation")),
        "DataPath": text(path.get("Address")),
        "MTU": text(path.get("MTU") or None),
        "Lost": f"{human_duration(lost_s)} ago" if isinstance(lost_s, int | float) else "",
        "Versions": ",".join(f"{scope[:cut] or '-'}={seq}" for scope, seq in sorted(versions.items())),
    }


def record_row(item: dict[str, object], *, full: bool) -> Row:
    """A record's row. What is not believed shows why in the place of its value."""
    cut = None if full else SHORT_ID
    fault = text(item.get("Fault"))
    value = record(item.get("Value"))
    # of an endpoint's record the table and the key say these already
    hidden = {"network_id", "endpoint_id"} if "endpoint_id" in value and not full else set()
    shown = {name: part for name, part in value.items() if name not in hidden}
    words = " ".join(f"{name}={_words(part)}" for name, part in shown.items() if part not in ("", []))
    key = text(item.get("Key"))
    return {
        "Network": text(item.get("Network"))[:cut],
        "Table": text(item.get("Table")),
        "Key": key if full else key[:SHORT_ID],
        "Owner": text(item.get("Owner"))[:cut],
        "NodeID": text(item.get("NodeID"))[:cut],
        "Epoch": text(item.get("Epoch")),
        "Version": text(item.get("Version")),
        "Value": f"({fault})" if fault else words,
        "Fault": fault,
    }


def _words(value: object) -> str:
    return ",".join(map(text, value)) if isinstance(value, list) else text(value)
