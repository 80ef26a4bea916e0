"""Whose servers a sandbox asks: the host's, as its file stands, the daemon's, the container's."""

from __future__ import annotations

import random

from tests.unit.engine.world import World

from fairlead.discovery.resolver import Upstream
from fairlead.drivers.contract import Node
from fairlead.drivers.registry import built_in
from fairlead.engine.engine import Engine
from fairlead.engine.outcome import CloseResolver, OpenResolver, Outcome, WriteFiles
from fairlead.model.commands import DisconnectNetwork
from fairlead.model.events import ResolverFileChanged
from fairlead.model.settings import DEFAULT_POOLS_V4, EngineSettings, Paths

STUBBED = ResolverFileChanged("nameserver 127.0.0.53\nsearch corp.example", "nameserver 192.0.2.7\nsearch corp.example")


def views(outcome: Outcome) -> list[tuple[Upstream, ...]]:
    return [message.view.upstreams for message in outcome.messages if isinstance(message, OpenResolver)]


def texts(outcome: Outcome) -> dict[str, list[str]]:
    """The lines of resolv.conf by container."""
    written = {m.container_id: m.files["resolv.conf"] for m in outcome.messages if isinstance(m, WriteFiles)}
    return {key: [line for line in text.splitlines() if line[:1] not in ("", "#")] for key, text in written.items()}


def test_running_sandboxes_follow_the_hosts_file() -> None:
    world = World()
    world.network("web")
    named, plain = world.run("named", "web"), world.run("plain")
    outcome = world.tell(STUBBED)
    assert views(outcome) == [(Upstream("127.0.0.53", from_host=True),)]
    assert texts(outcome) == {
        named.id: ["nameserver 127.0.0.11", "options ndots:0"],
        plain.id: ["nameserver 192.0.2.7", "search corp.example"],
    }
    assert not outcome.plans and not outcome.changes
    assert not world.tell(STUBBED).messages
    world.end("named")
    assert set(texts(world.tell(ResolverFileChanged("nameserver 192.0.2.9", "nameserver 192.0.2.9")))) == {plain.id}


def test_what_a_container_says_counts_more_than_the_daemon_and_that_more_than_the_host() -> None:
    settings = EngineSettings(
        "host1", DEFAULT_POOLS_V4, dns=("10.0.0.53",), dns_search=("daemon.example",), dns_options=("rotate",)
    )
    world = World(Engine(settings, Paths(), built_in(), random.Random(1), Node(), "seed"))
    world.tell(STUBBED)
    world.network("web")
    world.container("daemons", "web")
    world.container("own", "web", dns=("10.9.9.9",), dns_search=(".",), dns_options=("timeout:1",))
    daemons, own = world.start("daemons"), world.start("own")
    assert views(daemons) == [(Upstream("10.0.0.53", from_host=False),)]
    assert views(own) == [(Upstream("10.9.9.9", from_host=False),)]
    assert list(texts(daemons).values()) == [
        ["nameserver 127.0.0.11", "search daemon.example", "options rotate ndots:0"]
    ]
    assert list(texts(own).values()) == [["nameserver 127.0.0.11", "options timeout:1 ndots:0"]]


def test_a_sandbox_that_loses_its_last_network_with_names_is_told_the_servers_themselves() -> None:
    world = World()
    world.tell(STUBBED)
    world.network("web")
    container = world.run("both", "bridge")
    world.connect("web", "both")
    left = world.tell(DisconnectNetwork("web", "both"))
    assert texts(left)[container.id] == ["nameserver 192.0.2.7", "search corp.example"]
    assert [type(message) for message in left.messages].count(CloseResolver) == 1
