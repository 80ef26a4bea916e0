from __future__ import annotations

import pytest
from tests.unit.model.records import container

from fairlead.model.container import STOP_TIMEOUT_S, ContainerConfig, ContainerState
from fairlead.model.limits import Powers


@pytest.mark.parametrize(
    ("status", "running"),
    [
        ("created", False),
        ("starting", False),
        ("running", True),
        ("stopping", True),
        ("exited", False),
        ("dead", False),
    ],
)
def test_a_container_runs_from_its_start_until_its_process_is_gone(status, running):
    assert container(1, state=ContainerState(status=status)).running is running


def test_a_container_is_stopped_as_in_docker_unless_told():
    config = ContainerConfig(image="host")
    assert (config.stop_signal, config.stop_timeout_s) == ("SIGTERM", STOP_TIMEOUT_S)
    assert STOP_TIMEOUT_S == 10
    assert config.network_mode == "default"


def test_two_configurations_share_no_mapping():
    one, two = ContainerConfig(image="host"), ContainerConfig(image="host")
    assert one == two
    assert one.labels is not two.labels


@pytest.mark.parametrize(
    ("powers", "administers"),
    [
        (Powers(), False),
        (Powers(privileged=True, cap_drop=("ALL",)), True),
        (Powers(cap_add=("NET_RAW", "net_admin")), True),
        (Powers(cap_add=("CAP_NET_ADMIN",), cap_drop=("ALL",)), True),
        (Powers(cap_add=("ALL",)), True),
        (Powers(cap_add=("all",), cap_drop=("CAP_NET_ADMIN",)), False),
    ],
)
def test_who_may_change_the_network_of_its_sandbox(powers, administers):
    """As the capabilities are handed on: privileged is all of them, and what is added wins over dropping all."""
    assert powers.administers_network is administers
