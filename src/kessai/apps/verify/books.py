"""The books against themselves, and against the ledger, the bank and the payments that they were made from.

What the books have not heard yet is worked out from their cursors, event by event: all the rest must be there, once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Collection, Iterable
from dataclasses import dataclass, field
from uuid import UUID

import msgspec

from kessai.apps.verify.books_again import check_again
from kessai.apps.verify.books_seals import check_seals
from kessai.apps.verify.books_steps import check_steps
from kessai.apps.verify.checks import BROKEN_MAX, Check, run_check
from kessai.apps.verify.finding import Report
from kessai.foundation.db import Connection, Queries, load_queries
from kessai.services.books.domain.configuration import BooksConfig
from kessai.services.books.domain.faults import OF_AN_EVENT, fault_of
from kessai.services.books.domain.rules import BoundLeg, TaxCode
from kessai.services.books.service.statutory.again import differing_days

ALONE = (
    Check("broken_journal_sums", "debits equal credits in every journal"),
    Check("broken_journals", "a journal is its entries"),
    Check("broken_totals", "running totals are the sums of the entries"),
    Check("broken_trial_balance", "the trial balance is zero"),
    Check("booked_when_closed", "nothing is booked into a period that is closed"),
    Check("booked_elsewhere", "an event is booked on its own day while that is open"),
    Check("broken_periods", "a period is what its steps make it"),
    Check("doubled_events", "every event is booked once, or stands unposted"),
    Check("strange_lines", "a statement's line stands on its own day"),
    Check("broken_account_days", "an account's day is what its lines make it"),
    Check("broken_book_days", "every statutory day rolls forward"),
    Check("broken_day_chain", "every statutory day continues the one before"),
    Check("broken_payment_steps", "every published step of a payment is kept"),
    Check("strange_payment_steps", "every published step of a payment is kept"),
    Check("broken_findings", "a finding is what its steps make it"),
)
BOOKED = "the books equal the ledger"
STATED = "customers' statements equal the ledger"
PLACED = "a posting is booked on its type's account"
BANKED = "the books equal the bank's instructions"
MADE = "a statutory day stays as it was made"
READ = "published events can be read"
STEPPED = "every published step of a payment is kept"
NO_BOOK = "none"
"""The statutory class of account types that stand in no statutory book."""
ROWS_AT_ONCE = 1_000


class _Told(msgspec.Struct, frozen=True):
    """What is needed of an event of any source."""

    exchange_id: str = ""
    postings: list[list[object]] = []
    instruction_id: str = ""
    payment_id: str = ""
    version: int = 0


_split = msgspec.json.Decoder(list[msgspec.Raw]).decode
_told = msgspec.json.Decoder(_Told).decode


@dataclass(slots=True)
class _Waiting:
    """What the books need not have yet."""

    names: list[str] = field(default_factory=list[str])
    accounts: list[UUID] = field(default_factory=list[UUID])
    amounts: list[int] = field(default_factory=list[int])

    def add(self, source: str, told: _Told, at: str) -> None:
        """An event that is not booked, and when it was recorded."""
        match source:
            case "bank":
                self.names.append(told.instruction_id)
            case "payment":
                self.names.append(f"{told.payment_id[4:]}/{told.version}")
            case _:
                self.names.append(f"{told.exchange_id}@{at}")
                for posting in told.postings:
                    self.accounts.append(UUID(str(posting[1])[4:]))
                    self.amounts.append(int(str(posting[3])))


async def check_books(connection: Connection, books: BooksConfig, report: Report) -> None:
    """Everything that there is of the books, on a connection whose view does not change."""
    sql = load_queries("kessai.apps.verify", file="sql/books.sql")
    for check in ALONE:
        await run_check(connection, sql, check, report, schema="books", types={})
    await _check_places(connection, sql, books, report)
    await _reading(_check_ledger(connection, sql, books, report), report)
    await _reading(_check_bank(connection, sql, books, report), report)
    await _reading(_check_payments(connection, sql, report), report)
    await _check_days(connection, books, report)
    await _reading(check_again(connection, sql, books, report), report)
    await _reading(check_steps(connection, sql, report), report)
    await check_seals(connection, sql, report)


async def _reading(check: Awaitable[None], report: Report) -> None:
    """A check that reads published events: one that cannot be read, because somebody changed it, is a finding."""
    try:
        await check
    except OF_AN_EVENT as error:
        report.add(READ, "outbox", "", fault_of(error))


async def _check_days(connection: Connection, books: BooksConfig, report: Report) -> None:
    for day, sentence in (await differing_days(connection, books.statutory))[:BROKEN_MAX]:
        report.add(MADE, "books.statutory_day", day.isoformat(), sentence)


async def _run(
    connection: Connection, sql: Queries, query: str, invariant: str, report: Report, *arguments: object
) -> None:
    for row in await connection.fetch(sql[query], BROKEN_MAX, *arguments):
        report.add(invariant, f"books.{row['relation']}", row["key"], row["sentence"])


# -- the rules ----------------------------------------------------------------------------------------------------


async def _check_places(connection: Connection, sql: Queries, books: BooksConfig, report: Report) -> None:
    """Each posting's account is one that a version of the rules books its type on."""
    rules = [rule for version in books.rules for rule in version.rules.values()]
    owners = sorted({owner for rule in rules for leg in rule.legs.values() for owner in leg.by_owner})
    taxes: defaultdict[tuple[str, str], list[TaxCode | None]] = defaultdict(list)
    for rule in rules:
        for name, leg in rule.legs.items():
            taxes[rule.name, name].append(leg.tax)
    allowed = {
        (rule.name, name, owner, *place)
        for rule in rules
        for name, leg in rule.legs.items()
        for owner in ("", *owners)
        for place in _places(leg, owner, taxes[rule.name, name])
    }
    for row in await connection.fetch(sql["places"], owners):
        place = (row["kind"], row["account_type"], row["owner"], row["account"], row["tax_code"])
        if place not in allowed:
            text = f"no rule books {row['account_type']} of {row['kind']} on {row['account']} {row['tax_code']}"
            report.add(PLACED, "books.entry", f"jnl_{row['journal_id'].hex}", text.rstrip())


def _places(leg: BoundLeg, owner: str, taxes: Collection[TaxCode | None]) -> Iterable[tuple[str, str]]:
    """`taxes`: those that any version has for the type; what is given back has the tax that it had."""
    account = leg.by_owner.get(owner, leg.account)
    for tax in taxes:
        yield account, "" if tax is None else tax.code
        if tax is not None:
            yield tax.account, tax.code


# -- the other services -------------------------------------------------------------------------------------------


async def _check_ledger(connection: Connection, sql: Queries, books: BooksConfig, report: Report) -> None:
    await _run(connection, sql, "wrong_accounts", "the books know accounts as the ledger does", report)
    waiting = await _undelivered(connection, sql, "ledger")
    if waiting is None:
        return  # nothing was ever heard
    await _run(connection, sql, "unequal_records", BOOKED, report, waiting.names)
    await _run(connection, sql, "unequal_types", BOOKED, report, waiting.accounts, waiting.amounts)
    types = [code for code, each in books.types.items() if each.statutory_class != NO_BOOK]
    await _run(connection, sql, "unequal_lines", STATED, report, waiting.names, types)


async def _check_bank(connection: Connection, sql: Queries, books: BooksConfig, report: Report) -> None:
    if (waiting := await _undelivered(connection, sql, "bank")) is None:
        return
    deposits = sorted({clearing.deposit for version in books.rules for clearing in version.bank.values()})
    await _run(connection, sql, "unequal_instructions", BANKED, report, waiting.names, deposits)


async def _check_payments(connection: Connection, sql: Queries, report: Report) -> None:
    if (waiting := await _undelivered(connection, sql, "payment")) is not None:
        await _run(connection, sql, "unequal_payment_steps", STEPPED, report, waiting.names)


# -- what was not heard yet ---------------------------------------------------------------------------------------


async def _undelivered(connection: Connection, sql: Queries, source: str) -> _Waiting | None:
    """The events of a source that the books have not handled; None: they never heard anything of it."""
    cursor = await connection.fetchrow(sql["cursor"], f"books.{source}")
    if cursor is None and not await connection.fetchval(sql["any_journal"], source):
        return None
    position, handled = (0, 0) if cursor is None else (cursor["position"], cursor["handled"])
    waiting = _Waiting()
    async for row in connection.cursor(sql[f"undelivered_{source}"], position, prefetch=ROWS_AT_ONCE):
        done = handled if row["position"] == position else 0
        for payload in _split(row["payload"])[done:]:
            waiting.add(source, _told(payload), row["at"])
    for row in await connection.fetch(sql["parked"], f"books.{source}"):
        waiting.add(source, _told(row["payload"]), row["at"])
    for row in await connection.fetch(sql["unposted"], source):
        waiting.add(source, _told(row["payload"]), row["at"])
    return waiting
