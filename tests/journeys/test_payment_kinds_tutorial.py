"""docs/tutorials/payment_kinds.md does what it says: its kind is configured, its requests get its answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from tests.journeys.shopfront import Shopfront
from tests.journeys.town import opened

PAGE = (Path(__file__).parents[2] / "docs" / "tutorials" / "payment_kinds.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HANAKO = "customer:hanako"


def blocks(language: str) -> list[str]:
    """What the page has in fences of a language."""
    return [text for name, text in BLOCK.findall(PAGE) if name == language]


def exchanges() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path and body of each request, and what its answer has."""
    for request, answer in zip(blocks("http"), blocks("json"), strict=True):
        line, _, body = request.partition("\n")
        yield line.removeprefix("POST "), body, json.loads(answer)


async def test_the_tutorials_kind_is_added_by_configuration_and_behaves_as_told(
    database_url: str, tmp_path: Path
) -> None:
    own = resources.files("kessai.config").joinpath("payment_kinds.toml").read_text(encoding="utf-8")
    (kind,) = blocks("toml")
    file = tmp_path / "my_kinds.toml"
    file.write_text(f"{own}\n{kind}", encoding="utf-8")
    async with opened(database_url, tmp_path, payment_kinds=str(file)) as town:
        shop = Shopfront(town.http)
        known = await _hanako(shop)
        for path, body, expected in exchanges():
            for name, value in known.items():
                path, body = path.replace(f"{{{name}}}", value), body.replace(f"{{{name}}}", value)
            answer = (await shop.send(path, json.loads(body))).json()
            assert {key: answer.get(key) for key in expected} == expected, answer
            known |= {"payment_id": answer["payment_id"]} if "payment_id" in answer else {}

        assert (await shop.balances("customer:taro"))["sales"] == (9_050, 9_050)
        assert (await shop.balances(HANAKO))["funds"] == (4_000, 4_000)
        assert (await shop.balances(HANAKO))["free_points"] == (50, 50)
        history = await shop.get(f"/v1/payments/{known['payment_id']}/history")
        assert [step["state"] for step in history["steps"]] == ["PENDING", "CAPTURED"]
        assert await town.findings() == []


async def _hanako(shop: Shopfront) -> dict[str, str]:
    """Hanako as the page has her; gives what its requests refer to."""
    await shop.post("/v1/ledger/accounts", {"owner": HANAKO, "account_type": "funds"})
    await shop.post("/v1/top-ups", {"customer_id": HANAKO, "source": "atm", "amount_minor": 5_000})
    await shop.post("/v1/incentives", {"customer_id": HANAKO, "amount_minor": 100})
    card = await shop.post("/v1/cards", {"customer_id": HANAKO, "form_token": "tok_visa"})
    return {"card_id": card["card_id"]}
