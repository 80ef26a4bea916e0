"""What endpoints offer, as names are told to the resolver here and to other nodes."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from tests.unit.engine.test_cluster import ID, Cluster
from tests.unit.engine.world import World

from fairlead.engine.hearsay import NAMES_TTL_S
from fairlead.engine.outcome import OpenResolver, Outcome, PublishNames, Register
from fairlead.model.cluster import PORTS_MAX, PeerNames
from fairlead.model.endpoint import PortRequest
from fairlead.model.events import NamesSeen


def registered(outcome: Outcome) -> tuple[str, ...]:
    (ports,) = {message.ports for message in outcome.messages if isinstance(message, Register)}
    return ports


def test_what_is_exposed_or_published_is_offered_once() -> None:
    world = World()
    world.network("green")
    ports = (PortRequest("tcp", 80, host_port=8080), PortRequest("udp", 53, host_port=5353))
    world.container("ann", "green", exposed=("80/tcp", "9000/sctp"), ports=ports)
    assert registered(world.start("ann")) == ("80/tcp", "9000/sctp", "53/udp")


def test_other_nodes_are_told_as_many_as_a_record_may_have() -> None:
    world = Cluster()
    world.grant(10)
    world.container("ann", "blue", exposed=tuple(f"{number}/tcp" for number in range(1, 200)))
    world.start("ann")
    running = world.outcomes[-1]
    (told,) = [message.names for message in running.messages if isinstance(message, PublishNames)]
    assert told.ports == registered(running) == tuple(f"{number}/tcp" for number in range(1, PORTS_MAX + 1))


@pytest.mark.parametrize(
    "nonsense", ["", "80", "0/tcp", "080/tcp", "65536/tcp", "80/icmp", "80/tcp ", "-1/tcp", "8" * 400 + "/tcp", "٨/tcp"]
)
def test_ports_of_others_that_cannot_be_are_nobodys(nonsense: str) -> None:
    world = Cluster()
    world.grant(10)
    world.run("ann", "blue")
    names = PeerNames(ID, "e", ("bob",), "10.0.1.20/24", "", (nonsense, "65535/udp"))
    outcome = world.tell(NamesSeen(ID, (("e", names),)))
    assert outcome.messages == (Register(ID, "blue", "e", ("bob",), "10.0.1.20", "", NAMES_TTL_S, ("65535/udp",)),)


def test_records_of_nodes_that_tell_of_no_ports_are_read_and_theirs_are_passed_over() -> None:
    old = {"network_id": ID, "endpoint_id": "e", "names": ("bob",), "ipv4": "10.0.1.20", "ipv6": ""}
    read = msgspec.msgpack.decode(msgspec.msgpack.encode(old), type=PeerNames)
    assert read == PeerNames(ID, "e", ("bob",), "10.0.1.20", "")
    new = msgspec.msgpack.encode({**old, "ports": ("80/tcp",), "later": 1})
    assert msgspec.msgpack.decode(new, type=PeerNames) == replace(read, ports=("80/tcp",))


def test_a_sandbox_looks_below_the_names_of_its_networks_for_nothing_outside_sec_20() -> None:
    world = World()
    world.network("Green")
    world.container("ann", "Green")
    views = [message.view for message in world.start("ann").messages if isinstance(message, OpenResolver)]
    assert views[-1].domains == {"green"}
