"""What is carried from a manager to a node that comes in, and what is not let in by it."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.pki.world import AT, World

from fairlead.model import codes
from fairlead.model.cluster import MANAGER, WORKER
from fairlead.model.errors import Forbidden, Invalid, NetError
from fairlead.pki.authority import join_root, new_authority
from fairlead.pki.ids import base36, is_cluster_id, new_cluster_id
from fairlead.pki.tokens import JoinToken, new_token, new_unlock_key, parse_unlock_key, role_for

WORLD, OTHER = World(1), World(2)
ROOT, OTHER_ROOT = join_root(WORLD.authority), join_root(OTHER.authority)
WORKER_TOKEN, MANAGER_TOKEN = (new_token(ROOT, WORLD.chance) for _ in range(2))


class Ones:
    """Draws the largest number there is."""

    def getrandbits(self, k: int, /) -> int:
        return (1 << k) - 1


class Noughts:
    """Draws the smallest number there is."""

    def getrandbits(self, _k: int, /) -> int:
        return 0


@pytest.mark.parametrize("chance", [Ones(), Noughts(), random.Random(3)])
def test_ids_and_tokens_always_have_their_length(chance: random.Random) -> None:
    assert is_cluster_id(new_cluster_id(chance))
    assert re.fullmatch(r"SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}", new_token(ROOT, chance))
    assert len(parse_unlock_key(new_unlock_key(chance))) == 32


@given(st.integers(0, 2**256 - 1), st.integers(0, 60))
def test_base_36_is_what_python_reads(number: int, width: int) -> None:
    text = base36(number, width)
    assert int(text or "0", 36) == number
    assert len(text) >= width


@pytest.mark.parametrize("text", ["", "A" * 25, "a" * 24, "a" * 26, "a" * 25 + "\n", "a" * 24 + "-", "ä" * 25])
def test_what_is_no_id_is_told(text: str) -> None:
    assert not is_cluster_id(text)


def test_both_tokens_have_the_same_digest_and_other_secrets() -> None:
    worker, manager = JoinToken.parse(WORKER_TOKEN), JoinToken.parse(f" {MANAGER_TOKEN}\n")
    assert worker.digest == manager.digest
    assert worker.secret != manager.secret


def test_a_token_says_what_its_bearer_becomes() -> None:
    assert role_for(WORKER_TOKEN, WORKER_TOKEN, MANAGER_TOKEN) == WORKER
    assert role_for(MANAGER_TOKEN, WORKER_TOKEN, MANAGER_TOKEN) == MANAGER
    assert role_for(WORKER_TOKEN + "\n", WORKER_TOKEN, MANAGER_TOKEN) == WORKER


def test_a_token_that_was_rotated_away_is_refused() -> None:
    fresh = new_token(ROOT, WORLD.chance)
    for old in (WORKER_TOKEN, new_token(OTHER_ROOT, WORLD.chance)):
        with pytest.raises(Forbidden, match="A valid join token is necessary to join this cluster") as caught:
            role_for(old, fresh, MANAGER_TOKEN)
        assert caught.value.code == codes.TOKEN_REFUSED


NOT_TOKENS = [
    "",
    "SWMTKN",
    WORKER_TOKEN[:-1],
    WORKER_TOKEN + "a",
    WORKER_TOKEN.upper(),
    WORKER_TOKEN.replace("SWMTKN-1", "SWMTKN-2"),
    WORKER_TOKEN.replace("-1-", "-1-0-"),
    WORKER_TOKEN.rpartition("-")[0],
    WORKER_TOKEN + "\0",
    WORKER_TOKEN[:-1] + "é",
    "\udcff" * 85,
]


@pytest.mark.parametrize("text", NOT_TOKENS)
def test_what_is_no_token_is_said_to_be_none_and_not_repeated(text: str) -> None:
    for call in (lambda: JoinToken.parse(text), lambda: role_for(text, WORKER_TOKEN, MANAGER_TOKEN)):
        with pytest.raises(Invalid, match="invalid join token") as caught:
            call()
        assert caught.value.code == codes.TOKEN_INVALID
        assert JoinToken.parse(WORKER_TOKEN).secret[:10] not in caught.value.message + caught.value.hint


def test_an_empty_token_never_opens_a_cluster_that_has_none() -> None:
    with pytest.raises(Invalid):
        role_for("", "", "")


def test_the_downloaded_root_must_be_the_one_of_the_token() -> None:
    token = JoinToken.parse(WORKER_TOKEN)
    token.check_root(ROOT)
    token.check_root(ROOT.replace("\n", "\r\n"))
    same_name = new_authority(random.Random(4), AT).certificate
    for other in (OTHER_ROOT, same_name, ROOT + OTHER_ROOT, OTHER_ROOT + ROOT):
        with pytest.raises(Forbidden, match="remote CA does not match fingerprint") as caught:
            token.check_root(other)
        assert caught.value.code == codes.AUTHORITY_MISMATCH


@pytest.mark.parametrize("damaged", ["", "hello", ROOT[:-40], ROOT[:200], ROOT.replace("MII", "MIJ"), ROOT * 40, "\0"])
def test_a_damaged_root_is_refused(damaged: str) -> None:
    with pytest.raises(NetError) as caught:
        JoinToken.parse(WORKER_TOKEN).check_root(damaged)
    assert caught.value.code in {codes.CERTIFICATE_INVALID, codes.AUTHORITY_MISMATCH}


def test_a_secret_is_in_no_representation() -> None:
    token = JoinToken.parse(WORKER_TOKEN)
    assert token.secret not in repr(token)
    assert token.secret not in str(token)


def test_an_unlock_key_comes_back_as_it_was() -> None:
    key = new_unlock_key(random.Random(5))
    assert re.fullmatch(r"SWMKEY-1-[A-Za-z0-9+/]{43}", key)
    assert parse_unlock_key(f"{key}\n") == parse_unlock_key(key)
    assert parse_unlock_key(key) != parse_unlock_key(new_unlock_key(random.Random(6)))


@pytest.mark.parametrize("change", ["", "x", "SWMKEY-1-", "-1", "+1", "prefix", "SWMKEY-2-", "ä", "\udc80"])
def test_what_is_no_unlock_key_is_refused_in_dockers_words(change: str) -> None:
    key = new_unlock_key(random.Random(7))
    text = {
        "-1": key[:-1],
        "+1": key + "A",
        "prefix": key.removeprefix("SWMKEY-1-"),
        "SWMKEY-2-": key.replace("-1-", "-2-"),
    }.get(change, change)
    with pytest.raises(Invalid, match="swarm could not be unlocked: invalid key provided") as caught:
        parse_unlock_key(text)
    assert caught.value.code == codes.UNLOCK_KEY_INVALID
    assert key[12:40] not in caught.value.message + caught.value.hint
