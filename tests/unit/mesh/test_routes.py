"""Who has which route when several services ask for it."""

from __future__ import annotations

import pytest

from fairlead.mesh.routes import PLAIN, SECURE, SNI, arrange, check
from fairlead.mesh.wish import OFF, OPTIONAL, PASSTHROUGH, REQUIRED, HttpRoute, HttpService
from fairlead.model import codes
from fairlead.model.errors import Conflict


def service(name: str, *routes: HttpRoute) -> HttpService:
    return HttpService(f"id-{name}", name, routes)


def route(host: str = "a", path: str = "/", tls: str = OPTIONAL) -> HttpRoute:
    return HttpRoute(host, path, tls=tls)


def test_both_services_are_named_whoever_comes_first() -> None:
    shop, blog = service("shop", route(path="/x")), service("blog", route(path="/x"))
    grants, clashes = arrange([shop, blog])
    assert [grant.service.name for grant in grants] == ["blog"]
    assert [str(clash) for clash in clashes] == ["services blog and shop both ask for a/x"]
    assert arrange([blog, shop]) == (grants, clashes)


def test_a_second_service_is_refused_with_both_names() -> None:
    with pytest.raises(Conflict, match="services blog and shop both ask for a/") as caught:
        check(service("shop", route()), [service("blog", route())])
    assert caught.value.code is codes.HTTP_ROUTE_TAKEN


def test_a_service_does_not_stand_in_its_own_way() -> None:
    check(service("shop", route(), route()), [service("shop", route()), service("blog", route("b"))])
    grants, clashes = arrange([service("shop", route(), route())])
    assert (len(grants), clashes) == (1, ())


@pytest.mark.parametrize(
    "other", [route(path="/x"), route("*"), route("*.a"), route("b"), route(tls=PASSTHROUGH)], ids=str
)
def test_what_can_be_told_apart_is_no_clash(other: HttpRoute) -> None:
    assert arrange([service("one", route()), service("two", other)])[1] == ()


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        (REQUIRED, OPTIONAL, True),
        (OFF, OPTIONAL, True),
        (OFF, PASSTHROUGH, False),
        (REQUIRED, PASSTHROUGH, True),
        (PASSTHROUGH, PASSTHROUGH, True),
    ],
)
def test_tls_of_a_host_is_opened_or_handed_through_but_not_both(one: str, other: str, clash: bool) -> None:
    for first, second in ((one, other), (other, one)):
        found = arrange([service("x", route(tls=first)), service("y", route(tls=second))])[1]
        assert bool(found) is clash


def test_where_requests_for_a_route_come_in() -> None:
    faces = {tls: arrange([service("x", route(tls=tls))])[0][0].faces for tls in (OPTIONAL, REQUIRED, OFF, PASSTHROUGH)}
    assert faces == {OPTIONAL: (PLAIN, SECURE), REQUIRED: (PLAIN, SECURE), OFF: (PLAIN,), PASSTHROUGH: (SNI,)}


def test_of_two_own_routes_for_one_place_the_first_holds_and_the_second_has_the_rest() -> None:
    grants, _ = arrange([service("x", route(tls=OFF), HttpRoute("a", port=81))])
    assert [(grant.route.port, grant.faces) for grant in grants] == [(80, (PLAIN,)), (81, (SECURE,))]
