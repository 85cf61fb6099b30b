"""The rules of the idempotency key on the routes themselves: every POST that moves value, taken from the contract."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias
from uuid import uuid4

import httpx
import pytest

from kessai.apps.wiring import DOORS
from kessai.foundation.contract import VerbSpec, verbs_of
from kessai.services.ledger.api import Ledger
from kessai.services.payment.api import Payment
from tests.journeys.shopfront import Shopfront

AIKO, BEN, CAFE, MARKET = "cus:aiko", "cus:ben", "mer:cafe", "mer:market"
Body: TypeAlias = "dict[str, Any]"
Asked: TypeAlias = "tuple[str, Body]"
Pair: TypeAlias = "tuple[Asked, Asked]"
"""A request, and another content that may come under the same key."""
MOVING = {each.spec.name: each.spec for door in DOORS for each in verbs_of(door) if each.spec.moves_value}


def _exchange(amount: int, **more: Any) -> Body:
    leg = Shopfront.leg
    return {"sources": [leg(AIKO, "funds", amount)], "targets": [leg(BEN, "sales", amount)], **more}


async def _made(shop: Shopfront, path: str, body: Body, name: str) -> str:
    return (await shop.post(path, body))[name]


def _body(path: str, body: Body, **other: Any) -> Callable[[Shopfront], Awaitable[Pair]]:
    async def pair(_: Shopfront) -> Pair:
        return (path, body), (path, {**body, **(other or {"amount_minor": body["amount_minor"] + 1})})

    return pair


def _twice(path: str, body: Body, name: str, after: str, asked: Body) -> Callable[[Shopfront], Awaitable[Pair]]:
    """The same action on two things: of another one it is another content, though the bodies are alike."""

    async def pair(shop: Shopfront) -> Pair:
        one, two = [await _made(shop, path, body, name) for _ in range(2)]
        return (f"{path}/{one}/{after}", asked), (f"{path}/{two}/{after}", asked)

    return pair


CHARGE: Body = {"customer_id": AIKO, "merchant_id": CAFE, "amount_minor": 500}
ESCROW: Body = {"customer_id": AIKO, "marketplace_id": MARKET, "seller_id": BEN, "amount_minor": 500}
ORDER: Body = {
    "merchant_id": CAFE, "amount_minor": 500, "customer_id": AIKO,
    "success_url": "https://shop.example/yes", "cancel_url": "https://shop.example/no",
}  # fmt: skip
HELD = _exchange(300, capture=False)


def _of_paid_orders(action: str) -> Callable[[Shopfront], Awaitable[Pair]]:
    async def pair(shop: Shopfront) -> Pair:
        orders = [await _made(shop, "/v1/orders", ORDER, "order_id") for _ in range(2)]
        for order in orders:
            await shop.post(f"/v1/orders/{order}/confirm", {"customer_id": AIKO}, status=200)
        one, two = (f"/v1/orders/{order}/{action}" for order in orders)
        return (one, {}), (two, {})

    return pair


async def _refunded_escrow(shop: Shopfront) -> Pair:
    escrows = [await _made(shop, "/v1/escrows", ESCROW, "payment_id") for _ in range(2)]
    for escrow in escrows:
        await shop.post(f"/v1/escrows/{escrow}/capture", {}, status=200)
    one, two = ((f"/v1/escrows/{escrow}/refunds", {"amount_minor": 5}) for escrow in escrows)
    return one, two


def _fee(digit: str) -> dict[str, Any]:
    return {"payment_id": f"mfe_{digit * 32}", "kind": "merchant_fee", "merchant_id": CAFE, "amount_minor": 5}


def _hold(digit: str) -> dict[str, Any]:
    return {"payment_id": f"idc_{digit * 32}", "customer_id": AIKO, "amount_minor": 5}


PAIRS: dict[str, Callable[[Shopfront], Awaitable[Pair]]] = {
    "create_exchange": _body("/v1/ledger/exchanges", _exchange(5), kind="other"),
    "create_exchanges": _body(
        "/v1/ledger/exchanges/batch", {"exchanges": [_exchange(5), _exchange(10**9)]}, exchanges=[_exchange(6)] * 3
    ),
    "capture_exchange": _twice("/v1/ledger/exchanges", HELD, "exchange_id", "capture", {}),
    "void_exchange": _twice("/v1/ledger/exchanges", HELD, "exchange_id", "void", {}),
    "reverse_exchange": _twice("/v1/ledger/exchanges", _exchange(9), "exchange_id", "reverse", {}),
    "create_charge": _body("/v1/charges", CHARGE),
    "capture_charge": _twice("/v1/charges", CHARGE, "payment_id", "capture", {"amount_minor": 5}),
    "cancel_charge": _twice("/v1/charges", CHARGE, "payment_id", "cancel", {}),
    "refund_charge": _twice("/v1/charges", {**CHARGE, "capture": True}, "payment_id", "refunds", {"amount_minor": 5}),
    "create_escrow": _body("/v1/escrows", ESCROW),
    "capture_escrow": _twice("/v1/escrows", ESCROW, "payment_id", "capture", {}),
    "cancel_escrow": _twice("/v1/escrows", ESCROW, "payment_id", "cancel", {}),
    "refund_escrow": _refunded_escrow,
    "top_up": _body("/v1/top-ups", {"customer_id": AIKO, "source": "bank_deposit", "amount_minor": 5}),
    "transfer": _body("/v1/transfers", {"customer_id": AIKO, "recipient_id": BEN, "amount_minor": 5}),
    "exchange": _body("/v1/exchanges", {"customer_id": AIKO, "direction": "in", "amount_minor": 5}),
    "grant_incentive": _body("/v1/incentives", {"customer_id": AIKO, "amount_minor": 5}),
    "charge_merchant_fee": _body("/v1/merchant-fees", {"merchant_id": CAFE, "amount_minor": 5}),
    "clear_sales": _body("/v1/clearings", {"merchant_id": CAFE, "amount_minor": 5}),
    "move_merchants": _body("/v1/merchant-movements", {"movements": [_fee("a")]}, movements=[_fee("b")]),
    "hold_payments": _body("/v1/holds", {"kind": "id_charge", "holds": [_hold("a")]}, holds=[_hold("b")]),
    "capture_payment": _twice("/v1/charges", CHARGE, "payment_id", "capture", {}),
    "cancel_payment": _twice("/v1/charges", CHARGE, "payment_id", "cancel", {}),
    "refund_payment": _twice("/v1/charges", {**CHARGE, "capture": True}, "payment_id", "refunds", {}),
    "create_order": _body("/v1/orders", ORDER),
    "confirm_order": _twice("/v1/orders", ORDER, "order_id", "confirm", {"customer_id": AIKO}),
    "cancel_order": _of_paid_orders("cancel"),
    "capture_order": _of_paid_orders("capture"),
}
OF_PAYMENTS_ROUTE = {"capture_payment", "cancel_payment", "refund_payment"}
NEED_OTHERS = {
    "withdraw", "repay", "repay_claim", "pay_out", "adjust", "create_payment", "complete_payment",
    "charge_code", "charge_merchant_qr",
}  # fmt: skip
"""They need a bank account, a debt, an approval, a kind of one's own or a code; their key is asked for all the same."""


@pytest.fixture
async def stocked(shop: Shopfront) -> Shopfront:
    """Customers with money, shops that have sold something."""
    await shop.customer("aiko", funds=50_000)
    await shop.customer("ben")
    for merchant in (CAFE, MARKET):
        await shop.post("/v1/charges", {**CHARGE, "merchant_id": merchant, "capture": True})
    await shop.post("/v1/ledger/accounts", {"owner": AIKO, "account_type": "trading_funds"})
    return shop


def test_every_verb_of_ledger_and_payments_that_moves_value_is_repeated_here() -> None:
    ours = {each.spec.name for door in (Ledger, Payment) for each in verbs_of(door) if each.spec.moves_value}
    assert set(PAIRS) | NEED_OTHERS == ours


@pytest.mark.parametrize("spec", MOVING.values(), ids=MOVING)
async def test_nothing_moves_without_a_key(shop: Shopfront, spec: VerbSpec) -> None:
    path = "/".join("pay_" + "0" * 32 if part.startswith("{") else part for part in spec.path.split("/"))
    answer = await shop.client.post(path, json={})
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_missing")


@pytest.mark.parametrize("verb", PAIRS)
async def test_same_request_is_answered_from_store_and_its_key_means_nothing_else(
    stocked: Shopfront, verb: str
) -> None:
    (path, body), (other_path, other) = await PAIRS[verb](stocked)
    if verb in OF_PAYMENTS_ROUTE:
        path, other_path = (each.replace("/v1/charges", "/v1/payments") for each in (path, other_path))
    key = uuid4().hex
    first = await stocked.send(path, body, key=key)
    assert (first.status_code, _replayed(first)) == (MOVING[verb].status, False), first.text
    totals = await stocked.get("/v1/ledger/totals")
    again = await stocked.send(path, body, key=key)
    assert (again.status_code, again.json(), _replayed(again)) == (first.status_code, first.json(), True)
    reused = await stocked.send(other_path, other, key=key)
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")
    assert await stocked.get("/v1/ledger/totals") == totals


def _replayed(answer: httpx.Response) -> bool:
    return answer.headers.get("Idempotent-Replayed") == "true"
