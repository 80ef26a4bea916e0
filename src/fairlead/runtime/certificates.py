"""Certificates of web sites in a directory of the host, as PEM: checked before anything is done with them."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

from fairlead.model.errors import Invalid, NotFound

#: Octets of a certificate file at most. Reason: a chain with its key has some 10 KB. Our choice.
FILE_BYTES_MAX = 1 << 18
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_CHAINS = (".pem", ".crt", ".cer")


def read(directory: str) -> tuple[tuple[str, str], ...]:
    """Name and text (chain, then key) of each certificate: ``NAME.pem`` with both, or ``NAME.crt`` (``.cer``, ``.pem``) beside
    ``NAME.key``; other files are left alone. Raises ``NotFound`` if there is no such directory, ``Invalid`` with all that
    is wrong with its files."""
    try:
        paths = sorted(path for path in Path(directory).iterdir() if path.suffix in _CHAINS and path.is_file())
    except OSError as fault:
        raise NotFound(
            f"certificates: cannot read {directory}: {fault.strerror}", hint="name a directory that this node has"
        ) from fault
    found, faults = dict[str, str](), []
    for path in paths:
        try:
            found[f"{path.stem}.pem"] = _checked(path)
        except ValueError as fault:
            faults.append(f"{path.name}: {fault}")
    if faults:
        raise Invalid(
            f"certificates in {directory}: {'; '.join(faults)}",
            hint="each certificate needs its key, without a password",
        )
    return tuple(found.items())


def _checked(path: Path) -> str:
    """Raises ``ValueError`` with the reason."""
    if not _NAME.fullmatch(path.name):
        raise ValueError("its name has other characters than letters, digits, _ . -")
    key = path.with_suffix(".key")
    try:
        text = _text(path)
        whole = bool(_KEY.search(text))
        if not whole and not key.exists():
            raise ValueError(f"it has no private key, and there is no {key.name}")
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path, None if whole else key, password=lambda: "")
        return text if whole else f"{text.rstrip()}\n{_text(key)}"
    except ssl.SSLError as fault:
        raise ValueError(f"certificate and key do not fit or cannot be read ({fault.reason or 'no PEM'})") from fault
    except OSError as fault:
        raise ValueError(f"cannot be read: {fault.strerror}") from fault


def _text(path: Path) -> str:
    if path.stat().st_size > FILE_BYTES_MAX:
        raise ValueError(f"{path.name} is larger than {FILE_BYTES_MAX} octets")
    return path.read_text("ascii", "replace")
