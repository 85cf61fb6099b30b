"""The simulated bank: books that balance, survive a restart, and can be told what is to become of orders."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kessai.simulators.bank import KEY, BankSimulator, Books, Declined, Fate
from kessai.simulators.bank.books import CLIENT_BALANCE
from kessai.simulators.bank.lines import Account

NOW = datetime(2026, 4, 1, tzinfo=UTC)


def _account(number: str = "1234567", holder: str = "ﾔﾏﾀﾞ ﾀﾛｳ") -> Account:
    return Account(bank_code="0005", branch_code="001", deposit_type="ordinary", number=number, holder=holder)


def _opened(books: Books, number: str = "1234567") -> Account:
    account = _account(number)
    books.check(account)
    books.agree(f"mandate of {number}", account)
    return account


FATES = st.builds(
    Fate,
    state=st.sampled_from(["done", "failed", "returned"]),
    after_s=st.integers(0, 10),
    return_after_s=st.integers(0, 10),
)
ORDERS = st.lists(
    st.tuples(st.sampled_from(["transfer", "debit"]), st.integers(1, 600_000), FATES, st.integers(0, 8)), max_size=20
)


@given(ORDERS)
@settings(deadline=None)
def test_whatever_becomes_of_orders_no_money_is_made_or_lost(orders: list[tuple[Any, int, Fate, int]]) -> None:
    moment = NOW
    books = Books(lambda: moment)
    account = _opened(books)
    for number, (kind, amount, fate, pause_s) in enumerate(orders):
        books.foresee(fate)
        books.take(kind, f"order {number}", account, amount, "mandate of 1234567")
        moment += timedelta(seconds=pause_s)
        books.settle_due()
        assert books.total == CLIENT_BALANCE + books.brought_in
        assert books.client_balance == CLIENT_BALANCE + sum(line.amount for line in books.statement())
    moment += timedelta(days=1)
    books.settle_due()
    assert books.on_its_way == 0
    assert all(order.state != "processing" for order in books.orders.values())


def test_an_order_is_taken_once_for_its_id() -> None:
    books = Books(lambda: NOW)
    account = _opened(books)
    first = books.take("transfer", "a", account, 100, None)
    assert books.take("transfer", "a", account, 100, None) is first
    with pytest.raises(Declined) as caught:
        books.take("transfer", "a", account, 101, None)
    assert (caught.value.code, caught.value.status) == ("id_reused", 409)
    assert [line.amount for line in books.statement()] == [-100]


def test_what_was_refused_stays_refused() -> None:
    books = Books(lambda: NOW)
    account = _opened(books)
    for refuse in ("limit_exceeded", None):
        with pytest.raises(Declined, match="limit_exceeded"):
            books.take("transfer", "a", account, 100, None, refuse)
    assert books.find("transfer", "a").state == "failed"
    assert books.statement() == []


def test_the_statement_is_kept_by_business_day_in_tokyo() -> None:
    moment = datetime(2026, 4, 1, 14, 59, tzinfo=UTC)
    books = Books(lambda: moment)
    account = _opened(books)
    books.take("transfer", "a", account, 100, None)
    moment += timedelta(minutes=2)
    books.take("transfer", "b", account, 200, None)
    assert [line.id for line in books.statement("2026-04-01")] == ["a"]
    assert [line.id for line in books.statement("2026-04-02")] == ["b"]
    assert [line.balance for line in books.statement()] == [CLIENT_BALANCE - 100, CLIENT_BALANCE - 300]


def test_books_survive_a_restart_and_a_line_that_was_cut_short(tmp_path: Path) -> None:
    path, moment = tmp_path / "bank.jsonl", NOW
    books = Books(lambda: moment, path)
    account = _opened(books)
    books.foresee(Fate(state="returned", return_after_s=60))
    books.take("transfer", "a", account, 100, None)
    books.settle_due()
    books.take("debit", "b", account, 30, "mandate of 1234567")
    before = (books.client_balance, books.total, books.feed, books.statement(), books.orders)
    books.close()
    with path.open("ab") as file:
        file.write(b'{"do":"order","id":"c"')
    again = Books(lambda: moment, path)
    assert (again.client_balance, again.total, again.feed, again.statement(), again.orders) == before
    moment += timedelta(hours=1)
    again.settle_due()
    assert {order.id: order.state for order in again.orders.values()} == {"a": "returned", "b": "done"}
    again.close()
    once_more = Books(lambda: moment, path)
    assert once_more.orders == again.orders
    once_more.close()


@pytest.fixture
async def bank() -> AsyncIterator[tuple[BankSimulator, httpx.AsyncClient]]:
    simulator = BankSimulator(now=lambda: NOW)
    await simulator.start()
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=simulator.url, headers=headers, trust_env=False) as client:
        yield simulator, client
    await simulator.stop()


ORDER = {
    "account": {
        "bank_code": "0005",
        "branch_code": "001",
        "deposit_type": "ordinary",
        "number": "1234567",
        "holder": "X",
    },
    "amount": 100,
}


async def test_it_is_told_over_http_what_to_do_wrong(bank: tuple[BankSimulator, httpx.AsyncClient]) -> None:
    _, client = bank
    told = await client.post("/control/faults", json={"preset": "drop_after", "verb": "transfer"})
    assert told.status_code == 200
    with pytest.raises(httpx.RemoteProtocolError):
        await client.put("/v1/transfers/a", json=ORDER)
    assert (await client.get("/v1/transfers/a")).json()["state"] == "failed"  # there is no such account
    assert (await client.get("/control/requests")).json()["requests"] == [
        {"verb": "transfer", "id": "a"},
        {"verb": "inquire", "id": "a"},
    ]
    assert (await client.post("/control/faults", json={"preset": "drop_after", "reply": "what?"})).status_code == 400


async def test_fates_clock_and_feed_are_told_over_http(bank: tuple[BankSimulator, httpx.AsyncClient]) -> None:
    _, client = bank
    await client.post("/control/accounts", json=ORDER["account"])
    await client.post("/control/fates", json={"state": "returned", "code": "account_closed", "return_after_s": 60})
    assert (await client.put("/v1/transfers/a", json=ORDER)).json()["state"] == "processing"
    assert [each["state"] for each in (await client.get("/v1/results")).json()["entries"]] == ["done"]
    later = (NOW + timedelta(minutes=2)).isoformat()
    await client.post("/control/clock", json={"at": later})
    await client.post("/control/results-again", json={"id": "a"})
    entries = (await client.get("/v1/results", params={"after": 1})).json()["entries"]
    assert [(each["state"], each["code"]) for each in entries] == [("returned", "account_closed")] * 2


async def test_without_its_credential_it_says_nothing(bank: tuple[BankSimulator, httpx.AsyncClient]) -> None:
    _, client = bank
    answer = await client.get("/v1/statement", headers={"authorization": "Bearer x"})
    assert (answer.status_code, answer.json()) == (401, {"code": "unauthorized"})


async def test_down_every_line_is_cut_until_it_is_up(bank: tuple[BankSimulator, httpx.AsyncClient]) -> None:
    _, client = bank
    await client.post("/control/down", json={"down": True})
    with pytest.raises(httpx.TransportError):
        await client.get("/v1/statement")
    await client.post("/control/down", json={"down": False})
    assert (await client.get("/v1/statement")).json() == {"after": 0, "lines": [], "balance": CLIENT_BALANCE}
