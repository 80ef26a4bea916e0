"""``fairlead version``."""

from __future__ import annotations

import click

import fairlead
from fairlead.api.client import ApiError, Client
from fairlead.cli.console import pass_client, record, text
from fairlead.cli.template import Template


@click.command("version", short_help="Show versions")
@click.option("-f", "--format", "form", default="", help="json, or a template such as '{{.Server.Version}}'.")
@pass_client
def command(client: Client, *, form: str) -> None:
    """Show the versions of this program and of the daemon.

    \b
    Example:
      fairlead version --format '{{.Server.Version}}'
    """
    about: dict[str, object] = {"Client": {"Version": fairlead.__version__, "Host": client.host}}
    failure: ApiError | None = None
    try:
        about["Server"] = client.get("/version")
    except ApiError as error:
        about["Server"], failure = None, error
    if form:
        print(Template("{{json .}}" if form == "json" else form).render(about))
    else:
        print(f"Client:\n Version:      {fairlead.__version__}\n Host:         {client.host}")
        if not failure:
            server = record(about["Server"])
            rows = {"Version": "Version", "API version": "ApiVersion", "Kernel": "KernelVersion", "Arch": "Arch"}
            print("\nServer: Fairlead")
            print("\n".join(f" {label + ':':<13} {text(server.get(key))}" for label, key in rows.items()))
    if failure:
        raise failure
