"""A session's lines: one JSON value each, ``{"t": kind, "b": body}`` and, where an answer is wanted or is one, ``"n": number``.

Up go the messages of ``model.session`` that nodes say, down those that managers say, and answers: the reply to the
question of the same number, or the error that refuses it. Reading is total: whatever is no such line raises ``Invalid``.
"""

from __future__ import annotations

from typing import Any, get_args

import msgspec

from fairlead.model import codes
from fairlead.model.cluster import Lease
from fairlead.model.errors import KINDS, Internal, Invalid, NetError
from fairlead.model.session import Downward, NetworkGrant, Upward

_UP: dict[str, Any] = {kind.__name__: kind for kind in get_args(Upward)}
_DOWN: dict[str, Any] = {kind.__name__: kind for kind in get_args(Downward)}
#: Kinds of answers.
_GRANT, _LEASES, _NOTED, _REFUSED = "NetworkGrant", "Leases", "Noted", "Refused"


class _Line(msgspec.Struct):
    t: str
    b: msgspec.Raw = msgspec.Raw(b"{}")
    n: int = 0


class _Refusal(msgspec.Struct):
    kind: str
    message: str
    hint: str = ""
    code: str = ""


def upward(message: Upward, number: int = 0) -> bytes:
    """What a node says; with a ``number`` it wants an answer."""
    return _line(type(message).__name__, message, number)


def read_upward(line: bytes) -> tuple[Upward, int]:
    """What a node said, and the number of the answer that it wants or 0; raises ``Invalid``."""
    head = _head(line)
    message: Upward = _body(head, _UP)
    return message, head.n


def downward(message: Downward) -> bytes:
    """What a manager says."""
    return _line(type(message).__name__, message, 0)


def answer(reply: object, number: int) -> bytes:
    """A manager's answer to the question of this number: a ``NetworkGrant``, leases, the error that refuses, or None for
    what is only to be noted, and has been."""
    if isinstance(reply, NetError):
        refusal = _Refusal(reply.kind, reply.message, reply.hint, str(reply.code))
        return _line(_REFUSED, refusal, number)
    if isinstance(reply, NetworkGrant):
        return _line(_GRANT, reply, number)
    if reply is None:
        return _line(_NOTED, {}, number)
    return _line(_LEASES, reply, number)


def read_downward(line: bytes) -> tuple[Downward | NetworkGrant | tuple[Lease, ...] | NetError | None, int]:
    """What a manager said, and the number of the question that it answers or 0; raises ``Invalid``."""
    head = _head(line)
    if head.t == _REFUSED:
        refusal: _Refusal = _body(head, {_REFUSED: _Refusal})
        kind = KINDS.get(refusal.kind, Internal)
        return kind(refusal.message, hint=refusal.hint, code=codes.find(refusal.code)), head.n
    if head.t == _NOTED:
        return None, head.n
    told: Downward | NetworkGrant | tuple[Lease, ...] = _body(
        head, {**_DOWN, _GRANT: NetworkGrant, _LEASES: tuple[Lease, ...]}
    )
    return told, head.n


def _line(kind: str, body: object, number: int) -> bytes:
    return msgspec.json.encode(_Line(kind, msgspec.Raw(msgspec.json.encode(body)), number))


def _head(line: bytes) -> _Line:
    try:
        return msgspec.json.decode(line, type=_Line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _nonsense(error) from error


def _body(head: _Line, kinds: dict[str, Any]) -> Any:
    kind = kinds.get(head.t)
    if kind is None:
        raise Invalid(f"a session's line is of a kind that is not known here: {head.t[:40]!r}", code=codes.BODY_INVALID)
    try:
        return msgspec.json.decode(head.b, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _nonsense(error) from error


def _nonsense(error: Exception) -> NetError:
    return Invalid(f"a session's line cannot be read: {error}", hint="do both nodes run the same version?")
