"""The cluster of a lab: the first host makes it, the others join as workers, all at a time."""

from __future__ import annotations

import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fairlead.lab import daemons
from fairlead.lab.layout import Host
from fairlead.lab.patience import PATIENCE
from fairlead.model import codes
from fairlead.model.errors import Unavailable

#: Seconds for one step: the daemon itself gives up after 20 (swarm's limit for a request), and says why.
STEP_S_MAX = 30.0 * PATIENCE
#: Seconds until all nodes are ready: joining three takes about one; a laden machine may be fifty times slower.
READY_S_MAX = 60.0 * PATIENCE
#: Seconds between two looks at the nodes.
LOOK_S = 0.05


def form(hosts: tuple[Host, ...]) -> None:
    """Make one cluster of the hosts; returns when its manager, the first of them, sees all nodes ready. Raises
    ``Unavailable`` with what a daemon said when it cannot be."""
    first, *others = hosts
    _said(first, "POST", "/swarm/init", {"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": first.address_v4})
    token = _said(first, "GET", "/swarm")["JoinTokens"]["Worker"]

    def join(host: Host) -> None:
        wish = {
            "ListenAddr": "0.0.0.0:2377",
            "AdvertiseAddr": host.address_v4,
            "RemoteAddrs": [f"{first.address_v4}:2377"],
            "JoinToken": token,
        }
        _said(host, "POST", "/swarm/join", wish)

    with ThreadPoolExecutor(max_workers=len(hosts)) as pool:
        list(pool.map(join, others))
    _wait_ready(first, len(hosts))


def _wait_ready(manager: Host, count: int) -> None:
    deadline = time.monotonic() + READY_S_MAX
    while True:
        states = [node["Status"]["State"] for node in _said(manager, "GET", "/nodes")]
        if states == ["ready"] * count:
            return
        if time.monotonic() > deadline:
            raise Unavailable(
                f"after {READY_S_MAX:.0f} s the nodes of the lab are {', '.join(states)}",
                hint=f"the log of {manager.name}:\n{daemons.tail(manager)}",
                code=codes.LAB,
            )
        time.sleep(LOOK_S)


def _said(host: Host, method: str, path: str, body: object = None) -> Any:
    answer = daemons.ask(host, method, path, STEP_S_MAX, body)
    if answer is None or answer[0] >= http.client.BAD_REQUEST:
        said = json.loads(answer[1]).get("message", "") if answer else "no answer"
        raise Unavailable(
            f"{host.name}: {method} {path}: {said}", hint=f"its log:\n{daemons.tail(host)}", code=codes.LAB
        )
    return json.loads(answer[1]) if answer[1] else None
