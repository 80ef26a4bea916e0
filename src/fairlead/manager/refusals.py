"""Refusals in swarm's words: clients know them by the text, which begins with the name of a gRPC code."""

from __future__ import annotations

from fairlead.model import codes
from fairlead.model.codes import Code
from fairlead.model.errors import Conflict, Internal, Invalid


def precondition(text: str, *, hint: str, code: Code) -> Invalid:
    """The state does not allow it (Docker answers 400)."""
    return Invalid(f"rpc error: code = FailedPrecondition desc = {text}", hint=hint, code=code)


def bad_argument(text: str, *, hint: str, code: Code) -> Invalid:
    """The request makes no sense."""
    return Invalid(f"rpc error: code = InvalidArgument desc = {text}", hint=hint, code=code)


def exists(text: str, *, hint: str, code: Code) -> Conflict:
    """There is one already."""
    return Conflict(f"rpc error: code = AlreadyExists desc = {text}", hint=hint, code=code)


def check_version(version: int | None, present: int) -> None:
    """Raise what Docker raises (500) when the caller has not seen the newest version."""
    if version is not None and version != present:
        raise Internal(
            "rpc error: code = Unknown desc = update out of sequence",
            hint=f"version {version} was quoted, {present} is the newest: read it again and repeat the change",
            code=codes.OUT_OF_SEQUENCE,
        )
