"""What a member proves itself with, and whom it believes: its certificate, its keys, the cluster's roots; on disk and as
contexts of TLS.

Files in ``certificates/``, as swarm names them: ``swarm-root-ca.crt`` (the trusted roots), ``swarm-node.crt`` and
``swarm-node.key``. A new certificate comes with a new key; the key is laid beside the old one first, so that a crash at any
moment leaves a pair that fits. With autolock the key of the manager that holds the records is sealed, as they are.
"""

from __future__ import annotations

import os
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path

from fairlead.daemon.cluster import keepsake
from fairlead.model import codes
from fairlead.model.cluster import MANAGER
from fairlead.model.errors import Internal, Invalid, NetError, Unavailable
from fairlead.model.ids import Chance
from fairlead.pki import certificates, sealing
from fairlead.pki.certificates import Identity

_ROOTS, _CERTIFICATE, _KEY = "swarm-root-ca.crt", "swarm-node.crt", "swarm-node.key"
#: A key until its certificate has taken its place, or until the cluster's records are sealed as it is.
_NEXT_KEY = "swarm-node.key.next"
#: Elliptic curves and authenticated encryption only (swarmkit: ca.NewServerTLSConfig).
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def locked() -> NetError:
    """The error of everything that a locked manager cannot do."""
    return Unavailable(
        'Swarm is encrypted and needs to be unlocked before it can be used. Please use "docker swarm unlock" to unlock it.',
        hint="`fairlead swarm unlock` asks for the key",
        code=codes.SWARM_LOCKED,
    )


@dataclass(frozen=True)
class Credentials:
    """A certificate with its key and the roots (PEM all), and the contexts made of them."""

    certificate: str
    key: str = field(repr=False)
    roots: str
    identity: Identity
    server_context: ssl.SSLContext = field(repr=False)
    client_context: ssl.SSLContext = field(repr=False)

    @classmethod
    def of(cls, certificate: str, key: str, roots: str, cluster_id: str | None = None) -> Credentials:
        """Checked as a whole; raises ``Forbidden`` for a certificate that these roots do not vouch for, ``Invalid`` for
        another's key."""
        identity = certificates.verify(certificate, roots, cluster_id, time.time())
        certificates.check_pair(certificate, key)
        server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        server.verify_mode = ssl.CERT_OPTIONAL  # a node that joins has no certificate yet
        server.num_tickets = 0  # who one is, is shown anew at each connection
        for context in (server, client):
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(_CIPHERS)
            context.load_verify_locations(cadata=roots)
            load_pair(context, certificate, key)
        return cls(certificate, key, roots, identity, server, client)

    @property
    def der(self) -> bytes:
        """The node's certificate alone, in DER."""
        end = "-----END CERTIFICATE-----"
        return ssl.PEM_cert_to_DER_cert(self.certificate[: self.certificate.index(end) + len(end)])

    @property
    def manages(self) -> bool:
        """Whether the certificate is a manager's."""
        return self.identity.role == MANAGER


def stranger_context(root: str = "") -> ssl.SSLContext:
    """How a node that joins speaks to a manager: with the root that fits its token, or, to download that, without any
    trust."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if root:
        context.load_verify_locations(cadata=root)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Cabinet:
    """The files of one member, in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "certificates"

    def load(self, unlock_key: bytes | None = None) -> Credentials:
        """What is kept; raises ``Unavailable`` when the key is sealed and no unlock key is given, ``Forbidden`` for
        another unlock key and for an expired certificate, ``Internal`` for damaged files."""
        certificate, roots = self._read(_CERTIFICATE), self._read(_ROOTS)
        fresh = self._folder / _NEXT_KEY
        failure: NetError | None = None
        for path in (fresh, self._folder / _KEY):
            sealed = keepsake.read(path)
            if sealed is None:
                continue
            try:
                found = Credentials.of(certificate, _opened(sealed.decode(), unlock_key), roots)
            except NetError as error:
                failure = failure if isinstance(error, Invalid) and failure else error
                continue
            if path == fresh:
                fresh.replace(self._folder / _KEY)
            return found
        raise failure or _damaged(self._folder / _KEY)

    def lay(self, credentials: Credentials, chance: Chance, unlock_key: bytes | None) -> None:
        """Lay the key beside the one in use, so that both forms of it can be opened until ``save``."""
        key = sealing.seal_pem(unlock_key, credentials.key, chance) if unlock_key else credentials.key
        keepsake.write(self._folder / _NEXT_KEY, key.encode())

    def save(self, credentials: Credentials, chance: Chance, unlock_key: bytes | None = None) -> None:
        """Keep a pair in place of the one before, and the roots."""
        self.lay(credentials, chance, unlock_key)
        keepsake.write(self._folder / _ROOTS, credentials.roots.encode())
        keepsake.write(self._folder / _CERTIFICATE, credentials.certificate.encode())
        (self._folder / _NEXT_KEY).replace(self._folder / _KEY)

    def _read(self, name: str) -> str:
        data = keepsake.read(self._folder / name)
        if data is None:
            raise _damaged(self._folder / name)
        return data.decode("ascii", "replace")


def _opened(text: str, unlock_key: bytes | None) -> str:
    if not sealing.is_sealed_pem(text):
        return text
    if unlock_key is None:
        raise locked()
    return sealing.unseal_pem(unlock_key, text)


def load_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Give a context a certificate and its key (PEM). Python takes keys from files only: this one is in memory, so that an
    opened key never lies on a disk. Raises ``Internal``."""
    descriptor = os.memfd_create("fairlead-pair", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{certificate}\n{key}\n")
        file.flush()
        try:
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        except (OSError, ssl.SSLError) as error:
            raise Internal(f"cannot use the node's certificate: {error}") from error


def _damaged(path: Path) -> NetError:
    return Internal(
        f"cannot read {path}",
        hint="restore it from a copy, or `fairlead swarm leave --force` and join again",
        code=codes.CERTIFICATE_INVALID,
    )
