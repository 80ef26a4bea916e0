"""The C programs of the benchmarks, compiled when a run begins."""

from __future__ import annotations

import subprocess
from pathlib import Path

_HERE = Path(__file__).parent
#: These run in root file systems that hold nothing else.
_STATIC = frozenset({"pause", "flow"})


class Programs:
    """Paths of the compiled programs by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        for source in sorted(_HERE.glob("*.c")):
            kind = ["-static"] if source.stem in _STATIC else []
            subprocess.run(["gcc", "-O2", "-Wall", *kind, "-o", folder / source.stem, source], check=True)

    def __getitem__(self, name: str) -> str:
        return str(self._folder / name)
