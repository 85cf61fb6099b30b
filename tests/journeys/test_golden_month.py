"""The month that docs/examples/golden_month.md works out by hand, played through the public verbs, to the yen."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kessai.foundation.clock import TOKYO
from tests.journeys.shopfront import Shopfront
from tests.journeys.town import Town, opened

PAGE = Path(__file__).parents[2] / "docs" / "examples" / "golden_month.md"
YEAR, MONTH = 2040, "2040-04"
HANAKO, TARO = "customer:hanako", "customer:taro"
KISSATEN, FURIMA = "merchant:kissaten", "merchant:furima"
COMES_BACK = "9000006"
"""The simulated bank sends money on to this account, and has it back three days later."""
PATIENCE_S = 60.0
STEP_S_MAX = 9 * 365 * 24 * 3600


# -- the page -------------------------------------------------------------------------------------------------------


def table(heading: str) -> list[list[str]]:
    """The cells of the first table under a heading of the page, without its header."""
    text = PAGE.read_text(encoding="utf-8")
    section = text[text.index(f"## {heading}") :]
    rows = re.search(r"(?:^\|.*\|$\n?)+", section, re.MULTILINE)
    assert rows, heading
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in rows[0].splitlines()]
    return lines[2:]


def yen(text: str) -> int:
    """`-1,000`."""
    return int(text.replace(",", ""))


def side(cell: str) -> list[tuple[str, int]]:
    """`2140 600<br>2110 2,400`."""
    return [(account, yen(amount)) for account, amount in (part.split() for part in cell.split("<br>"))]


def line(account: str, which: str, amount: int) -> dict[str, Any]:
    """A line of a journal by hand."""
    return {"account": account, "side": which, "amount_minor": amount}


Entries = tuple[tuple[str, int], ...]


def journals_of_the_page() -> Counter[tuple[str, Entries]]:
    """Each journal's day with its entries, debits positive, in order of account."""
    return Counter(
        (day, tuple(sorted([*side(debit), *((account, -amount) for account, amount in side(credit))])))
        for day, _, debit, credit in table("The journals")
    )


# -- the month ------------------------------------------------------------------------------------------------------


class Month:
    """The platform in April, and those who use it."""

    def __init__(self, town: Town) -> None:
        self.shop = Shopfront(town.http)
        self.town = town

    async def day(self, number: int, *, month: int = 4) -> None:
        """Noon of a day in Tokyo."""
        noon = datetime(YEAR, month, number, 12, tzinfo=TOKYO)
        while True:
            now = datetime.fromisoformat((await self.shop.get("/v1/sandbox/clock"))["now"])
            left = noon.astimezone(UTC) - now
            if left < timedelta(seconds=1):
                return
            step = min(STEP_S_MAX, int(left.total_seconds()) + 1)
            await self.shop.post("/v1/sandbox/clock/advance", {"seconds": step}, status=200)

    async def until(self, payment: dict[str, Any], state: str) -> None:
        """Wait for a payment's state."""
        await self.eventually(lambda: self.shop.state(payment), state)

    async def eventually(self, ask: Any, expected: Any) -> None:
        """Wait until what is asked for is there."""
        ends = time.monotonic() + PATIENCE_S
        while (found := await ask()) != expected:
            assert time.monotonic() < ends, f"{found} instead of {expected}"
            await asyncio.sleep(0.1)

    async def journal(self, day: int, description: str, *lines: dict[str, Any]) -> None:
        """A journal by hand."""
        body = {
            "booked_on": date(YEAR, 4, day).isoformat(),
            "description": description,
            "lines": lines,
        }
        await self.shop.post("/v1/books/journals", body)

    async def bank_account(self, kind: str, owner: str, number: str, holder: str, *, debits: bool = False) -> str:
        """A registered bank account."""
        body = {
            "owner_kind": kind, "owner_id": owner, "bank_code": "0001", "branch_code": "001", "account_number": number,
            "holder_name": holder, "debits": debits,
        }  # fmt: skip
        return (await self.shop.post("/v1/bank/accounts", body))["account_id"]

    async def charge(self, amount: int, *sources: dict[str, Any]) -> dict[str, Any]:
        """Hanako buys at Kissaten."""
        body = {
            "customer_id": HANAKO, "merchant_id": KISSATEN, "amount_minor": amount, "sources": list(sources),
            "capture": True,
        }  # fmt: skip
        return await self.shop.post("/v1/charges", body)

    async def close(self) -> int:
        """Close April; the status of the answer, 503 while its last events are on their way."""
        return (await self.shop.send(f"/v1/books/periods/{MONTH}/close", {"reason": "golden month"})).status_code

    async def booked(self) -> Counter[tuple[str, Entries]]:
        """The journals of April in the books, in the page's form."""
        page = await self.shop.get("/v1/books/journals", since=f"{MONTH}-01", until=f"{MONTH}-30", limit=1000)
        assert page["next_cursor"] is None
        return Counter((each["booked_on"][5:], _entries(each["lines"])) for each in page["journals"])


def _entries(lines: list[dict[str, Any]]) -> Entries:
    return tuple(
        sorted((line["account"], line["amount_minor"] * (1 if line["side"] == "DEBIT" else -1)) for line in lines)
    )


async def first_days(m: Month) -> None:
    """Money comes in, and points."""
    await m.day(1)
    await m.journal(1, "資本金払込", line("1110", "DEBIT", 10_000_000), line("3110", "CREDIT", 10_000_000))
    for customer in (HANAKO, TARO):
        await m.shop.post("/v1/ledger/accounts", {"owner": customer, "account_type": "funds"})
    await m.shop.post("/v1/top-ups", {"customer_id": HANAKO, "source": "bank_deposit", "amount_minor": 50_000})
    await m.day(2)
    account_id = await m.bank_account("customer", TARO, "1234567", "ヤマダ ハナコ", debits=True)
    debit = {"customer_id": TARO, "source": "bank_debit", "amount_minor": 30_000, "instrument_id": account_id}
    await m.until(await m.shop.post("/v1/top-ups", debit), "CAPTURED")
    await m.day(3)
    await m.shop.post("/v1/incentives", {"customer_id": HANAKO, "amount_minor": 1_000})
    apology = {
        "customer_id": TARO, "amount_minor": 300, "cost_bearer": "goodwill",
        "points_expire_at": datetime(YEAR, 4, 20, 9, tzinfo=TOKYO).isoformat(),
    }  # fmt: skip
    await m.shop.post("/v1/incentives", apology)


async def sales(m: Month) -> None:
    """Points and balance, a refund, a card, an escrow, credit."""
    await m.day(5)
    lunch = await m.charge(3_000, {"source": "free_points", "max_amount_minor": 600}, {"source": "funds"})
    await m.day(6)
    await m.shop.post(f"/v1/charges/{lunch['payment_id']}/refunds", {"amount_minor": 1_000})
    await m.day(8)
    card = await m.shop.post("/v1/cards", {"customer_id": HANAKO, "form_token": "tok_visa"})
    await m.until(await m.charge(8_800, {"source": "card", "instrument_id": card["card_id"]}), "CAPTURED")
    await m.day(10)
    body = {
        "customer_id": HANAKO, "marketplace_id": FURIMA, "seller_id": TARO, "amount_minor": 6_000,
        "sources": [{"source": "funds"}],
    }  # fmt: skip
    parked = await m.shop.post("/v1/escrows", body)
    await m.day(12)
    await m.shop.post(f"/v1/escrows/{parked['payment_id']}/capture", {"fee_minor": 600}, status=200)
    await m.day(14)
    credit_line = {"owner": HANAKO, "account_type": "credit", "overdraft_limit_minor": 100_000}
    await m.shop.post("/v1/ledger/accounts", credit_line)
    await m.charge(7_700, {"source": "credit"})


async def last_days(m: Month) -> None:
    """A withdrawal that comes back, an expiry, a repayment, rent, and the merchant's money."""
    await m.day(15)
    account_id = await m.bank_account("customer", TARO, COMES_BACK, "スズキ タロウ")
    body = {"customer_id": TARO, "bank_account_id": account_id, "amount_minor": 10_000}
    withdrawal = await m.shop.post("/v1/withdrawals", body)
    await m.until(withdrawal, "CAPTURED")
    await m.day(18)
    await m.until(withdrawal, "RETURNED")
    await m.day(20)
    await m.day(22)
    await m.shop.post("/v1/repayments", {"customer_id": HANAKO, "amount_minor": 2_700, "source": "funds"})
    await m.day(25)
    rent = line("5230", "DEBIT", 110_000) | {"tax_code": "in10", "tax_included": True}
    await m.journal(25, "4月分家賃", rent, line("1110", "CREDIT", 110_000))
    await m.day(28)
    await m.shop.post("/v1/merchant-fees", {"merchant_id": KISSATEN, "amount_minor": 715})
    await m.shop.post("/v1/clearings", {"merchant_id": KISSATEN, "amount_minor": 17_785})
    account_id = await m.bank_account("merchant", KISSATEN, "7654321", "キツサテン")
    payout = {"merchant_id": KISSATEN, "bank_account_id": account_id, "amount_minor": 17_785}
    await m.until(await m.shop.post("/v1/payouts", payout), "CAPTURED")


# -- the proof ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def month(database_url: str, tmp_path: Path) -> AsyncIterator[Month]:
    """The platform with its parties outside."""
    async with opened(database_url, tmp_path) as town:
        yield Month(town)


def require_page_is_sound() -> None:
    """The page's trial balance is the sum of its own journals, and its sheets are that trial balance's."""
    debits, credits_ = Counter[str](), Counter[str]()
    for (_, entries), times in journals_of_the_page().items():
        assert sum(amount for _, amount in entries) == 0
        for account, amount in entries:
            (debits if amount > 0 else credits_)[account] += times * abs(amount)
    *rows, total = [(account, yen(d), yen(c), yen(b)) for account, _, d, c, b in table("The trial balance")]
    assert [row[0] for row in rows] == sorted({*debits, *credits_})
    for account, debit, credit, balance in rows:
        assert (debit, credit, balance) == (debits[account], credits_[account], debit - credit), account
    assert total == ("sum", sum(row[1] for row in rows), sum(row[2] for row in rows), 0)


def test_the_page_adds_up() -> None:
    require_page_is_sound()


async def test_the_month_comes_out_as_it_was_worked_by_hand(month: Month) -> None:
    await first_days(month)
    await sales(month)
    await last_days(month)
    expected = journals_of_the_page()
    accruals = {key for key in expected if "決算整理" in _told_of(key)}
    await month.eventually(month.booked, Counter({key: n for key, n in expected.items() if key not in accruals}))
    await month.day(1, month=5)
    await month.eventually(month.close, 200)
    assert await month.booked() == expected
    assert (await month.shop.get("/v1/books/unposted-events"))["events"] == []
    await _compare_balances(month.shop)
    await _compare_sheets(month.shop)
    await _compare_tax(month.shop)
    assert await month.town.findings() == []


def _told_of(key: tuple[str, Entries]) -> str:
    """What the page says of a journal."""
    return " ".join(
        what
        for day, what, debit, credit in table("The journals")
        if (day, tuple(sorted([*side(debit), *((a, -n) for a, n in side(credit))]))) == key
    )


async def _compare_balances(shop: Shopfront) -> None:
    told = await shop.get("/v1/books/trial-balance", month=MONTH)
    assert [
        (line["account"], line["name_ja"], line["debit_minor"], line["credit_minor"], line["closing_minor"])
        for line in told["lines"]
    ] == [(account, name, yen(d), yen(c), yen(b)) for account, name, d, c, b in table("The trial balance")[:-1]]
    for line in told["lines"]:
        ledger = await shop.get(
            f"/v1/books/accounts/{line['account']}/entries", since=f"{MONTH}-01", until=f"{MONTH}-30"
        )
        assert (ledger["opening_minor"], ledger["lines"][-1]["balance_minor"]) == (0, line["closing_minor"])


async def _compare_sheets(shop: Shopfront) -> None:
    sheet = await shop.get("/v1/books/balance-sheet", since=MONTH)
    lines = [(line["account"] or "profit", line["section"], line["amounts_minor"][0]) for line in sheet["lines"]]
    page = [(account, section, yen(amount)) for account, section, amount in table("The balance sheet")]
    assert lines == [line for line in page if line[0] != "sum"]
    sums = {"asset": "assets_minor", "liability": "liabilities_minor", "equity": "equity_minor"}
    assert [line[2] for line in page if line[0] == "sum"] == [sheet[name][0] for name in sums.values()]
    income = await shop.get("/v1/books/income-statement", since=MONTH)
    lines = [(line["account"], line["section"], line["amounts_minor"][0]) for line in income["lines"]]
    page = [(account, section, yen(amount)) for account, section, amount in table("The income statement")]
    assert lines == [line for line in page if line[0] not in ("sum", "profit")]
    assert [line[2] for line in page if line[0] in ("sum", "profit")] == [
        income[name][0] for name in ("income_minor", "expense_minor", "profit_minor")
    ]


async def _compare_tax(shop: Shopfront) -> None:
    told = await shop.get("/v1/books/consumption-tax", since=f"{MONTH}-01", until=f"{MONTH}-30")
    lines = {line["tax_code"]: (line["net_minor"], line["tax_minor"]) for line in told["lines"] if line["tax_minor"]}
    assert lines == {code: (yen(net), yen(tax)) for code, net, tax in table("Consumption tax")}
    assert told["payable_minor"] == -9_917
