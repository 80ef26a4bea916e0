"""What is sealed is read with its key under its name, or not at all."""

from __future__ import annotations

import base64
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.model import codes
from fairlead.model.errors import Forbidden, Internal, NetError, Unavailable
from fairlead.pki.keys import new_key
from fairlead.pki.sealing import Vault, is_sealed_pem, open_vault, seal, seal_pem, unseal, unseal_pem

KEY, OTHER = bytes(range(32)), bytes(32)
PEM = new_key(random.Random(1))
SEALED = seal(KEY, "name", b"secret", random.Random(2))
SEALED_PEM = seal_pem(KEY, PEM, random.Random(3))


@given(st.binary(max_size=300), st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_what_is_sealed_comes_back(plain: bytes, name: str) -> None:
    sealed = seal(KEY, name, plain, random.Random(1))
    assert unseal(KEY, name, sealed) == plain
    assert len(plain) < 4 or plain not in sealed


def test_the_same_twice_looks_different() -> None:
    chance = random.Random(1)
    assert seal(KEY, "name", b"x", chance) != seal(KEY, "name", b"x", chance)


def test_another_key_or_name_opens_nothing() -> None:
    for key, name in ((OTHER, "name"), (KEY, "other"), (KEY, "")):
        with pytest.raises(Forbidden):
            unseal(key, name, SEALED)


@pytest.mark.parametrize("place", range(len(SEALED)))
def test_what_is_damaged_or_cut_off_anywhere_is_refused(place: int) -> None:
    damaged = bytearray(SEALED)
    damaged[place] ^= 1
    for sealed in (bytes(damaged), SEALED[:place], SEALED + SEALED[place:]):
        with pytest.raises(Forbidden):
            unseal(KEY, "name", sealed)


def test_a_sealed_private_key_is_text_that_shows_nothing() -> None:
    assert is_sealed_pem(SEALED_PEM)
    assert not is_sealed_pem(PEM)
    assert unseal_pem(KEY, SEALED_PEM) == PEM
    assert unseal_pem(KEY, f"\n{SEALED_PEM}\n") == PEM
    assert not any(line in SEALED_PEM for line in PEM.splitlines())
    assert max(map(len, SEALED_PEM.splitlines())) <= 64


def test_the_wrong_unlock_key_is_told_in_dockers_words() -> None:
    with pytest.raises(Forbidden, match="swarm could not be unlocked: invalid key provided") as caught:
        unseal_pem(OTHER, SEALED_PEM)
    assert caught.value.code == codes.UNLOCK_KEY_INVALID


@given(st.integers(0, len(SEALED_PEM.strip()) - 1))
def test_a_private_key_that_is_cut_off_is_damaged_and_not_wrongly_unlocked(left: int) -> None:
    with pytest.raises(Internal, match="damaged"):
        unseal_pem(KEY, SEALED_PEM.strip()[:left])


@pytest.mark.parametrize("text", [PEM, "", SEALED_PEM.replace("\n", "\nä", 1), "\udcff"])
def test_what_is_no_sealed_private_key_is_said_to_be_damaged(text: str) -> None:
    with pytest.raises(Internal, match="damaged"):
        unseal_pem(KEY, text)


def test_a_vault_opens_again_with_its_unlock_key_only() -> None:
    chance = random.Random(4)
    clear, locked = Vault.new(chance), Vault.new(chance, KEY)
    assert (clear.is_locked, locked.is_locked) == (False, True)
    for vault, key in ((clear, None), (clear, OTHER), (locked, KEY)):
        again = Vault.opened(vault.kept, chance, key)
        assert again.unseal("name", vault.seal("name", b"secret")) == b"secret"
        assert again.kept == vault.kept
    with pytest.raises(Unavailable) as missing:
        Vault.opened(locked.kept, chance)
    with pytest.raises(Forbidden) as wrong:
        Vault.opened(locked.kept, chance, OTHER)
    assert (missing.value.code, wrong.value.code) == (codes.SWARM_LOCKED, codes.UNLOCK_KEY_INVALID)


def test_each_new_vault_has_another_key() -> None:
    chance = random.Random(5)
    vault = Vault.new(chance, KEY)
    for other in (Vault.new(chance, KEY), Vault.new(chance)):
        with pytest.raises(Internal, match="record name is damaged"):
            other.unseal("name", vault.seal("name", b"secret"))


def test_a_locked_vault_does_not_show_its_key_and_no_vault_does_in_words() -> None:
    chance = random.Random(7)
    locked, key = Vault.new(chance, KEY), random.Random(7).randbytes(32)
    drawn = random.Random(7).getrandbits(256).to_bytes(32, "big")
    assert Vault.opened(Vault.new(random.Random(7)).kept, chance).seal("n", b"").startswith(b"\x01")
    assert base64.b64encode(drawn) in Vault.new(random.Random(7)).kept
    for secret in (drawn, drawn.hex().encode(), base64.b64encode(drawn)):
        assert secret not in locked.kept
        assert secret not in repr(locked).encode()
    assert key not in locked.kept


@pytest.mark.parametrize(
    "kept", [b"", b"clear:", b"clear:AAAA", b"locked:", b"locked:!", b"CLEAR:" + b"A" * 44, b"\xff\xfe", b"A" * 44]
)
@pytest.mark.parametrize("unlock_key", [None, KEY])
def test_a_damaged_data_key_is_refused(kept: bytes, unlock_key: bytes | None) -> None:
    with pytest.raises(NetError) as caught:
        Vault.opened(kept, random.Random(1), unlock_key)
    assert caught.value.code == codes.STORE_FAILED


def test_a_new_store_gets_a_new_vault_and_an_old_one_its_own() -> None:
    first = open_vault(random.Random(8), KEY)(None)
    assert first.is_locked
    assert open_vault(random.Random(9), KEY)(first.kept).unseal("n", first.seal("n", b"x")) == b"x"
    with pytest.raises(Unavailable):
        open_vault(random.Random(9))(first.kept)
