"""``--default-network-opt DRIVER=KEY=VALUE``."""

from __future__ import annotations

from collections.abc import Iterable

from fairlead.model import codes
from fairlead.model.errors import Invalid


def parse_network_opts(texts: Iterable[str]) -> dict[str, dict[str, str]]:
    """Options by driver and key; raises ``Invalid``."""
    found: dict[str, dict[str, str]] = {}
    for text in texts:
        driver, *rest = text.split("=", 2)
        if not driver or len(rest) != 2 or not rest[0]:
            raise Invalid(
                f"invalid default network option {text!r}",
                hint="write driver=key=value, such as bridge=com.docker.network.driver.mtu=1400",
                code=codes.FLAG_INVALID,
            )
        found.setdefault(driver, {})[rest[0]] = rest[1]
    return found
