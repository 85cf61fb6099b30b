"""The simulated bank takes files over HTTP, tells of them, and misbehaves when it is told to."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from kessai.sdk import zengin
from kessai.simulators.bank import KEY, BankSimulator
from kessai.simulators.bank.books import CLIENT_BALANCE
from tests.simulators.bank_files import DAY, OPEN, Hours, account, debits, opened, payments, require_kept

FIRST, SECOND = "1000001", "1000002"
AT = {"at": OPEN.isoformat()}


@pytest.fixture
async def bank() -> AsyncIterator[tuple[BankSimulator, httpx.AsyncClient]]:
    hours = Hours()
    simulator = BankSimulator(now=hours)
    for number in (FIRST, SECOND):
        simulator.books.check(account(number))
        simulator.books.agree(number, account(number))
    await simulator.start()
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=simulator.url, headers=headers, trust_env=False) as client:
        yield simulator, client
    await simulator.stop()


async def test_a_file_is_handed_in_inquired_and_carried_out(bank: tuple[BankSimulator, httpx.AsyncClient]) -> None:
    simulator, client = bank
    assert (await client.get("/v1/files/a")).json() == {"id": "a", "code": "file_not_found"}
    sent = (await client.put("/v1/files/a", content=payments(FIRST, "7777777"))).json()
    assert (sent["id"], sent["state"], sent["lines"], sent["day"]) == ("a", "accepted", 2, "2026-04-30")
    assert (await client.get("/v1/files/a")).json() == sent
    assert (await client.put("/v1/files/a", content=b"x")).json() == {"id": "a", "code": "id_reused"}
    told = (await client.get("/v1/file-entries", params={"after": 3, **AT})).json()
    assert told["after"] == 3
    assert [(each["position"], each["line"], each["state"], each["on"]) for each in told["entries"]] == [
        (4, 1, "done", "2026-04-30"),
        (5, 2, "failed", None),
    ]
    lines = (await client.get("/v1/files/a/lines", params={"after": 1})).json()
    assert [(each["line"], each["state"], each["code"]) for each in lines["lines"]] == [(2, "failed", "no_account")]
    require_kept(simulator.books)


async def test_a_days_statement_is_there_once_the_day_is_over(bank: tuple[BankSimulator, httpx.AsyncClient]) -> None:
    _, client = bank
    await client.put("/v1/files/a", content=payments(FIRST, SECOND))
    early = await client.get("/v1/statements/2026-04-30", params=AT)
    assert (early.status_code, early.json()) == (404, {"id": "2026-04-30", "code": "statement_not_ready"})
    next_day = {"at": "2026-05-01T00:00:00+09:00"}
    day = (await client.get("/v1/statements/2026-04-30", params=next_day)).json()
    assert (day["opening"], day["closing"]) == (CLIENT_BALANCE, CLIENT_BALANCE - 2_001)
    assert [(each["id"], each["amount"]) for each in day["lines"]] == [("a-000001", -1_000), ("a-000002", -1_001)]
    before = (await client.get("/v1/statements/2026-04-29")).json()
    assert (before["opening"], before["closing"], before["lines"]) == (CLIENT_BALANCE, CLIENT_BALANCE, [])


async def test_a_debit_files_results_are_fetched(bank: tuple[BankSimulator, httpx.AsyncClient]) -> None:
    _, client = bank
    await client.post("/v1/files", params={"id": "d"}, content=debits(FIRST, "7777777"))
    assert (await client.get("/v1/files/d/results")).json() == {"id": "d", "code": "results_not_ready"}
    file = zengin.read((await client.get("/v1/files/d/results", params=AT)).content, near=DAY)
    assert [each.result for each in file.lines] == [0, 2]


async def test_a_line_is_called_back_by_its_id_and_what_it_is(bank: tuple[BankSimulator, httpx.AsyncClient]) -> None:
    _, client = bank
    await client.put("/v1/files/a", content=payments(FIRST))
    meant = {"customer_code_1": "0000000001", "customer_code_2": "0000000000", "amount": 1_000}
    other = await client.put("/v1/recalls/a-000001", json={**meant, "amount": 1})
    assert (other.status_code, other.json()) == (404, {"id": "a-000001", "code": "line_not_found"})
    for _ in range(2):
        asked = await client.put("/v1/recalls/a-000001", json=meant)
        assert asked.json() == {"id": "a-000001", "state": "asked"}
    entries = (await client.get("/v1/file-entries")).json()["entries"]
    assert [each["state"] for each in entries] == ["accepted", "accepted", "recalled"]
    records = (await client.post("/v1/records", json={"ids": ["a-000001", "a-000002"]})).json()["records"]
    assert [(each["id"], each["state"], each["booked"]) for each in records] == [("a-000001", "returned", 0)]


async def test_fates_are_told_over_http(bank: tuple[BankSimulator, httpx.AsyncClient]) -> None:
    _, client = bank
    for path, body in [
        ("/control/file-fates", {"about": "b", "refuse": "not_today"}),
        ("/control/line-fates", {"about": "a", "line": 2, "state": "refused", "code": "limit_exceeded"}),
        ("/control/line-fates", {"customer_code": "0000000001", "state": "returned", "return_after_days": 1}),
    ]:
        assert (await client.post(path, json=body)).status_code == 200
    assert (await client.post("/control/line-fates", json={"what": 1})).status_code == 400
    await client.put("/v1/files/a", content=payments(FIRST, SECOND))
    assert (await client.put("/v1/files/b", content=payments(FIRST))).json()["code"] == "not_today"
    await client.post("/control/clock", json={"at": "2026-05-01T12:00:00+09:00"})
    await client.post("/control/line-results-again", json={"file_id": "a", "line": 1})
    entries = (await client.get("/v1/file-entries")).json()["entries"]
    assert [(each["line"], each["state"]) for each in entries if each["file_id"] == "a"] == [
        (0, "accepted"),
        (1, "accepted"),
        (2, "refused"),
        (1, "done"),
        (1, "returned"),
        (1, "returned"),
    ]


async def test_an_account_that_was_closed_takes_nothing(bank: tuple[BankSimulator, httpx.AsyncClient]) -> None:
    _, client = bank
    place = {"bank_code": "0009", "branch_code": "123", "deposit_type": "ordinary", "number": FIRST, "holder": "X"}
    assert (await client.post("/control/close-account", json=place)).status_code == 200
    await client.put("/v1/files/a", content=payments(FIRST))
    entries = (await client.get("/v1/file-entries", params=AT)).json()["entries"]
    assert (entries[-1]["state"], entries[-1]["code"]) == ("failed", "account_closed")


async def test_faults_spoil_what_is_said_of_files(bank: tuple[BankSimulator, httpx.AsyncClient]) -> None:
    _, client = bank
    for preset, verb in [("drop_after", "file"), ("garbage_after", "file_entries"), ("fail_before", "statement_day")]:
        await client.post("/control/faults", json={"preset": preset, "verb": verb})
    await client.post("/control/faults", json={"verb": "file", "about": "b", "refuse": "limit_exceeded"})
    with pytest.raises(httpx.RemoteProtocolError):
        await client.put("/v1/files/a", content=payments(FIRST))
    assert (await client.get("/v1/files/a")).json()["state"] == "accepted"
    assert b"\x00" in (await client.get("/v1/file-entries")).content
    assert (await client.get("/v1/statements/2026-04-01")).status_code == 503
    assert (await client.put("/v1/files/b", content=payments(SECOND))).json()["state"] == "refused"
    assert (await client.put("/v1/files/no%20name", content=b"")).status_code == 400


def test_a_thousand_lines_are_told_of_in_pages() -> None:
    hours = Hours()
    books = opened(hours, FIRST)
    books.files.take("a", payments(*[FIRST] * 1_000))
    hours.at = OPEN
    books.settle_due()
    positions = [each.position for after in range(0, 2_001, 500) for each in books.files.feed[after : after + 500]]
    assert positions == list(range(1, 2_002))
    require_kept(books)
