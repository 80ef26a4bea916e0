"""Drivers by name."""

from __future__ import annotations

from collections.abc import Mapping

from fairlead.drivers.bridge.bridge import BridgeDriver
from fairlead.drivers.contract import Connects, Driver, Encrypts, Guards, Publishes, Spans, SparesGateways
from fairlead.drivers.null import Null
from fairlead.drivers.overlay.overlay import OverlayDriver
from fairlead.model import codes
from fairlead.model.errors import NotFound
from fairlead.model.network import Network


class Registry:
    """The drivers that a node has, and what each of them can do beyond the mandatory part. Abilities are asked of the
    drivers once, here: a structural ``isinstance`` costs as much as a whole decision."""

    def __init__(self, drivers: Mapping[str, Driver]) -> None:
        self._drivers = dict(drivers)
        self._connecting = {name: driver for name, driver in drivers.items() if isinstance(driver, Connects)}
        self._publishing = {name: driver for name, driver in drivers.items() if isinstance(driver, Publishes)}
        self._sparing = {name: driver for name, driver in drivers.items() if isinstance(driver, SparesGateways)}
        self._spanning = {name: driver for name, driver in drivers.items() if isinstance(driver, Spans)}
        self._encrypting = {name: driver for name, driver in drivers.items() if isinstance(driver, Encrypts)}
        self.guards = tuple(driver for driver in drivers.values() if isinstance(driver, Guards))

    def __getitem__(self, name: str) -> Driver:
        """The driver of this name; raises ``NotFound`` with Docker's text."""
        try:
            return self._drivers[name]
        except KeyError:
            raise NotFound(
                f"could not find plugin {name} in v1 plugin registry: plugin not found",
                hint=f"drivers of this node: {', '.join(self.names())}",
                code=codes.DRIVER_NOT_FOUND,
            ) from None

    def connecting(self, name: str) -> Connects | None:
        """The driver of this name if its endpoints have interfaces."""
        return self._connecting.get(name)

    def publishing(self, name: str) -> Publishes | None:
        """The driver of this name if it can publish ports."""
        return self._publishing.get(name)

    def spanning(self, name: str) -> Spans | None:
        """The driver of this name if its networks span nodes."""
        return self._spanning.get(name)

    def encrypting(self, name: str) -> Encrypts | None:
        """The driver of this name if it can encrypt between nodes."""
        return self._encrypting.get(name)

    def skips_gateway(self, network: Network, *, v6: bool) -> bool:
        """Whether the network's driver wants no address of this family to be kept for a gateway."""
        driver = self._sparing.get(network.driver)
        return driver is not None and driver.skips_gateway(network, v6=v6)

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(sorted(self._drivers))

    def all(self) -> tuple[Driver, ...]:
        """All drivers, sorted by name."""
        return tuple(self._drivers[name] for name in self.names())


def built_in() -> Registry:
    """The drivers that come with Fairlead."""
    return Registry({"null": Null("null"), "host": Null("host"), "bridge": BridgeDriver(), "overlay": OverlayDriver()})
