"""The day that `kessai demo` plays, over HTTP and with the simulated parties: its states, and everybody's amounts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kessai.apps.demo.diary import BANK, BANK_FEE, CARD_COMPANY, HANAKO, MARKET, SHOP, TARO
from kessai.apps.demo.parties import BankCounter, CardCompany
from kessai.services.payment.service import desk
from kessai.services.payment.workflows import notes
from tests.journeys.town import Town, opened


@pytest.fixture
async def town(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    """A town in which a lost answer is given up on sooner than in life."""
    monkeypatch.setattr(notes, "PAUSE_S_MAX", 0.1)
    monkeypatch.setattr(notes, "ANSWER_S", 3.5)
    monkeypatch.setattr(desk, "ANSWER_WAIT_S", 4.0)
    async with opened(database_url, tmp_path) as found:
        yield found


async def test_the_demonstrated_day_has_the_states_and_amounts_that_it_must_have(town: Town) -> None:
    diary = await town.played()

    assert await asyncio.to_thread(diary.courses) == {
        "top-up by bank": ["PENDING", "REQUIRES_ACTION", "CAPTURED"],
        "transfer": ["PENDING", "CAPTURED"],
        "mixed charge": ["PENDING", "CAPTURED"],
        "escrow": ["PENDING", "AUTHORIZED", "CAPTURED"],
        "lost answer": ["PENDING", "UNKNOWN", "CAPTURED"],
        "withdrawal": ["PENDING", "IN_FLIGHT", "CAPTURED", "RETURNED"],
        "kept hold": ["PENDING", "AUTHORIZED", "CANCELED"],
    }
    mixed = await asyncio.to_thread(diary.payment, diary.payments["mixed charge"])
    assert [(part["source"], part["amount_minor"]) for part in mixed["funding"]] == [
        ("free_points", 200),
        ("funds", 1_800),
        ("card", 3_000),
    ]
    assert mixed["refunded_minor"] == 5_000

    expected = {
        (HANAKO, "free_points"): 200,
        (HANAKO, "funds"): 40_000,
        (HANAKO, "paid_points"): 700,
        (TARO, "free_points"): 0,
        (TARO, "funds"): 7_000,
        (TARO, "sales"): 3_600,
        (SHOP, "unsettled_sales"): 10_100,
        (MARKET, "unsettled_sales"): 400,
        (CARD_COMPANY, "card_receivable"): -6_000,
        (BANK, "bank_in_transit"): -30_000,
        (BANK_FEE, "fee_income"): 200,
    }
    assert diary.told == expected
    held = {key: await asyncio.to_thread(diary.balance, *key) for key in expected}
    assert held == expected

    # The parties' own statements, and the proof that compares every instruction with them.
    assert await asyncio.to_thread(CardCompany(town.cards.url).taken) == 6_000
    assert await asyncio.to_thread(BankCounter(town.bank.url).received) == 30_000
    # Nothing differs but the hold that the card company kept, until the tracer has had it let go.
    found = {(each.invariant, each.table) for each in await town.findings()}
    assert found <= {("the card gateway's books agree with ours", "cardgateway.card_operation")}
