from __future__ import annotations

import pytest

from fairlead.lab.layout import check_count, hosts_text, layout_of
from fairlead.model.errors import Invalid, NotFound


def test_a_host_has_a_name_addresses_and_a_short_socket() -> None:
    host = layout_of("/run/fairlead/lab/", "lab").host(2)
    assert (host.name, host.address_v4, host.address_v6) == ("h2", "198.18.0.12", "fd98:18::12")
    assert host.url == "unix:///run/fairlead/lab/lab/h2/run/fairlead.sock"


def test_the_longest_name_leaves_the_socket_a_legal_path() -> None:
    layout = layout_of("/run/fairlead/lab", "x" * 32)
    assert len(layout.host(200).socket) < 108


def test_every_host_knows_every_other_by_name() -> None:
    text = hosts_text(layout_of("/x", "lab").hosts(2))
    assert "198.18.0.11 h1\n" in text
    assert "fd98:18::12 h2\n" in text


@pytest.mark.parametrize("name", ["", "..", "a/b", "Lab", "-x", "x" * 33, "a b"])
def test_a_name_that_must_not_become_a_path_is_refused(name: str) -> None:
    with pytest.raises(Invalid) as caught:
        layout_of("/x", name)
    assert caught.value.hint


@pytest.mark.parametrize("count", [0, -1, 201])
def test_a_count_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(Invalid):
        check_count(count)


def test_a_host_that_is_not_there_is_named() -> None:
    with pytest.raises(NotFound, match="no host h3 in lab lab"):
        layout_of("/x", "lab").find("h3", 2)
