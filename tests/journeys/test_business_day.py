"""A whole business day over HTTP: what everybody has in the evening is what they had, spent and received."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.journeys.shopfront import Shopfront

CAFE, BOOKS = "mer:cafe", "mer:books"


def charge(customer: str, merchant: str, amount: int, *sources: str, **more: Any) -> dict[str, Any]:
    """The body of a charge."""
    named = {"sources": [{"source": source} for source in sources]} if sources else {}
    return {"customer_id": customer, "merchant_id": merchant, "amount_minor": amount, **named, **more}


async def test_a_business_day_ends_with_every_yen_accounted_for(shop: Shopfront) -> None:
    aiko = await shop.customer("aiko", funds=10_000, points=300)
    ben = await shop.customer("ben", funds=2_000)

    # Breakfast: paid at once, points first.
    breakfast = await shop.post("/v1/charges", charge(aiko, CAFE, 800, "free_points", "funds", capture=True))
    assert (breakfast["state"], breakfast["funding"]) == (
        "CAPTURED",
        [
            {"source": "free_points", "amount_minor": 300, "returned_minor": 0},
            {"source": "funds", "amount_minor": 500, "returned_minor": 0},
        ],
    )

    # Books: ordered, shipped in two parcels, the third volume never came.
    order = await shop.post("/v1/charges", charge(aiko, BOOKS, 3_000, "funds", reference="order 17"))
    assert order["state"] == "AUTHORIZED"
    assert (await shop.balances(aiko))["funds"] == (9_500, 6_500)
    path = f"/v1/charges/{order['payment_id']}"
    first = await shop.post(f"{path}/capture", {"amount_minor": 1_000, "final": False}, status=200)
    assert first["state"] == "PARTIALLY_CAPTURED"
    second = await shop.post(f"{path}/capture", {"amount_minor": 1_200}, status=200)
    assert (second["state"], second["captured_minor"]) == ("CAPTURED", 2_200)

    # One volume was torn.
    refund = await shop.post(f"{path}/refunds", {"amount_minor": 400, "reason": "torn"})
    assert (refund["state"], refund["payment_id"]) == ("SUCCEEDED", order["payment_id"])
    assert await shop.get(f"/v1/refunds/{refund['refund_id']}") == refund

    # Ben reserves a table, then does not come; Aiko pays him back for lunch.
    table = await shop.post("/v1/charges", charge(ben, CAFE, 1_500, "funds"))
    await shop.post(f"/v1/charges/{table['payment_id']}/cancel", {}, status=200)
    await shop.post("/v1/transfers", {"customer_id": aiko, "recipient_id": ben, "amount_minor": 900})

    # Ben cannot afford the encyclopaedia.
    answer = await shop.post("/v1/charges", charge(ben, BOOKS, 90_000), status=422)
    assert answer["code"] == "insufficient_funds"

    assert await shop.balances(aiko) == {"free_points": (0, 0), "funds": (6_800, 6_800)}
    assert (await shop.balances(ben))["funds"] == (2_900, 2_900)
    assert (await shop.balances(CAFE))["unsettled_sales"][0] == 800
    assert (await shop.balances(BOOKS))["unsettled_sales"][0] == 1_800
    totals = (await shop.get("/v1/ledger/totals"))["totals"]
    assert sum(each["balance_minor"] for each in totals if each["asset"] == "JPY") == 0
    assert all(each["held_minor"] == 0 for each in totals)


async def test_a_client_that_repeats_itself_pays_once(shop: Shopfront) -> None:
    aiko = await shop.customer("aiko", funds=10_000)
    body = charge(aiko, CAFE, 700, "funds", capture=True)
    answers = [await shop.send("/v1/charges", body, key="till-1") for _ in range(3)]
    assert [each.status_code for each in answers] == [201] * 3
    assert answers[0].json() == answers[1].json() == answers[2].json()
    assert [each.headers.get("Idempotent-Replayed") for each in answers] == [None, "true", "true"]
    other = await shop.send("/v1/charges", {**body, "amount_minor": 701}, key="till-1")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert (await shop.balances(aiko))["funds"] == (9_300, 9_300)


async def test_an_impatient_client_is_told_that_the_request_is_in_progress(shop: Shopfront) -> None:
    aiko = await shop.customer("aiko", funds=10_000)
    body = charge(aiko, CAFE, 700, "funds", capture=True)
    answers = await asyncio.gather(*(shop.send("/v1/charges", body, key="till-2") for _ in range(4)))
    told = sorted((each.status_code, each.json().get("code", "")) for each in answers)
    assert set(told) <= {(201, ""), (409, "request_in_progress")}
    assert (await shop.balances(aiko))["funds"] == (9_300, 9_300)


async def test_what_was_held_and_forgotten_comes_back_by_itself(shop: Shopfront) -> None:
    aiko = await shop.customer("aiko", funds=10_000)
    forgotten = await shop.post("/v1/charges", charge(aiko, CAFE, 700, "funds"))
    assert (await shop.balances(aiko))["funds"] == (10_000, 9_300)
    await shop.post("/v1/sandbox/clock/advance", {"seconds": 8 * 86_400}, status=200)
    assert await shop.state(forgotten) == "EXPIRED"
    assert (await shop.balances(aiko))["funds"] == (10_000, 10_000)
    answer = await shop.post(f"/v1/charges/{forgotten['payment_id']}/capture", {}, status=422)
    assert answer["code"] == "authorization_expired"
    history = await shop.get(f"/v1/payments/{forgotten['payment_id']}/history")
    assert [step["state"] for step in history["steps"]] == ["PENDING", "AUTHORIZED", "EXPIRED"]


async def test_a_customers_payments_can_be_paged_through(shop: Shopfront) -> None:
    aiko = await shop.customer("aiko", funds=10_000)
    made = [(await shop.post("/v1/charges", charge(aiko, CAFE, 10, "funds")))["payment_id"] for _ in range(5)]
    seen: list[str] = []
    query: dict[str, Any] = {"customer_id": aiko, "limit": 2}
    while True:
        page = await shop.get("/v1/payments", **query)
        seen += [each["payment_id"] for each in page["payments"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen[:5] == list(reversed(made))
    assert len(seen) == 6


async def test_bad_requests_are_named_and_write_nothing(shop: Shopfront) -> None:
    aiko = await shop.customer("aiko", funds=10_000)
    good = charge(aiko, CAFE, 700, "funds")
    wrong: list[tuple[dict[str, Any], int]] = [
        ({**good, "amount_minor": 0}, 400),
        ({**good, "amount_minor": -1}, 400),
        ({**good, "amount_minor": 1.5}, 400),
        ({**good, "amount_minor": 2**63}, 400),
        ({**good, "amount_minor": "700"}, 400),
        ({**good, "asset": "BTC"}, 400),
        ({**good, "sources": [{"source": "gold"}]}, 400),
        ({**good, "colour": "red"}, 400),
        ({"customer_id": aiko}, 400),
    ]
    for body, status in wrong:
        answer = await shop.post("/v1/charges", body, status=status)
        assert answer["code"]
        assert answer["retryable"] is False
    listed = (await shop.get("/v1/payments", customer_id=aiko))["payments"]
    assert [each["kind"] for each in listed] == ["top_up"]
    assert (await shop.balances(aiko))["funds"] == (10_000, 10_000)
