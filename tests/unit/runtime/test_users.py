"""Docker's ``user[:group]`` against the account files of an image."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairlead.model.errors import Invalid
from fairlead.runtime.users import ID_MAX, Identity, identity, read_accounts

PASSWD = "root:x:0:0:root:/root:/bin/sh\nfive:x:5:50::/home/five:\nbroken:x\n7:x:8:9::/seven:\n"
GROUP = "root:x:0:\nfives:x:50:\nextra:x:60:five,other\nmore:x:61:five\n"


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", Identity(0, 0, (), "/root")),
        ("root", Identity(0, 0, (), "/root")),
        ("five", Identity(5, 50, (60, 61), "/home/five")),
        ("5", Identity(5, 50, (60, 61), "/home/five")),
        ("five:extra", Identity(5, 60, (), "/home/five")),
        ("five:99", Identity(5, 99, (), "/home/five")),
        ("1234", Identity(1234, 0, (), "/")),
        ("1234:fives", Identity(1234, 50, (), "/")),
        ("7", Identity(8, 9, (), "/seven")),
    ],
)
def test_user_is_resolved_as_docker_does(user: str, expected: Identity) -> None:
    assert identity(user, PASSWD, GROUP) == expected


def test_root_needs_no_files() -> None:
    assert identity("", "", "") == Identity(0, 0, (), "/root")


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ("nobody-here", "unable to find user nobody-here: no matching entries in passwd file"),
        ("five:none", "unable to find group none: no matching entries in group file"),
        (str(ID_MAX + 1), "uids and gids must be in range"),
        ("99999999999999999999", "uids and gids must be in range"),
        ("5:99999999999", "uids and gids must be in range"),
    ],
)
def test_unknown_user_is_told_in_dockers_words(user: str, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        identity(user, PASSWD, GROUP)


def test_account_file_is_never_read_from_outside_the_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (tmp_path / "secret").write_text("outside")
    (root / "etc/passwd").symlink_to("../../secret")
    (root / "etc/group").symlink_to("/real")
    (root / "real").write_text("inside")
    assert read_accounts(root, "/etc/passwd") == ""
    assert read_accounts(root, "/etc/group") == "inside"


def test_account_file_that_is_no_file_is_empty(tmp_path: Path) -> None:
    (tmp_path / "etc/passwd").mkdir(parents=True)
    assert read_accounts(tmp_path, "/etc/passwd") == ""
    assert read_accounts(tmp_path, "/etc/group") == ""
