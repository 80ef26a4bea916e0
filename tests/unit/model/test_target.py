"""What users may call a namespace of others (SEC-22)."""

from __future__ import annotations

import pytest

from fairlead.model.errors import Invalid
from fairlead.model.target import Target, parse


@pytest.mark.parametrize(
    ("text", "kind", "name", "pid", "path", "default"),
    [
        ("pid:42", "pid", "42", 42, "", "pid-42"),
        ("netns:blue", "netns", "blue", 0, "/run/netns/blue", "blue"),
        (
            "netns:/var/run/docker/netns/abc",
            "netns",
            "/var/run/docker/netns/abc",
            0,
            "/var/run/docker/netns/abc",
            "abc",
        ),
        ("docker:web_1", "docker", "web_1", 0, "", "web_1"),
        ("podman:web.2", "podman", "web.2", 0, "", "web.2"),
    ],
)
def test_targets(text: str, kind: str, name: str, pid: int, path: str, default: str) -> None:
    target = parse(text)
    assert target == Target(kind, name)
    assert (str(target), target.pid, target.path, target.default_name) == (text, pid, path, default)


@pytest.mark.parametrize("text", ["web", "0123456789ab", "a/b", ""])
def test_what_has_no_colon_is_a_container(text: str) -> None:
    assert parse(text) is None


HOSTILE = ["../x", "a/b", "a\nb", "a\0b", "-x", "--help", "$(id)", "a b", "a;b", "x" * 300, "", ".", "..", "é"]


@pytest.mark.parametrize("kind", ["netns", "docker", "podman", "pid", "lxc", "", "PID"])
@pytest.mark.parametrize("name", HOSTILE)
def test_sec_22_hostile_names_are_refused(kind: str, name: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(f"{kind}:{name}")
    assert caught.value.hint


@pytest.mark.parametrize(
    "path", ["/", "/a//b", "/a/../b", "/a/./b", "/a/", "/a\nb", "/a\0b", "/a\x7f", "/" + "x" * 5000]
)
def test_sec_22_hostile_paths_are_refused(path: str) -> None:
    with pytest.raises(Invalid):
        parse(f"netns:{path}")


@pytest.mark.parametrize("pid", ["0", "-1", "+1", "01", "1e3", "4194305", "99999999", "\u0661", " 1"])
def test_process_ids_are_plain_numbers_that_linux_gives(pid: str) -> None:
    with pytest.raises(Invalid):
        parse(f"pid:{pid}")
