"""Rules that every value of the model obeys, whatever it is."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import typing
from dataclasses import is_dataclass

import pytest

from fairlead import model
from fairlead.model import commands, events, state

MODULES = [importlib.import_module(f"fairlead.model.{info.name}") for info in pkgutil.iter_modules(model.__path__)]


def values_of(module):
    """The dataclasses that a module defines for others."""
    return [
        value
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and is_dataclass(value)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    ]


VALUES = [value for module in MODULES for value in values_of(module)]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.__name__)
def test_a_value_is_frozen_small_and_documented(value):
    assert value.__dataclass_params__.frozen
    assert "__slots__" in vars(value)
    assert inspect.getdoc(value)
    assert not value.__doc__.startswith(f"{value.__name__}("), "the docstring is one that dataclass made up"


def test_every_command_is_in_the_union():
    assert set(typing.get_args(commands.Command)) == set(values_of(commands)) - {commands.AlreadyThere}


def test_every_event_is_in_the_union():
    told = set(typing.get_args(events.Event))
    assert told <= set(values_of(events))
    assert {events.HostChanged, events.Applied, events.Failed, events.ContainerExited} <= told


def test_every_record_has_a_kind_of_its_own():
    assert set(state.KINDS) == set(typing.get_args(state.Record))
    assert len(set(state.KINDS.values())) == len(state.KINDS)
