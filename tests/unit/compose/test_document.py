"""Compose files: YAML with places, variables, several files as one."""

from __future__ import annotations

from typing import ClassVar

import pytest

from fairlead.cli.compose.document import Items, Section, load
from fairlead.cli.compose.interpolation import interpolate
from fairlead.cli.compose.merging import merge, settled
from fairlead.model.errors import Invalid


def read(text: str, **variables: str) -> Section:
    return load(text, "c.yaml", variables, [])


class TestPlaces:
    def test_every_key_and_item_knows_its_line(self) -> None:
        found = read("a: 1\nb:\n  c:\n    - x\n    - y: 2\n")
        below = found["b"]
        assert isinstance(below, Section)
        items = below["c"]
        assert isinstance(items, Items)
        assert [str(place) for place in (found.at("a"), found.at("b"), below.at("c"), *items.places)] == [
            "c.yaml:1",
            "c.yaml:2",
            "c.yaml:3",
            "c.yaml:4",
            "c.yaml:5",
        ]

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("22:22", "22:22"),
            ("1e3", 1000.0),
            ("0o17", 15),
            ("0x1F", 31),
            ("017", 17),
            ("on", "on"),
            ("yes", "yes"),
            ("true", True),
            ("~", None),
            ("", None),
            ("'80'", "80"),
            ("2026-01-01", "2026-01-01"),
            ("-3", -3),
            (".5", 0.5),
            ("9" * 30, float("9" * 30)),
        ],
    )
    def test_scalars_are_those_of_yaml_1_2(self, text: str, value: object) -> None:
        assert read(f"a: {text}")["a"] == value

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("a: [", "c.yaml:1: this is no YAML"),
            ("a: 1\nb: 2\na: 3", "c.yaml:3: mapping key 'a' already defined"),
            ("- a", "c.yaml:1: Top-level object must be a mapping"),
            ("? [a]\n: 1", "c.yaml:1: a key must be text"),
            ("a: &x [*x]", "says too much at once"),
            ("a: &a [1]\n<<: 3", "<< takes a mapping"),
            ("a: \x00", "this is no YAML"),
            ("a: " + "[" * 200, "this is no YAML"),
            ("x" * (1 << 20) + "x", "larger than"),
        ],
    )
    def test_faults_say_where(self, text: str, words: str) -> None:
        with pytest.raises(Invalid) as caught:
            read(text)
        assert words in caught.value.message

    def test_anchors_cannot_multiply_for_ever(self) -> None:
        bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
            f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
        )
        with pytest.raises(Invalid, match="too much"):
            read(bomb)

    def test_merge_keys_fill_in(self) -> None:
        found = read("base: &b {x: 1, y: 2}\nmore: &m {y: 9, z: 3}\nall:\n  <<: [*b, *m]\n  x: 5\n")["all"]
        assert found == {"x": 5, "y": 2, "z": 3}
        assert isinstance(found, Section)
        assert found.at("y").line == 1

    def test_an_empty_file_is_an_empty_mapping(self) -> None:
        assert read("") == {}


class TestVariables:
    SET: ClassVar[dict[str, str]] = {"V": "v", "EMPTY": "", "N": "3"}

    @pytest.mark.parametrize(
        ("text", "result"),
        [
            ("$V-${V}", "v-v"),
            ("${V:-d}${EMPTY:-d}${NONE:-d}", "vdd"),
            ("${EMPTY-d}${NONE-d}", "d"),
            ("${V:+r}${EMPTY:+r}${EMPTY+r}${NONE+r}", "rr"),
            ("${NONE:-${V}${OTHER-x}}", "vx"),
            ("$$V $${V}", "$V ${V}"),
            ("${NONE:-a$$}b}", "a$b}"),
            ("${V:?needed}", "v"),
            ("${NONE}", ""),
        ],
    )
    def test_forms(self, text: str, result: str) -> None:
        assert interpolate(text, self.SET, "c:1", []) == result

    @pytest.mark.parametrize("text", ["$", "a $ b", "${", "${V", "${1}", "${V!x}", "${V:}", "${}", "$-"])
    def test_what_is_none_is_refused(self, text: str) -> None:
        with pytest.raises(Invalid, match="c:1: invalid interpolation format"):
            interpolate(text, self.SET, "c:1", [])

    def test_required_ones(self) -> None:
        with pytest.raises(Invalid, match="c:1: required variable NONE is missing a value: set it"):
            interpolate("${NONE?set it}", self.SET, "c:1", [])
        with pytest.raises(Invalid, match="EMPTY is missing"):
            interpolate("${EMPTY:?}", self.SET, "c:1", [])

    def test_those_not_set_are_named(self) -> None:
        noted: list[str] = []
        interpolate("$NONE", self.SET, "c.yaml:7", noted)
        assert noted == ['c.yaml:7: the variable "NONE" is not set: a blank string stands for it']

    def test_values_get_their_type_after_it(self) -> None:
        assert read("a: $N\nb: '$N'\n$N: x", N="3") == {"a": 3, "b": "3", "$N": "x"}


class TestSeveralFiles:
    def one(self, *texts: str) -> object:
        whole = read(texts[0])
        for text in texts[1:]:
            whole = merge(whole, read(text))
        return settled(whole)

    def test_mappings_are_merged_deep_and_scalars_replaced(self) -> None:
        assert self.one("a: {b: 1, c: {d: 2}}", "a: {c: {e: 3}, b: 4}") == {"a": {"b": 4, "c": {"d": 2, "e": 3}}}

    def test_lists_are_appended_but_commands_replaced(self) -> None:
        found = self.one("dns: [1]\ncommand: [a, b]", "dns: [2]\ncommand: [c]")
        assert found == {"dns": [1, 2], "command": ["c"]}

    def test_tables_are_alike_in_both_forms(self) -> None:
        found = self.one("environment: [A=1, B=2, C]", "environment: {B: 3, D: 4}")
        assert found == {"environment": {"A": "1", "B": 3, "C": None, "D": 4}}
        found = self.one("networks: [a, b]", "networks: {b: {aliases: [x]}}")
        assert found == {"networks": {"a": None, "b": {"aliases": ["x"]}}}

    def test_ports_and_volumes_are_unique(self) -> None:
        first = "ports:\n- '80:80'\n- {target: 81, published: '81', mode: host}\nvolumes: ['a:/x', 'b:/y']"
        found = self.one(first, "ports:\n- '80:80'\n- {target: 81, published: 81, mode: ingress}\nvolumes: ['c:/x']")
        assert found == {
            "ports": ["80:80", {"target": 81, "published": 81, "mode": "ingress"}],
            "volumes": ["c:/x", "b:/y"],
        }

    def test_reset_and_override(self) -> None:
        found = self.one("a: [1]\nb: {x: 1}\nc: 3\nd: {e: 1}", "a: !override [2]\nb: !reset\nd: !override {f: 2}")
        assert found == {"a": [2], "c": 3, "d": {"f": 2}}
        assert self.one("a: !reset\nb: 1") == {"b": 1}

    def test_neither_file_is_changed(self) -> None:
        first, second = read("a: {b: [1]}"), read("a: {b: [2]}")
        merge(first, second)
        assert (first, second) == ({"a": {"b": [1]}}, {"a": {"b": [2]}})
