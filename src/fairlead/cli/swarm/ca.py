"""``fairlead swarm ca``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, record, text
from fairlead.cli.progress import waiting
from fairlead.cli.swarm.specs import cluster, spec_body, version
from fairlead.model import codes
from fairlead.model.errors import Invalid

#: Seconds between two looks at how far the nodes are (Docker: 200 ms).
_LOOK_S = 0.2


@click.command("ca", short_help="Show the cluster's root certificate, or replace it")
@click.option("--rotate", is_flag=True, help="Replace it; every node gets a new certificate, nothing stops.")
@click.option("--ca-cert", default="", metavar="PATH", help="The root to take, PEM.")
@click.option("--ca-key", default="", metavar="PATH", help="Its key, PEM.")
@click.option("--cert-expiry", default=None, metavar="DURATION", help="How long nodes' certificates are valid.")
@click.option("-d", "--detach", is_flag=True, help="Do not wait until every node has its new certificate.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing while and after it is replaced.")
@pass_client
def command(client: Client, /, **given: object) -> None:
    """Show the cluster's root certificate, or replace it.

    \b
    Example:
      fairlead swarm ca --rotate
    """
    known = cluster(client)
    if not given["rotate"]:
        if given["ca_cert"] or given["ca_key"] or given["cert_expiry"]:
            raise Invalid("`--rotate` is required for these flags", hint="add --rotate", code=codes.FLAG_INVALID)
        print(_root(known), end="")
        return
    spec = spec_body(given, record(known.get("Spec")))
    authority = record(spec.get("CAConfig"))
    authority["ForceRotate"] = int(text(authority.get("ForceRotate")) or "0") + 1
    for option, name in (("ca_cert", "SigningCACert"), ("ca_key", "SigningCAKey")):
        if given[option]:
            authority[name] = _file(str(given[option]))
    client.post("/swarm/update", {**spec, "CAConfig": authority}, {"version": version(known)})
    if given["detach"]:
        return
    with waiting("rotating the root certificate"):
        while cluster(client).get("RootRotationInProgress"):
            time.sleep(_LOOK_S)
    if not given["quiet"]:
        print(_root(cluster(client)), end="")


def _root(known: dict[str, object]) -> str:
    return text(record(known.get("TLSInfo")).get("TrustRoot"))


def _file(path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"cannot read {path}: {error}", hint="name a PEM file", code=codes.FLAG_INVALID) from error
