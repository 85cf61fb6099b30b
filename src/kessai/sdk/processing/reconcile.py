"""Comparing a caller's claims with a callee's own record, both ways. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import msgspec

from kessai.sdk.processing.api import Difference, DifferenceKind, EffectRecord

COMPARED = ("kind", "party", "account", "asset", "amount_minor", "captured_minor", "returned_minor", "state")
"""Fields of a record on which both sides must agree; an `account` that is None is not known on that side."""

_encode = msgspec.json.Encoder(order="deterministic").encode


def reconcile(dependency: str, claims: Sequence[EffectRecord], theirs: Sequence[EffectRecord]) -> list[Difference]:
    """Every effect on which the two sides do not agree: empty when the dependency did just what was claimed.

    A record that appears twice on one side is a difference too (its second has no partner).
    """
    found: list[Difference] = []
    left = _by_name(theirs)
    for mine in claims:
        partners = left.get((mine.effect_id, mine.part))
        if not partners:
            found.append(_difference(dependency, DifferenceKind.MISSING_AT_CALLEE, mine=mine))
            continue
        other = partners.pop()
        if fields := differing(mine, other):
            found.append(_difference(dependency, DifferenceKind.DIFFERS, mine=mine, theirs=other, fields=fields))
    for partners in left.values():
        found.extend(_difference(dependency, DifferenceKind.MISSING_AT_CALLER, theirs=each) for each in partners)
    return found


def differing(mine: EffectRecord, theirs: EffectRecord) -> list[str]:
    """The names of the fields on which two records of one effect do not agree."""
    return [name for name in COMPARED if _disagree(getattr(mine, name), getattr(theirs, name))]


def digest_of(effects: Iterable[EffectRecord]) -> str:
    """SHA-256, in hex, of effects in canonical form, a line each, in order of the lines' bytes.

    A line is JSON in UTF-8 without blanks: every field of the message in the order of its number, null where absent.
    """
    lines = sorted(_encode(each) for each in effects)
    return hashlib.sha256(b"\n".join(lines)).hexdigest()


def _disagree(mine: object, theirs: object) -> bool:
    return mine != theirs and mine is not None and theirs is not None


def _by_name(records: Iterable[EffectRecord]) -> dict[tuple[str, str], list[EffectRecord]]:
    named: dict[tuple[str, str], list[EffectRecord]] = {}
    for each in records:
        named.setdefault((each.effect_id, each.part), []).append(each)
    return named


def _difference(
    dependency: str,
    kind: DifferenceKind,
    *,
    mine: EffectRecord | None = None,
    theirs: EffectRecord | None = None,
    fields: Sequence[str] = (),
) -> Difference:
    named = mine or theirs
    assert named is not None
    return Difference(
        dependency=dependency,
        kind=kind,
        effect_id=named.effect_id,
        part=named.part,
        fields=list(fields),
        mine=mine,
        theirs=theirs,
    )
