"""``fairlead daemon --default-network-opt``."""

from __future__ import annotations

import pytest

from fairlead.cli.networkopts import parse_network_opts
from fairlead.model.errors import Invalid


def test_options_are_kept_by_driver_and_the_last_word_counts() -> None:
    texts = ("bridge=a.b=1", "bridge=c=x=y", "macvlan=parent=eth0", "bridge=a.b=", "bridge=a.b=2")
    assert parse_network_opts(texts) == {"bridge": {"a.b": "2", "c": "x=y"}, "macvlan": {"parent": "eth0"}}


@pytest.mark.parametrize("text", ["", "bridge", "bridge=key", "=key=value", "bridge==value"])
def test_what_is_no_option_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="invalid default network option"):
        parse_network_opts([text])
