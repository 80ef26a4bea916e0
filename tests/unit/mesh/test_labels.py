"""Labels of services: ours, UCP's in both syntaxes, Interlock's; and every way in which they can be wrong."""

from __future__ import annotations

import pytest

from fairlead.mesh.labels import COOKIE, ROUTES_MAX, parse
from fairlead.mesh.wish import HTTP2, OFF, PASSTHROUGH, REQUIRED, TO_TLS, HttpRoute
from fairlead.model import codes
from fairlead.model.errors import Invalid

UCP = "com.docker.ucp.mesh.http"


def one(labels: dict[str, str], *ports: int) -> HttpRoute:
    (route,) = parse(labels, "service web", ports)
    return route


def refused(labels: dict[str, str]) -> str:
    with pytest.raises(Invalid) as caught:
        parse(labels, "service web")
    assert caught.value.code is codes.HTTP_LABEL_INVALID
    assert caught.value.message.startswith("service web: label ")
    return caught.value.message


def test_a_service_without_such_labels_has_no_routes() -> None:
    assert parse({"com.example": "x", "fairlead.lb.weight": "2", "fairlead.httpx": "y"}, "service web") == ()


def test_a_host_alone_is_enough() -> None:
    assert one({"fairlead.http.host": "Shop.Example."}) == HttpRoute("shop.example", "/", 80)


def test_the_only_known_port_is_meant_if_none_is_named() -> None:
    assert one({"fairlead.http.host": "a"}, 8080).port == 8080
    assert one({"fairlead.http.host": "a"}, 8080, 8443).port == 80
    assert one({"fairlead.http.host": "a", "fairlead.http.port": "9000"}, 8080).port == 9000


def test_hosts_and_paths_are_lists() -> None:
    routes = parse({"fairlead.http.host": "a.example, b.example", "fairlead.http.path": "/x,/y/"}, "service web")
    assert {(route.host, route.path) for route in routes} == {
        ("a.example", "/x"),
        ("a.example", "/y"),
        ("b.example", "/x"),
        ("b.example", "/y"),
    }


def test_names_keep_several_routes_of_a_service_apart() -> None:
    labels = {"fairlead.http.host": "a", "fairlead.http.admin.host": "b", "fairlead.http.admin.port": "81"}
    assert {(route.host, route.port) for route in parse(labels, "service web")} == {("a", 80), ("b", 81)}


def test_every_key_of_ours() -> None:
    labels = {
        "host": "*.example.com",
        "path": "/api",
        "port": "50051",
        "tls": "true",
        "sticky": "true",
        "redirect": "https",
        "health": "/ready",
        "protocol": "grpc",
        "proxy": "v2",
        "rewrite": "/",
        "retry": "true",
        "network": "sea",
    }
    route = one({f"fairlead.http.{key}": value for key, value in labels.items()})
    assert route == HttpRoute(
        "*.example.com", "/api", 50051, REQUIRED, COOKIE, False, TO_TLS, "/ready", HTTP2, "v2", "/", True, "sea"
    )


@pytest.mark.parametrize(
    ("written", "meant"), [("true", COOKIE), ("false", ""), ("session", "session"), ("A.b-c_1", "A.b-c_1")]
)
def test_sticky_is_yes_no_or_the_name_of_a_cookie_that_we_set(written: str, meant: str) -> None:
    route = one({"fairlead.http.host": "a", "fairlead.http.sticky": written})
    assert (route.cookie, route.app_cookie) == (meant, False)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("[2001:DB8::1]", "[2001:db8::1]"),
        ("2001:db8::1", "[2001:db8::1]"),
        ("192.0.2.1", "192.0.2.1"),
        ("*", "*"),
        ("localhost", "localhost"),
        ("my_host", "my_host"),
    ],
)
def test_hosts_as_they_are_compared(written: str, meant: str) -> None:
    assert one({"fairlead.http.host": written}).host == meant


def test_ucp_of_2_1() -> None:
    text = "external_route=http://foo.example.com/shop,internal_port=8080,sticky_sessions=JSESSIONID"
    assert one({f"{UCP}.8080": text}) == HttpRoute(
        "foo.example.com", "/shop", 8080, cookie="JSESSIONID", app_cookie=True
    )


def test_ucp_redirects_to_the_same_name_over_tls_and_hands_tls_through() -> None:
    labels = {
        f"{UCP}.1": "external_route=http://example.com,redirect=https://example.com",
        f"{UCP}.2": "external_route=sni://example.com,internal_port=8443",
    }
    plain, passed = parse(labels, "service web")
    assert (plain.redirect, passed.tls, passed.port) == (TO_TLS, PASSTHROUGH, 8443)


def test_ucp_redirects_to_another_name() -> None:
    label = {f"{UCP}.1": "external_route=http://old.example.com,redirect=http://new.example.com"}
    assert one(label).redirect == "http://new.example.com"


def test_ucp_of_2_0() -> None:
    routes = parse({UCP: "8080=http://foo.example.com,http://bar.example.com"}, "service web", [81])
    assert [(route.host, route.port) for route in routes] == [("foo.example.com", 8080), ("bar.example.com", 81)]


def test_interlock() -> None:
    labels = {
        "hosts": "demo.local,www.demo.local",
        "port": "8080",
        "network": "demo",
        "context_root": "/app",
        "context_root_rewrite": "true",
        "sticky_session_cookie": "session",
        "websocket_endpoints": "/ws",
        "service_cluster": "us-east",
        "backend_mode": "vip",
    }
    routes = parse({f"com.docker.lb.{key}": value for key, value in labels.items()}, "service web")
    assert [route.host for route in routes] == ["demo.local", "www.demo.local"]
    route = routes[0]
    assert (route.path, route.rewrite, route.port, route.network) == ("/app", "/", 8080, "demo")
    assert (route.cookie, route.app_cookie) == ("session", True)


def test_interlock_redirects_take_the_place_of_a_host() -> None:
    labels = {
        "com.docker.lb.hosts": "old.local,new.local",
        "com.docker.lb.redirects": "http://old.local,http://new.local",
    }
    aims = {route.host: route.redirect for route in parse(labels, "service web")}
    assert aims == {"old.local": "http://new.local", "new.local": ""}


def test_interlock_tls() -> None:
    assert one({"com.docker.lb.hosts": "a", "com.docker.lb.ssl_passthrough": "true"}).tls == PASSTHROUGH
    assert (
        one({"com.docker.lb.hosts": "a", "com.docker.lb.ssl_cert": "a.cert", "com.docker.lb.ssl_key": "k"}).tls
        == REQUIRED
    )


def test_the_same_route_in_two_languages_is_one() -> None:
    assert one({"fairlead.http.host": "a", "com.docker.lb.hosts": "a"}).host == "a"


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({"fairlead.http.hots": "a"}, "known are"),
        ({"fairlead.http.path": "/x"}, "there is no fairlead.http.host"),
        ({"fairlead.http.host": "a", "fairlead.http.api.path": "/x"}, "there is no fairlead.http.api.host"),
        ({"fairlead.http.host": ""}, "no host name"),
        ({"fairlead.http.host": "a b"}, "no host name"),
        ({"fairlead.http.host": "a:8080"}, "leave port, scheme and path out"),
        ({"fairlead.http.host": "http://a"}, "leave port, scheme and path out"),
        ({"fairlead.http.host": "a.*.b"}, "no host name"),
        ({"fairlead.http.host": "-a"}, "no host name"),
        ({"fairlead.http.host": f"{'a.' * 150}b"}, "no host name"),
        ({"fairlead.http.host": "a\nuse_backend x"}, "no host name"),
        ({"fairlead.http.host": "a", "fairlead.http.path": "x"}, "no path"),
        ({"fairlead.http.host": "a", "fairlead.http.path": "/x//y"}, "no path"),
        ({"fairlead.http.host": "a", "fairlead.http.path": "/x/../y"}, "no path"),
        ({"fairlead.http.host": "a", "fairlead.http.path": "/x y"}, "no path"),
        ({"fairlead.http.host": "a", "fairlead.http.path": "/x?y=1"}, "no path"),
        ({"fairlead.http.host": "a", "fairlead.http.path": "/x|y"}, "no path"),
        ({"fairlead.http.host": "a", "fairlead.http.port": "0"}, "no port"),
        ({"fairlead.http.host": "a", "fairlead.http.port": "70000"}, "no port"),
        ({"fairlead.http.host": "a", "fairlead.http.port": "²"}, "no port"),
        ({"fairlead.http.host": "a", "fairlead.http.tls": "yes"}, "known are"),
        ({"fairlead.http.host": "a", "fairlead.http.sticky": "a b"}, "cookie's name"),
        ({"fairlead.http.host": "a", "fairlead.http.redirect": "//evil"}, "no URL"),
        ({"fairlead.http.host": "a", "fairlead.http.redirect": "https://u@evil/"}, "no host name"),
        ({"fairlead.http.host": "a", "fairlead.http.redirect": "https://b/%0d%0aX: 1"}, "no URL"),
        ({"fairlead.http.host": "a", "fairlead.http.redirect": "http://a"}, "leads to itself"),
        ({"fairlead.http.host": "a", "fairlead.http.redirect": "https", "fairlead.http.tls": OFF}, "needs tls="),
        ({"fairlead.http.host": "a", "fairlead.http.protocol": "spdy"}, "known are"),
        ({"fairlead.http.host": "a", "fairlead.http.proxy": "v3"}, "known are"),
        ({"fairlead.http.host": "a", "fairlead.http.network": ""}, "name a network"),
        (
            {"fairlead.http.host": "a", "fairlead.http.tls": "passthrough", "fairlead.http.path": "/x"},
            "does not go with",
        ),
        ({"fairlead.http.host": "*", "fairlead.http.tls": "passthrough"}, "does not go with"),
        (
            {"fairlead.http.host": "a", "fairlead.http.tls": "passthrough", "fairlead.http.retry": "true"},
            "does not go with",
        ),
        ({"fairlead.http.host": "a", "fairlead.http.retry": "maybe"}, "known are"),
        ({UCP: "external_route=ftp://a"}, "http://HOST or sni://HOST"),
        ({UCP: "external_route=http://a,internal_prot=1"}, "known are"),
        ({UCP: "external_route=http://a,external_route=http://b"}, "is there twice"),
        ({UCP: "external_route=sni://a,sticky_sessions=x"}, "does not go with"),
        ({UCP: "8080=a"}, "http://HOST or sni://HOST"),
        ({f"{UCP}s": "external_route=http://a"}, "write com.docker.ucp.mesh.http"),
        ({"com.docker.lb.port": "80"}, "there is no com.docker.lb.hosts"),
        ({"com.docker.lb.hosts": "a", "com.docker.lb.ip_hash": "true"}, "known are"),
        ({"com.docker.lb.hosts": "a", "com.docker.lb.backend_mode": "x"}, "known are"),
        ({"com.docker.lb.hosts": "a", "com.docker.lb.redirects": "http://a"}, "write FROM,TO"),
        ({"fairlead.http.host": ",".join(f"h{number}" for number in range(ROUTES_MAX + 1))}, "at most"),
    ],
)
def test_a_wrong_label_is_named_with_the_reason(labels: dict[str, str], reason: str) -> None:
    assert reason in refused(labels)
