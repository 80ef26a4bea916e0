"""dns.*: names, asked from inside a container."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench.by_hand import LENGTH, SUBNET, ByHand
from bench.context import BY_HAND, OURS, Context, Samples, interleave
from bench.engines import Engine
from bench.hosts import HOST_SIDE, NEIGHBOUR_SIDE, NotMeasured, background, run
from bench.report import Reading
from bench.traffic import SLICE_MS

#: The name server of every sandbox (Docker), and where the one by hand really listens.
SERVER, _PORT = "127.0.0.11", "53"
_HAND_PORT = "40053"
_CLIENTS, _OUTSTANDING = "4", "50"
_LISTEN_S = 0.3
#: Names outside: so many that none is asked for twice while it could still be known, and so few that all are.
_ONCE, _AGAIN = 400_000, 1000
#: Part of the queries that may go unanswered before the row says so.
_LOSS_MAX = 0.001

_REDIRECT = f"""
table ip by_hand {{
    chain output {{
        type nat hook output priority -100;
        ip daddr {SERVER} udp dport {_PORT} dnat to {SERVER}:{_HAND_PORT}
    }}
}}
"""


def names(context: Context) -> Iterator[Reading]:
    """dns.*"""
    with ExitStack() as stack:
        first = Samples()
        engines = stack.enter_context(context.engines(first))
        by_hand = stack.enter_context(context.by_hand())
        for engine in engines.values():
            engine.container("server", "bridge")
        bare = _bare(stack, context, by_hand)
        for count in (10, 1000):
            clients = {side: _client(engine, count) for side, engine in engines.items()}
            questions = _questions(context, count, "")
            yield _rates(
                context, f"dns.qps.{count}", {**clients, BY_HAND: bare}, questions, Samples(why=dict(first.why))
            )
            if count == 10:
                yield _one_at_a_time(context, {**clients, BY_HAND: bare}, Samples(why=dict(first.why)))
        yield from _forwarded(stack, context, engines, by_hand, first.why)
        if context.quick:
            return
        clients = {OURS: _client(engines[OURS], 10_000), BY_HAND: bare}
        yield _rates(context, "dns.qps.10000", clients, _questions(context, 10_000, ""), Samples())


def _client(engine: Engine, count: int) -> str:
    """The namespace of a container that shares a network with so many names."""
    network, client = f"names{count}", f"client{count}"
    engine.network(network)
    engine.connect(network, "server", Aliases=[_name(number) for number in range(count)])
    engine.container(client, network, dns=[NEIGHBOUR_SIDE])
    return engine.netns(client)


def _name(number: int) -> str:
    return f"name{number}"


def _bare(stack: ExitStack, context: Context, by_hand: ByHand) -> str:
    """A namespace with the responder in C behind a translation."""
    netns = by_hand.container().netns
    command = ["nsenter", f"--net={netns}", "nft", "-f", "-"]
    subprocess.run(command, input=_REDIRECT, text=True, check=True, capture_output=True)
    stack.enter_context(background(netns, context.programs["responder"], SERVER, _HAND_PORT))
    time.sleep(_LISTEN_S)
    return netns


def _questions(context: Context, count: int, domain: str) -> Path:
    path = context.folder / f"questions{count}{domain}"
    path.write_text("".join(f"{_name(number)}{domain} A\n" for number in range(count)))
    return path


def _rates(
    context: Context, row: str, clients: Mapping[str, str], questions: Path, samples: Samples, server: str = SERVER
) -> Reading:
    losses: dict[str, float] = {}
    seconds = str(context.count(2, 1))
    sides = {side: partial(_perf, netns, questions, seconds, server, losses, side) for side, netns in clients.items()}
    interleave(samples, context.count(5, 2), sides)
    return samples.reading(row, note=_loss_note(losses))


def _perf(netns: str, questions: Path, seconds: str, server: str, losses: dict[str, float], side: str) -> float:
    """Queries a second that were answered."""
    load = ("-c", _CLIENTS, "-q", _OUTSTANDING, "-l", seconds, "-t", "2")
    said = run(netns, "dnsperf", "-s", server, "-d", str(questions), *load)
    rate = re.search(r"Queries per second:\s+([\d.]+)", said)
    codes = re.search(r"Response codes:\s+(.*)", said)
    lost = re.search(r"Queries lost:\s+\d+ \(([\d.]+)%\)", said)
    if not rate or not codes or "NOERROR" not in codes[1] or "," in codes[1]:
        raise NotMeasured(f"dnsperf: {codes[1] if codes else 'no answers'}")
    losses[side] = max(losses.get(side, 0.0), float(lost[1]) / 100 if lost else 0.0)
    return float(rate[1])


def _loss_note(losses: Mapping[str, float]) -> str:
    return "; ".join(f"{side} lost {share:.1%}" for side, share in losses.items() if share > _LOSS_MAX)


def _one_at_a_time(context: Context, clients: Mapping[str, str], samples: Samples) -> Reading:
    ask = context.programs["flow"], "ask", SERVER, _PORT, SLICE_MS, _name(3)
    sides = {side: partial(_median, netns, *ask) for side, netns in clients.items()}
    return interleave(samples, context.count(9, 3), sides).reading("dns.p50")


def _median(netns: str, *words: str) -> float:
    return float(run(netns, *words))


def _forwarded(
    stack: ExitStack, context: Context, engines: Mapping[str, Engine], by_hand: ByHand, why: Mapping[str, str]
) -> Iterator[Reading]:
    """The server outside is the responder in C on each host's neighbour. ``dns.forward`` is the way out and back: each
    name is asked for once. ``dns.forward.again`` asks for few names, as programs do, which a cache knows."""
    hosts = [*(engine.host for engine in engines.values()), by_hand.host]
    for host in hosts:
        outside = host.neighbour().netns
        stack.enter_context(background(outside, context.programs["responder"], NEIGHBOUR_SIDE, _PORT))
    by_hand.host.neighbour().run("ip", "route", "add", f"{SUBNET}.0.0/{LENGTH}", "via", HOST_SIDE)
    time.sleep(_LISTEN_S)
    direct, seconds = by_hand.container().netns, str(context.count(2, 1))
    for row, count in (("dns.forward", _ONCE), ("dns.forward.again", _AGAIN)):
        losses: dict[str, float] = {}
        samples = Samples(why=dict(why))
        questions = _questions(context, count, ".example.com")
        sides = {
            side: partial(_perf, engine.netns("client10"), questions, seconds, SERVER, losses, side)
            for side, engine in engines.items()
        }
        sides[BY_HAND] = partial(_perf, direct, questions, seconds, NEIGHBOUR_SIDE, losses, BY_HAND)
        interleave(samples, context.count(4, 2), sides)
        yield samples.reading(row, note=_loss_note(losses))
