"""Reports through the public HTTP door."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx
import pypdf
import pytest

from kessai.apps.wiring import Platform, prepare
from kessai.foundation.config import Settings
from kessai.foundation.db import Database
from tests.books.town import town

APRIL = datetime(2024, 4, 1, 3, tzinfo=UTC)


@pytest.fixture
async def client(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    """A platform whose books have a few journals."""
    secret = await prepare(database.dsn, Settings())
    async with town(database, at=APRIL) as t:
        await t.book.open("cus:1/funds")
        await t.book.move("internal:bank_deposit/deposit 1_000 > cus:1/funds 1_000", kind="top_up")
        await t.book.move("cus:1/funds 300 > mer:1/unsettled_sales 300", kind="charge")
        await t.heard()
    platform = Platform(database.dsn, Settings())
    await platform.open()
    headers = {"Authorization": f"Bearer {secret}"}
    transport = httpx.ASGITransport(app=platform.rest())
    async with httpx.AsyncClient(transport=transport, base_url="http://kessai.test", headers=headers) as opened:
        yield opened
    await platform.close()


async def test_a_report_is_had_by_name_days_format_and_filters(client: httpx.AsyncClient) -> None:
    asked = {"since": "2024-04-01", "until": "2024-04-30", "format": "csv", "filters": ["account:2110", "asset:JPY"]}
    answer = (await client.get("/v1/books/reports/general_ledger", params=asked)).json()
    assert answer["file_name"] == "general_ledger_2024-04-01_2024-04-30.csv"
    assert (answer["media_type"], answer["base64"], answer["rows"]) == ("text/csv; charset=utf-8", False, 2)
    content = answer["content"].encode()
    assert content.decode().splitlines()[0].startswith("booked_on,journal_id,")
    assert (answer["bytes"], answer["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())


async def test_a_binary_form_comes_as_base64(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/v1/books/reports/trial_balance?day=2024-04-30&format=pdf")).json()
    content = base64.b64decode(answer["content"])
    assert (answer["base64"], answer["sha256"]) == (True, hashlib.sha256(content).hexdigest())
    assert "合計残高試算表" in pypdf.PdfReader(io.BytesIO(content)).pages[0].extract_text()


async def test_every_report_can_be_had_in_every_form(client: httpx.AsyncClient) -> None:
    offers = (await client.get("/v1/books/reports")).json()["reports"]
    assert {"journal", "trial_balance", "funds_transfer_day", "prepaid_ledger", "crypto_diary"} <= {
        each["name"] for each in offers
    }
    for offer in offers:
        for form in offer["formats"]:
            asked = {"day": "2024-04-30", "format": form, "filters": [f"{n}:2110" for n in offer["required_filters"]]}
            answer = await client.get(f"/v1/books/reports/{offer['name']}", params=asked)
            assert answer.status_code == 200 or answer.json()["code"] == "statutory_day_not_made", answer.text


REFUSED = [
    ("gossip?day=2024-04-01", 404, "report_not_found"),
    ("trial_balance?day=2024-04-01&format=papyrus", 400, "unknown_format"),
    ("trial_balance?day=2199-01-01", 400, "future_date"),
    ("trial_balance?day=yesterday", 400, "invalid_request"),
    ("trial_balance?day=2024-04-01&filters=shoe", 400, "invalid_request"),
    ("trial_balance?day=2024-04-01&filters=shoe:42", 400, "filter_unknown"),
]


async def test_what_cannot_be_had_is_told_by_its_code(client: httpx.AsyncClient) -> None:
    for path, status, code in REFUSED:
        answer = await client.get(f"/v1/books/reports/{path}")
        assert (answer.status_code, answer.json()["code"]) == (status, code), path
