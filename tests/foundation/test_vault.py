"""The vault: what is sealed is read back by whoever has the key, in its own place, and by nobody else."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kessai.foundation.errors import OperatorError, Unavailable
from kessai.foundation.vault import Vault, VaultSealBroken, new_vault_key, read_vault_keys, vault_keys_in

OLD, NEW = new_vault_key(), new_vault_key()


def _vault(*keys: str) -> Vault:
    return Vault(read_vault_keys(",".join(keys)))


@given(st.text(), st.text())
def test_what_is_sealed_is_read_back_in_its_own_place(text: str, context: str) -> None:
    vault = _vault(NEW)
    assert vault.open(vault.seal(text, context=context), context=context) == text


def test_the_same_text_is_sealed_differently_each_time() -> None:
    vault = _vault(NEW)
    assert vault.seal("ﾔﾏﾀﾞ", context="a") != vault.seal("ﾔﾏﾀﾞ", context="a")


def test_a_sealed_value_does_not_open_elsewhere() -> None:
    vault = _vault(NEW)
    with pytest.raises(VaultSealBroken):
        vault.open(vault.seal("1234567", context="row 1"), context="row 2")


def test_every_changed_byte_is_noticed() -> None:
    vault = _vault(NEW)
    sealed = vault.seal("1234567", context="a")
    for place in range(len(sealed)):
        forged = sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]
        with pytest.raises(VaultSealBroken):
            vault.open(forged, context="a")
    for length in range(len(sealed)):
        with pytest.raises(VaultSealBroken):
            vault.open(sealed[:length], context="a")


def test_after_rotation_old_values_open_and_new_ones_are_under_the_new_key() -> None:
    before, during, after = _vault(OLD), _vault(NEW, OLD), _vault(NEW)
    sealed = before.seal("1234567", context="a")
    assert during.open(sealed, context="a") == "1234567"
    assert not during.is_current(sealed)
    again = during.seal("1234567", context="a")
    assert during.is_current(again)
    assert after.open(again, context="a") == "1234567"
    with pytest.raises(VaultSealBroken):
        after.open(sealed, context="a")


def test_equal_texts_are_found_by_fingerprint_also_during_a_rotation() -> None:
    before, during = _vault(OLD), _vault(NEW, OLD)
    stored = before.fingerprints("1234567", context="a")[0]
    assert stored in during.fingerprints("1234567", context="a")
    assert stored not in during.fingerprints("1234568", context="a")
    assert stored not in during.fingerprints("1234567", context="b")


def test_without_a_key_nothing_is_sealed() -> None:
    with pytest.raises(Unavailable, match="vault_not_configured"):
        _vault().seal("1234567", context="a")


@pytest.mark.parametrize(
    "text", ["x", "c2hvcnQ=", NEW + "A", NEW[:-4], "ほげ"], ids=["short", "few-bytes", "too-long", "cut", "not-ascii"]
)
def test_a_wrong_key_is_an_operators_error_that_does_not_show_it(text: str) -> None:
    with pytest.raises(OperatorError) as caught:
        read_vault_keys(text)
    assert text not in str(caught.value)


def test_a_key_does_not_show_in_its_own_text() -> None:
    (key,) = read_vault_keys(NEW)
    assert key.secret.hex() not in repr(key)
    assert str(key.secret) not in repr(key)


def test_a_folders_key_is_made_once_and_is_the_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(vault_keys_in, [folder] * 32))
    assert len(found) == 1
    assert len(read_vault_keys(found.pop())) == 1
    assert stat.S_IMODE((folder / "vault.keys").stat().st_mode) == 0o600
    assert [each.name for each in folder.iterdir()] == ["vault.keys"]
