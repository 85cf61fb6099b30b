"""Journals by hand and their corrections: balanced, dated, on accounts that are theirs, once."""

from __future__ import annotations

import asyncio
from datetime import date

import msgspec
import pytest

from kessai.foundation.db import Database
from kessai.services.books.api.accounting import GetJournal, LockPeriod, PostJournal, Repost, ReverseJournal, Side
from kessai.services.books.api.statements import GetTrialBalance
from tests.books.office import asked, office, require_refusal

APRIL_20, MAY_1, MAY_9 = date(2026, 4, 20), date(2026, 5, 1), date(2026, 5, 9)
RENT = "5220 100000 in10 + 1910 10000 in10 | 1110 110000"


async def test_a_journal_by_hand_is_booked_with_its_lines(database: Database) -> None:
    async with office(database) as o:
        with asked("rent", "key_ann"):
            journal = await o.post(MAY_9, RENT)
        assert (journal.source, journal.kind, journal.booked_on, journal.event_on) == ("manual", "manual", MAY_9, MAY_9)
        assert journal.posted_by == "key_ann"
        assert [(each.account, each.side, each.amount_minor, each.tax_code) for each in journal.lines] == [
            ("5220", Side.DEBIT, 100_000, "in10"), ("1910", Side.DEBIT, 10_000, "in10"),
            ("1110", Side.CREDIT, 110_000, ""),
        ]  # fmt: skip
        assert await o.desk.get_journal(GetJournal(journal_id=journal.journal_id)) == journal
        assert await o.closing("2026-05") == {"1110": -110_000, "1910": 10_000, "5220": 100_000}
        await o.town.proved()


async def test_an_amount_that_holds_its_tax_is_split_and_conserved(database: Database) -> None:
    async with office(database) as o:
        journal = await o.post(MAY_9, "5220 1099 in10 incl + 5210 7 in08 incl | 1110 1106")
        assert [(each.account, each.amount_minor) for each in journal.lines] == [
            ("5220", 1_000), ("1910", 99), ("5210", 7), ("1110", 1_106),
        ]  # fmt: skip
        await o.town.proved()


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ("1110 100 | 9999 100", "account_unknown"),
        ("2110 100 | 4910 100", "control_account"),
        ("1110 100 | 4910 100 out99", "tax_code_unknown"),
        ("1110 100 | 4910 100 out10 incl + 2310 5 out10 incl", "tax_code_required"),
        ("1110 100 | 4910 99", "unbalanced"),
        ("9999 100 | 2110 99", "account_unknown"),
        ("1110 100 out99 | 2110 99", "tax_code_unknown"),
        ("1110 100 ZZZ | 4910 100 ZZZ", "unknown_asset"),
        ("9999 100 ZZZ | 4910 99", "unknown_asset"),
        ("1110 100 BTC | 4910 100 BTC out10", "tax_not_in_yen"),
        ("1110 100 BTC | 4910 100 BTC out10 incl", "tax_not_in_yen"),
        ("1110 100 BTC | 4910 100 BTC out99", "tax_code_unknown"),
    ],
)
async def test_a_journal_that_cannot_be_is_refused_whole(database: Database, lines: str, code: str) -> None:
    async with office(database) as o:
        with require_refusal(code):
            await o.post(MAY_9, lines)
        assert await o.closing("2026-05") == {}


async def test_a_journal_is_dated_in_an_open_month_that_has_come(database: Database) -> None:
    async with office(database) as o:
        with require_refusal("future_date"):
            await o.post(date(2026, 5, 11), RENT)
        await o.post(date(2026, 5, 10), RENT)
        await o.post(APRIL_20, RENT)
        await o.close("2026-04")
        with require_refusal("period_closed"):
            await o.post(APRIL_20, RENT)
        with require_refusal("period_closed"):
            await o.post(date(2021, 4, 30), "1110 100 | 4910 100")
        await o.desk.lock_period(LockPeriod(month="2026-04"))
        with require_refusal("period_locked"):
            await o.post(APRIL_20, RENT)
        with require_refusal("unbalanced"):
            await o.post(APRIL_20, "1110 100 | 4910 99")


async def test_a_day_before_the_chart_has_no_accounts(database: Database) -> None:
    async with office(database) as o:
        with require_refusal("account_unknown"):
            await o.post(date(2019, 12, 31), RENT)


async def test_the_same_request_again_is_the_same_journal_and_other_content_is_refused(database: Database) -> None:
    async with office(database) as o:
        with asked("rent") as call:
            first = await o.post(MAY_9, RENT)
            assert not call.replayed
        with asked("rent") as call:
            assert await o.post(MAY_9, RENT) == first
            assert call.replayed
        with asked("rent"), require_refusal("idempotency_key_reused"):
            await o.post(MAY_9, "1110 1 | 4910 1")
        own = await o.post(MAY_9, RENT, journal_id=f"jnl_{7:032x}")
        assert own.journal_id == f"jnl_{7:032x}"
        assert await o.post(MAY_9, RENT, journal_id=f"jnl_{7:032x}") == own
        with require_refusal("idempotency_key_reused"):
            await o.post(MAY_1, RENT, journal_id=f"jnl_{7:032x}")
        assert (await o.closing("2026-05"))["1110"] == -220_000


async def test_a_journal_that_was_booked_is_found_again_in_a_closed_month(database: Database) -> None:
    async with office(database) as o:
        first = await o.post(APRIL_20, RENT, journal_id=f"jnl_{7:032x}")
        await o.close("2026-04")
        assert await o.post(APRIL_20, RENT, journal_id=f"jnl_{7:032x}") == first


async def test_the_same_journal_sent_many_times_at_once_is_booked_once(database: Database) -> None:
    async with office(database) as o:
        sent = await asyncio.gather(*(o.post(MAY_9, RENT, journal_id=f"jnl_{7:032x}") for _ in range(8)))
        assert len({each.journal_id for each in sent}) == 1
        assert (await o.closing("2026-05"))["1110"] == -110_000
        await o.town.proved()


async def test_two_assets_balance_each_for_itself(database: Database) -> None:
    async with office(database) as o:
        journal = await o.post(MAY_9, "1110 100 + 1110 7 BTC | 4910 100 + 4910 7 BTC")
        assert {line.asset for line in journal.lines} == {"BTC", "JPY"}
        rows = (await o.desk.get_trial_balance(GetTrialBalance(month="2026-05"))).sums
        assert [(each.asset, each.opening_minor, each.closing_minor) for each in rows] == [
            ("BTC", 0, 0), ("JPY", 0, 0),
        ]  # fmt: skip


# -- corrections ----------------------------------------------------------------------------------------------------


async def test_a_journal_is_taken_back_once_by_its_opposite(database: Database) -> None:
    async with office(database) as o:
        journal = await o.post(APRIL_20, RENT)
        request = ReverseJournal(journal_id=journal.journal_id, reason="twice in the pile")
        with asked("undo", "key_ben"):
            correction = await o.desk.reverse_journal(request)
        assert (correction.source, correction.reverses, correction.posted_by) == (
            "correction", journal.journal_id, "key_ben",
        )  # fmt: skip
        assert (correction.booked_on, correction.event_on) == (APRIL_20, APRIL_20)
        assert [(each.account, each.side, each.amount_minor) for each in correction.lines] == [
            ("5220", Side.CREDIT, 100_000), ("1910", Side.CREDIT, 10_000), ("1110", Side.DEBIT, 110_000),
        ]  # fmt: skip
        assert await o.desk.reverse_journal(request) == correction
        with require_refusal("journal_already_reversed") as told:
            await o.desk.reverse_journal(ReverseJournal(journal_id=journal.journal_id, reason="no, really"))
        assert told[0].details == {"journal_id": correction.journal_id}
        assert await o.closing("2026-04") == {}
        again = await o.desk.reverse_journal(ReverseJournal(journal_id=correction.journal_id, reason="it was right"))
        assert again.reverses == correction.journal_id
        assert (await o.closing("2026-04"))["1110"] == -110_000
        await o.town.proved()


async def test_a_correction_of_a_closed_month_is_booked_in_the_first_open_one(database: Database) -> None:
    async with office(database) as o:
        journal = await o.post(APRIL_20, RENT)
        await o.close("2026-04")
        named = ReverseJournal(journal_id=journal.journal_id, reason="late", booked_on=APRIL_20)
        with require_refusal("period_closed"):
            await o.desk.reverse_journal(named)
        with require_refusal("before_the_journal"):
            await o.desk.reverse_journal(
                ReverseJournal(journal_id=journal.journal_id, reason="late", booked_on=date(2026, 4, 19))
            )
        with require_refusal("future_date"):
            await o.desk.reverse_journal(
                ReverseJournal(journal_id=journal.journal_id, reason="late", booked_on=date(2026, 5, 11))
            )
        correction = await o.desk.reverse_journal(ReverseJournal(journal_id=journal.journal_id, reason="late"))
        assert (correction.booked_on, correction.event_on) == (MAY_1, APRIL_20)
        assert "2026-04-20" in correction.description
        assert (await o.closing("2026-04"))["1110"] == -110_000
        assert "1110" not in await o.closing("2026-05")


async def test_what_another_service_did_is_not_corrected_here(database: Database) -> None:
    async with office(database) as o:
        await o.topped_up(500)
        (row,) = await database.fetch(None, "SELECT journal_id FROM books.journal")
        with require_refusal("journal_of_event"):
            await o.desk.reverse_journal(ReverseJournal(journal_id=f"jnl_{row['journal_id'].hex}", reason="no"))
        with require_refusal("journal_not_found"):
            await o.desk.reverse_journal(ReverseJournal(journal_id=f"jnl_{1:032x}", reason="no"))
        assert (await o.desk.repost(Repost(event_ids=["ledger/1/0"]))).posted == 0
        await o.town.proved()


_LINE = {"account": "1110", "amount_minor": 1, "side": Side.DEBIT}


def test_nobody_chooses_an_id_that_an_events_journal_has() -> None:
    asked = {"booked_on": "2026-05-09", "description": "x", "lines": [_LINE, _LINE]}
    for journal_id, taken in (("jnl_" + "01" + "0" * 10 + "80008000" + "0" * 12, False), ("jnl_" + "a" * 32, True)):
        try:
            msgspec.convert({**asked, "journal_id": journal_id}, PostJournal)
        except msgspec.ValidationError:
            assert not taken
        else:
            assert taken
