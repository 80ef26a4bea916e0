"""What all shapes of the Engine API share: strict decoding of bodies, encoding, times, errors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeVar

import msgspec

from fairlead.model import codes
from fairlead.model.errors import Invalid, NetError

_T = TypeVar("_T")

#: How Docker writes "never" (Go's zero time).
ZERO_TIME = "0001-01-01T00:00:00Z"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def decode(body: bytes, shape: type[_T]) -> _T:
    """A request body as ``shape``; unknown fields are ignored, anything else wrong raises ``Invalid``."""
    if not body.strip():
        raise Invalid(
            "invalid JSON: got EOF while reading request body",
            hint="send a JSON object as the body",
            code=codes.BODY_INVALID,
        )
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        raise Invalid(
            f"invalid JSON: {error}", hint="compare the field with the Engine API's reference", code=codes.BODY_INVALID
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(
            f"invalid JSON: {error}", hint="send one well-formed JSON object", code=codes.BODY_INVALID
        ) from error


def encode(answer: object) -> bytes:
    """An answer as Docker writes it: JSON and a newline."""
    return msgspec.json.encode(answer) + b"\n"


def error_body(error: NetError) -> dict[str, object]:
    """An error's body. Docker's clients read ``message`` only, so the hint stands there too, on a line of its own."""
    body: dict[str, object] = {"message": f"{error.message}\n{error.hint}" if error.hint else error.message}
    if error.hint:
        body["hint"] = error.hint
    if error.__cause__ is not None and str(error.__cause__) not in error.message:
        body["cause"] = str(error.__cause__)
    body["kind"] = error.kind
    body["code"] = str(error.code)
    return body


def stamp(at: float) -> str:
    """Epoch seconds as RFC 3339 text in UTC with nanosecond digits; 0 is Docker's zero time."""
    if at <= 0:
        return ZERO_TIME
    moment = _EPOCH + timedelta(microseconds=round(at * 1e6))
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond:06d}000Z"


def nanoseconds(at: float) -> int:
    """Epoch seconds as whole nanoseconds, with the microseconds that a float can carry."""
    return round(at * 1e6) * 1000
