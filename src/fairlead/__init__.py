"""Fairlead: Docker's networking, whole, for any container.

``fairlead.Node`` and everything else of ``fairlead.library`` is here by name; it is loaded when it is first asked for, so
that the command line does not wait for it.
"""

from __future__ import annotations

import importlib

__version__ = "0.1.0"

_LIBRARY = "fairlead.library"


def __getattr__(name: str) -> object:
    """A public name of the library (PEP 562)."""
    if not name.startswith("_"):
        library = importlib.import_module(_LIBRARY)
        if name in library.__all__:
            return getattr(library, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
