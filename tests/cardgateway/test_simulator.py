"""The simulated gateway as a merchant, a customer and a test meet it: over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from kessai.simulators.cardgateway import KEY, CardGatewaySimulator


@pytest.fixture
async def there() -> AsyncIterator[httpx.AsyncClient]:
    """A client of a simulator that is up, with its credential."""
    simulator = CardGatewaySimulator()
    await simulator.start()
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=simulator.url, headers=headers, trust_env=False) as client:
        yield client
    await simulator.stop()


async def card(there: httpx.AsyncClient, form_token: str = "tok_visa") -> str:
    """A registered card's token."""
    return (await there.put("/v1/cards/crd_1", json={"form_token": form_token})).json()["card_token"]


def body(card_token: str, amount: int = 500, **more: Any) -> dict[str, Any]:
    """An authorization."""
    return {"card_token": card_token, "amount": amount, "currency": "JPY", **more}


async def test_a_form_turns_a_number_into_a_token(there: httpx.AsyncClient) -> None:
    form = await there.post("/forms", json={"number": "3566 0020 2036 0505", "expiry_month": 1, "expiry_year": 2030})
    kept = (await there.put("/v1/cards/crd_1", json=form.json())).json()
    assert (kept["brand"], kept["last_four"], kept["expiry_year"]) == ("jcb", "0505", 2030)
    assert (await there.post("/forms", json={"number": "4242424242424241"})).json()["code"] == "invalid_number"


async def test_the_statement_tells_everything_in_order_and_in_pages(there: httpx.AsyncClient) -> None:
    token = await card(there)
    for number in range(501):
        await there.put(f"/v1/authorizations/cau_{number}", json=body(token, 100 + number))
    await there.put("/v1/authorizations/cau_0/cop_1/capture", json={"amount": 60, "final": False})
    first = (await there.get("/v1/statement")).json()
    second = (await there.get("/v1/statement", params={"from": first["next"]})).json()
    assert [len(first["authorizations"]), len(second["authorizations"]), second["next"]] == [500, 1, None]
    told = first["authorizations"][0]
    assert (told["id"], told["captured"], told["operations"][0]["amount"]) == ("cau_0", 60, 60)


@pytest.mark.parametrize(
    ("amount", "status", "code"),
    [(777_001, 422, "insufficient_funds"), (777_002, 422, "limit_exceeded"), (777_015, 503, "internal")],
)
async def test_magic_amounts_bring_their_own_fault(
    there: httpx.AsyncClient, amount: int, status: int, code: str
) -> None:
    answer = await there.put("/v1/authorizations/cau_1", json=body(await card(there), amount))
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_magic_amount_that_loses_the_reply_loses_it_once(there: httpx.AsyncClient) -> None:
    token = await card(there)
    with pytest.raises(httpx.TransportError):
        await there.put("/v1/authorizations/cau_1", json=body(token, 777_012))
    assert (await there.put("/v1/authorizations/cau_1", json=body(token, 777_012))).json()["state"] == "authorized"


async def test_a_challenge_is_ended_by_the_customer(there: httpx.AsyncClient) -> None:
    wanted = body(await card(there), 777_020, return_url="https://shop.example")
    waiting = (await there.put("/v1/authorizations/cau_1", json=wanted)).json()
    assert waiting["state"] == "requires_action"
    assert (await there.put("/v1/authorizations/cau_1/cop_1/complete", json={})).json()["code"] == "action_pending"
    assert (await there.post(waiting["action_url"], json={"passed": True})).status_code == 200
    done = await there.put("/v1/authorizations/cau_1/cop_1/complete", json={})
    assert done.json()["state"] == "authorized"


async def test_faults_are_programmed_counted_and_cleared_over_http(there: httpx.AsyncClient) -> None:
    token = await card(there)
    await there.post("/control/faults", json={"preset": "fail_before", "verb": "inquire", "times": 2})
    await there.post("/control/faults", json={"verb": "authorize", "about": "cau_9", "refuse": "card_declined"})
    await there.put("/v1/authorizations/cau_1", json=body(token))
    assert [(await there.get("/v1/authorizations/cau_1")).status_code for _ in range(3)] == [503, 503, 200]
    assert (await there.put("/v1/authorizations/cau_9", json=body(token))).json()["code"] == "card_declined"
    assert (await there.post("/control/faults", json={"no": "such"})).status_code == 400
    await there.post("/control/down", json={"down": True})
    with pytest.raises(httpx.TransportError):
        await there.get("/v1/authorizations/cau_1")
    await there.delete("/control/faults")
    assert (await there.get("/v1/authorizations/cau_1")).status_code == 200
    asked = (await there.get("/control/requests")).json()["requests"]
    assert [each["verb"] for each in asked][:2] == ["register", "authorize"]


async def test_an_id_that_comes_back_with_other_content_is_refused_there_too(there: httpx.AsyncClient) -> None:
    token = await card(there)
    await there.put("/v1/authorizations/cau_1", json=body(token, 500))
    assert (await there.put("/v1/authorizations/cau_1", json=body(token, 501))).json()["code"] == "id_reused"
    await there.put("/v1/authorizations/cau_1/cop_1/capture", json={"amount": 10, "final": False})
    again = await there.put("/v1/authorizations/cau_1/cop_1/capture", json={"amount": 11, "final": False})
    assert (again.status_code, again.json()["code"]) == (409, "id_reused")
