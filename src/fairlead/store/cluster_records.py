"""The cluster's records as keys and values of its store: ``<kind>/<id>``, JSON."""

from __future__ import annotations

import msgspec

from fairlead.model import codes
from fairlead.model.cluster import KINDS, ClusterRecord
from fairlead.model.errors import Internal

_DECODERS = {f"{kind}/": msgspec.json.Decoder(record_type) for record_type, kind in KINDS.items()}


def encode(record: ClusterRecord) -> bytes:
    """A record as the value of its key."""
    return msgspec.json.encode(record)


def decode(key: str, value: bytes) -> ClusterRecord:
    """The record that a key's value is. Raises ``Internal`` for one that this version cannot read."""
    decoder = _DECODERS.get(key[: key.find("/") + 1])
    if decoder is None:
        raise Internal(f"the cluster's records have an unknown kind: {key}", code=codes.STORE_FAILED)
    try:
        return decoder.decode(value)
    except msgspec.DecodeError as error:
        raise Internal(
            f"the cluster's record {key} cannot be read: {error}",
            hint="was it written by a newer version?",
            code=codes.STORE_FAILED,
        ) from error
