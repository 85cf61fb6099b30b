"""会計帳簿・法定帳簿 ↔ 台帳: totals of one instant per account type, and every entry of every account one by one.

A record that the ledger has and the books have not is in flight while it is younger than the tolerance, and explained
while its event stands unposted. What a type's totals differ by must be what its named records differ by.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from kessai.foundation.clock import TOKYO
from kessai.foundation.errors import Unavailable
from kessai.services.books.api.reconciling import DifferenceKind, DifferenceState, ReconciliationFigure
from kessai.services.books.domain.reconciling import Difference
from kessai.services.books.service.reconciling.runs import NAMED_MAX, Outcome, Run, Staging
from kessai.services.books.store.reconciling import Staged, compare_together
from kessai.services.ledger.api import AccountLog, ExportLogs, Ledger, ListTypeTotals

ATTEMPTS_MAX = 100
PAGE = 2_000
"""Entries that are staged together."""
PAUSE_S = 0.1
"""Between two looks whether the ledger's writers have passed the instant."""
UNKNOWN = "?"
"""The type of an account that the books do not know (yet)."""
Key = tuple[str, str]
"""Account type and asset."""


@dataclass(frozen=True, slots=True)
class _Side:
    """What of a type's difference the records of one state account for."""

    in_flight: int = 0
    explained: int = 0
    open: int = 0


async def against_ledger(run: Run) -> Outcome:
    """The accounting books."""
    theirs = await _totals(run)
    outcome = Outcome(compared=await _stage_logs(run))
    limits = (run.run_id, run.first, run.first_day, run.through, run.cutoff, NAMED_MAX)
    booked, rows = await compare_together(
        run.database, ("type_figures", run.through, run.last_day), ("ledger_differences", *limits)
    )
    assets = dict(key for key in theirs)
    sides = _Sides(assets)
    for row in rows:
        state, theirs_net, ours_net = (
            DifferenceState(row["state"]),
            int(row["their_credit"] - row["their_debit"]),
            int(row["our_credit"] - row["our_debit"]),
        )
        if row["number"] == 0:
            sides.note(row["account_type"], state, theirs_net - ours_net)
            outcome.counts[state] += row["records"]
        else:
            outcome.name(
                Difference(
                    kind=DifferenceKind(row["kind"]),
                    state=state,
                    subject=f"{row['exchange_id']}/{row['account_type']}",
                    asset=assets.get(row["account_type"], ""),
                    theirs=theirs_net,
                    ours=ours_net,
                    at=row["recorded_at"],
                    text=_entry_text(row),
                )
            )
    _compare_totals(run, outcome, theirs, _amounts(booked), sides)
    return outcome


async def against_statements(run: Run) -> Outcome:
    """The statutory books: every line of every customer's ledger, and the days made of them."""
    types = list(run.statutory_types)
    theirs = {key: amount for key, amount in (await _totals(run)).items() if key[0] in run.statutory_types}
    outcome = Outcome(compared=await _stage_logs(run))
    limits = (run.run_id, run.first, run.first_day, run.through, run.cutoff, NAMED_MAX, types)
    stated, rows, days = await compare_together(
        run.database,
        ("statement_figures", run.through, None if run.since is None else run.first_day),
        ("statement_differences", *limits),
        ("broken_days", NAMED_MAX),
    )
    sides = _Sides(run.statutory_types)
    for row in rows:
        state = DifferenceState(row["state"])
        if row["number"] == 0:
            sides.note(row["account_type"], state, int(row["their_amount"] - row["our_amount"]))
            outcome.counts[state] += row["records"]
        else:
            outcome.name(
                Difference(
                    kind=DifferenceKind(row["kind"]),
                    state=state,
                    subject=f"acc_{row['account_id'].hex}/{row['sequence']}",
                    asset=run.statutory_types.get(row["account_type"], ""),
                    theirs=int(row["their_amount"]),
                    ours=int(row["our_amount"]),
                    at=row["recorded_at"],
                    text=_line_text(row),
                )
            )
    _compare_totals(run, outcome, theirs, _amounts(stated), sides)
    for day in days:
        outcome.add(_broken_day(day))
    return outcome


# -- totals -------------------------------------------------------------------------------------------------------


class _Sides:
    def __init__(self, assets: Mapping[str, str]) -> None:
        self._assets = assets
        self._amounts: defaultdict[Key, dict[DifferenceState, int]] = defaultdict(dict)

    def note(self, account_type: str, state: DifferenceState, amount: int) -> None:
        self._amounts[account_type, self._assets.get(account_type, "")][state] = amount

    @property
    def uncertain(self) -> bool:
        """Whether something is on its way on accounts whose type is not known yet."""
        return DifferenceState.IN_FLIGHT in self._amounts.get((UNKNOWN, ""), {})

    def of(self, key: Key) -> _Side:
        found = self._amounts.get(key, {})
        return _Side(
            in_flight=found.get(DifferenceState.IN_FLIGHT, 0),
            explained=found.get(DifferenceState.EXPLAINED, 0),
            open=found.get(DifferenceState.OPEN, 0),
        )


async def _totals(run: Run) -> dict[Key, int]:
    """The ledger's totals as of the run's instant, once nobody writes below it any more."""
    attempt = 0
    while True:
        attempt += 1
        try:
            answer = await run.doors.ledger.list_type_totals(ListTypeTotals(as_of=run.through))
        except Unavailable as unstable:
            if unstable.code != "snapshot_not_stable" or attempt == ATTEMPTS_MAX:
                raise
            await asyncio.sleep(PAUSE_S)
        else:
            return {(each.account_type, each.asset): each.balance_minor for each in answer.totals}


def _amounts(rows: Sequence[asyncpg.Record]) -> dict[Key, int]:
    return {(row["account_type"], row["asset"]): int(row["amount"]) for row in rows}


def _compare_totals(
    run: Run, outcome: Outcome, theirs: Mapping[Key, int], ours: Mapping[Key, int], sides: _Sides
) -> None:
    for key in sorted({*theirs, *ours}):
        their, our, side = theirs.get(key, 0), ours.get(key, 0), sides.of(key)
        if not (their or our or side.in_flight or side.explained):
            continue
        outcome.figures.append(
            ReconciliationFigure(
                subject=key[0],
                asset=key[1],
                theirs_minor=their,
                ours_minor=our,
                in_flight_minor=side.in_flight,
                explained_minor=side.explained,
            )
        )
        if rest := their - our - side.in_flight - side.explained - side.open:
            outcome.add(
                Difference(
                    kind=DifferenceKind.TOTAL,
                    state=DifferenceState.IN_FLIGHT if sides.uncertain else DifferenceState.OPEN,
                    subject=f"total/{key[0]}",
                    asset=key[1],
                    theirs=their,
                    ours=our,
                    at=run.through,
                    text=f"the totals differ by {their - our}, of which no record accounts for {rest}",
                )
            )


# -- records ------------------------------------------------------------------------------------------------------


async def _stage_logs(run: Run) -> int:
    """Stage the ledger's entries up to the run's instant; gives how many."""
    staging = Staging(run)
    async for page in _pages(run.doors.ledger, run.since):
        await staging.add(_staged(page, run.through))
    await staging.finish()
    return staging.count


async def _pages(ledger: Ledger, since: datetime | None) -> AsyncIterator[list[AccountLog]]:
    page: list[AccountLog] = []
    async for log in ledger.export_logs(ExportLogs(since=since)):
        page.append(log)
        if len(page) == PAGE:
            yield page
            page = []
    yield page


def _staged(logs: Sequence[AccountLog], through: datetime) -> Iterator[Staged]:
    for log in logs:
        if log.amount_minor and log.recorded_at <= through:
            yield Staged(
                log.exchange_id,
                UUID(log.account_id[4:]),
                log.sequence,
                log.amount_minor,
                log.balance_minor,
                "",
                log.recorded_at,
            )


def _entry_text(row: asyncpg.Record) -> str:
    there = _in_and_out(row["their_credit"], row["their_debit"])
    here = _in_and_out(row["our_credit"], row["our_debit"])
    if row["account_type"] == UNKNOWN:
        return f"the ledger has {there} on an account that the books do not know"
    if row["reason"] is not None and row["kind"] == DifferenceKind.MISSING:
        return f"its event stands unposted: {row['reason']}"
    return f"{row['account_type']}: the ledger has {there}, booked is {here}"


def _in_and_out(credit: int, debit: int) -> str:
    told = [f"+{credit}"] if credit else []
    told += [f"-{debit}"] if debit else []
    return " ".join(told) or "nothing"


def _line_text(row: asyncpg.Record) -> str:
    there = "nothing" if row["their_balance"] is None else f"{row['their_amount']:+} to {row['their_balance']}"
    here = "nothing" if row["our_balance"] is None else f"{row['our_amount']:+} to {row['our_balance']}"
    told = f"the ledger has {there}, the statement {here}"
    return told if there != here else f"{told}, of another exchange, account type or instant"


def _broken_day(row: asyncpg.Record) -> Difference:
    return Difference(
        kind=DifferenceKind.TOTAL,
        state=DifferenceState.OPEN,
        subject=f"day/{row['book_on']}/{row['account_type']}",
        asset=row["asset"],
        theirs=int(row["told"]),
        ours=int(row["closing"]),
        at=datetime.combine(row["book_on"], datetime.min.time(), TOKYO),
        text=f"the day's sheet closes otherwise than the ledger told, on {row['differing']} accounts",
    )
