"""Switches with values, as Docker's command line takes them."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from fairlead.cli.switches import SwitchCommand


@click.command("x", cls=SwitchCommand)
@click.option("--ipv4/--no-ipv4", default=None)
@click.option("--internal", is_flag=True)
@click.option("--label", multiple=True)
@click.argument("names", nargs=-1)
def command(ipv4: bool | None, internal: bool, label: tuple[str, ...], names: tuple[str, ...]) -> None:
    click.echo(f"{ipv4} {internal} {label} {names}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "None False () ()"),
        ("--ipv4 --internal web", "True True () ('web',)"),
        ("--ipv4=false --internal=true web", "False True () ('web',)"),
        ("--ipv4=1 --internal=f", "True False () ()"),
        ("--no-ipv4", "False False () ()"),
        ("--label internal=true", "None False ('internal=true',) ()"),
        ("-- --ipv4=false", "None False () ('--ipv4=false',)"),
    ],
)
def test_switches_take_values(words: str, said: str) -> None:
    assert CliRunner().invoke(command, words.split()).output == f"{said}\n"


def test_nonsense_is_told() -> None:
    done = CliRunner().invoke(command, ["--ipv4=perhaps"])
    assert done.exit_code == 2
    assert "'perhaps' is neither true nor false" in done.output
