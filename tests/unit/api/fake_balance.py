"""Services as a node sends to them, as the API sees them, without a kernel."""

from __future__ import annotations

from dataclasses import dataclass, field

from fairlead.model.balance import Follower, ServiceSeen, TaskSeen

NETWORK = "ab" * 32
ONE = TaskSeen("web.1.a", "e1", "10.0.1.3", "fd00::3", "192.0.2.1", 1, local=True, connections=7)
TWO = TaskSeen("web.2.b", "e2", "10.0.1.4", "", "192.0.2.2", 0, local=False)
WEB = ServiceSeen(
    NETWORK,
    "sea",
    "s1",
    "web",
    "10.0.1.2",
    "fd00::2",
    "random",
    prefer_local=False,
    ports=("80/tcp",),
    tasks=(ONE, TWO),
)


@dataclass
class FakeBalance:
    """Fits ``fairlead.api.contract_balance.BalanceView``."""

    seen: dict[str, tuple[ServiceSeen, ...]] = field(default_factory=lambda: {NETWORK: (WEB,)})
    others: tuple[Follower, ...] = (
        Follower("n2", "192.0.2.2", in_step=True),
        Follower("n3", "192.0.2.3", in_step=False),
    )

    async def services(self, network_id: str = "") -> tuple[ServiceSeen, ...]:
        if network_id:
            return self.seen.get(network_id, ())
        return tuple(one for found in self.seen.values() for one in found)

    async def followers(self, network_id: str) -> tuple[Follower, ...]:
        return self.others if network_id in self.seen else ()
