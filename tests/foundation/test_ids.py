"""Identifiers are ordered by time, prefixed at the doors, and derived ones are always the same."""

from __future__ import annotations

import re
import uuid

import pytest

from kessai.foundation.errors import Invalid
from kessai.foundation.ids import ID_PATTERN, bare, derived_hex, new_hex, new_id, require_id


def test_fresh_ids_are_ordered_by_time() -> None:
    made = [new_hex() for _ in range(1000)]
    assert made == sorted(made)
    assert len(set(made)) == 1000
    assert uuid.UUID(made[0]).version == 7


def test_an_id_has_its_prefix_and_form() -> None:
    made = new_id("chg")
    assert re.match(ID_PATTERN, made)
    assert require_id(made, "chg", "charge_id") == made
    assert uuid.UUID(bare(made)).version == 7


@pytest.mark.parametrize(
    "text", ["", "chg_", "chg_" + "g" * 32, "acc_" + "0" * 32, "chg_" + "0" * 31, "chg_" + "A" * 32]
)
def test_malformed_id_is_refused_naming_the_field(text: str) -> None:
    with pytest.raises(Invalid, match="malformed_id: charge_id must look like chg_"):
        require_id(text, "chg", "charge_id")


def test_derived_id_depends_on_every_part_and_its_place() -> None:
    assert derived_hex("a", "b") == derived_hex("a", "b")
    assert len({derived_hex("a", "b"), derived_hex("b", "a"), derived_hex("ab"), derived_hex("a", "b", "")}) == 4
    assert uuid.UUID(derived_hex("a")).version == 8
