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
line ends with. ``hint`` is the next thing to do. Raised before any change: the state is unchanged unless the
docstring of the raising function says otherwise.
"""

from __future__ import annotations


class NetError(Exception):
    """Root of all errors that Fairlead shows; ``message`` says what, ``hint`` what to do next."""

    status = 500
    exit_code = 1
    kind = "internal"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class Invalid(NetError):
    """The request is malformed or contradicts itself."""

    status = 400
    kind = "invalid"


class Ambiguous(Invalid):
    """A name or identifier prefix matches several objects."""

    kind = "ambiguous"


class Forbidden(NetError):
    """Understood, but the state or the rules do not allow it."""

    status = 403
    kind = "forbidden"


class NotFound(NetError):
    """The named object does not exist."""

    status = 404
    kind = "not-found"


class Conflict(NetError):
    """The object exists already, or is busy changing."""

    status = 409
    kind = "conflict"


class Internal(NetError):
    """A part that Fairlead relies on (kernel, store, container runtime) failed."""

    kind = "internal"


class PortInUse(Internal):
    """A host port is held by someone else; Docker answers 500 here, since the endpoint path wraps it."""

    kind = "port-in-use"


class NotImplementedHere(NetError):
    """Docker has it, this version of Fairlead has not."""

    status = 501
    kind = "not-implemented"


class Exhausted(NetError):
    """No address, pool or port is left."""

    status = 503
    kind = "exhausted"


class Unavailable(NetError):
    """A needed part is not running or does not answer."""

    status = 503
    kind = "unavailable"
