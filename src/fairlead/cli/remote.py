"""Connections to a daemon over TCP with mutual TLS. Loaded only when one is meant: ``ssl`` costs a short command dear."""

from __future__ import annotations

import functools
import socket
import ssl
from pathlib import Path

from fairlead.api.client import ApiError, Client
from fairlead.model.errors import Invalid

#: Seconds to wait for a daemon far away to take the connection.
_CONNECT_S = 20.0
#: The port that Docker's engine uses for TLS.
_DEFAULT_PORT = 2376


def client(host: str, dry_run: str, ca: str, cert: str, key: str) -> Client:
    """The client of ``tcp://HOST[:PORT]``; raises ``Invalid`` for files or an address that cannot be."""
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(_file(ca))
        context.load_cert_chain(_file(cert), _file(key))
    except (OSError, ssl.SSLError) as error:
        raise Invalid(f"cannot use the TLS files {ca}, {cert}, {key}: {error}", hint="each is a PEM file") from error
    name, colon, port = host.removeprefix("tcp://").rpartition(":")
    if not colon or not port.isdigit():
        name, port = host.removeprefix("tcp://"), str(_DEFAULT_PORT)
    return Client(host, dry_run=dry_run, dial=functools.partial(_dial, context, name.strip("[]"), int(port)))


def _file(path: str) -> str:
    return str(Path(path).expanduser())


def _dial(context: ssl.SSLContext, name: str, port: int) -> socket.socket:
    wire = socket.create_connection((name, port), _CONNECT_S)
    try:
        secure = context.wrap_socket(wire, server_hostname=name)
        secure.settimeout(None)
        return secure
    except ssl.SSLError as error:
        wire.close()
        raise ApiError(400, f"no trust between this client and {name}:{port}: {error}", kind="forbidden") from error
    except OSError:
        wire.close()
        raise
