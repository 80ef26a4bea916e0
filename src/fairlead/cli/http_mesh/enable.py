"""``fairlead http-mesh enable``."""

from __future__ import annotations

import time

import click

from fairlead.api.client import Client
from fairlead.cli.console import pass_client, record, text
from fairlead.model.errors import Unavailable
from fairlead.model.http_mesh import HTTP_NETWORK, HTTP_PORT, HTTPS_PORT

#: Seconds between two looks at the proxy of this node, and seconds after which its absence is told.
_LOOK_S, _PATIENCE_S = 0.1, 20.0


@click.command("enable", short_help="Have the mesh on every node")
@click.option(
    "--port", default=HTTP_PORT, show_default=True, help="Port for HTTP on all addresses of every node; 0: none."
)
@click.option("--tls-port", default=HTTPS_PORT, show_default=True, help="Port for HTTP over TLS; 0: none.")
@click.option("--certs", default="", metavar="DIR", help="Directory on every node with certificates and keys (PEM).")
@click.option(
    "--trust-proxy", multiple=True, metavar="CIDR", help="Who tells the client's address by the PROXY protocol."
)
@click.option("-d", "--detach", is_flag=True, help="Do not wait until it runs on this node.")
@pass_client
def command(
    client: Client, *, port: int, tls_port: int, certs: str, trust_proxy: tuple[str, ...], detach: bool
) -> None:
    """Have the HTTP mesh on every node of the cluster, or change it: one port for all services with labels that name a
    host. Makes the network fairlead-http if it is not there.

    \b
    Example:
      fairlead http-mesh enable --certs /etc/fairlead/certs
      fairlead service create --name shop --network fairlead-http --label fairlead.http.host=shop.example nginx
    """
    wish = {"Port": port, "TLSPort": tls_port, "Certificates": certs, "TrustedProxies": list(trust_proxy)}
    client.post("/fairlead/http-mesh", wish)
    if not detach:
        _await(client, port, tls_port)
    ports = " and ".join([f"{port}"] * bool(port) + [f"{tls_port} (TLS)"] * bool(tls_port))
    print(f"The HTTP mesh has port {ports} of every node.")
    print(f"Services join it by the label fairlead.http.host=NAME, in network {HTTP_NETWORK} or any other overlay.")


def _await(client: Client, port: int, tls_port: int) -> None:
    """Until the proxy of this node runs like this."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        found = record(client.get("/fairlead/http-mesh"))
        faults = found.get("Warnings")
        runs = bool(record(found.get("Proxy")).get("Running"))
        if runs and (found.get("Port"), found.get("TLSPort")) == (port, tls_port) and not faults:
            return
        if time.monotonic() > deadline:
            if runs:
                return
            why = "; ".join(map(text, faults)) if isinstance(faults, list) else ""
            raise Unavailable(
                f"the HTTP mesh is enabled and does not run on this node: {why or 'it has not begun'}",
                hint="`fairlead http-mesh status` shows how it goes; it is tried again and again",
            )
        time.sleep(_LOOK_S)
