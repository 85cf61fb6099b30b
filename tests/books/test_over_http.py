"""The accounting verbs over HTTP: what is odd is refused with a code, never an accident."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
import pytest

from kessai.apps.wiring import Platform, prepare
from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.config import Settings
from kessai.foundation.vault import new_vault_key
from kessai.services.books.api.accounting import LockPeriod
from kessai.services.identity.api import ApproveApproval, content_digest

FIRST, LAST = "0001-01-01", "9999-12-31"
LINES = [
    {"account": "1110", "side": "DEBIT", "amount_minor": 10**16},
    {"account": "4910", "side": "CREDIT", "amount_minor": 10**16},
]


@pytest.fixture
async def platform(database_url: str, tmp_path: Path) -> AsyncIterator[tuple[Platform, str]]:
    """A platform on which two persons stand for a lock, and the secret of its first key."""
    text = resources.files("kessai.config").joinpath("accruals.toml").read_text(encoding="utf-8")
    (tmp_path / "accruals.toml").write_text(text.replace("needs_approval = false", "needs_approval = true"))
    settings = Settings(sandbox=True, vault_keys=new_vault_key(), accruals=str(tmp_path / "accruals.toml"))
    secret = await prepare(database_url, settings)
    assert secret is not None
    running = Platform(database_url, settings, sandbox=True)
    await running.open()
    yield running, secret
    await running.close()


@pytest.fixture
async def http(platform: tuple[Platform, str]) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a key that may do everything."""
    running, secret = platform
    transport = httpx.ASGITransport(app=running.rest())
    headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": "one"}
    async with httpx.AsyncClient(transport=transport, base_url="http://kessai.test", headers=headers) as client:
        yield client


def cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


GETS: list[tuple[str, dict[str, Any], str | None]] = [
    ("trial-balance", {"since": FIRST, "until": LAST}, None),
    ("trial-balance", {"month": "1900-01"}, None),
    ("trial-balance", {"month": "2199-12"}, None),
    ("trial-balance", {"month": "2026-13"}, "invalid_request"),
    ("trial-balance", {"since": LAST, "until": FIRST}, "range_reversed"),
    ("accounts/1110/entries", {"since": FIRST, "until": LAST}, None),
    ("accounts/1110/entries", {"since": FIRST, "until": LAST, "asset": "GOLD"}, None),
    ("accounts/%00/entries", {"since": FIRST, "until": LAST}, "invalid_request"),
    ("accounts/0/entries", {"since": FIRST, "until": LAST}, "account_not_found"),
    ("accounts/1110/entries", {"since": FIRST, "until": LAST,
                               "cursor": cursor('["2026-01-01","00000000000000000000000000000000",2147483648,0]')},
     "bad_cursor"),
    ("accounts/1110/entries", {"since": FIRST, "until": LAST,
                               "cursor": cursor('["9999-12-31","ffffffffffffffffffffffffffffffff",2147483647,0]')},
     None),
    ("journals", {"since": FIRST, "until": LAST}, None),
    ("journals", {"since": FIRST, "until": LAST, "cursor": cursor('["2026-01-01","x"]')}, "bad_cursor"),
    ("unposted-events", {"cursor": cursor('["2026-01-01T00:00:00Z","ledger/1/0"]')}, None),
    ("unposted-events", {"cursor": cursor('["2026-01-01T00:00:00","x"]')}, "bad_cursor"),
    ("unposted-events", {"cursor": cursor('["2026-01-01T00:00:00Z","\\u0000"]')}, "bad_cursor"),
    ("balance-sheet", {"since": "1900-01", "until": "1902-12"}, None),
    ("income-statement", {"since": "2199-12"}, None),
    ("consumption-tax", {"since": FIRST, "until": LAST}, None),
    ("periods", {"since": "2197-01", "until": "2199-12"}, None),
    ("periods/1900-01", {}, None),
    ("journals/jnl_00000000000000000000000000000000", {}, "journal_not_found"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "query", "code"), GETS)
async def test_what_is_asked_at_the_ends_of_time_is_answered(
    http: httpx.AsyncClient, path: str, query: dict[str, Any], code: str | None
) -> None:
    response = await http.get(f"/v1/books/{path}", params=query)
    assert (response.status_code < 500, response.json().get("code")) == (True, code), response.text


POSTS: list[tuple[str, dict[str, Any], str | None]] = [
    ("journals", {"booked_on": LAST, "description": "x", "lines": LINES}, "future_date"),
    ("journals", {"booked_on": FIRST, "description": "x", "lines": LINES}, "account_unknown"),
    ("journals", {"booked_on": "2026-01-01", "description": "\u0000", "lines": LINES}, "invalid_request"),
    ("journals", {"booked_on": "2026-01-01", "description": "x", "lines": LINES * 250}, None),
    ("periods/2199-12/close", {}, "period_not_ended"),
    ("periods/2199-12/accrue", {}, "period_not_ended"),
    ("periods/2199-12/lock", {}, "period_open"),
    ("periods/1900-01/close", {"reason": "before everything"}, "period_before_books"),
    ("periods/1900-01/accrue", {}, "period_before_books"),
    (
        "journals",
        {"booked_on": "2026-01-01", "description": "x", "lines": [each | {"asset": "ZZZ"} for each in LINES]},
        "unknown_asset",
    ),
    ("unposted-events/repost", {"event_ids": ["", "x"]}, None),
    ("unposted-events/repost", {"event_ids": ["\u0000"]}, "invalid_request"),
]


@pytest.mark.parametrize(("path", "body", "code"), POSTS)
async def test_what_is_odd_is_refused(
    http: httpx.AsyncClient, path: str, body: dict[str, Any], code: str | None
) -> None:
    response = await http.post(f"/v1/books/{path}", json=body)
    assert (response.status_code < 500, response.json().get("code")) == (True, code), response.text


async def test_a_month_is_locked_with_the_approval_of_a_second_person(
    http: httpx.AsyncClient, platform: tuple[Platform, str]
) -> None:
    month = "2020-01"  # before everything: nothing is on its way
    first = {"booked_on": f"{month}-15", "description": "the first entry", "lines": LINES}
    assert (await http.post("/v1/books/journals", json=first)).status_code == 201
    assert (await http.post(f"/v1/books/periods/{month}/close", json={})).json()["state"] == "CLOSED"
    lock = f"/v1/books/periods/{month}/lock"
    alone = await http.post(lock, json={"reason": "audited"})
    assert (alone.status_code, alone.json()["code"]) == (422, "approval_required")
    digest = content_digest(LockPeriod(month=month, reason="audited"))
    asked = {
        "subject": f"period:{month}", "action": "books.lock_period", "content_sha256": digest, "reason": "year's end",
    }  # fmt: skip
    approval = (await http.post("/v1/identity/approvals", json=asked)).json()["approval_id"]
    body = {"reason": "audited", "approval_id": approval}
    early = await http.post(lock, json=body)
    assert (early.status_code, early.json()["code"]) == (422, "approval_not_approved")
    token = enter_call(Call(caller=f"key_{2:032x}"))
    try:
        await platform[0].identity.approve(ApproveApproval(approval_id=approval, content_sha256=digest))
    finally:
        leave_call(token)
    other = await http.post(lock, json=body | {"reason": "not audited"})
    assert (other.status_code, other.json()["code"]) == (422, "approval_content_differs")
    done = await http.post(lock, json=body)
    assert (done.status_code, done.json()["state"]) == (200, "LOCKED")
    reopened = await http.post(f"/v1/books/periods/{month}/reopen", json={"reason": "no"})
    assert (reopened.status_code, reopened.json()["code"]) == (409, "period_locked")


async def test_a_key_books_closes_and_reads_within_its_scopes(http: httpx.AsyncClient) -> None:
    made = await http.post("/v1/identity/keys", json={"name": "clerk", "scopes": ["books:read", "books:write"]})
    headers = {"Authorization": f"Bearer {made.json()['secret']}"}
    assert (await http.get("/v1/books/trial-balance?month=2026-01", headers=headers)).status_code == 200
    refused = await http.post("/v1/books/periods/2026-01/close", json={}, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "missing_scope")


async def test_the_same_journal_sent_again_is_a_replay(http: httpx.AsyncClient) -> None:
    body = {"booked_on": "2026-01-01", "description": "x", "lines": LINES}
    first, again = [await http.post("/v1/books/journals", json=body) for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    other = await http.post("/v1/books/journals", json=body | {"description": "y"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
