"""What ``-v`` and ``--mount`` mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.model.errors import Invalid
from fairlead.model.mount import Mount, check_mount, check_target, check_unique, parse_volume


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/a:/b", Mount("bind", "/b", "/a", make_source=True)),
        ("/a:/b/:rw", Mount("bind", "/b", "/a", mode="rw", make_source=True)),
        ("/a:/b:ro", Mount("bind", "/b", "/a", read_only=True, mode="ro", make_source=True)),
        ("/a:/b:z,rslave", Mount("bind", "/b", "/a", mode="z,rslave", propagation="rslave", make_source=True)),
        ("data:/b", Mount("volume", "/b", "data")),
        ("data:/b:nocopy,ro", Mount("volume", "/b", "data", read_only=True, mode="nocopy,ro", copy=False)),
    ],
)
def test_volume_is_parsed(text: str, expected: Mount) -> None:
    assert parse_volume(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "/a", "/a:", ":/b", "./a:/b", "/a:b", "/a:/b:q", "/a:/", "/a:/b:ro:x", "/a:/x/../..", "-a:/b", "a:/b:rslave"],
)
def test_bad_volume_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse_volume(text)


@given(st.text(max_size=60))
def test_any_volume_is_parsed_or_refused(text: str) -> None:
    try:
        mount = parse_volume(text)
    except Invalid:
        return
    assert mount.target.startswith("/")
    assert ".." not in mount.target.split("/")
    assert mount.source.startswith("/") == (mount.kind == "bind")


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        (Mount("bind", "/b"), "Source must not be empty"),
        (Mount("bind", "/b", "a"), "mount path must be absolute"),
        (Mount("bind", "/b", "/a", propagation="sideways"), "invalid propagation"),
        (Mount("tmpfs", "/b", "/a"), "Source must not be specified"),
        (Mount("tmpfs", "/b", options=("size=64m,upperdir=/",)), "invalid tmpfs option"),
        (Mount("npipe", "/b"), "mount type unknown"),
        (Mount("volume", "b"), "must be absolute"),
    ],
)
def test_bad_mount_is_refused_with_dockers_words(mount: Mount, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        check_mount(mount)


def test_good_mounts_are_normalised() -> None:
    assert check_mount(Mount("tmpfs", "/b//c/", options=("size=64m", "mode=1777"))).target == "/b/c"
    assert check_target("/a/./b") == "/a/b"


def test_two_mounts_at_one_place_are_refused() -> None:
    with pytest.raises(Invalid, match="Duplicate mount point: /b"):
        check_unique((Mount("tmpfs", "/b"), Mount("volume", "/b", "data")))
