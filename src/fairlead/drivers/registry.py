"""Drivers by name."""

from __future__ import annotations

from collections.abc import Mapping

from fairlead.drivers.bridge.bridge import BridgeDriver
from fairlead.drivers.contract import Driver
from fairlead.drivers.null import Null
from fairlead.model.errors import NotFound


class Registry:
    """The drivers that a node has."""

    def __init__(self, drivers: Mapping[str, Driver]) -> None:
        self._drivers = dict(drivers)

    def __getitem__(self, name: str) -> Driver:
        """The driver of this name; raises ``NotFound`` with Docker's text."""
        try:
            return self._drivers[name]
        except KeyError:
            raise NotFound(
                f"could not find plugin {name} in v1 plugin registry: plugin not found",
                hint=f"drivers of this node: {', '.join(self.names())}",
            ) from None

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(sorted(self._drivers))

    def all(self) -> tuple[Driver, ...]:
        """All drivers, sorted by name."""
        return tuple(self._drivers[name] for name in self.names())


def built_in() -> Registry:
    """The drivers that come with Fairlead."""
    return Registry({"null": Null("null"), "host": Null("host"), "bridge": BridgeDriver()})
