from __future__ import annotations

import inspect

import pytest

from fairlead.model import errors
from fairlead.model.errors import NetError

CLASSES = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, NetError)]

#: Docker's HTTP code for each meaning (cnm 1.15).
STATUS = {
    "NetError": 500,
    "Invalid": 400,
    "Ambiguous": 400,
    "Forbidden": 403,
    "NotFound": 404,
    "Conflict": 409,
    "Internal": 500,
    "PortInUse": 500,
    "NotImplementedHere": 501,
    "Exhausted": 503,
    "Unavailable": 503,
}


def test_every_class_has_dockers_status():
    assert {cls.__name__: cls.status for cls in CLASSES} == STATUS


def test_every_meaning_has_a_kind_of_its_own():
    kinds = [cls.kind for cls in CLASSES if cls is not NetError]
    assert len(set(kinds)) == len(kinds)


@pytest.mark.parametrize("cls", CLASSES)
def test_an_error_says_what_and_what_to_do(cls):
    error = cls("it broke", hint="mend it")
    assert (str(error), error.message, error.hint) == ("it broke", "it broke", "mend it")
    assert cls("it broke").hint == ""
    assert error.exit_code != 0
    assert isinstance(error, NetError)
