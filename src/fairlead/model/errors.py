"""Every error a user can meet, one class per meaning.

    NetError
      Invalid            400  the request is malformed or contradicts itself
        Ambiguous        400  a name or prefix matches several objects
      Forbidden          403  understood, but the state or the rules do not allow it
      NotFound           404  the named object does not exist
      Conflict           409  it exists already, or is busy changing
      Internal           500  a part that Fairlead relies on failed
        PortInUse        500  a host port is held by someone else
      NotImplementedHere 501  Docker has it, this version has not
      Exhausted          503  no address, pool or port is left
      Unavailable        503  a needed part is not running

``status`` is the HTTP code of the Engine API (Docker's own choice for each meaning), ``exit_code`` what the command
line ends with. ``hint`` is the next thing to do, ``code`` the number under which ``fairlead explain`` tells more. Raised
before any change: the state is unchanged unless the docstring of the raising function says otherwise.
"""

from __future__ import annotations

from typing import ClassVar

from fairlead.model import codes
from fairlead.model.codes import Code


class NetError(Exception):
    """Root of all errors that Fairlead shows; ``message`` says what, ``hint`` what to do next. ``code`` is the
    narrowest one that fits, by default the general one of the class."""

    status = 500
    exit_code = 1
    kind = "internal"
    general: ClassVar[Code] = codes.INTERNAL

    def __init__(self, message: str, *, hint: str = "", code: Code | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or self.general

    def __str__(self) -> str:
        return self.message


class Invalid(NetError):
    """The request is malformed or contradicts itself."""

    status = 400
    kind = "invalid"
    general = codes.INVALID


class Ambiguous(Invalid):
    """A name or identifier prefix matches several objects."""

    kind = "ambiguous"
    general = codes.AMBIGUOUS


class Forbidden(NetError):
    """Understood, but the state or the rules do not allow it."""

    status = 403
    kind = "forbidden"
    general = codes.FORBIDDEN


class NotFound(NetError):
    """The named object does not exist."""

    status = 404
    kind = "not-found"
    general = codes.NOT_FOUND


class Conflict(NetError):
    """The object exists already, or is busy changing."""

    status = 409
    kind = "conflict"
    general = codes.CONFLICT


class Internal(NetError):
    """A part that Fairlead relies on (kernel, store, container runtime) failed."""

    kind = "internal"


class PortInUse(Internal):
    """A host port is held by someone else; Docker answers 500 here, since the endpoint path wraps it."""

    kind = "port-in-use"
    general = codes.PORT_TAKEN


class NotImplementedHere(NetError):
    """Docker has it, this version of Fairlead has not."""

    status = 501
    kind = "not-implemented"
    general = codes.NOT_IMPLEMENTED


class Exhausted(NetError):
    """No address, pool or port is left."""

    status = 503
    kind = "exhausted"
    general = codes.EXHAUSTED


class Unavailable(NetError):
    """A needed part is not running or does not answer."""

    status = 503
    kind = "unavailable"
    general = codes.UNAVAILABLE


#: The class of each meaning, by ``kind``.
KINDS: dict[str, type[NetError]] = {
    error.kind: error
    for error in (
        Invalid,
        Ambiguous,
        Forbidden,
        NotFound,
        Conflict,
        Internal,
        PortInUse,
        NotImplementedHere,
        Exhausted,
        Unavailable,
    )
}
