"""How much room a tunnel leaves, encrypted or not."""

from __future__ import annotations

import pytest

from fairlead.model.tunnel import inner_mtu


@pytest.mark.parametrize(
    ("outer", "v6", "plain", "encrypted"),
    [(1500, False, 1450, 1416), (1500, True, 1430, 1396), (1501, False, 1451, 1416), (9000, False, 8950, 8916)],
)
def test_the_room_inside(outer: int, v6: bool, plain: int, encrypted: int) -> None:
    assert inner_mtu(outer, v6=v6) == plain
    assert inner_mtu(outer, v6=v6, encrypted=True) == encrypted


@pytest.mark.parametrize("v6", [False, True])
@pytest.mark.parametrize("outer", range(1280, 1300))
def test_the_largest_packet_fits_and_no_larger_one_does(outer: int, v6: bool) -> None:
    def on_the_wire(inner: int) -> int:
        clear = 8 + 8 + 14 + inner  # UDP, VXLAN, Ethernet
        return (40 if v6 else 20) + 8 + 8 + (clear + 2 + 3) // 4 * 4 + 16  # ESP: head, IV, padded to words, check value

    room = inner_mtu(outer, v6=v6, encrypted=True)
    assert on_the_wire(room) <= outer < on_the_wire(room + 1)
