"""``fairlead gossip status``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, record, records, text
from fairlead.cli.template import Template


@click.command("status", short_help="Show how this node takes part")
@click.option("-f", "--format", "form", default="", help="json, or a template such as '{{.LagSeconds}}'.")
@pass_client
def command(client: Client, *, form: str) -> None:
    """Show how this node takes part in the gossip of its cluster.

    \b
    Example:
      fairlead gossip status
    """
    status = record(client.get("/fairlead/gossip"))
    if form:
        print(Template("{{json .}}" if form == "json" else form).render(status))
        return
    path = record(status.get("DataPath"))
    states = ", ".join(f"{count} {state}" for state, count in record(status.get("PeersByState")).items())
    lag_s = float(text(status.get("LagSeconds")) or 0)
    lines = {
        "ID": text(status.get("ID")),
        "Node ID": text(status.get("NodeID")),
        "Address": text(status.get("Address")),
        "Joined": "true" if status.get("Joined") else "false",
        "Epoch": text(status.get("Epoch")),
        "Health": "well" if not status.get("Health") else f"slow ({text(status.get('Health'))})",
        "Peers": f"{text(status.get('Peers'))}{f' ({states})' if states else ''}",
        "Data Path": f"{text(path.get('Address'))}, MTU {text(path.get('MTU'))}",
        "Confirmed By All": "yes" if not lag_s else f"no, for {lag_s:.3g} s",
        "Queued Packets": text(status.get("QueuedPackets")),
        "Keys": _words(status.get("Keys")),
        "Records Refused": _counts(status.get("RecordsRefused")),
        "Forgers": _counts(status.get("Forgers")),
        "Cluster Digest": text(record(status.get("Cluster")).get("Digest")),
    }
    for label, value in lines.items():
        print(f"{label}: {value}")
    print("Networks:")
    for network in records(status.get("Networks")):
        held = len(record(network.get("Versions")))
        name = text(network.get("Name")) or text(network.get("ID"))[:12]
        print(f"  {name}: digest {text(network.get('Digest'))}, {held} nodes")
    for warning in _list(status.get("Warnings")):
        click.echo(f"WARNING: {warning}", err=True)


def _counts(value: object) -> str:
    return ", ".join(f"{text(count)} {name}" for name, count in record(value).items()) or "none"


def _words(value: object) -> str:
    return " ".join(map(text, _list(value)))


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else []
