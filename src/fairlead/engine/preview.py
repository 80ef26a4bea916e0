"""A preview in words: what ``--dry-run`` prints."""

from __future__ import annotations

from fairlead.engine.outcome import Preview
from fairlead.model.cluster import Lease
from fairlead.model.container import Container
from fairlead.model.endpoint import Endpoint
from fairlead.model.ids import short
from fairlead.model.network import Network
from fairlead.model.sandbox import Sandbox
from fairlead.model.state import Change, Record
from fairlead.plan.render import steps


def lines(preview: Preview) -> list[str]:
    """The records first, then what changes in Linux in its order; ``+`` comes, ``-`` goes, ``~`` becomes."""
    records = [_change(change) for change in preview.changes]
    return [*records, *(line for owner in preview.steps.values() for line in steps(owner))]


def _change(change: Change) -> str:
    record = change.after or change.before
    sign = "~" if change.before and change.after else "+" if change.after else "-"
    return f"{sign} record {_named(record)}" if record else f"{sign} record {change.kind} {change.id}"


def _named(record: Record) -> str:
    match record:
        case Network():
            pools = [pool.subnet + (f" gateway {pool.gateway}" if pool.gateway else "") for pool in record.pools]
            return " ".join(["network", record.name, record.driver, *pools])
        case Endpoint():
            places = [cidr for cidr in (record.ipv4, record.ipv6) if cidr]
            ports = [f"{b.host_ip}:{b.host_port}->{b.container_port}/{b.proto}" for b in record.bindings]
            return " ".join(["endpoint", record.name, "in", short(record.network_id), record.ifname, *places, *ports])
        case Sandbox():
            return f"sandbox {short(record.id)}"
        case Container():
            return f"container {record.name} {record.state.status}"
        case Lease():
            return f"lease {record.address} of {short(record.network_id)}"
