"""What becomes of a line of a clearing file, and of the authorization that it claims. Pure.

A line is decided once, together with what bears it: the decision, the change of the authorization and the finding are
one flush. The payment service is asked afterwards; what the row's `work` says is done by whoever wrote it, or the
repairer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from kessai.services.nfc.api.authorizations import AuthorizationKind, AuthorizationState
from kessai.services.nfc.api.clearing import LineKind, LineOutcome
from kessai.services.nfc.domain.authorization import Authorization, Work
from kessai.services.nfc.domain.clearing import ClearingPage, FoundThing, Line, Sale, forced_id_of, missed_id_of
from kessai.services.nfc.domain.clearing_terms import Matching
from kessai.services.nfc.domain.forcing import Forced, forced_row
from kessai.services.nfc.domain.page import Page, release

S, K, L = AuthorizationState, AuthorizationKind, LineOutcome
_LATE = "91"
_GOOD = (L.MATCHED, L.LOWER, L.REFUNDED, L.REVERSED)
"""Outcomes that nobody has to look at."""
_FIRST = {S.APPROVED: 0, S.EXPIRED: 1, S.CLEARED: 2}
"""Of several authorizations under one RRN, a line claims the one that stands first."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A line is to be decided."""

    line: Line
    matching: Matching
    processing_id: str
    """Of what may have to be charged by force."""
    now: datetime
    real_now: datetime

    @property
    def authorization_id(self) -> str:
        """The row that it may make; those that it may claim are found when it is decided."""
        return forced_id_of(self.line.reference)


@dataclass(frozen=True, slots=True)
class _Decided:
    outcome: LineOutcome
    moved_minor: int = 0
    row: Authorization | None = None
    """What bears it, or would have."""
    touched: tuple[str, ...] = ()


def claim(page: Page, command: Claim) -> Line:
    """Decide a line, unless it was; gives it as it is then."""
    clearing = page.clearing
    assert clearing is not None, "lines are decided on a page that knows clearing's rows"
    line = clearing.lines[command.line.place]
    if line.outcome is not None:
        return line
    match line.kind:
        case LineKind.SALE:
            decided = _sale(page, clearing, command, line)
        case LineKind.REFUND:
            decided = _refund(page, clearing, command, line)
        case LineKind.REVERSAL:
            decided = _reversal(page, clearing, command, line)
    row = decided.row
    after = replace(
        line,
        outcome=decided.outcome,
        moved_minor=decided.moved_minor,
        authorization_id=None if row is None else row.authorization_id,
        decided_at=command.now,
        touched=decided.touched,
    )
    clearing.lines[line.place] = after
    clearing.decided.append(after)
    if decided.outcome not in _GOOD:
        clearing.found.append(_finding(clearing, after, row))
    return after


def _finding(clearing: ClearingPage, line: Line, row: Authorization | None) -> FoundThing:
    assert line.outcome is not None
    card = clearing.cards.get(line.card)
    return FoundThing(
        kind=line.outcome.value,
        about=line.named,
        day=line.processed_on,
        file_id=line.file_id,
        line=line.line,
        authorization_id=line.authorization_id,
        customer_id=row.customer_id if row is not None else None if card is None else card.customer_id,
        ours_minor=line.moved_minor if line.outcome is not L.HIGHER or row is None else row.stands_minor,
        theirs_minor=line.amount_minor,
        detail=f"{line.kind.name.lower()} of card {line.card}, RRN {line.rrn}, acquirer reference {line.reference}",
    )


# -- sales ----------------------------------------------------------------------------------------------------------


def _sale(page: Page, clearing: ClearingPage, command: Claim, line: Line) -> _Decided:
    known = clearing.sales.get(line.reference)
    if known is not None:
        return _Decided(L.DUPLICATE, row=page.rows.get(known.borne_by[0]))
    row = _candidate(page, clearing, line, K.PURCHASE, K.ADVICE, K.TOMBSTONE)
    if (wrong := _wrong(clearing, command, line, row)) is not None:
        return _Decided(wrong, row=row)
    if row is None:
        return _forced(page, clearing, command, line, L.UNAUTHORIZED, None)
    if row.state is S.APPROVED and row.plan is None:
        return _forced(page, clearing, command, line, L.UNAUTHORIZED, row)
    if row.state is S.APPROVED:
        return _claimed(page, clearing, command, line, row)
    if row.state is S.EXPIRED:
        return _forced(page, clearing, command, line, L.EXPIRED, row)
    if row.state is S.CLEARED:
        return _Decided(L.CLEARED_BEFORE, row=row)
    if row.state in (S.REVERSED, S.REVERSING) and (
        row.response != _LATE or row.authorization_id in clearing.taken_back
    ):
        return _Decided(L.REVERSED_BEFORE, row=row)
    return _forced(page, clearing, command, line, L.NOT_APPROVED, row)


def _claimed(page: Page, clearing: ClearingPage, command: Claim, line: Line, row: Authorization) -> _Decided:
    """Captured for what stands of it at most; what the line says beyond that is charged by force."""
    stood = row.stands_minor
    captured = min(line.amount_minor, stood)
    if captured < stood:
        release(page, row, stood - captured, whole=False)
    work = row.work or Work.CAPTURE  # what is still to be charged is captured after that
    row = page.put(
        replace(row, state=S.CLEARED, stands_minor=captured, work=work, work_since=row.work_since or command.real_now),
        command.now,
    )
    borne_by = [row.authorization_id]
    if line.amount_minor > captured:
        borne_by.append(_force(page, command, line, line.amount_minor - captured, row).authorization_id)
    _sell(clearing, line, borne_by)
    if line.amount_minor == stood:
        return _Decided(L.MATCHED, line.amount_minor, row, tuple(borne_by))
    return _Decided(L.LOWER if line.amount_minor < stood else L.HIGHER, line.amount_minor, row, tuple(borne_by))


def _forced(
    page: Page, clearing: ClearingPage, command: Claim, line: Line, outcome: LineOutcome, row: Authorization | None
) -> _Decided:
    """Nothing is held for it: all of it is charged by force."""
    forced = _force(page, command, line, line.amount_minor, row)
    _sell(clearing, line, [forced.authorization_id])
    return _Decided(outcome, line.amount_minor, forced, (forced.authorization_id,))


def _force(page: Page, command: Claim, line: Line, amount: int, row: Authorization | None) -> Authorization:
    clearing = page.clearing
    assert clearing is not None
    order = Forced(
        authorization_id=forced_id_of(line.reference),
        name=line.reference,
        amount_minor=amount,
        processing_id=command.processing_id,
        now=command.now,
        real_now=command.real_now,
    )
    made = forced_row(order, line, clearing.cards[line.card], row, page.rules)
    page.began.append(made.processing_id)
    return page.put(made, command.now)


def _sell(clearing: ClearingPage, line: Line, borne_by: Sequence[str]) -> None:
    clearing.sell(
        Sale(
            reference=line.reference,
            file_id=line.file_id,
            line=line.line,
            card=line.card,
            merchant=line.merchant,
            amount_minor=line.amount_minor,
            borne_by=tuple(borne_by),
        )
    )


# -- what a line belongs to -----------------------------------------------------------------------------------------


def _candidate(page: Page, clearing: ClearingPage, line: Line, *kinds: AuthorizationKind) -> Authorization | None:
    """The authorization that a line speaks of: acquirer and RRN are its; of several the one with its code, which
    stands first."""
    ids = clearing.candidates.get((line.acquirer, line.rrn), [])
    rows = [row for each in ids if (row := page.rows.get(each)) is not None and row.kind in kinds]
    rows.sort(key=lambda row: (row.approval_code != line.approval_code, _FIRST.get(row.state, 9)))
    return rows[0] if rows else None


def _wrong(clearing: ClearingPage, command: Claim, line: Line, row: Authorization | None) -> LineOutcome | None:
    """Why nothing moves for a line, whatever bears it."""
    card = clearing.cards.get(line.card)
    if line.currency != command.matching.currency:
        return L.WRONG_CURRENCY
    if line.amount_minor > command.matching.amount_minor_max:
        return L.IMPLAUSIBLE
    if row is not None and row.card_id is not None and (card is None or card.card_id != row.card_id):
        return L.WRONG_CARD
    if card is None:
        return L.UNKNOWN_CARD
    if row is not None and row.approval_code is not None and row.approval_code != line.approval_code:
        return L.WRONG_APPROVAL_CODE
    return None


# -- refunds and reversals --------------------------------------------------------------------------------------------


def _refund(page: Page, clearing: ClearingPage, command: Claim, line: Line) -> _Decided:
    sale = clearing.sales.get(line.reference)
    if sale is not None:
        return _given_back(page, command, line, sale, L.REFUNDED, L.REFUND_ABOVE)
    asked = _candidate(page, clearing, line, K.REFUND)
    if asked is None:
        bought = _candidate(page, clearing, line, K.PURCHASE, K.ADVICE)
        if (wrong := _wrong(clearing, command, line, bought)) is not None:
            return _Decided(wrong, row=bought)
        standing = bought is not None and bought.state is S.APPROVED
        return _Decided(L.REFUND_OF_UNCLEARED if standing else L.REFUND_WITHOUT_SALE, row=bought)
    if (wrong := _wrong(clearing, command, line, asked)) is not None:
        return _Decided(wrong, row=asked)
    if asked.state is not S.APPROVED:
        return _Decided(L.DUPLICATE if asked.state is S.CLEARED else L.REVERSED_BEFORE, row=asked)
    bought_before = [each for each in clearing.sales_at(line) if _left(page, each) >= line.amount_minor]
    if not bought_before:
        return _Decided(L.REFUND_WITHOUT_SALE, row=asked)
    page.put(replace(asked, state=S.CLEARED), command.now)
    return _given_back(page, command, line, bought_before[0], L.REFUNDED, L.REFUND_ABOVE)


def _reversal(page: Page, clearing: ClearingPage, command: Claim, line: Line) -> _Decided:
    sale = clearing.sales.get(line.reference)
    if sale is not None:
        return _given_back(page, command, line, sale, L.REVERSED, L.REVERSAL_DIFFERS)
    row = _candidate(page, clearing, line, K.PURCHASE, K.ADVICE)
    return _Decided(_wrong(clearing, command, line, row) or L.REVERSAL_WITHOUT_SALE, row=row)


def _given_back(
    page: Page, command: Claim, line: Line, sale: Sale, agreed: LineOutcome, differs: LineOutcome
) -> _Decided:
    """Give back what the line says, and no more than is left of the sale."""
    bearers = _bearers(page, sale)
    row = bearers[0] if bearers else None
    if line.card != sale.card:
        return _Decided(L.WRONG_CARD, row=row)
    if line.currency != command.matching.currency:
        return _Decided(L.WRONG_CURRENCY, row=row)
    left = sum(each.stands_minor for each in bearers)
    back = min(line.amount_minor, left)
    rest = back
    for each in reversed(bearers):
        taken = min(rest, each.stands_minor)
        rest -= taken
        if taken:
            page.put(_lessened(each, taken, command, whole=line.kind is LineKind.REVERSAL), command.now)
    same = line.amount_minor == left if line.kind is LineKind.REVERSAL else line.amount_minor <= left
    touched = tuple(each.authorization_id for each in bearers)
    return _Decided(agreed if same else differs, back, page.rows[touched[0]] if touched else None, touched)


def _bearers(page: Page, sale: Sale) -> list[Authorization]:
    """What bears a sale, and what was charged in place of a hold of it that had lapsed."""
    ids = [id_ for each in sale.borne_by for id_ in (each, missed_id_of(each))]
    return [row for each in ids if (row := page.rows.get(each)) is not None]


def _left(page: Page, sale: Sale) -> int:
    return sum(each.stands_minor for each in _bearers(page, sale))


def _lessened(row: Authorization, by: int, command: Claim, *, whole: bool) -> Authorization:
    """So much of it is given back. What was not charged or captured yet is so first, for what then stands."""
    stands = row.stands_minor - by
    if whole and not stands:
        return replace(row, state=S.REVERSING, stands_minor=0, work=Work.UNDO, work_since=command.real_now)
    work = row.work or Work.UNDO
    return replace(row, stands_minor=stands, work=work, work_since=row.work_since or command.real_now)
