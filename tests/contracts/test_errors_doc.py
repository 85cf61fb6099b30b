"""docs/errors.md says what every code means that a caller can meet, and nothing that no caller can."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from kessai.apps.errors_doc import FAMILIES, errors_text, meanings, verbs_by_code

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "kessai"
INTERNAL = {"conflicted", "payment_crowded", "payment_cut_off", "payment_slow", "vault_seal_broken"}
"""What is caught or logged on the way, and never told."""


def raised() -> Iterator[tuple[str, str]]:
    """Family and code of every refusal that the platform's own code spells out."""
    for room in ("foundation", "services"):
        for path in sorted((SOURCE / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                match node:
                    case ast.Call(
                        func=ast.Name(id=family) | ast.Attribute(attr=family), args=[ast.Constant(value=str(code)), *_]
                    ) if family in FAMILIES:
                        yield family, code
                    case _:
                        pass


def test_the_page_is_what_the_doors_and_the_meanings_say() -> None:
    assert (ROOT / "docs" / "errors.md").read_text(encoding="utf-8") == errors_text(), "run: make contracts"


def test_every_code_of_a_door_has_one_meaning_in_one_family() -> None:
    codes = [code for family in meanings().values() for code in family]
    assert sorted(set(codes)) == sorted(codes)
    assert set(verbs_by_code()) - set(codes) == set()
    assert set(meanings()) <= set(FAMILIES)


def test_every_code_that_is_raised_is_told_under_its_family() -> None:
    found = {(family, code) for family, code in raised() if code not in INTERNAL}
    told = {(family, code) for family, codes in meanings().items() for code in codes}
    assert len(found) > 100
    assert found - told == set()


def test_no_meaning_is_of_a_code_that_is_nowhere() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    composed = set(verbs_by_code())
    codes = {code for family in meanings().values() for code in family}
    assert {code for code in codes - composed if f'"{code}"' not in text} == set()
