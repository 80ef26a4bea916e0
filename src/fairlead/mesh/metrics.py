"""Prometheus metrics of the proxy, with the services' names: HAProxy knows back ends only."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fairlead.mesh.layout import Layout

#: A sample of a back end or a server: name of the metric, back end, the rest.
_SAMPLE = re.compile(r'(haproxy_(?:backend|server)_\w+)\{proxy="([^"]*)"(.*)')


def named(text: str, layout: Layout) -> str:
    """The exporter's text; samples of back ends have a label ``service``, those that are in use by none are left out."""
    return "".join(f"{line}\n" for line in _lines(text, layout))


def _lines(text: str, layout: Layout) -> Iterator[str]:
    for line in text.splitlines():
        found = _SAMPLE.fullmatch(line)
        if found is None:
            yield line
        elif found[2] in layout.slots:
            yield f'{found[1]}{{service="{layout.slots[found[2]].service}",proxy="{found[2]}"{found[3]}'
