"""``--watch``: a list that is shown again whenever something has happened on the node."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout

import click

from fairlead.cli.console import client_of

#: Home and clear to the end of the screen (ECMA-48 CUP, ED): the list is drawn over itself without a flash.
_OVER = "\x1b[H\x1b[J"
#: Seconds until the list is looked at again although nothing was told: ages grow ("2 minutes ago").
_PATIENCE_S = 2.0
#: Least seconds between two looks, since events come in swarms: no eye follows more than five a second.
_PAUSE_S = 0.2


def show_again(act: Callable[[], object]) -> object:
    """Call ``act`` and show what it printed, again after each event, until interrupted. What is no terminal gets every
    different list once, with an empty line between."""
    client = client_of(click.get_current_context())
    shown = None
    while True:
        # The stream is opened before the look, so that nothing which happens in between is missed.
        with client.open("GET", "/events") as events:
            page = io.StringIO()
            with redirect_stdout(page):
                act()
            if page.getvalue() != shown:
                _draw(page.getvalue(), first=shown is None)
                shown = page.getvalue()
            time.sleep(_PAUSE_S)
            events.connection.settimeout(_PATIENCE_S)
            try:
                next(events.lines(), None)
            except TimeoutError:
                continue


def _draw(page: str, *, first: bool) -> None:
    if sys.stdout.isatty():
        page = _OVER + page
    elif not first:
        page = "\n" + page
    sys.stdout.write(page)
    sys.stdout.flush()
