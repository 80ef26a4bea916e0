"""Where services are in the proxy, and what makes one layout another: hitless as far as HAProxy's runtime API goes."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from fairlead.mesh import configuration, metrics
from fairlead.mesh.change import COMMAND_BYTES_MAX, Change, change
from fairlead.mesh.configuration import Place
from fairlead.mesh.labels import COOKIE
from fairlead.mesh.layout import MAPS, Layout, lay
from fairlead.mesh.wish import (
    HTTP2,
    OFF,
    PASSTHROUGH,
    REQUIRED,
    TO_TLS,
    Frontends,
    HttpRoute,
    HttpService,
    HttpTask,
    Wish,
)

PLACE = Place("/run/mesh", {"plain": ('"fd@${A}"',), "secure": ('"fd@${B}"',)})


def service(name: str, *routes: HttpRoute, tasks: tuple[HttpTask, ...] = (HttpTask("10.0.0.1"),)) -> HttpService:
    return HttpService(f"id{name}", name, routes, tasks)


def laid(*services: HttpService, before: Layout | None = None, certificates: dict[str, str] | None = None) -> Layout:
    return lay(Wish(services=services), certificates or {}, before)


def step(before: Layout, after: Layout, pems: dict[str, str] | None = None) -> Change:
    found = change(before, after, PLACE, pems or {})
    assert found is not None
    return found


def test_services_stay_where_they_are_whatever_comes_and_goes() -> None:
    first = laid(service("b", HttpRoute("b")), service("c", HttpRoute("c")))
    where = {slot.service: name for name, slot in first.slots.items()}
    second = laid(service("a", HttpRoute("a")), service("c", HttpRoute("c")), before=first)
    assert {slot.service: name for name, slot in second.slots.items()}["c"] == where["c"]


def test_what_was_in_use_is_given_to_nobody_else_in_the_same_step() -> None:
    first = laid(service("a", HttpRoute("a")))
    second = laid(service("b", HttpRoute("a")), before=first)
    assert not set(first.slots) & set(second.slots)
    third = laid(service("b", HttpRoute("a")), service("c", HttpRoute("c")), before=second)
    assert set(first.slots) < set(third.slots)


def test_routes_of_a_service_share_a_back_end_if_their_tasks_are_reached_alike() -> None:
    shared = laid(service("a", HttpRoute("a"), HttpRoute("b", "/x", redirect="http://c")))
    assert len(shared.slots) == 1
    apart = laid(service("a", HttpRoute("a"), HttpRoute("a", "/x", 81), HttpRoute("a", "/y", cookie="c")))
    assert len(apart.slots) == 3


def test_pools_are_doubled_when_they_are_used_up_and_never_shrink() -> None:
    many = laid(*(service(f"s{number}", HttpRoute(f"h{number}")) for number in range(65)))
    assert many.pools["web"].size == 130
    few = laid(service("a", HttpRoute("a")), before=many)
    assert few.pools == many.pools


def test_a_pool_that_nobody_asks_for_any_more_goes_with_the_next_load() -> None:
    first = laid(service("a", HttpRoute("a", cookie="one")))
    second = laid(service("b", HttpRoute("b")), before=first)
    assert "sticky-one" in second.pools
    third = laid(service("b", HttpRoute("b", cookie="two")), before=second)
    assert "sticky-one" not in third.pools


def test_what_a_map_says_of_a_route() -> None:
    layout = laid(
        service("plain", HttpRoute("a")),
        service("both", HttpRoute("b", "/x", redirect=TO_TLS)),
        service("tls", HttpRoute("c", tls=REQUIRED)),
        service("off", HttpRoute("d", tls=OFF)),
        service("away", HttpRoute("e", redirect="http://f"), HttpRoute("e", "/g", redirect="http://f/h")),
        service("cut", HttpRoute("g", "/i/j", rewrite="/k")),
        service("sni", HttpRoute("h", tls=PASSTHROUGH)),
    )
    said = {name: {key: value.partition("|")[2] for key, value in layout.maps[name].items()} for name in MAPS}
    assert said["plain"] == {
        "a/": "plain",
        "b/x/": "both|tls|",
        "c/": "tls|tls|",
        "d/": "off",
        "e/": "away|below|http://f",
        "e/g/": "away|to|http://f/h",
        "g/i/j/": "cut|2|/k/",
    }
    assert {layout.maps["plain"][key].partition("|")[0] for key in ("b/x/", "c/", "e/", "e/g/")} == {"redirect"}
    assert layout.maps["plain"]["g/i/j/"].startswith("rewriting-")
    assert {key: said["secure"][key] for key in ("a/", "b/x/", "c/")} == {"a/": "plain", "b/x/": "both", "c/": "tls"}
    assert "d/" not in said["secure"]
    assert said["sni"] == {"h": "sni"}
    assert set(layout.maps["hosts"]) == {"a", "b", "c", "d", "e", "g"}


def test_nothing_is_said_when_nothing_changes() -> None:
    layout = laid(service("a", HttpRoute("a")), certificates={"x.pem": "1"})
    again = laid(service("a", HttpRoute("a")), before=layout, certificates={"x.pem": "1"})
    assert step(layout, again) == Change()


def test_tasks_come_before_the_routes_that_lead_to_them_and_go_after_them() -> None:
    first = laid(service("a", HttpRoute("a")))
    second = laid(service("b", HttpRoute("a"), tasks=(HttpTask("10.0.0.2", 3),)), before=first)
    found = step(first, second)
    assert found.commands == (
        "add server web-2/10.0.0.2:80 10.0.0.2:80",
        "set server web-2/10.0.0.2:80 weight 3",
        "set server web-2/10.0.0.2:80 state ready",
        "set map /run/mesh/plain.map a/ web-2|b",
        "set map /run/mesh/secure.map a/ web-2|b",
        "set server web-1/10.0.0.1:80 state maint",
    )
    assert found.gone == ("web-1/10.0.0.1:80",)


def test_a_change_of_weight_is_one_command() -> None:
    first = laid(service("a", HttpRoute("a")))
    second = laid(service("a", HttpRoute("a"), tasks=(HttpTask("10.0.0.1", 9),)), before=first)
    assert step(first, second).commands == ("set server web-1/10.0.0.1:80 weight 9",)


def test_a_new_task_can_be_bound_to_before_it_is_ready() -> None:
    commands = step(laid(), laid(service("a", HttpRoute("a", cookie=COOKIE)))).commands
    bound = commands.index(f"enable dynamic-cookie backend sticky-{COOKIE}-1")
    assert commands.index(f"set server sticky-{COOKIE}-1/10.0.0.1:80 state ready") > bound


def test_how_tasks_are_reached_is_in_their_name() -> None:
    route = HttpRoute("a", port=81, protocol=HTTP2, proxy="v2", health="/up")
    layout = laid(service("a", route, tasks=(HttpTask("2001:db8::1"),)))
    (server,) = layout.slots["web-1"].servers
    assert server.name == "2001:db8::1:81-h2-v2-checked"
    line = configuration.server_line(server)
    assert (
        line == "[2001:db8::1]:81 proto h2 send-proxy-v2 check inter 2s fall 2 rise 1 check-proto h2 check-send-proxy"
    )
    assert layout.maps["health"] == {"web-1": "/up"}
    assert "enable health web-1/2001:db8::1:81-h2-v2-checked" in step(laid(), layout).commands


@pytest.mark.parametrize(
    "told", ["", "web", "10.0.0.1; shutdown sessions", "10.0.0.1 check", "fe80::1%eth0", "10.0.0.0/8"]
)
def test_sec_30_what_is_no_address_becomes_no_server(told: str) -> None:
    layout = laid(service("a", HttpRoute("a"), tasks=(HttpTask(told), HttpTask("10.0.0.7"))))
    assert [server.address for server in layout.slots["web-1"].servers] == ["10.0.0.7"]


def test_semicolons_of_a_path_do_not_end_a_command() -> None:
    commands = step(laid(), laid(service("a", HttpRoute("a", "/x;del server")))).commands
    assert "add map /run/mesh/plain.map a/x\\;del\\ server/ web-1|a" in commands


@pytest.mark.parametrize(
    "other",
    [
        Wish(Frontends(trusted_proxies=("10.0.0.0/8",))),
        Wish(services=(service("a", HttpRoute("a", cookie="other")),)),
        Wish(services=(service("a", HttpRoute("a", tls=PASSTHROUGH)),)),
    ],
    ids=["whom to believe", "a new kind of back end", "the first TLS handed through"],
)
def test_what_cannot_be_said_is_loaded(other: Wish) -> None:
    before = laid()
    assert change(before, lay(other, {}, before), PLACE, {}) is None


def test_certificates_come_are_renewed_and_go() -> None:
    pem = "-----BEGIN X-----\n\nQQ==\n-----END X-----\n"
    none, one, two = laid(), laid(certificates={"a.pem": "1"}), laid(certificates={"a.pem": "2"})
    file = "/run/mesh/certificates/a.pem"
    payload = f"set ssl cert {file} <<\n-----BEGIN X-----\nQQ==\n-----END X-----\n"
    added = (f"new ssl cert {file}", payload, f"commit ssl cert {file}")
    assert step(none, one, {"a.pem": pem}).commands == (*added, f"add ssl crt-list /run/mesh/certificates.list {file}")
    assert step(one, two, {"a.pem": pem}).commands == (payload, f"commit ssl cert {file}")
    assert step(two, none).commands == (f"del ssl crt-list /run/mesh/certificates.list {file}", f"del ssl cert {file}")
    assert change(none, one, PLACE, {"a.pem": "x" * COMMAND_BYTES_MAX}) is None


def test_files_and_text_say_the_same_as_the_commands() -> None:
    """Whatever order services come and go in, maps that were changed are the maps that would be loaded."""
    chance = Random(7)
    layout = laid()
    maps: dict[str, dict[str, str]] = {name: {} for name in MAPS}
    servers: set[str] = set()
    for _ in range(200):
        wanted = [
            service(
                f"s{number}",
                HttpRoute(
                    f"h{chance.randrange(30)}",
                    chance.choice(["/", "/x"]),
                    tls=chance.choice([OFF, REQUIRED, PASSTHROUGH]),
                ),
                tasks=tuple(HttpTask(f"10.0.0.{chance.randrange(9)}", chance.randrange(3)) for _ in range(3)),
            )
            for number in chance.sample(range(40), 20)
        ]
        after = lay(Wish(services=tuple(wanted)), {}, layout)
        found = change(layout, after, PLACE, {})
        if found is None:
            maps, servers = {name: dict(after.maps[name]) for name in MAPS}, set(_servers(after))
        else:
            _carry_out(found, maps, servers)
        assert maps == after.maps
        assert servers == set(_servers(after))
        layout = after


def _servers(layout: Layout) -> list[str]:
    return [f"{name}/{server.name}" for name, slot in layout.slots.items() for server in slot.servers]


def _carry_out(found: Change, maps: dict[str, dict[str, str]], servers: set[str]) -> None:
    for line in found.commands:
        words = line.split(" ")
        if words[1] == "map":
            entries = maps[words[2].removeprefix("/run/mesh/").removesuffix(".map")]
            if words[0] == "add":
                assert words[3] not in entries
            if words[0] == "del":
                del entries[words[3]]
            else:
                entries[words[3]] = words[4]
        elif words[:2] == ["add", "server"]:
            assert words[2] not in servers
            servers.add(words[2])
    servers.difference_update(found.gone)


def test_metrics_get_the_names_of_services_and_lose_idle_back_ends() -> None:
    layout = laid(service("shop", HttpRoute("a")))
    text = (
        "# TYPE haproxy_backend_status gauge\n"
        'haproxy_backend_status{proxy="web-1",state="UP"} 1\n'
        'haproxy_backend_status{proxy="web-2",state="UP"} 1\n'
        'haproxy_frontend_status{proxy="plain",state="UP"} 1\n'
    )
    assert metrics.named(text, layout).splitlines()[1:] == [
        'haproxy_backend_status{service="shop",proxy="web-1",state="UP"} 1',
        'haproxy_frontend_status{proxy="plain",state="UP"} 1',
    ]


def test_ports_that_are_off_have_no_frontend() -> None:
    layout = replace(laid(), frontends=Frontends(http_port=0))
    text = configuration.text(layout, PLACE)
    assert "frontend plain" not in text
    assert "frontend secure" in text
