"""What is told of other firewalls, by their chains."""

from __future__ import annotations

from typing import Any

from fairlead.kernel.ruleset import emptied
from fairlead.kernel.strangers import look
from fairlead.kernel.watch import Damage, together


def chain(table: str, name: str, family: str = "ip", **more: str) -> dict[str, Any]:
    return {"chain": {"family": family, "table": table, "name": name, **more}}


def test_others_are_known_by_their_chains() -> None:
    found = look(
        ("docker0",),
        [
            {"metainfo": {"version": "1"}},
            chain("filter", "DOCKER-USER"),
            chain("filter", "FORWARD", hook="forward", policy="drop"),
            chain("filter", "ufw-user-input"),
            chain("mine", "in", "inet", hook="input", policy="drop"),
            chain("firewalld", "filter_FWD_fairlead", "inet"),
            chain("filter", "FAIRLEAD"),
        ],
    )
    assert (found.docker, found.firewalld, found.ufw) == (True, True, True)
    assert found.dropping_forward == ("ip filter FORWARD",)
    assert found.dropping_input == ("inet mine in",)
    assert found.hooked == {"docker-user", "firewalld"}


def test_what_is_ours_is_no_strangers() -> None:
    found = look((), [chain("fairlead", "forward", "inet", hook="forward", policy="drop"), chain("x", "c", "bridge")])
    assert (found.docker, found.firewalld, found.ufw, found.dropping_forward, found.hooked) == (
        *(False,) * 3,
        (),
        frozenset(),
    )


def test_a_table_is_emptied_before_what_refers_goes() -> None:
    listing = [
        {"table": {"family": "inet", "name": "t"}},
        {"set": {"family": "inet", "table": "t", "name": "s"}},
        {"map": {"family": "inet", "table": "t", "name": "m"}},
        chain("t", "c", "inet"),
    ]
    wanted = ["flush chain inet t c", "delete set inet t s", "delete map inet t m", "delete chain inet t c"]
    assert emptied(listing) == wanted


def test_damages_are_mended_together() -> None:
    found = together([Damage(links=frozenset({"a"})), Damage(tables=frozenset({"t"}), by="nft"), Damage(all=True)])
    assert found == Damage(frozenset({"t"}), frozenset({"a"}), frozenset(), True, "nft")
