"""network.*, endpoint.*, attach.parallel: what calls of the API take."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

from bench.api import Api
from bench.by_hand import ByHand
from bench.context import BY_HAND, OURS, THEIRS, Context, Samples, interleave, percentile
from bench.engines import Engine
from bench.report import Reading

_MS = 1e3
#: Networks that a container is connected to before it is disconnected from all of them.
_BUNCH = 20
#: Link group of the endpoints made by hand: one deletion for all of them.
_GROUP = 77
#: attach.parallel: how many endpoints, how many at a time, on how many containers.
_ENDPOINTS, _AT_A_TIME = 200, 8
#: Seconds after a series of our deletions, for the kernel's part that we do behind: it must not be booked on others.
_SETTLE_S = 0.3


def networks(context: Context) -> Iterator[Reading]:
    """network.create, network.delete, network.create.at500"""
    create, delete = Samples(), Samples()
    rounds = context.count(40, 12)
    with context.engines(create) as engines, context.by_hand() as by_hand:
        delete.why.update(create.why)
        counters = {side: itertools.count() for side in (OURS, BY_HAND, THEIRS)}
        makers = _makers(engines, by_hand, counters)
        interleave(create, rounds, makers)
        counters.update({side: itertools.count() for side in counters})
        for side, remove in _removers(engines, by_hand, counters).items():
            for _ in range(rounds):
                delete.take(side, remove)
            time.sleep(_SETTLE_S)
        yield create.reading("network.create", _MS)
        yield delete.reading("network.delete", _MS)
        yield _crowded(context, engines, by_hand, create.why)


def _makers(
    engines: Mapping[str, Engine], by_hand: ByHand, counters: Mapping[str, Iterator[int]]
) -> dict[str, Callable[[], float]]:
    sides = {side: _maker(engine, counters[side]) for side, engine in engines.items()}
    return {**sides, BY_HAND: lambda: by_hand.network(next(counters[BY_HAND]))}


def _maker(engine: Engine, numbers: Iterator[int]) -> Callable[[], float]:
    return lambda: engine.network(f"n{next(numbers)}")


def _removers(
    engines: Mapping[str, Engine], by_hand: ByHand, counters: Mapping[str, Iterator[int]]
) -> dict[str, Callable[[], float]]:
    def remover(engine: Engine, numbers: Iterator[int]) -> Callable[[], float]:
        return lambda: engine.delete_network(f"n{next(numbers)}")

    sides = {side: remover(engine, counters[side]) for side, engine in engines.items()}
    return {**sides, BY_HAND: lambda: by_hand.delete_network(next(counters[BY_HAND]))}


def _crowded(context: Context, engines: Mapping[str, Engine], by_hand: ByHand, why: Mapping[str, str]) -> Reading:
    sizes = {OURS: context.count(500, 100), THEIRS: context.count(200, 30)}
    samples = Samples(why=dict(why))
    for side, engine in engines.items():
        for number in range(sizes[side]):
            engine.network(f"crowd{number}")
    for number in range(sizes[OURS]):
        by_hand.network(number)
    numbers = {side: itertools.count(sizes[OURS]) for side in (*engines, BY_HAND)}
    interleave(samples, context.count(30, 10), _makers(engines, by_hand, numbers))
    note = "; ".join(f"{side}: beside {size} networks" for side, size in sizes.items() if size != 500)
    return samples.reading("network.create.at500", _MS, note=note)


def endpoints(context: Context) -> Iterator[Reading]:
    """endpoint.connect.*, endpoint.disconnect, attach.parallel"""
    connect, disconnect = Samples(), Samples()
    with context.engines(connect) as engines, context.by_hand() as by_hand:
        disconnect.why.update(connect.why)
        for engine in engines.values():
            engine.container("one", "bridge")
            for number in range(_BUNCH):
                engine.network(f"n{number}")
        bunches = {OURS: context.count(10, 3), BY_HAND: context.count(10, 3), THEIRS: context.count(2, 1)}
        for turn in range(max(bunches.values())):
            for side, engine in engines.items():
                if turn < bunches[side]:
                    _bunch(engine, side, connect, disconnect)
            _bunch_by_hand(by_hand, connect, disconnect)
        few = len(connect.values.get(OURS, ()))
        yield connect.reading("endpoint.connect.p50", _MS)
        yield connect.reading("endpoint.connect.p99", _MS, percentile(0.99), note=f"of {few}")
        yield disconnect.reading("endpoint.disconnect", _MS, note="floor: in bulk, by group")
        yield _parallel(context, engines, by_hand, dict(connect.why))
        yield _among_many(context, engines[OURS], by_hand)


def _bunch(engine: Engine, side: str, connect: Samples, disconnect: Samples) -> None:
    for number in range(_BUNCH):
        connect.take(side, partial(engine.connect, f"n{number}", "one"))
    for number in range(_BUNCH):
        disconnect.take(side, partial(engine.disconnect, f"n{number}", "one"))
    time.sleep(_SETTLE_S)


def _bunch_by_hand(by_hand: ByHand, connect: Samples, disconnect: Samples) -> None:
    spaces = [by_hand.namespace() for _ in range(_BUNCH)]
    for space in spaces:
        connect.take(BY_HAND, partial(by_hand.attach, space, _GROUP))
    disconnect.take(BY_HAND, lambda: by_hand.delete_group(_GROUP) / _BUNCH)
    for space in spaces:
        space.process.stop()


def _parallel(context: Context, engines: Mapping[str, Engine], by_hand: ByHand, why: dict[str, str]) -> Reading:
    samples, sizes = Samples(why=why), {OURS: _ENDPOINTS, THEIRS: context.count(80, 24)}
    for side, engine in engines.items():
        samples.take(side, partial(_attach_many, engine, sizes[side]))
    spaces = [by_hand.namespace() for _ in range(_BUNCH)]
    samples.take(BY_HAND, lambda: _BUNCH / math.fsum(by_hand.attach(space, _GROUP) for space in spaces))
    by_hand.delete_group(_GROUP)
    return samples.reading("attach.parallel", note=f"floor: one after the other; peer: {sizes[THEIRS]} endpoints")


def _attach_many(engine: Engine, endpoints: int) -> float:
    """Endpoints a second. Each worker has its container, and connects it to networks that the others use too."""
    names = [f"p{number}" for number in range(endpoints // _AT_A_TIME)]
    workers = [f"worker{number}" for number in range(_AT_A_TIME)]
    for name in names:
        engine.network(name)
    for worker in workers:
        engine.container(worker, "bridge")

    def attach(worker: str) -> None:
        with closing(Api(engine.socket)) as api:
            for name in names:
                engine.connect(name, worker, api)

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        start = time.perf_counter()
        list(pool.map(attach, workers))
        return endpoints / (time.perf_counter() - start)


def _among_many(context: Context, engine: Engine, by_hand: ByHand) -> Reading:
    """Connections beside 1,000 endpoints: the workers of before on 100 networks more."""
    more = context.count(100, 12)
    samples = Samples()

    def crowd() -> float:
        for number in range(more):
            engine.network(f"m{number}")
            for worker in range(_AT_A_TIME):
                engine.connect(f"m{number}", f"worker{worker}")
        return 0.0

    if samples.take("crowd", crowd):
        for _ in range(3):
            _bunch(engine, OURS, samples, Samples())
            _bunch_by_hand(by_hand, samples, Samples())
    count = more * _AT_A_TIME + _ENDPOINTS
    return samples.reading("endpoint.connect.at1000", _MS, statistics.median, note=f"ours: beside {count:,} endpoints")
