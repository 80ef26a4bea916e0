"""``one-host``: the table of its measurements, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bench import daemons, names, operations, ports, traffic
from bench.context import Context
from bench.report import Reading

Measurement = Callable[[Context], Iterator[Reading]]

#: Which rows come out of which measurement: the beginnings of their names.
MEASUREMENTS: tuple[tuple[tuple[str, ...], Measurement], ...] = (
    (("network.",), operations.networks),
    (("endpoint.", "attach."), operations.endpoints),
    (("cli.",), daemons.commands),
    (("daemon.",), daemons.daemons),
    (("bridge.c2c.",), traffic.between_containers),
    (("container.", "publish.", "port."), ports.ports),
    (("dns.",), names.names),
)
