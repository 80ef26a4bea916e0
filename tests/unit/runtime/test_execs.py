"""Commands beside a container, as far as no program is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairlead.model.errors import NotFound
from fairlead.model.runspec import ExecSpec
from fairlead.runtime.execs import IDLE_KEPT, Execs
from fairlead.runtime.layout import Files


def test_commands_that_nobody_starts_are_bounded(tmp_path: Path) -> None:
    execs = Execs("runc", tmp_path)
    files = Files(tmp_path, tmp_path)
    made = [execs.create("c" * 64, files, ExecSpec(("true",))) for _ in range(IDLE_KEPT + 10)]
    assert execs.inspect(made[-1])["Running"] is False
    with pytest.raises(NotFound):
        execs.inspect(made[0])
