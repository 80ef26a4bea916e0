"""Which worker runs which tests, and in what order, when several run at a time (pytest-xdist)."""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

#: Files that take long, and the seconds of all their tests together on two quiet cores: the longest are begun first, so that
#: no worker is left alone with one in the end.
LONG_S = {
    "sim/test_gossip_schedules.py": 500,
    "kernel/one_host/test_crash_points.py": 60,
    "kernel/one_host/test_crash.py": 50,
    "kernel/one_host/test_firewall_others.py": 45,
    "kernel/cluster/test_swarm.py": 45,
    "kernel/one_host/test_cycles.py": 40,
    "kernel/cluster/test_tasks.py": 35,
    "kernel/one_host/test_api_names.py": 30,
    "kernel/one_host/test_crash_random.py": 30,
    "fuzz/test_api.py": 29,
    "kernel/cluster/test_http_mesh.py": 28,
    "kernel/cluster/test_life.py": 28,
    "kernel/cluster/test_mesh.py": 28,
    "kernel/cluster/test_services_update.py": 27,
    "kernel/cluster/test_services_chaos.py": 26,
    "kernel/cluster/test_services_docker.py": 26,
    "kernel/cluster/test_services_crash.py": 25,
    "sim/test_gossip_crowds.py": 25,
    "kernel/one_host/test_crash_service.py": 24,
    "kernel/cluster/test_keys.py": 22,
    "kernel/one_host/test_firewall_policy.py": 20,
    "kernel/one_host/test_isolation.py": 20,
    "unit/gossip/test_hostile.py": 18,
    "sim/test_manager_allocator.py": 16,
    "kernel/one_host/test_published_ports.py": 16,
    "kernel/balance/test_services.py": 15,
    "kernel/cluster/test_encrypted.py": 15,
    "kernel/cluster/test_gossip_seen.py": 15,
    "fuzz/test_gossip.py": 15,
    "kernel/test_lab_daemons.py": 14,
    "kernel/cluster/test_services_names.py": 13,
    "kernel/cluster/test_many.py": 12,
    "kernel/one_host/test_runtime_docker.py": 12,
    "kernel/one_host/test_runtime_restarts.py": 11,
    "peers/test_foreign_engines.py": 11,
}
#: A file whose tests share nothing, so that several workers may have some of it.
SHARED_OUT = "sim/test_gossip_schedules.py"


class Files(LoadScopeScheduling):  # type: ignore[misc]
    """Gives each worker whole files, in the order in which they were collected: what a file's tests share (a cluster, a host)
    is made once."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if file.endswith(SHARED_OUT) else file
