"""Plans as text."""

from __future__ import annotations

import random

from fairlead.plan.diff import diff
from fairlead.plan.objects import (
    NOTHING,
    Address,
    Bridge,
    Chain,
    Connections,
    Element,
    Flow,
    Netns,
    Object,
    Plan,
    PortHold,
    Route,
    Set,
    Sysctl,
    Table,
    Veth,
)
from fairlead.plan.render import lines, steps, text

OBJECTS: list[Object] = [
    PortHold("tcp", "::", 80),
    Netns("s1"),
    Table("", "inet", "fairlead"),
    Set("", "inet", "fairlead", "ports", "inet_service", "ipv4_addr"),
    Chain("", "inet", "fairlead", "base", ("accept", "drop"), "type filter hook input priority 0"),
    Element("", "inet", "fairlead", "ports", "80", "10.0.0.2"),
    Bridge("", "br0", "02:00:00:00:00:01", 1500, "fairlead:n"),
    Sysctl("", "net/ipv4/ip_forward", "1"),
    Veth("", "v1", "s1", "eth0", "02:00:00:00:00:02", 1500, "fairlead:e", "br0", isolated=True, hairpin=True),
    Address("s1", "eth0", "10.0.0.2/24"),
    Route("s1", "0.0.0.0/0", "eth0", "10.0.0.1", 5),
    Flow("", "udp", 53, "10.0.0.2", 5353),
    Bridge("", "br1", "02:00:00:00:00:03", 1500, "fairlead:n", adopt=True),
    Route("", "::1/128", "br0", local=True),
    Connections("", "10.0.0.2"),
]
GOLDEN = """\
port [::]:80/tcp
netns s1
chain inet fairlead base hook: type filter hook input priority 0
    accept
    drop
map inet fairlead ports type inet_service : ipv4_addr
table inet fairlead
element inet fairlead ports { 80 : 10.0.0.2 }
bridge br0 mac 02:00:00:00:00:01 mtu 1500 alias fairlead:n
bridge br1 mac 02:00:00:00:00:03 mtu 1500 alias fairlead:n adopt
sysctl net/ipv4/ip_forward = 1
veth v1 master br0 isolated hairpin mtu 1500 peer eth0@s1 mac 02:00:00:00:00:02 alias fairlead:e
address 10.0.0.2/24 on eth0@s1
local route ::1/128 on br0
route 0.0.0.0/0 via 10.0.0.1 on eth0@s1 metric 5
connections of 10.0.0.2
flow udp 53 -> 10.0.0.2:5353
"""


def test_every_kind_of_object_has_its_line() -> None:
    assert text(Plan(OBJECTS)) == GOLDEN


def test_the_order_does_not_depend_on_the_order_of_making() -> None:
    shuffled = random.Random(1).sample(OBJECTS, len(OBJECTS))
    assert text(Plan(shuffled)) == GOLDEN


def test_nothing_is_no_line() -> None:
    assert lines(NOTHING) == []


def test_a_change_tells_what_goes_comes_and_changes() -> None:
    before = Plan([Netns("old"), Table("", "ip", "t"), Bridge("", "b", "02:00:00:00:00:01", 1500, "fairlead:n")])
    after = Plan([Netns("new"), Table("", "ip", "t"), Bridge("", "b", "02:00:00:00:00:01", 1400, "fairlead:n")])
    assert steps(diff(before, after)) == [
        "- netns old",
        "+ netns new",
        "~ bridge b mac 02:00:00:00:00:01 mtu 1400 alias fairlead:n",
    ]
