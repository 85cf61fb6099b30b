"""Journals that no event brings: by hand (振替伝票), accruals (決算整理), and corrections by the opposite (赤伝)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import NamedTuple

from kessai.foundation.errors import Conflict, Invalid, Refused
from kessai.foundation.ids import derived_hex
from kessai.foundation.money import ASSET_EXPONENTS
from kessai.services.books.api.accounting import Journal as BookedJournal
from kessai.services.books.api.accounting import NewLine, PostJournal, ReverseJournal, Side
from kessai.services.books.domain.accruals import Accrual, Method
from kessai.services.books.domain.configuration import BooksConfig
from kessai.services.books.domain.periods import Standing, month_end, next_month
from kessai.services.books.domain.posting import YEN, Batch, Entry, Journal

MANUAL, ACCRUAL, CORRECTION = "manual", "accrual", "correction"
OF_EVENTS = ("ledger", "bank")
"""Sources whose journals say what another service did."""
_BACK = "/back"
"""Ends the event of the journal that takes an accrual back."""
_PLACES = {MANUAL: "f0", ACCRUAL: "f1", CORRECTION: "f2"}
"""Among those of a day they come after the journals of events."""


class Draft(NamedTuple):
    """A line to be: `amount` is positive on the debit side."""

    account: str
    asset: str
    amount: int
    tax_code: str = ""
    account_type: str = ""
    owner: str = ""


def own_journal_id(source: str, *parts: str) -> str:
    """The id (32 digits) of the journal that these parts always stand for."""
    return _PLACES[source] + derived_hex(source, *parts)[2:]


# -- by hand ------------------------------------------------------------------------------------------------------


def drafted(request: PostJournal, books: BooksConfig) -> list[Draft]:
    """The lines of a journal by hand, taxes split off.

    Raises `unknown_asset`, `account_unknown`, `control_account`, `tax_code_unknown`, `tax_not_in_yen`,
    `tax_code_required`, `unbalanced`.
    """
    for line in request.lines:
        if line.asset not in ASSET_EXPONENTS:
            raise Invalid("unknown_asset", f"There is no asset {line.asset}.", asset=line.asset)
    lines = [part for line in request.lines for part in _parts(line, request.booked_on, books)]
    sums: dict[str, int] = {}
    for line in lines:
        sums[line.asset] = sums.get(line.asset, 0) + line.amount
    for asset, left in sums.items():
        if left:
            side = "debit" if left > 0 else "credit"
            raise Invalid("unbalanced", f"In {asset} the {side} side is greater by {abs(left)}.", asset=asset)
    return lines


def _parts(line: NewLine, day: date, books: BooksConfig) -> list[Draft]:
    account = books.chart.require(line.account, day)
    if account.control:
        raise Refused(
            "control_account",
            f"{account.code} {account.name} is booked by the ledger's events alone.",
            account=account.code,
        )
    amount = line.amount_minor if line.side is Side.DEBIT else -line.amount_minor
    version = books.rules.on(day)
    code = None if version is None else version.tax.get(line.tax_code)
    if line.tax_code and code is None:
        raise Invalid("tax_code_unknown", f"There is no tax code {line.tax_code}.", tax_code=line.tax_code)
    if code is not None and line.asset != YEN:
        raise Invalid("tax_not_in_yen", f"Consumption tax is counted in {YEN}, not in {line.asset}.", asset=line.asset)
    if not line.tax_included:
        return [Draft(line.account, line.asset, amount, line.tax_code)]
    if code is None or line.account == code.account:
        raise Invalid(
            "tax_code_required", "An amount that holds its tax needs a tax code, on another account than the tax's."
        )
    tax = code.included_in(amount)
    parts = [Draft(line.account, line.asset, amount - tax, code.code)]
    return [*parts, Draft(code.account, line.asset, tax, code.code)] if tax else parts


def require_open(standing: Standing, day: date, today: date) -> None:
    """Raises `future_date`, `period_locked`, `period_closed`: nothing may be booked by hand on that day."""
    if day > today:
        raise Invalid("future_date", f"{day} has not come yet.", booked_on=day.isoformat())
    if (refusal := standing.refusal_of(day)) is not None:
        raise refusal


def by_hand(
    request: PostJournal,
    drafts: Iterable[Draft],
    *,
    journal_id: str,
    event_id: str,
    version: int,
    by: str,
    now: datetime,
) -> Batch:
    """The rows of a journal by hand."""
    journal = Journal(
        journal_id, MANUAL, event_id, MANUAL, "posted", MANUAL, version, request.booked_on, request.booked_on, now, now,
        None, None, None, request.merchant, request.product, None, request.description, by,
    )  # fmt: skip
    return _batch(now, [(journal, drafts)])


# -- corrections --------------------------------------------------------------------------------------------------


def refuse_event(journal: BookedJournal) -> None:
    """Raises `journal_of_event`: what another service did is corrected there, and booked by its own event."""
    if journal.source in OF_EVENTS:
        raise Conflict("journal_of_event", f"The journal books an event of {journal.source}; correct it there.")


def day_of_correction(request: ReverseJournal, journal: BookedJournal, standing: Standing, today: date) -> date:
    """Raises `before_the_journal`, and what `require_open` raises."""
    if request.booked_on is None:
        return standing.booking_day(journal.booked_on)
    if request.booked_on < journal.booked_on:
        raise Invalid("before_the_journal", f"The journal itself is of {journal.booked_on}.")
    require_open(standing, request.booked_on, today)
    return request.booked_on


def correction_id(journal: BookedJournal) -> str:
    """The id (32 digits) of the one correction that a journal may have."""
    return own_journal_id(CORRECTION, journal.journal_id)


def back_of(journal: BookedJournal) -> str | None:
    """The id (32 digits) of the journal that takes this one back if it is a reversing accrual; None of all others."""
    return _back_id(journal.event_id) if journal.source == ACCRUAL and not _is_back(journal) else None


def _is_back(journal: BookedJournal) -> bool:
    return journal.source == ACCRUAL and journal.event_id.endswith(_BACK)


def refuse_half(journal: BookedJournal, original: BookedJournal, *, reversing: bool) -> None:
    """Raises `journal_of_accrual`: a reversing accrual and what takes it back are corrected together, and once.

    `original` is what the journal takes back; `reversing`, whether that is a reversing accrual.
    """
    if _is_back(journal):
        told = f"It takes {journal.reverses} back; correct that one, and this is corrected with it."
        raise Conflict("journal_of_accrual", told, journal_id=original.journal_id)
    if _is_back(original) or reversing:
        raise Conflict("journal_of_accrual", "Accrue the month again instead.", journal_id=original.journal_id)


def day_of_back(journal: BookedJournal, first_on: date, standing: Standing) -> date:
    """Where the correction of what takes an accrual back is booked, beside that of the accrual itself."""
    return max(first_on, standing.booking_day(journal.booked_on))


def correction(
    journals: Iterable[tuple[BookedJournal, date]], *, reason: str, event_id: str, by: str, now: datetime
) -> Batch:
    """The rows of the opposites of journals, each on its day; it names the journal's own where that is another."""
    return _batch(
        now,
        [
            _opposite(journal, booked_on, reason=reason, event_id=event_id, by=by, now=now)
            for journal, booked_on in journals
        ],
    )


def _opposite(
    journal: BookedJournal, booked_on: date, *, reason: str, event_id: str, by: str, now: datetime
) -> tuple[Journal, list[Draft]]:
    late = "" if booked_on == journal.booked_on else f" ({journal.booked_on} 分)"
    row = Journal(
        correction_id(journal), CORRECTION, event_id, journal.kind, "reversed", journal.rule, journal.rule_version,
        booked_on, journal.booked_on, now, now, None, journal.payment_id, None, journal.merchant, journal.product,
        journal.journal_id[4:], f"訂正 {reason}{late}", by,
    )  # fmt: skip
    opposite = [
        Draft(
            line.account,
            line.asset,
            -line.amount_minor if line.side is Side.DEBIT else line.amount_minor,
            line.tax_code,
            line.account_type,
            line.owner,
        )
        for line in journal.lines
    ]
    return row, opposite


# -- accruals -----------------------------------------------------------------------------------------------------


def accrued(
    accrual: Accrual, month: date, amount: int, *, number: int, version: int, by: str, now: datetime
) -> tuple[str, Batch]:
    """The id and the rows of one accrual of a month, and of what takes it back where that is its method.

    `amount` is what its account gets, positive on the debit side; `number` counts what was booked of it before.
    """
    last, name = month_end(month), f"{month:%Y-%m}"
    journal_id = accrual_id(accrual, month, number)
    row = Journal(
        journal_id, ACCRUAL, f"{ACCRUAL}/{accrual.name}/{name}/{number}", ACCRUAL, "accrued", accrual.name, version,
        last, last, now, now, None, None, None, None, None, None, f"決算整理 {accrual.name_ja} {name}", by,
    )  # fmt: skip
    lines = [Draft(accrual.account, YEN, amount), Draft(accrual.counter, YEN, -amount)]
    rows: list[tuple[Journal, Iterable[Draft]]] = [(row, lines)]
    if accrual.method is Method.REVERSING:
        first = next_month(month)
        back = row._replace(
            journal_id=_back_id(row.event_id),
            event_id=row.event_id + _BACK,
            action="reversed",
            booked_on=first,
            event_on=first,
            reverses=journal_id,
            description=f"{row.description} 振戻し",
        )
        rows.append((back, [line._replace(amount=-line.amount) for line in lines]))
    return journal_id, _batch(now, rows)


def _back_id(event_id: str) -> str:
    """The id (32 digits) of what takes an accrual back, by the accrual's own event."""
    return own_journal_id(*event_id.split("/"), "back")


def accrual_id(accrual: Accrual, month: date, number: int) -> str:
    """The id (32 digits) of the journal that an accrual has for a month, the first one being number 0."""
    return own_journal_id(ACCRUAL, accrual.name, f"{month:%Y-%m}", str(number))


def booked_of(accrual: Accrual, journals: Sequence[BookedJournal], until: date) -> int:
    """What an accrual's journals, and their corrections, have added to its account up to a day (debit positive)."""
    return sum(
        line.amount_minor if line.side is Side.DEBIT else -line.amount_minor
        for journal in journals
        if journal.booked_on <= until
        for line in journal.lines
        if line.account == accrual.account
    )


def _batch(now: datetime, journals: Iterable[tuple[Journal, Iterable[Draft]]]) -> Batch:
    """The rows, with the totals that they add to."""
    batch = Batch(recorded_at=now)
    for journal, drafts in journals:
        batch.journals.append(journal)
        for number, line in enumerate(drafts, 1):
            batch.entries.append(
                Entry(
                    journal.journal_id, number, line.account, line.asset, line.amount, line.tax_code, line.account_type,
                    line.owner, journal.booked_on,
                )
            )  # fmt: skip
            key = (
                line.account, journal.booked_on, journal.event_on, line.asset, line.account_type, journal.kind,
                line.tax_code,
            )  # fmt: skip
            total = batch.totals.setdefault(key, [0, 0, 0])
            total[0] += max(0, line.amount)
            total[1] += max(0, -line.amount)
            total[2] += 1
    return batch
