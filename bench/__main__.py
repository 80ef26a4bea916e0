"""``python -m bench one-host|gossip|gossip-sim|cluster|overlay|balancing|http-mesh [--json FILE] [--markdown] [--only NAME,...] [--quick]``; use ``./run bench``,
which installs its needs."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench import balancing, cluster, gossip, gossip_sim, http_mesh, one_host, overlay, vips
from bench.context import FAULTS, Context, progress
from bench.engines import docker_version
from bench.goals import BALANCING, CLUSTER, GOSSIP, GOSSIP_SIM, HTTP_MESH, ONE_HOST, OVERLAY, Goal
from bench.report import Report, markdown, table, write_json

#: Seconds after which no further measurement is begun.
_FULL_S, _QUICK_S = 420.0, 100.0


def main() -> int:
    options = _options()
    if os.geteuid():
        print("benchmarks need root: namespaces, links and containers are made", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = Path(tempfile.mkdtemp(prefix="fairlead-bench-", dir="/var/tmp"))
    # compiled modules are kept, as they are where a package was installed; here without a trace in the checkout
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "pycache")
    try:
        report = _MEASURES[options.name](Context(folder, quick=options.quick), options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    rows = report.rows()
    print(f"peer: {_PEERS[options.name]()}; kernel {os.uname().release.partition('-')[0]}; {os.cpu_count()} cores")
    print(markdown(rows) if options.markdown else table(rows))
    if options.json:
        write_json(rows, options.json)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run bench", description="Measure, beside the floor and beside Docker.")
    parser.add_argument("name", choices=sorted(_MEASURES))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    parser.add_argument("--markdown", action="store_true", help="print a table for docs/benchmarks.md")
    parser.add_argument("--only", default="", metavar="NAME,...", help="rows whose names begin so")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions: two minutes instead of eight")
    parser.add_argument("--nodes", default="", metavar="N,...", help="gossip: clusters of these sizes")
    parser.add_argument("--schedules", type=int, metavar="N", help="gossip-sim: random schedules of all faults")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="gossip-sim: draw rounds and messages there (SVG)")
    return parser.parse_args()


def _wanted(options: argparse.Namespace) -> list[str]:
    return [name for name in options.only.split(",") if name]


def _sizes(options: argparse.Namespace, default: tuple[int, ...]) -> list[int]:
    return [int(size) for size in options.nodes.split(",") if size] or list(default)


def _measure_gossip(context: Context, options: argparse.Namespace) -> Report:
    report = Report(GOSSIP)
    rows = gossip.Rows(quick=context.quick, wanted=_wanted(options))
    for reading in rows.measure(_sizes(options, gossip.SIZES)):
        report.add(reading)
    return report


def _measure_gossip_sim(context: Context, options: argparse.Namespace) -> Report:
    report = Report(GOSSIP_SIM)
    rows = gossip_sim.Rows(quick=context.quick, wanted=_wanted(options), schedules=options.schedules)
    for reading in rows.measure(_sizes(options, gossip_sim.QUICK_SIZES if context.quick else gossip_sim.SIZES)):
        report.add(reading)
    if options.picture:
        options.picture.write_text(rows.picture())
    return report


def _measure_table(
    goals: Mapping[str, Goal], measurements: Sequence[tuple[tuple[str, ...], one_host.Measurement]]
) -> Callable[[Context, argparse.Namespace], Report]:
    return lambda context, options: _measure(goals, measurements, context, options)


def _measure(
    goals: Mapping[str, Goal],
    measurements: Sequence[tuple[tuple[str, ...], one_host.Measurement]],
    context: Context,
    options: argparse.Namespace,
) -> Report:
    wanted = _wanted(options)
    report, start = Report(goals), time.monotonic()
    for prefixes, measurement in measurements:
        if wanted and not any(
            name.startswith(prefix) or prefix.startswith(name) for name in wanted for prefix in prefixes
        ):
            continue
        if time.monotonic() - start > (_QUICK_S if context.quick else _FULL_S):
            progress(f"no time left for {', '.join(prefixes)}")
            continue
        progress(f"measuring {(measurement.__doc__ or '').strip()}")
        try:
            for reading in measurement(context):
                report.add(reading)
        except FAULTS as fault:
            progress(f"given up: {fault}")
    return report


_MEASURES = {
    "one-host": _measure_table(ONE_HOST, one_host.MEASUREMENTS),
    "gossip": _measure_gossip,
    "gossip-sim": _measure_gossip_sim,
    "cluster": _measure_table(CLUSTER, cluster.MEASUREMENTS),
    "overlay": _measure_table(OVERLAY, overlay.MEASUREMENTS),
    "http-mesh": _measure_table(HTTP_MESH, http_mesh.MEASUREMENTS),
    "balancing": _measure_table(BALANCING, (*balancing.MEASUREMENTS, *vips.MEASUREMENTS)),
}
_PEERS = {
    "one-host": docker_version,
    "gossip": lambda: "networkdb of August 2026, measured before (bench/gossip_anchors.py)",
    "gossip-sim": lambda: "none",
    "cluster": docker_version,
    "overlay": docker_version,
    "balancing": docker_version,
    "http-mesh": lambda: "none; the floor is a HAProxy with a configuration written by hand",
}

if __name__ == "__main__":
    sys.exit(main())
