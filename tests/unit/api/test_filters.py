from __future__ import annotations

import pytest

from fairlead.api.filters import Filters
from fairlead.model.errors import Invalid

ALLOWED = ("name", "label", "label!", "dangling")


def parse(text: str) -> Filters:
    return Filters.parse(text, ALLOWED)


@pytest.mark.parametrize("text", ['{"name":["a","b"]}', '{"name":{"a":true,"b":true,"c":false}}'])
def test_both_spellings(text: str) -> None:
    assert parse(text).get("name") == ["a", "b"]


@pytest.mark.parametrize("text", ["[]", '{"name":5}', '{"name":[5]}', '{"odd":["x"]}', "\udcff", "{" * 100_000])
def test_what_is_wrong_is_invalid(text: str) -> None:
    with pytest.raises(Invalid, match="invalid filter"):
        parse(text)


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("web", "my-web-1", True),
        ("^web$", "web", True),
        ("^web$", "webs", False),
        ("w.b", "wob", True),
        ("^w.*1$", "web-1", True),
        ("^(a|b)$", "b", True),
        ("x", "web", False),
    ],
)
def test_names_match_by_part_or_pattern(pattern: str, text: str, found: bool) -> None:
    assert Filters({"name": [pattern]}).matches("name", text) is found


@pytest.mark.parametrize("pattern", ["(a+)+$", "a*b*c*d*", "^(?i)x", "[", "^\\d"])
def test_patterns_that_could_take_for_ever_are_refused(pattern: str) -> None:
    with pytest.raises(Invalid, match="pattern"):
        Filters({"name": [pattern]}).matches("name", "a" * 200)


def test_labels_are_all_wanted() -> None:
    labels = {"a": "1", "b": "2"}
    assert Filters({"label": ["a", "b=2"]}).labels(labels)
    assert not Filters({"label": ["a", "b=3"]}).labels(labels)
    assert not Filters({"label!": ["a=1"]}).labels(labels)


def test_truth_values() -> None:
    assert parse("").boolean("dangling") is None
    assert parse('{"dangling":["1"]}').boolean("dangling") is True
    with pytest.raises(Invalid):
        parse('{"dangling":["1","0"]}').boolean("dangling")
