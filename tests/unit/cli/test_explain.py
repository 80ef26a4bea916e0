"""Numbers of errors: each explained, each raised somewhere, each advice a command that exists."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import click
import pytest

from fairlead.cli.main import root, run
from fairlead.model import codes
from fairlead.model.codes import NARROW_FROM, Code

SOURCE = Path(codes.__file__).resolve().parents[1]
DOCS = SOURCE.parents[1] / "docs"
NAMES = {name: value for name, value in vars(codes).items() if isinstance(value, Code)}
ADVICE = sorted(
    {found for code in NAMES.values() for step in code.steps for found in re.findall(r"`(fairlead[^`]*)`", step)}
)


def test_no_number_is_used_twice_and_each_is_found_however_it_is_written() -> None:
    assert len({code.number for code in NAMES.values()}) == len(NAMES)
    for code in NAMES.values():
        assert codes.find(str(code)) is code
        assert codes.find(f" {code.number}") is code
    assert codes.find("fairlead-9999") is None


@pytest.mark.parametrize("name", [name for name, code in NAMES.items() if code.number >= NARROW_FROM])
def test_each_is_used_somewhere_or_retired(name: str) -> None:
    used = any(_uses(path, name) for path in SOURCE.rglob("*.py"))
    assert used is not NAMES[name].retired, f"{name}: raise it, or mark it retired"


@pytest.mark.parametrize("line", ADVICE)
def test_advice_is_a_command_that_exists(line: str) -> None:
    command: click.Command = root
    ctx = click.Context(root, info_name="fairlead")
    words = shlex.split(line)[1:]
    while words and isinstance(command, click.Group):
        word = words.pop(0)
        found = command.get_command(ctx, word)
        assert found is not None, f"no command {word}"
        command, ctx = found, click.Context(found, parent=ctx, info_name=word)
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}
    for word in words:
        if word == "host":  # the image: what follows belongs to the container
            break
        assert not word.startswith("-") or word.partition("=")[0] in known, f"{line}: no option {word}"


def test_the_page_in_the_docs_is_what_explain_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "--format", "markdown"]) == 0
    assert (DOCS / "errors.md").read_text() == capsys.readouterr().out, (
        "fairlead explain --format markdown >docs/errors.md"
    )


def test_explain_needs_no_daemon_and_says_when_there_is_no_such_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--host", "unix:///nowhere", "explain", "1101"]) == 0
    assert "no such network" in capsys.readouterr().out
    assert run(["explain", "1"]) == 1
    assert "no error has the number 1" in capsys.readouterr().err


def _uses(path: Path, name: str) -> bool:
    if path.name == "codes.py" or name not in path.read_text():
        return False
    return any(isinstance(node, ast.Attribute) and node.attr == name for node in ast.walk(ast.parse(path.read_text())))
