"""What the API shows of encrypted networks: how many clear packets their guards have dropped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.api.living import Living, living_api


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Living]:
    with living_api(tmp_path) as living:
        yield living


def test_sec_02_clear_packets_are_counted_in_a_cluster_only(api: Living) -> None:
    def scraped() -> list[str]:
        with api.client.open("GET", "/fairlead/metrics") as reply:
            return [line for line in reply.read().decode().splitlines() if line.startswith("fairlead_overlay")]

    assert not scraped()
    api.node.gossip.speaks = True
    assert scraped() == [
        'fairlead_overlay_plaintext_drops_total{direction="in"} 3',
        'fairlead_overlay_plaintext_drops_total{direction="out"} 0',
    ]
