"""Which host port a request gets."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.engine.world import World

from fairlead.engine import ports
from fairlead.engine.core import Turn
from fairlead.model.endpoint import PortBinding, PortRequest
from fairlead.model.errors import Exhausted, Invalid, PortInUse

HOST = "192.0.2.1"


def turn(*, reserved: tuple[tuple[int, int], ...] = (), last: int = 40009, busy: frozenset[int] = frozenset()) -> Turn:
    """A turn on a host whose ephemeral ports begin at 40000; ``busy`` ones the kernel refused."""
    core = World().engine.core
    core.host = replace(core.host, ephemeral_ports=(40000, last), reserved_ports=reserved)
    return Turn(core, 1.0, 1.0, busy_ports=frozenset(("tcp", port) for port in busy))


def given(the_turn: Turn, *requests: PortRequest, default: str = "", v6: bool = False) -> list[tuple[int, str, int]]:
    """(container port, host address, host port) of each binding."""
    made = ports.assign(the_turn, requests, default, v4=True, v6=v6, owner="me")
    return [(binding.container_port, binding.host_ip, binding.host_port) for binding in made]


def test_chosen_ports_go_round_and_leave_out_reserved_ones() -> None:
    the_turn = turn(reserved=((40000, 40001), (40003, 40003)), last=40005)
    chosen = [given(the_turn, PortRequest("tcp", 80))[0][2] for _ in range(4)]
    assert chosen == [40002, 40004, 40005, 40002]


def test_each_protocol_is_counted_by_itself() -> None:
    the_turn = turn()
    both = (PortRequest("tcp", 80), PortRequest("udp", 80))
    assert [port for _, _, port in given(the_turn, *both)] == [40000, 40000]


def test_one_port_serves_both_families_and_every_address_that_was_named() -> None:
    assert given(turn(), PortRequest("tcp", 80), v6=True) == [(80, "0.0.0.0", 40000), (80, "::", 40000)]
    named = [PortRequest("tcp", 80, address) for address in (HOST, "192.0.2.2", "2001:db8::1")]
    assert given(turn(), *named, v6=True) == [(80, str(request.host_ip), 40000) for request in named]


def test_the_same_asked_for_twice_gives_two_ports() -> None:
    twice = PortRequest("tcp", 80)
    assert sorted(port for _, _, port in given(turn(), twice, twice)) == [40000, 40001]


def test_the_same_fixed_port_asked_for_twice_is_one() -> None:
    twice = PortRequest("tcp", 80, host_port=8080)
    assert given(turn(), twice, twice) == [(80, "0.0.0.0", 8080)]


def test_fixed_ports_are_given_before_ranges() -> None:
    asked = (PortRequest("tcp", 80, host_port=8080, host_port_end=8081), PortRequest("tcp", 81, host_port=8080))
    assert given(turn(), *asked) == [(80, "0.0.0.0", 8081), (81, "0.0.0.0", 8080)]


def test_a_range_leaves_out_what_the_kernel_refused_and_may_be_used_up() -> None:
    asked = PortRequest("tcp", 80, host_port=8080, host_port_end=8082)
    assert given(turn(busy=frozenset({8080, 8081})), asked) == [(80, "0.0.0.0", 8082)]
    with pytest.raises(Exhausted, match="all ports are allocated"):
        given(turn(busy=frozenset({8080, 8081, 8082})), asked)


def test_no_port_left_is_said() -> None:
    with pytest.raises(Exhausted, match="all ports are allocated"):
        given(turn(last=40001, busy=frozenset({40000, 40001})), PortRequest("tcp", 80))


@pytest.mark.parametrize(
    ("asked", "default", "addresses"),
    [
        ("", "", ["0.0.0.0", "::"]),
        ("", "0.0.0.0", ["0.0.0.0", "::"]),
        ("", HOST, [HOST]),
        ("", "2001:db8::1", ["2001:db8::1"]),
        ("", "::", ["::"]),
        ("0.0.0.0", "", ["0.0.0.0"]),
        ("::", HOST, ["::"]),
        ("2001:DB8:0::1", "", ["2001:db8::1"]),
    ],
)
def test_the_host_address_is_the_users_else_the_networks_else_all(
    asked: str, default: str, addresses: list[str]
) -> None:
    made = given(turn(), PortRequest("tcp", 80, asked, 8080), default=default, v6=True)
    assert [address for _, address, _ in made] == addresses


@pytest.mark.parametrize("address", ["224.0.0.1", "ff02::1", "255.255.255.255", "192.0.2.300"])
def test_sec_16_an_address_that_no_host_has_is_refused(address: str) -> None:
    with pytest.raises(Invalid, match="host address of a published port"):
        given(turn(), PortRequest("tcp", 80, address, 8080), v6=True)


def test_a_port_of_another_container_is_named_with_its_holder() -> None:
    world = World()
    world.run("first", "bridge", ports=(PortRequest("tcp", 80, host_port=8080),))
    with pytest.raises(PortInUse, match=r"Bind for 192\.0\.2\.1:8080 failed: port is already allocated") as refused:
        given(Turn(world.engine.core, 1.0, 1.0), PortRequest("tcp", 80, HOST, 8080))
    assert "first" in refused.value.hint


def test_what_is_opened_takes_no_port_of_the_host() -> None:
    asked = (
        PortRequest("tcp", 80, HOST, 8080),
        PortRequest("tcp", 80, "", 8081),
        PortRequest("udp", 53, "2001:db8::1", 53),
    )
    assert ports.opened(asked, "", v4=True, v6=True) == (
        PortBinding("tcp", 80, "0.0.0.0", 0),
        PortBinding("tcp", 80, "::", 0),
        PortBinding("udp", 53, "::", 0),
    )
    assert ports.opened(asked, "", v4=True, v6=False) == (PortBinding("tcp", 80, "0.0.0.0", 0),)
