"""Times and ports as Docker writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from fairlead.api import moments, ports, schema
from fairlead.api.words import human_duration
from fairlead.model.endpoint import PortBinding, PortRequest
from fairlead.model.errors import Invalid


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "Less than a second"),
        (0.5, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (7200, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (14 * 86400, "2 weeks"),
        (60 * 86400, "2 months"),
        (3 * 365 * 86400, "3 years"),
    ],
)
def test_spans(seconds: float, words: str) -> None:
    assert human_duration(seconds) == words


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1700000000", 1_700_000_000.0),
        ("1700000000.5", 1_700_000_000.5),
        ("10m", 400.0),
        ("1m30s", 910.0),
        ("1970-01-01T00:00:10Z", 10.0),
        ("1970-01-01T01:00:10.123456789+01:00", 10.123456),
        ("1970-01-02", 86400.0),
    ],
)
def test_moments(text: str, moment: float) -> None:
    assert moments.parse_moment(text, 1000.0) == pytest.approx(moment)


@given(some.text(max_size=30))
def test_any_other_text_is_no_moment(text: str) -> None:
    try:
        moments.parse_moment(text, 0.0)
    except Invalid as error:
        assert error.status == 400


def test_stamps() -> None:
    assert schema.stamp(0) == "0001-01-01T00:00:00Z"
    assert schema.stamp(1_700_000_000.25) == "2023-11-14T22:13:20.250000000Z"
    assert schema.nanoseconds(1_700_000_000.25) == 1_700_000_000_250_000_000


@given(some.lists(some.tuples(some.sampled_from(ports.PROTOCOLS), some.integers(1, 65535), some.integers(0, 65535))))
def test_requests_survive_the_round_trip(asked: list[tuple[str, int, int]]) -> None:
    requests = [PortRequest(proto, inner, "", outer) for proto, inner, outer in asked]
    body = schema.encode(ports.bindings_json(requests))
    decoded = schema.decode(body, dict[str, list[ports.HostPortBody] | None])
    assert sorted(ports.parse_bindings(decoded), key=repr) == sorted(requests, key=repr)


def test_range_of_host_ports() -> None:
    (request,) = ports.parse_bindings({"80/tcp": [ports.HostPortBody("127.0.0.1", "8000-8010")]})
    assert request == PortRequest("tcp", 80, "127.0.0.1", 8000, 8010)
    assert ports.bindings_json([request]) == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8000-8010"}]}


def test_published_and_exposed() -> None:
    binding = PortBinding("tcp", 80, "", 8080)
    assert ports.published_json(["80/tcp", "443/tcp"], [binding]) == {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}],
        "443/tcp": None,
    }
    assert ports.rows_json(["443/tcp"], [binding])[0] == {"PrivatePort": 443, "Type": "tcp"}
