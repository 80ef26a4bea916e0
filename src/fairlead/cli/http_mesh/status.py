"""``fairlead http-mesh status``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, record, records, text
from fairlead.cli.table import Kind, natural, render
from fairlead.cli.template import Template

_ROUTE = Kind(
    headers={
        "Host": "HOST",
        "Path": "PATH",
        "Service": "SERVICE",
        "Port": "PORT",
        "TLS": "TLS",
        "Tasks": "TASKS",
    },
    shown=("Host", "Path", "Service", "Port", "TLS", "Tasks"),
    key="Host",
    order=lambda row: natural(f"{row['Host']} {row['Path']}"),
)


@click.command("status", short_help="Show the mesh as this node has it")
@click.option("-f", "--format", "form", default="", help="json, or a template such as '{{.Proxy.Running}}'.")
@pass_client
def command(client: Client, *, form: str) -> None:
    """Show the HTTP mesh as this node has it: its ports, its proxy, and where requests go.

    \b
    Example:
      fairlead http-mesh status
    """
    found = record(client.get("/fairlead/http-mesh"))
    if form:
        print(Template("{{json .}}" if form == "json" else form).render(found))
        return
    proxy = record(found.get("Proxy"))
    running = f"running (pid {text(proxy.get('Pid'))})" if proxy.get("Running") else "not running"
    lines = {"Enabled": "true" if found.get("Enabled") else "false"}
    if found.get("Enabled"):
        lines |= {
            "Port": text(found.get("Port") or "off"),
            "TLS Port": text(found.get("TLSPort") or "off"),
            "Certificates": text(found.get("Certificates")) or "none",
            "Networks": ", ".join(text(one.get("Name")) for one in records(found.get("Networks"))) or "none",
            "Proxy": running,
            "Changes": text(proxy.get("Changes")),
            "Reloads": text(proxy.get("Reloads")),
            "Restarts": text(proxy.get("Restarts")),
        }
    for label, value in lines.items():
        print(f"{label}: {value}")
    routes = records(found.get("Routes"))
    if routes:
        print()
        print(render(_ROUTE, [{name: text(value) for name, value in one.items()} for one in routes], "table"), end="")
    warnings = found.get("Warnings")
    for warning in warnings if isinstance(warnings, list) else ():
        click.echo(f"WARNING: {warning}", err=True)
