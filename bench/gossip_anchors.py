"""What Docker's networkdb does (moby b985e2313a of August 2026 with memberlist v0.6.0), measured on a machine of the same
kind with the same entries: the peer of our rows. Times include its defaults; nothing of it runs here."""

from __future__ import annotations

_SIZES = (3, 10, 30, 60, 100)


def _by_size(name: str, *values: float) -> dict[tuple[str, int], float]:
    return {(name, size): value for size, value in zip(_SIZES, values, strict=True)}


#: (row, nodes) -> its value.
ANCHORS: dict[tuple[str, int], float] = {
    **_by_size("gossip.converge.last_node.p50_ms", 108, 333, 482, 619, 665),
    **_by_size("gossip.converge.last_node.p95_ms", 195, 461, 682, 764, 810),
    ("gossip.converge.loss10.p95_ms", 30): 726,
    ("gossip.converge.loss10.p50_ms", 30): 509,
    ("gossip.converge.loss25.p95_ms", 30): 855,
    ("gossip.converge.loss25.p50_ms", 30): 604,
    **_by_size("gossip.burst1000.all_nodes.s", 40, 66, 73.4, 71.2, 77.9),
    # 20 a second, not 200
    ("gossip.rate200.p95_ms", 10): 5800,
    ("gossip.rate200.p95_ms", 30): 23000,
    **_by_size("gossip.bytes_per_entry_delivered", 928, 1597, 1799, 1635, 1776),
    **_by_size("gossip.join1000.cold_s", 0.43, 0.63, 0.63, 0.62, 0.82),
    **_by_size("gossip.join1000.warm_s", 0.028, 0.029, 0.028, 0.019, 0.021),
    ("gossip.join1000.tables", 100): 200,
    **_by_size("gossip.mass_start.p50_s", 0.8, 1.2, 2.2, 78, 8.7),
    **_by_size("gossip.mass_start.worst_s", 0.8, 1.6, 44, 88, 119),
    **_by_size("gossip.fail.host.first_s", 5.8, 6.1, 7.6, 8.9, 9.7),
    **_by_size("gossip.fail.host.last_s", 6.0, 6.4, 7.8, 9.3, 10.2),
    **_by_size("gossip.fail.process.first_s", 6.3, 6.1, 8.5, 9.3, 9.9),
    **_by_size("gossip.fail.process.last_s", 6.3, 6.3, 8.8, 9.7, 10.3),
    # the worse of two runs: 21 and 2
    ("gossip.false_deaths.loss25", 30): 21,
    **_by_size("gossip.idle.bytes_per_s.0", 229, 259, 321, 300, 236),
    **_by_size("gossip.idle.bytes_per_s.1000", 8990, 9070, 9170, 9550, 9130),
    **_by_size("gossip.idle.cpu_s_per_min.0", 0.035, 0.041, 0.030, 0.027, 0.022),
    **_by_size("gossip.idle.cpu_s_per_min.1000", 0.092, 0.098, 0.076, 0.111, 0.086),
    # 10 s apart (15 s with three nodes)
    **_by_size("gossip.partition.heal.s", 0.6, 1.2, 1.3, 2.3, 4.0),
}
