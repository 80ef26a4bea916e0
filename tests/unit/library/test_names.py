"""What ``import fairlead`` shows, and what it costs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import fairlead
from fairlead import library

STUB = Path(fairlead.__file__).with_name("__init__.pyi")


def test_the_library_is_loaded_when_it_is_first_asked_for() -> None:
    words = "import sys, fairlead; before = 'fairlead.library' in sys.modules; fairlead.Node; print(before)"
    done = subprocess.run([sys.executable, "-c", words], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_every_name_is_there_and_typed() -> None:
    typed = set(re.findall(r"import (\w+) as \1$", STUB.read_text(), re.MULTILINE))
    assert typed == set(library.__all__)
    assert all(getattr(fairlead, name) is getattr(library, name) for name in typed)


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nodes'"):
        _ = fairlead.Nodes  # type: ignore[attr-defined]
