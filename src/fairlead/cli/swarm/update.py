"""``fairlead swarm update``."""

from __future__ import annotations

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, record
from fairlead.cli.swarm.specs import cluster, print_unlock_key, spec_body, spec_options, version
from fairlead.cli.switches import SwitchCommand


@click.command("update", cls=SwitchCommand, short_help="Change the cluster")
@spec_options
@click.option("--autolock/--no-autolock", default=None, help="Managers need a key to start.")
@pass_client
def command(client: Client, /, **given: object) -> None:
    """Change the cluster.

    \b
    Example:
      fairlead swarm update --autolock --cert-expiry 720h
    """
    known = cluster(client)
    spec = record(known.get("Spec"))
    client.post("/swarm/update", spec_body(given, spec), {"version": version(known)})
    print("Swarm updated.")
    if given["autolock"] and not record(spec.get("EncryptionConfig")).get("AutoLockManagers"):
        print_unlock_key(client)
