"""Findings of reconciliations: how they open, stay explained, close by themselves, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from kessai.foundation.config import ConfigError, TomlDocument
from kessai.foundation.errors import Refused
from kessai.services.books.api.reconciling import (
    DifferenceKind,
    DifferenceState,
    ReconciliationFindingState,
    ReconciliationName,
)
from kessai.services.books.domain.reconciling import (
    BOOKS,
    Case,
    Difference,
    Step,
    closed,
    explained,
    finding_hex,
    read_reconciling,
    seen,
    unseen,
)

NOW = datetime(2026, 4, 1, tzinfo=UTC)
RUN = "0" * 32
S = ReconciliationFindingState
LEDGER = ReconciliationName.LEDGER
MISSING = Difference(
    kind=DifferenceKind.MISSING,
    state=DifferenceState.OPEN,
    subject="exc_1/funds",
    asset="JPY",
    theirs=500,
    ours=0,
    at=NOW,
    text="the ledger has +500, booked is nothing",
)


def first(found: Difference = MISSING) -> Case:
    step = seen(None, LEDGER, found, RUN, NOW)
    assert step is not None
    return step.case


def by_hand(case: Case) -> Step:
    return explained(case, by="key_1", reason="The feed was switched off.", now=NOW)


def test_a_difference_opens_a_finding_that_is_named_by_what_it_is_about() -> None:
    case = first()
    assert (case.state, case.version, case.finding_id) == (S.OPEN, 1, finding_hex(LEDGER, MISSING))
    assert finding_hex(LEDGER, replace(MISSING, ours=400)) == case.finding_id
    assert finding_hex(ReconciliationName.STATUTORY, MISSING) != case.finding_id


def test_a_difference_whose_event_stands_unposted_is_explained_at_once() -> None:
    case = first(replace(MISSING, state=DifferenceState.EXPLAINED))
    assert case.state is S.EXPLAINED
    again = seen(case, LEDGER, MISSING, RUN, NOW)
    assert again is None


def test_what_was_explained_stays_so_only_while_it_stays_what_it_is() -> None:
    case = by_hand(first()).case
    assert seen(case, LEDGER, MISSING, RUN, NOW) is None
    step = seen(case, LEDGER, replace(MISSING, theirs=900), RUN, NOW)
    assert step is not None
    assert (step.case.state, step.case.version, step.by) == (S.OPEN, 3, BOOKS)


def test_what_is_not_seen_any_more_closes_by_itself_and_opens_when_it_is_seen_again() -> None:
    step = unseen(first(), RUN, NOW)
    assert (step.case.state, step.by) == (S.CLOSED, BOOKS)
    again = seen(step.case, LEDGER, MISSING, RUN, NOW)
    assert again is not None
    assert (again.case.state, again.case.version) == (S.OPEN, 3)


def test_a_finding_closed_by_hand_opens_again_while_its_difference_is_there() -> None:
    step = closed(first(), by="key_1", reason="Not mine.", now=NOW)
    again = seen(step.case, LEDGER, MISSING, RUN, NOW)
    assert again is not None
    assert again.case.state is S.OPEN


@pytest.mark.parametrize("move", [explained, closed])
def test_a_closed_finding_is_not_worked_on(move: object) -> None:
    case = closed(first(), by="key_1", reason="Done.", now=NOW).case
    with pytest.raises(Refused) as refusal:
        (explained if move is explained else closed)(case, by="key_1", reason="Again.", now=NOW)
    assert refusal.value.code == "finding_closed"


def test_every_reconciliation_has_a_tolerance() -> None:
    rules = read_reconciling()
    assert all(rules.tolerance(name) > timedelta(0) for name in ReconciliationName)
    with pytest.raises(ConfigError):
        read_reconciling(TomlDocument("[tolerance_s]\nledger = 60\n", "reconciliation.toml"))
