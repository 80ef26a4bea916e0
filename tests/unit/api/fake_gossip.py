"""A node's part in the gossip as the API sees it, without sockets."""

from __future__ import annotations

from dataclasses import dataclass, field

from fairlead.model.errors import NotFound, Unavailable
from fairlead.model.gossip import GossipPeer, GossipRecord, GossipStatus, GossipVersion

OWN, OTHER, THIRD = "aa" * 16, "bb" * 16, "cc" * 16
NETWORK = "ab" * 32


def status() -> GossipStatus:
    return GossipStatus(
        id=OWN,
        node_id="n1",
        address="10.0.0.1:7946",
        epoch=7,
        incarnation=1,
        joined=True,
        health=0,
        data_path="10.0.0.1",
        mtu=1450,
        peers=(
            GossipPeer(OTHER, "n2", "10.0.0.2:7946", "alive", 5, 0, "10.0.0.2", 1450, 0.0012, None),
            GossipPeer(THIRD, "", "10.0.0.3:7946", "dead", 6, 2, lost_s=61.0),
        ),
        networks=(NETWORK,),
        versions=(GossipVersion("", OTHER, 5, 3), GossipVersion(NETWORK, OTHER, 5, 12)),
        sums={"": "00000000000000ff", NETWORK: "0000000000000001"},
        lag_s=0.25,
        queued_packets=2,
        orphaned_blocks=1,
        pending=4,
        waiting=3,
        keys=("01020304",),
        counters={"blocks": 9},
        traffic={"datagrams_sent": 5},
        refused={"unsealed": 2},
        forgers={'1.2.3.4"\n': 1},
        warnings=("the way is narrow",),
    )


RECORDS = (
    GossipRecord(NETWORK, "peers", f"{'e' * 64}/{OTHER}", OTHER, "n2", 5, 12, {"mac": "02:00:00:00:00:01"}),
    GossipRecord(NETWORK, "names", f"{'f' * 64}/{OTHER}", OTHER, "n2", 5, 13, {}, "malformed"),
)


@dataclass
class FakeGossip:
    """Fits ``fairlead.api.contract_gossip.GossipView``: silent until told to speak."""

    speaks: bool = False
    tables: dict[str, tuple[GossipRecord, ...]] = field(default_factory=lambda: {"": (), NETWORK: RECORDS})

    async def status(self) -> GossipStatus:
        self._check()
        return status()

    async def table(self, network_id: str = "") -> tuple[GossipRecord, ...]:
        self._check()
        if network_id not in self.tables:
            raise NotFound("this node takes no part in it")
        return self.tables[network_id]

    def _check(self) -> None:
        if not self.speaks:
            raise Unavailable("This node is not part of a swarm")
