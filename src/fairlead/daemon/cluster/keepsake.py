"""Small files that a node keeps of its cluster: written whole and safe on the disk, or not at all."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import TypeVar

import msgspec

from fairlead.gossip.identity import SEED_BYTES, Address, Identity
from fairlead.model.errors import Internal

_T = TypeVar("_T")

#: The seed of the node's Ed25519 identity, in hexadecimal; its boot epoch; where other members were last.
IDENTITY_FILE, EPOCH_FILE, PEERS_FILE = "gossip.key", "gossip-epoch", "gossip-peers.json"
#: Members that are remembered: enough that one of them is there at the next start.
PEERS_MAX = 256
_SECRET_MODE = 0o600


def write(path: Path, data: bytes) -> None:
    """Make ``data`` the content of a file that only its owner may read; on return it is on the disk. Raises
    ``Internal`` with the former content in place."""
    fresh = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _SECRET_MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        fresh.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise Internal(f"cannot write {path}: {error.strerror}", hint="look at the disk and at who owns it") from error


def read(path: Path) -> bytes | None:
    """The content of a file, None when there is none; raises ``Internal``."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Internal(f"cannot read {path}: {error.strerror}", hint="look at the disk and at who owns it") from error


def write_value(path: Path, value: object) -> None:
    """A value of dataclasses as JSON."""
    write(path, msgspec.json.encode(value))


def read_value(path: Path, shape: type[_T]) -> _T | None:
    """The same again; None when there is none or it makes no sense."""
    data = read(path)
    if data is None:
        return None
    try:
        return msgspec.json.decode(data, type=shape)
    except msgspec.DecodeError:
        return None


def identity(folder: str) -> Identity:
    """This node's identity in gossip, made when there is none. Raises ``Internal`` for a file that is damaged: another
    identity would be another node."""
    path = Path(folder) / IDENTITY_FILE
    kept = read(path)
    if kept is None:
        kept = secrets.token_bytes(SEED_BYTES).hex().encode()
        write(path, kept)
    try:
        return Identity(bytes.fromhex(kept.decode()))
    except ValueError as error:
        raise Internal(
            f"{path} is damaged", hint="`fairlead swarm leave --force`, and join again as a new node"
        ) from error


def epoch(folder: str) -> int:
    """The boot epoch of the last start, 0 when there was none or it cannot be read (the clock is then the guard)."""
    kept = read(Path(folder) / EPOCH_FILE)
    return int(kept) if kept is not None and kept.isdigit() else 0


def keep_epoch(folder: str, number: int) -> None:
    """Remember the boot epoch of this start, before anything is said."""
    write(Path(folder) / EPOCH_FILE, str(number).encode())


def peers(folder: str) -> tuple[Address, ...]:
    """Where other members were."""
    try:
        rows = json.loads(read(Path(folder) / PEERS_FILE) or b"[]")
        return tuple(Address(str(host), int(port)) for host, port in rows)
    except (ValueError, TypeError):
        return ()


def keep_peers(folder: str, addresses: list[Address]) -> None:
    """Remember where other members are."""
    rows = [[address.host, address.port] for address in addresses[:PEERS_MAX]]
    write(Path(folder) / PEERS_FILE, json.dumps(rows).encode())
