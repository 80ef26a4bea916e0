"""Requests find their task by host and path, in a real HAProxy, and every change reaches it while it runs."""

from __future__ import annotations

import socketserver
from collections.abc import Iterator

import pytest
from tests.kernel.http_mesh.bed import Stage, service, staged
from tests.kernel.one_host.waiting import until

from fairlead.mesh.wish import HttpTask


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with staged() as made:
        for number in (1, 2, 3):
            made.task(number)
        made.task(1, 8080)
        yield made


def task_of(stage: Stage, host: str, path: str = "/", **more: str) -> str:
    name: str = stage.ask(host, path, headers=more).seen["task"]
    return name


def test_host_and_longest_path_by_whole_segments(stage: Stage) -> None:
    stage.apply(
        service("shop", "127.0.1.1", host="shop.example"),
        service("api", "127.0.1.2", host="shop.example", path="/api,/x/y"),
        service("deep", "127.0.1.3", host="shop.example", path="/api/v2"),
    )
    expected = {
        "/": 1, "/a": 1, "/api": 2, "/api/": 2, "/api?x=1": 2, "/api/v1": 2, "/api/v2": 3, "/api/v2/": 3, "/api/v22": 2,
        "/apis": 1, "/x": 1, "/x/y/z": 2, "//api": 1,
    }  # fmt: skip
    assert {path: task_of(stage, "shop.example", path)[-1] for path in expected} == {
        path: str(number) for path, number in expected.items()
    }


def test_hosts_are_compared_without_case_and_port(stage: Stage) -> None:
    stage.apply(service("shop", "127.0.1.1", host="shop.example"), service("six", "127.0.1.2", host="[::1]"))
    assert task_of(stage, "SHOP.Example:80") == "127.0.1.1"
    assert task_of(stage, "[::1]:80") == "127.0.1.2"


def test_wildcards_from_the_narrowest_to_every_host(stage: Stage) -> None:
    stage.apply(
        service("one", "127.0.1.1", host="a.example,*.b.example"),
        service("two", "127.0.1.2", host="*.example"),
        service("three", "127.0.1.3", host="*", path="/any"),
    )
    assert task_of(stage, "a.example") == "127.0.1.1"
    assert task_of(stage, "x.b.example") == "127.0.1.1"
    assert task_of(stage, "x.y.b.example") == "127.0.1.1"
    assert task_of(stage, "b.example") == "127.0.1.2"
    assert task_of(stage, "x.y.z.example", "/any") == "127.0.1.2"
    assert task_of(stage, "elsewhere.test", "/any/thing") == "127.0.1.3"
    assert task_of(stage, "localhost", "/any/thing") == "127.0.1.3"
    assert stage.ask("elsewhere.test").status == 404


def test_the_client_is_seen_whichever_family_it_has(stage: Stage) -> None:
    stage.apply(service("shop", "127.0.1.1", host="shop.example"))
    assert stage.ask("shop.example").header("x-forwarded-for") == ["127.0.0.1"]
    six = stage.ask("shop.example", address="::1")
    assert six.header("x-forwarded-for") == ["::1"]
    assert six.header("x-forwarded-proto") == ["http"]
    assert six.header("host") == ["shop.example"]


def test_pages_say_which_host_was_asked_for_and_what_is_missing(stage: Stage) -> None:
    stage.apply(service("shop", host="shop.example", path="/shop"))
    nobody = stage.ask("other.example")
    assert nobody.status == 404
    assert b"other.example" in nobody.body
    assert b"fairlead.http.host=other.example" in nobody.body
    elsewhere = stage.ask("shop.example", "/blog")
    assert elsewhere.status == 404
    assert b"fairlead.http.path" in elsewhere.body
    idle = stage.ask("shop.example", "/shop")
    assert idle.status == 503
    assert b"shop.example" in idle.body
    assert b"no task of service shop is ready" in idle.body


def test_a_task_that_does_not_answer_is_named_by_its_service(stage: Stage) -> None:
    stage.apply(service("shop", "127.0.1.99", host="shop.example"))
    answer = stage.ask("shop.example")
    assert answer.status == 503
    assert b"a task of service shop cannot be reached" in answer.body


class _BreaksOff(socketserver.StreamRequestHandler):
    """A task that dies of each request."""

    def handle(self) -> None:
        self.rfile.readline()


def test_what_may_be_asked_twice_is_asked_of_another_task_when_one_breaks_off(stage: Stage) -> None:
    stage.task(4, 80, _BreaksOff)
    stage.apply(service("shop", "127.0.1.1", "127.0.1.4", host="shop.example", retry="true"))
    assert [task_of(stage, "shop.example") for _ in range(4)] == ["127.0.1.1"] * 4
    posts = [stage.ask("shop.example", method="POST", body=b"once") for _ in range(4)]
    assert sorted(answer.status for answer in posts) == [200, 200, 502, 502]
    broken = next(answer for answer in posts if answer.status == 502)
    assert b"a task of service shop did not answer as it should" in broken.body


def test_every_change_is_said_to_the_running_proxy(stage: Stage) -> None:
    """Routes, tasks, weights, ports and stickiness: none of it needs a reload."""
    stage.apply(service("shop", "127.0.1.1", host="shop.example"))
    before = stage.proxy.status()
    pid, reloads = before.pid, before.reloads
    stage.apply(
        service("shop", "127.0.1.1", "127.0.1.2", host="shop.example"),
        service("blog", "127.0.1.3", host="blog.example"),
    )
    assert {task_of(stage, "shop.example") for _ in range(4)} == {"127.0.1.1", "127.0.1.2"}
    stage.apply(service("shop", HttpTask("127.0.1.1", 0), "127.0.1.2", host="shop.example"))
    assert {task_of(stage, "shop.example") for _ in range(4)} == {"127.0.1.2"}
    assert stage.ask("blog.example").status == 404
    stage.apply(service("shop", "127.0.1.1", host="shop.example", port="8080", sticky="true"))
    assert task_of(stage, "shop.example") == "127.0.1.1"
    stage.apply(service("other", "127.0.1.1", host="shop.example"))
    assert task_of(stage, "shop.example") == "127.0.1.1"
    after = stage.proxy.status()
    assert (after.pid, after.reloads) == (pid, reloads)


def test_a_larger_pool_is_loaded_without_a_new_process(stage: Stage) -> None:
    stage.apply(service("shop", "127.0.1.1", host="shop.example"))
    before = stage.proxy.status()
    pid, reloads = before.pid, before.reloads
    many = [service(f"s{number:03}", f"127.0.1.{number % 3 + 1}", host=f"s{number}.example") for number in range(200)]
    stage.apply(*many)
    assert {task_of(stage, f"s{number}.example") for number in (0, 99, 199)} == {"127.0.1.1", "127.0.1.2"}
    after = stage.proxy.status()
    assert (after.pid, after.reloads, after.services) == (pid, reloads + 1, 200)
    stage.apply(*many[1:], service("more", "127.0.1.1", host="s0.example"))
    assert stage.proxy.status().reloads == reloads + 1


def test_a_cookie_keeps_a_client_at_its_task(stage: Stage) -> None:
    tasks = ("127.0.1.1", "127.0.1.2", "127.0.1.3")
    stage.apply(service("shop", *tasks, host="shop.example", sticky="true"))
    first = stage.ask("shop.example")
    cookie = first.headers["set-cookie"].partition(";")[0]
    assert {task_of(stage, "shop.example", Cookie=cookie) for _ in range(6)} == {first.seen["task"]}
    assert stage.ask("shop.example", headers={"Cookie": cookie}).header("cookie") == []
    left = tuple(task for task in tasks if task != first.seen["task"])
    stage.apply(service("shop", *left, host="shop.example", sticky="true"))
    assert task_of(stage, "shop.example", Cookie=cookie) in left


def test_an_application_s_own_cookie_can_bind(stage: Stage) -> None:
    for server in stage.servers:
        server.cookie = "JSESSIONID"
    label = {"com.docker.ucp.mesh.http": "external_route=http://shop.example,sticky_sessions=JSESSIONID"}
    stage.apply(service("shop", "127.0.1.1", "127.0.1.2", labelled=label))
    first = stage.ask("shop.example")
    cookie = first.headers["set-cookie"].partition(";")[0]
    for _ in range(6):
        again = stage.ask("shop.example", headers={"Cookie": cookie})
        assert again.seen["task"] == first.seen["task"]
        assert again.header("cookie") == ["JSESSIONID=mine"]
    for server in stage.servers:
        server.cookie = ""


def test_redirects(stage: Stage) -> None:
    stage.apply(
        service("away", "127.0.1.1", host="old.example", redirect="http://new.example"),
        service("page", "127.0.1.1", host="page.example", redirect="https://new.example/start"),
        service("safe", "127.0.1.1", host="safe.example", tls="required"),
        service("also", "127.0.1.1", host="also.example", redirect="https"),
    )
    answers = {
        host: stage.ask(host, "/x?y=1") for host in ("old.example", "page.example", "safe.example", "also.example")
    }
    assert {host: (answer.status, answer.headers["location"]) for host, answer in answers.items()} == {
        "old.example": (302, "http://new.example/x?y=1"),
        "page.example": (302, "https://new.example/start"),
        "safe.example": (308, "https://safe.example/x?y=1"),
        "also.example": (308, "https://also.example/x?y=1"),
    }


def test_rewrites(stage: Stage) -> None:
    stage.apply(
        service("shop", "127.0.1.1", host="a.example", path="/app", rewrite="/"),
        service("deep", "127.0.1.1", host="b.example", path="/a/b", rewrite="/z/y"),
        service("root", "127.0.1.1", host="c.example", rewrite="/sub"),
    )
    seen = {
        (host, path): stage.ask(host, path).seen["path"]
        for host, path in (
            ("a.example", "/app"),
            ("a.example", "/app/x/y?z=1"),
            ("b.example", "/a/b/c"),
            ("c.example", "/q"),
        )
    }
    assert [*seen.values()] == ["/", "/x/y?z=1", "/z/y/c", "/sub/q"]


def test_a_health_path_takes_a_task_out_and_back(stage: Stage) -> None:
    stage.apply(service("shop", "127.0.1.1", "127.0.1.2", host="shop.example", health="/health"))
    sick = stage.servers[0]
    sick.healthy = False
    until(lambda: {task_of(stage, "shop.example") for _ in range(4)} == {"127.0.1.2"}, "the sick task gets no requests")
    sick.healthy = True
    until(
        lambda: {task_of(stage, "shop.example") for _ in range(4)} == {"127.0.1.1", "127.0.1.2"}, "it gets some again"
    )


def test_the_access_log_is_json_with_service_and_task(stage: Stage) -> None:
    stage.apply(service("shop", "127.0.1.1", host="shop.example"))
    stage.ask("shop.example", '/logged?"x', headers={"User-Agent": 'quo"te\\'})
    line = until(
        lambda: next((line for line in stage.log() if "logged" in line["uri"]), None), "the request in the log"
    )
    assert (line["service"], line["task"], line["status"], line["client"]) == ("shop", "127.0.1.1:80", 200, "127.0.0.1")
    assert (line["uri"], line["agent"], line["method"]) == ('/logged?"x', 'quo"te\\', "GET")


def test_metrics_bear_the_names_of_services(stage: Stage) -> None:
    stage.apply(service("shop", "127.0.1.1", host="shop.example"))
    stage.ask("shop.example")
    text = stage.loop.run(stage.proxy.metrics())
    lines = [line for line in text.splitlines() if 'service="shop"' in line]
    assert any(line.startswith("haproxy_server_http_responses_total") for line in lines)
    assert 'proxy="web-64"' not in text
