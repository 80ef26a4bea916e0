"""``docs/rules``: what each kind of bridge and overlay network puts on a node. The documents are what the driver plans.

After a change of the driver: ``python tests/unit/drivers/test_rule_documents.py --update``, and read the difference.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fairlead.drivers.bridge.bridge import BridgeDriver
from fairlead.drivers.contract import Node
from fairlead.drivers.overlay.overlay import OverlayDriver
from fairlead.model import options
from fairlead.model.cluster import Key, Peer, Ring, Station
from fairlead.model.endpoint import Endpoint, PortBinding
from fairlead.model.events import TunnelSecrets
from fairlead.model.network import Network, Pool
from fairlead.plan.render import text

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "rules"
DRIVER = BridgeDriver()
ALONE, BESIDE = Node(bridge_nf_off=True), Node(bridge_nf_off=False)
V4 = Pool("LocalDefault/10.1.0.0/24", "10.1.0.0/24", gateway="10.1.0.1")
V6 = Pool("LocalDefault/fd01::/64", "fd01::/64", gateway="fd01::1")
NETWORK = Network("ab" * 32, "web", "bridge", 0.0, pools=(V4,))
DUAL = replace(NETWORK, ipv6=True, pools=(V4, V6))
ENDPOINT = Endpoint(
    id="cd" * 32,
    name="a",
    network_id=NETWORK.id,
    sandbox_id="s",
    container_id="c",
    mac="02:00:00:00:00:01",
    ipv4="10.1.0.2/24",
    ifname="eth0",
    host_ifname="vethcdcdcdc",
)
DUAL_ENDPOINT = replace(ENDPOINT, ipv6="fd01::2/64")
PUBLISHED = (PortBinding("tcp", 80, "0.0.0.0", 8080), PortBinding("udp", 53, "192.0.2.1", 53))
PUBLISHED_V6 = (PortBinding("tcp", 80, "::", 8080),)
OPENED, OPENED_V6 = (PortBinding("tcp", 80, "0.0.0.0", 0),), (PortBinding("tcp", 80, "::", 0),)
MODE4, MODE6 = options.BRIDGE_GATEWAY_MODE[False], options.BRIDGE_GATEWAY_MODE[True]

#: name of the document -> (network, endpoint, what it publishes, the node).
CASES: dict[str, tuple[Network, Endpoint, tuple[PortBinding, ...], Node]] = {
    "nat": (NETWORK, ENDPOINT, PUBLISHED, ALONE),
    "nat-dual-stack": (DUAL, DUAL_ENDPOINT, (*PUBLISHED, *PUBLISHED_V6), ALONE),
    "nat-unprotected": (replace(NETWORK, options={MODE4: "nat-unprotected"}), ENDPOINT, PUBLISHED, ALONE),
    "routed": (replace(DUAL, options={MODE4: "routed", MODE6: "routed"}), DUAL_ENDPOINT, OPENED + OPENED_V6, ALONE),
    "nat-and-routed": (replace(DUAL, options={MODE6: "routed"}), DUAL_ENDPOINT, PUBLISHED + OPENED_V6, ALONE),
    "internal": (replace(NETWORK, internal=True), ENDPOINT, (), ALONE),
    "isolated": (
        replace(NETWORK, internal=True, options={MODE4: "isolated"}, pools=(replace(V4, gateway=""),)),
        ENDPOINT,
        (),
        ALONE,
    ),
    "icc-off": (replace(NETWORK, options={options.BRIDGE_ICC: "false"}), ENDPOINT, PUBLISHED, ALONE),
    "icc-off-beside-a-bridge": (replace(NETWORK, options={options.BRIDGE_ICC: "false"}), ENDPOINT, PUBLISHED, BESIDE),
    "trusted-interface": (replace(NETWORK, options={options.BRIDGE_TRUSTED: "eth1"}), ENDPOINT, PUBLISHED, ALONE),
    "fixed-source": (replace(NETWORK, options={options.HOST_ADDRESS[False]: "192.0.2.7"}), ENDPOINT, (), ALONE),
    "anti-spoof": (replace(DUAL, options={options.ANTI_SPOOF: "true"}), DUAL_ENDPOINT, (), ALONE),
}

SPANNING = OverlayDriver()
MEMBER = Node(vtep="192.0.2.1")
OVERLAY = replace(NETWORK, driver="overlay", scope="swarm", options={options.VXLAN_IDS: "4097"})
SECOND = (Pool("b", "10.1.1.0/24", gateway="10.1.1.1"), Pool("c", "fd01:1::/64", gateway="fd01:1::1"))
PEER = Peer(NETWORK.id, "ef" * 32, "10.1.0.3/24", "fd01::3/64", "02:00:00:00:00:02", "192.0.2.2", 1)

#: name of the document -> (network, endpoint).
OVERLAYS: dict[str, tuple[Network, Endpoint]] = {
    "overlay": (OVERLAY, ENDPOINT),
    "overlay-two-segments": (
        replace(OVERLAY, ipv6=True, pools=(V4, SECOND[0], V6, SECOND[1]), options={options.VXLAN_IDS: "4097,4098"}),
        DUAL_ENDPOINT,
    ),
    "overlay-encrypted": (replace(OVERLAY, options={**OVERLAY.options, options.ENCRYPTED: "true"}), ENDPOINT),
}
OWN, OTHER = (Station(f"node{number}", f"192.0.2.{number}", f"{number:032x}") for number in (1, 2))
SECRETS = TunnelSecrets(OWN, Ring((Key(2, "11" * 32),), 2), "")


def documents() -> dict[str, str]:
    """File name -> what it must say."""
    found = {
        "node.txt": text(DRIVER.node_plan(ALONE)),
        "node-beside-a-bridge.txt": text(DRIVER.node_plan(BESIDE)),
    }
    for name, (network, endpoint, bindings, node) in CASES.items():
        said = "".join(f"# -o {key}={value}\n" for key, value in network.options.items())
        plans = {
            "network": DRIVER.network_plan(network, node),
            "endpoint": DRIVER.endpoint_plan(endpoint, network, "s", node),
            "ports": DRIVER.publish_plan(endpoint, network, bindings),
        }
        parts = (f"\n## {part}\n{text(plan)}" for part, plan in plans.items() if plan)
        found[f"{name}.txt"] = f"{said}{''.join(parts)}".lstrip("\n")
    for name, (network, endpoint) in OVERLAYS.items():
        said = "".join(f"# -o {key}={value}\n" for key, value in network.options.items())
        addresses = ("10.1.0.3", "fd01::3") if network.ipv6 else ("10.1.0.3",)
        plans = {
            "network": SPANNING.network_plan(network, MEMBER),
            "endpoint": SPANNING.endpoint_plan(endpoint, network, "s", MEMBER),
            **{f"peer {one}": SPANNING.peer_plan(network, PEER, one, MEMBER) for one in addresses},
            "when all peers are known": SPANNING.exact_plan(network),
        }
        if SPANNING.is_encrypted(network):
            plans["the peer's node"] = SPANNING.pair_plan(OTHER, MEMBER, SECRETS)
        found[f"{name}.txt"] = said + "".join(f"\n## {part}\n{text(plan)}" for part, plan in plans.items())
    return found


@pytest.mark.parametrize("name", sorted(documents()))
def test_a_document_says_what_is_planned(name: str) -> None:
    assert (FOLDER / name).read_text() == documents()[name], f"run: python {Path(__file__).name} --update"


def test_no_document_is_about_nothing() -> None:
    assert {path.name for path in FOLDER.glob("*.txt")} == set(documents())


if __name__ == "__main__" and sys.argv[1:] == ["--update"]:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in FOLDER.glob("*.txt"):
        path.unlink()
    for name, said in documents().items():
        (FOLDER / name).write_text(said)
