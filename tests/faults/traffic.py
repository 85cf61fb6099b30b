"""Customers who keep paying while things break, and remember every answer they were given."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx

MERCHANT = "merchant:stall"
OPENING_MINOR = 500_000
RETRY_DELAY_S = 0.03
CONNECTION_LOST = (httpx.TransportError, AttributeError)
"""A server that is killed right after it accepts leaves anyio with a socket that is None: an AttributeError from within
the HTTP library, where it means a lost connection."""
PATIENCE_S = 60.0
"""A request that has no definite answer by then counts as lost."""
UNDECIDED = ("PENDING", "UNKNOWN")
"""States that say of themselves that they are no outcome: whoever is told one asks again under the same key."""
IDENTITY = ("payment_id", "refund_id", "amount_minor", "payer_id", "payee_id", "created_at")
"""What an answer without outcome says that the definite one has to bear out."""


@dataclass(frozen=True)
class Told:
    """One request and the definite answer to it."""

    path: str
    body: dict[str, Any]
    key: str
    status: int
    answer: dict[str, Any]


@dataclass
class Traffic:
    """Concurrent customers over one or several servers of one platform."""

    urls: Sequence[str]
    api_key: str
    seed: int
    customers: int = 12
    told: list[Told] = field(default_factory=list[Told])
    undecided: int = 0
    """Answers so far that said that there was no outcome yet."""
    _stopping: bool = False

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {self.api_key}"},
            timeout=10.0,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=self.customers),
        )
        self._task: asyncio.Task[None] | None = None

    @property
    def names(self) -> list[str]:
        """The customers' ids."""
        return [f"customer:f{number}" for number in range(self.customers)]

    # -- what they do ------------------------------------------------------------------------------------------------

    async def open_accounts(self) -> None:
        """Give everyone an account with money in it."""
        for name in self.names:
            await self.ask("/v1/ledger/accounts", {"owner": name, "account_type": "funds"}, keep=False)
            await self.ask(
                "/v1/top-ups", {"customer_id": name, "source": "bank_deposit", "amount_minor": OPENING_MINOR}
            )

    def begin(self) -> None:
        """Start paying."""
        self._task = asyncio.create_task(self._everyone())

    async def finish(self) -> None:
        """Let everyone carry what they began to a definite answer, then stop."""
        assert self._task is not None
        self._stopping = True
        await self._task

    async def close(self) -> None:
        """Hang up."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._http.aclose()

    async def _everyone(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for name in self.names:
                tasks.create_task(self._customer(name))

    async def _customer(self, name: str) -> None:
        while not self._stopping:
            if self._dice.random() < 0.15:
                await self.send_money(name)
            else:
                await self.buy(name)

    async def buy(self, name: str) -> None:
        """A charge, and what may follow it: capture whole or in part, cancel, nothing; then perhaps a refund."""
        at_once, amount = self._dice.random() < 0.3, self._dice.randint(1, 400)
        body = {"customer_id": name, "merchant_id": MERCHANT, "amount_minor": amount, "capture": at_once,
                "sources": [{"source": "funds"}]}  # fmt: skip
        charge = await self.ask("/v1/charges", body)
        if charge.status != 201:
            return
        path = f"/v1/charges/{charge.answer['payment_id']}"
        if not at_once:
            end = self._dice.choice(("capture", "capture", "part", "cancel", "nothing"))
            if end in ("cancel", "nothing"):
                if end == "cancel":
                    await self.ask(f"{path}/cancel", {})
                return
            amount = amount if end == "capture" else max(1, amount // 2)
            await self.ask(f"{path}/capture", {"amount_minor": amount, "final": True})
        if self._dice.random() < 0.3:
            await self.ask(f"{path}/refunds", {"amount_minor": max(1, amount // 3)})

    async def send_money(self, name: str) -> None:
        """A transfer to another customer."""
        other = self._dice.choice([each for each in self.names if each != name])
        await self.ask(
            "/v1/transfers", {"customer_id": name, "recipient_id": other, "amount_minor": self._dice.randint(1, 300)}
        )

    # -- asking until there is an answer -------------------------------------------------------------------------------

    async def ask(self, path: str, body: dict[str, Any], *, keep: bool = True) -> Told:
        """Send a request, and the same one under the same key again, until the answer is definite."""
        key = UUID(int=self._dice.getrandbits(128)).hex
        told = await self._insist(path, body, key)
        if keep:
            self.told.append(told)
        return told

    async def _insist(self, path: str, body: dict[str, Any], key: str) -> Told:
        until, latest = time.monotonic() + PATIENCE_S, "nothing"
        promised: dict[str, Any] = {}
        while time.monotonic() < until:
            url = self._dice.choice(self.urls)
            try:
                response = await self._http.post(url + path, json=body, headers={"Idempotency-Key": key})
            except CONNECTION_LOST as error:
                latest = repr(error)
                await asyncio.sleep(RETRY_DELAY_S)
                continue
            answer = response.json()
            if response.status_code < 400 and answer.get("state") in UNDECIDED:
                self.undecided += 1
                promised = answer
            elif response.status_code < 500 and not (response.status_code >= 400 and answer.get("retryable")):
                _require_kept(promised, answer)
                return Told(path, body, key, response.status_code, answer)
            latest = response.text
            await asyncio.sleep(RETRY_DELAY_S)
        raise AssertionError(f"no definite answer to {path} under {key}, last: {latest}")

    async def balances(self, owner: str) -> dict[str, tuple[int, int]]:
        """Balance and held amount by account type, as the ledger has them."""
        response = await self._http.get(f"{self.urls[0]}/v1/ledger/accounts", params={"owner": owner})
        assert response.status_code == 200, response.text
        return {
            each["account_type"]: (each["balance_minor"], each["held_minor"]) for each in response.json()["accounts"]
        }

    async def payment(self, payment_id: str) -> dict[str, Any]:
        """A payment as it stands."""
        response = await self._http.get(f"{self.urls[0]}/v1/payments/{payment_id}")
        assert response.status_code == 200, response.text
        return response.json()

    # -- comparing ---------------------------------------------------------------------------------------------------

    async def require_nothing_lost_or_doubled(self) -> None:
        """Every answer still stands, and the ledger holds exactly what the answers add up to."""
        wrong = [told for told in self.told if told.status >= 400]
        assert not wrong, f"refused: {wrong[:3]}"
        await self._require_same_answers()
        balance, held = self.expected()
        for name in self.names:
            assert (await self.balances(name))["funds"] == (balance[name], held[name]), name
        assert (await self.balances(MERCHANT)).get("unsettled_sales", (0, 0))[0] == balance[MERCHANT]

    async def _require_same_answers(self) -> None:
        for told in self.told:
            again = await self._insist(told.path, told.body, told.key)
            assert (again.status, again.answer) == (told.status, told.answer), (
                f"{told.path} answered otherwise: {again.status} {again.answer}, before: {told.status} {told.answer}"
            )

    def expected(self) -> tuple[Counter[str], Counter[str]]:
        """Balances and holds that follow from the answers alone."""
        balance: Counter[str] = Counter()
        held: Counter[str] = Counter()
        charges: dict[str, dict[str, Any]] = {}
        for told in self.told:
            answer = told.answer
            match told.path.rsplit("/", 1)[-1]:
                case "charges":
                    charges[answer["payment_id"]] = answer
                    held[answer["payer_id"]] += answer["amount_minor"] - answer["captured_minor"]
                    _move(balance, answer["payer_id"], answer["payee_id"], answer["captured_minor"])
                case "capture":
                    held[answer["payer_id"]] -= answer["amount_minor"]
                    _move(balance, answer["payer_id"], answer["payee_id"], answer["captured_minor"])
                case "cancel":
                    held[answer["payer_id"]] -= answer["amount_minor"]
                case "refunds":
                    charge = charges[answer["payment_id"]]
                    _move(balance, charge["payee_id"], charge["payer_id"], answer["amount_minor"])
                case "transfers" | "top-ups":
                    _move(balance, answer["payer_id"], answer["payee_id"], answer["amount_minor"])
                case other:
                    raise AssertionError(other)
        return balance, held


def _require_kept(promised: dict[str, Any], answer: dict[str, Any]) -> None:
    """What was told before the outcome was known is still so."""
    for name in IDENTITY:
        if name in promised and name in answer:
            assert answer[name] == promised[name], f"{name} of {answer} is not as promised: {promised}"


def _move(balance: Counter[str], source: str, target: str, amount: int) -> None:
    balance[source] -= amount
    balance[target] += amount
