"""Which lab a verb is about: ``--name``, below FAIRLEAD_LAB_DIR."""

from __future__ import annotations

import os

import click

from fairlead.lab.lab import Lab
from fairlead.lab.layout import DEFAULT_BASE, DEFAULT_NAME

#: The option that every verb has.
name_option = click.option("--name", default=DEFAULT_NAME, show_default=True, help="The lab, if there are several.")


def lab_called(name: str) -> Lab:
    """The lab of a name; FAIRLEAD_LAB_DIR moves the directory that labs are kept in."""
    return Lab(os.environ.get("FAIRLEAD_LAB_DIR", DEFAULT_BASE), name, dict(os.environ))
