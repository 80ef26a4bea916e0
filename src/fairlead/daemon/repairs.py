"""Telling what a repair did."""

from __future__ import annotations

import logging
from collections.abc import Iterable

log = logging.getLogger(__name__)


def tell_repairs(lines: Iterable[str]) -> None:
    """Log what ``Kernel.repair`` says; what it could not mend is an error."""
    for words in lines:
        if words.startswith("could not"):
            log.error("%s", words)
        else:
            log.info("repaired: %s", words)
