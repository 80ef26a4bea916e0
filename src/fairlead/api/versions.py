"""Which versions of the Engine API are answered, and the words for those that are not."""

from __future__ import annotations

from fairlead.model import codes
from fairlead.model.errors import Invalid

ApiVersion = tuple[int, int]

#: Newest version answered: the first with ``EnableIPv4`` and ``GwPriority`` (Docker API history 1.48); newer clients
#: step down to it after their ping.
API_MAX: ApiVersion = (1, 48)
#: Oldest version answered: the floor to which Docker's daemon can be lowered.
API_MIN: ApiVersion = (1, 24)


def text(version: ApiVersion) -> str:
    """A version as written in paths and headers, such as ``1.48``."""
    return f"{version[0]}.{version[1]}"


def check(written: str) -> ApiVersion:
    """The version out of a path's ``/v1.NN``; raises ``Invalid`` with Docker's words when it is out of range."""
    major, _, minor = written.partition(".")
    version = (int(major), int(minor or "0"))
    if version > API_MAX:
        raise Invalid(
            f"client version {written} is too new. Maximum supported API version is {text(API_MAX)}",
            code=codes.VERSION_UNSUPPORTED,
        )
    if version < API_MIN:
        raise Invalid(
            f"client version {written} is too old. Minimum supported API version is {text(API_MIN)}, "
            "please upgrade your client to a newer version",
            code=codes.VERSION_UNSUPPORTED,
        )
    return version
