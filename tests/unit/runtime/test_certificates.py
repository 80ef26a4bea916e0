"""Certificates in a directory: what is read, and what is refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.kernel.http_mesh.certificates import pem

from fairlead.model.errors import Invalid, NotFound
from fairlead.runtime.certificates import read


def split(text: str) -> tuple[str, str]:
    chain, mark, key = text.partition("-----BEGIN PRIVATE KEY-----")
    return chain, mark + key


def test_both_in_one_file_or_side_by_side(tmp_path: Path) -> None:
    one, two = pem("one.example"), pem("two.example")
    chain, key = split(two)
    (tmp_path / "one.pem").write_text(one)
    (tmp_path / "two.crt").write_text(chain)
    (tmp_path / "two.key").write_text(key)
    (tmp_path / "README").write_text("nothing")
    (tmp_path / "sub.pem").mkdir()
    assert dict(read(str(tmp_path))) == {"one.pem": one, "two.pem": chain.rstrip() + "\n" + key}


def test_an_empty_directory_has_none(tmp_path: Path) -> None:
    assert read(str(tmp_path)) == ()


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="cannot read"):
        read(str(tmp_path / "none"))


def test_everything_that_is_wrong_is_named(tmp_path: Path) -> None:
    chain, _ = split(pem("a.example"))
    _, other = split(pem("b.example"))
    (tmp_path / "good.pem").write_text(pem("good.example"))
    (tmp_path / "alone.crt").write_text(chain)
    (tmp_path / "strange.crt").write_text(chain)
    (tmp_path / "strange.key").write_text(other)
    (tmp_path / "nothing.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
    (tmp_path / "two words.pem").write_text(pem("c.example"))
    (tmp_path / "huge.pem").write_text("x" * (1 << 20))
    with pytest.raises(Invalid) as caught:
        read(str(tmp_path))
    for said in (
        "alone.crt: it has no private key, and there is no alone.key",
        "strange.crt: certificate and key do not fit",
        "nothing.pem: certificate and key do not fit or cannot be read",
        "two words.pem: its name has other characters",
        "huge.pem: huge.pem is larger than",
    ):
        assert said in caught.value.message
    assert "good" not in caught.value.message
