"""A shopping street: the whole platform in one process, its merchants, customers and staff, and the banks outside.

Everything is done over the public doors, with the keys of an operator and of two persons who approve. A plain account
(`Till`) is kept beside it: what each merchant sold, gave back, and was corrected by, and which fee its terms ask for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import msgspec

from kessai.apps.demo.show import APPROVER_SCOPES
from kessai.foundation.calendar import business_day_on_or_after
from kessai.foundation.clock import TOKYO, SandboxClock
from kessai.foundation.contract import Message
from kessai.sdk.jobs import JobRun, RunState, status
from kessai.services.identity.api import CreateKey, Scope, content_digest
from kessai.services.merchant.api import (
    AgreeContract,
    ChangeState,
    CompanyProfile,
    MerchantState,
    RegisterCompany,
    SetBankAccount,
    SetParent,
)
from kessai.services.payment.api import Adjust, Direction
from kessai.services.settlement.api.claims import RecordRepayment
from kessai.simulators.bank.lines import LineFate
from kessai.simulators.faults import PRESETS
from tests.journeys.town import Town
from tests.journeys.town import opened as town_opened

MORNING = 10
"""The hour, in Tokyo, at which people look at things."""
EVENING = 20
"""By then the bank has told of what it did that day."""
PATIENCE_S = 90.0
PAUSE_S = 0.05
BUDGET = 1_000_000
"""What a customer has after putting money in."""
BANK_CODE, BRANCHES = "0001", ("001", "004", "005", "009")
PAYEES = ("merchant:p", "merchant:q")
SHOPS = ("merchant:a", "merchant:b")
MERCHANTS = (*PAYEES, *SHOPS)
CUSTOMERS = ("customer:kaito", "customer:yui")
GOOD, CLOSED, RETURNING = "10000", "9000007", "9000006"
"""Account numbers as the simulated bank understands them; those of good accounts are made longer by a count."""
METHODS = ("direct", "code")


class Clerk:
    """Talks to the platform with one key."""

    def __init__(self, http: httpx.AsyncClient, secret: str | None = None) -> None:
        """`secret`: another key than the client's own."""
        self._http = http
        self._headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}

    async def get(self, path: str, **query: Any) -> dict[str, Any]:
        """An answer that is no problem."""
        response = await self._http.get(path, params=query, headers=self._headers)
        assert response.status_code < 400, (path, response.text)
        return response.json()

    async def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """An answer that is no problem, under a fresh key."""
        response = await self.ask(path, body or {})
        assert response.status_code < 400, (path, body, response.text)
        return response.json()

    async def ask(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """Whatever comes back."""
        return await self._http.post(path, json=body, headers={"Idempotency-Key": uuid4().hex, **self._headers})


@dataclass
class Sale:
    """A charge, as the shop remembers it."""

    payment_id: str
    amount: int
    terms: dict[str, Any]
    """The fee that was agreed for its method when it was made."""
    refunded: int = 0

    @property
    def left(self) -> int:
        """What may still be refunded."""
        return self.amount - self.refunded


@dataclass
class Till:
    """A merchant's own account of itself."""

    sales: list[Sale] = field(default_factory=list[Sale])
    corrected: int = 0
    """By an operator, in all."""

    @property
    def sold(self) -> int:
        """Less refunds, with corrections."""
        return sum(each.left for each in self.sales) + self.corrected

    def fees(self) -> int | None:
        """What its terms ask for, less what goes back; None where any of it is on a total, or waits."""
        if any(each.terms["unit"] != "transaction" for each in self.sales):
            return None
        return sum(fee_of(each) - fee_back(each) for each in self.sales)


def fee_of(sale: Sale) -> int:
    """The fee of a sale, tax included: rate and fixed part, rounded once, and tax on top where it is added."""
    terms = sale.terms
    exact = sale.amount * terms["rate_ppm"] + terms["fixed_minor"] * 1_000_000
    fee = _rounded(exact, 1_000_000, terms["rounding"])
    if terms["tax"] != "added":
        return fee
    return fee + _rounded(fee * terms["tax_rate_bps"], 10_000, terms["rounding"])


def fee_back(sale: Sale) -> int:
    """What of it has gone back with the refunds so far."""
    if not sale.left:
        return 0 if sale.terms["refund"] == "none" else fee_of(sale)
    return fee_of(sale) * sale.refunded // sale.amount if sale.terms["refund"] == "proportional" else 0


def _rounded(dividend: int, divisor: int, rounding: str) -> int:
    match rounding:
        case "floor":
            return dividend // divisor
        case "ceil":
            return -(-dividend // divisor)
        case _:
            return (2 * dividend + divisor) // (2 * divisor)


PLAIN_FEE: dict[str, Any] = {
    "rate_ppm": 32_500, "fixed_minor": 0, "rounding": "floor", "unit": "transaction", "tax": "exempt",
    "tax_rate_bps": 0, "refund": "proportional",
}  # fmt: skip


class District:
    """The platform with its merchants, as people outside see it."""

    def __init__(self, town: Town, approvers: list[Clerk]) -> None:
        assert isinstance(town.platform.clock, SandboxClock)
        self.town, self.approvers, self._clock = town, approvers, town.platform.clock
        self.clerk = Clerk(town.http)
        self.tills = {each: Till() for each in MERCHANTS}
        self.collects: dict[str, str] = {each: each for each in MERCHANTS}
        """Who is paid for whom, now."""
        self.suspended: set[str] = set()
        self.fees: dict[str, dict[str, Any]] = {}
        """The fee that is agreed now, by merchant."""
        self.accounts: dict[str, list[str]] = {each: [] for each in MERCHANTS}
        """The bank accounts that it ever named, newest last."""
        self._qrs: dict[str, str] = {}
        self._purses = dict.fromkeys(CUSTOMERS, 0)
        self._count = 0

    # -- time -----------------------------------------------------------------------------------------------------

    def today(self) -> date:
        """The business date."""
        return self._clock.now().astimezone(TOKYO).date()

    async def leap(self, days: int, *, hour: int = MORNING) -> None:
        """So many days later; nobody looks at anything meanwhile. What fell due has been run."""
        platform = self.town.platform
        to = max(datetime.combine(self.today() + timedelta(days=days), time(hour), TOKYO), self._clock.now())
        self._clock.advance(to - self._clock.now())  # as the sandbox does, which waits for other processes besides
        loop = asyncio.get_running_loop()
        ends = loop.time() + PATIENCE_S
        await platform.catching_up.run(within_s=PATIENCE_S)
        while await platform.catching_up.is_behind():
            assert loop.time() < ends, await self._standing()
            await asyncio.sleep(PAUSE_S)

    async def _standing(self) -> list[JobRun]:
        """The newest runs of jobs that did not come to a good end."""
        found = [run for each in ("settlement", "bank") for run in await status(self.town.platform.database, each)]
        return [run for run in found if run.state not in (RunState.DONE, RunState.IDLE)]

    async def run(self, job: str, day: date) -> JobRun:
        """A dated job for a day, by hand."""
        dated = self.town.platform.dated
        return await dated.finish(await dated.start(dated.named(job), day))

    async def days(self, count: int) -> None:
        """So many days, one by one; each morning the files that wait are approved and seen off."""
        for _ in range(count):
            await self.approve_files()
            await self.leap(1)

    async def approve_files(self) -> None:
        """Two persons approve every file that waits for it, and see it off."""
        files = (await self.clerk.get("/v1/bank/files"))["files"]
        for file in files:
            if file["state"] != "MADE":
                continue
            for approver in self.approvers:
                path, body = f"/v1/bank/files/{file['file_id']}/approve", {"content_sha256": file["content_sha256"]}
                response = await approver.ask(path, body)
                assert response.status_code < 400 or response.json()["code"] == "file_too_late", response.text
            await self._seen_off(file["file_id"])

    async def _seen_off(self, file_id: str) -> None:
        async def left() -> bool:
            return (await self.clerk.get(f"/v1/bank/files/{file_id}"))["state"] not in ("APPROVED", "SENDING")

        await until(left)

    # -- merchants ------------------------------------------------------------------------------------------------

    async def sign_up(self, rules: dict[str, dict[str, Any]], fees: dict[str, dict[str, Any]]) -> None:
        """Every merchant: its contract, a bank account of its own, active."""
        new = RegisterCompany(profile=CompanyProfile(name="Shotengai"))
        company = (await self._approved("/v1/merchant-companies", "merchant.company", "merchant-companies", new))[
            "company_id"
        ]
        for merchant in MERCHANTS:
            profile = {"name": merchant, "kind": "shop", "company_id": company}
            await self.clerk.post("/v1/merchants", {"merchant_id": merchant, "profile": profile})
            await self.agree(merchant, rules[merchant], fees[merchant])
            await self.name_account(merchant, GOOD)
            state = {"state": "screened", "reason": "its papers are in order"}
            await self.clerk.post(f"/v1/merchants/{merchant}/state", state)
            await self.change_state(merchant, MerchantState.ACTIVE)
            qr = {"merchant_id": merchant, "name": merchant.upper(), "city": "TOKYO"}
            self._qrs[merchant] = (await self.clerk.post("/v1/merchant-qrs", qr))["qr"]
        for customer in CUSTOMERS:
            await self.clerk.post("/v1/ledger/accounts", {"owner": customer, "account_type": "funds"})

    async def agree(self, merchant: str, rules: dict[str, Any], fee: dict[str, Any]) -> None:
        """A contract, or its next version, from now on."""
        contract = {"methods": [{"method": each, "fee": fee} for each in METHODS], "settlement": rules}
        body = {"merchant_id": merchant, "contract": contract, "reason": "as agreed"}
        await self._approved(f"/v1/merchants/{merchant}/contract", "merchant.contract",
                             merchant, msgspec.convert(body, AgreeContract))  # fmt: skip
        self.fees[merchant] = PLAIN_FEE | fee

    async def collect(self, shop: str, payee: str | None) -> None:
        """Somebody collects for a shop from now on, or nobody does (入金集約)."""
        request = SetParent(merchant_id=shop, parent_id=payee, reason="one payout")
        await self._approved(f"/v1/merchants/{shop}/parent", "merchant.parent", shop, request)
        self.collects[shop] = payee or shop

    async def name_account(self, merchant: str, number: str) -> None:
        """Another bank account, from now on."""
        if number == GOOD:
            self._count += 1
            number = f"{GOOD}{self._count:02d}"
        body = {
            "owner_kind": "merchant", "owner_id": merchant, "bank_code": BANK_CODE,
            "branch_code": BRANCHES[MERCHANTS.index(merchant)], "account_number": number, "holder_name": "ミセ",
            "debits": True,
        }  # fmt: skip
        response = await self.clerk.ask("/v1/bank/accounts", body)
        assert response.status_code < 400 or response.json()["code"] == "bank_account_registered", response.text
        account_id = response.json()["account_id"]
        request = SetBankAccount(merchant_id=merchant, bank_account_id=account_id, reason="where it is paid")
        await self._approved(f"/v1/merchants/{merchant}/bank-account", "merchant.bank_account", merchant, request)
        self.accounts[merchant].append(account_id)

    async def change_state(self, merchant: str, state: MerchantState) -> None:
        """Activate, or suspend."""
        request = ChangeState(merchant_id=merchant, state=state, reason="as decided")
        path = f"/v1/merchants/{merchant}/state"
        if state is MerchantState.SUSPENDED:
            await self.clerk.post(path, {"state": state.value, "reason": "as decided"})
            self.suspended.add(merchant)
        else:
            await self._approved(path, "merchant.state", merchant, request)
            self.suspended.discard(merchant)

    async def _approved(self, path: str, action: str, subject: str, request: Message) -> dict[str, Any]:
        """Do what a second person has to approve; the path says which merchant it is about."""
        approval = await self._approval(action, subject, content_digest(request))
        told = msgspec.to_builtins(request)
        body = {name: value for name, value in told.items() if name != "merchant_id" and value is not None}
        if "parent_id" in told:
            body["parent_id"] = told["parent_id"]
        return await self.clerk.post(path, {**body, "approval_id": approval})

    async def _approval(self, action: str, subject: str, digest: str, approval_id: str | None = None) -> str:
        asked = {"subject": subject, "action": action, "content_sha256": digest, "reason": "as agreed"}
        if approval_id is not None:
            asked["approval_id"] = approval_id
        made = (await self.clerk.post("/v1/identity/approvals", asked))["approval_id"]
        await self.approvers[0].post(f"/v1/identity/approvals/{made}/approve", {"content_sha256": digest})
        return made

    # -- what is sold ---------------------------------------------------------------------------------------------

    async def sell(self, merchant: str, amount: int, way: str = "direct") -> None:
        """A sale: charged by the shop, with the customer's one-time code, or by the shop's printed QR."""
        customer, sources = CUSTOMERS[amount % 2], [{"source": "funds"}]
        if self._purses[customer] < amount:
            left, self._purses[customer] = self._purses[customer], BUDGET
            body = {"customer_id": customer, "source": "bank_deposit", "amount_minor": BUDGET - left}
            await self.clerk.post("/v1/top-ups", body)
        self._purses[customer] -= amount
        match way:
            case "code":
                code = (await self.clerk.post("/v1/codes", {"customer_id": customer, "sources": sources}))["code"]
                body = {"code": code, "merchant_id": merchant, "amount_minor": amount, "capture": True}
                payment = await self.clerk.post("/v1/code-charges", body)
            case "qr":
                body = {"qr": self._qrs[merchant], "customer_id": customer, "amount_minor": amount, "sources": sources}
                payment = await self.clerk.post("/v1/merchant-qr-charges", body)
            case _:
                body = {
                    "customer_id": customer, "merchant_id": merchant, "amount_minor": amount, "sources": sources,
                    "capture": True,
                }  # fmt: skip
                payment = await self.clerk.post("/v1/charges", body)
        assert payment["state"] == "CAPTURED", payment
        terms = self.fees[merchant] if merchant not in self.suspended else {"unit": "waits"}
        self.tills[merchant].sales.append(Sale(payment["payment_id"], amount, terms))

    async def refund(self, merchant: str, per_cent: int) -> None:
        """A part of a sale goes back, of whichever month it is."""
        open_ones = [each for each in self.tills[merchant].sales if each.left]
        if open_ones:
            sale = open_ones[per_cent % len(open_ones)]
            amount = max(1, min(sale.left, sale.left * per_cent // 100))
            await self.clerk.post(f"/v1/charges/{sale.payment_id}/refunds", {"amount_minor": amount})
            sale.refunded += amount
            self._purses[CUSTOMERS[sale.amount % 2]] += amount

    async def correct(self, merchant: str, amount: int) -> None:
        """An operator corrects unsettled sales by so much, as after a chargeback."""
        request = Adjust(
            owner=merchant, account_type="unsettled_sales",
            direction=Direction.IN if amount > 0 else Direction.OUT, amount_minor=abs(amount),
            approval_id=f"apv_{uuid4().hex}",
        )  # fmt: skip
        await self._approval("payment.adjustment", merchant, content_digest(request), request.approval_id)
        body = {name: value for name, value in msgspec.to_builtins(request).items() if value is not None}
        await self.clerk.post("/v1/adjustments", body)
        self.tills[merchant].corrected += amount

    # -- what becomes of it ---------------------------------------------------------------------------------------

    def foresee(self, state: str, code: str | None, *, recall: str = "done") -> None:
        """What is to become of the next transfer, and of calling it back."""
        fate = msgspec.convert({"state": state, "code": code, "recall": recall}, LineFate)
        self.town.bank.books.files.foresee_line(fate)

    async def recall(self, merchant: str) -> None:
        """Call back the newest transfer to a merchant (組戻)."""
        query = {"owner_kind": "merchant", "owner_id": merchant, "kind": "transfer", "limit": 1}
        for each in (await self.clerk.get("/v1/bank/instructions", **query))["instructions"]:
            response = await self.clerk.ask(f"/v1/bank/instructions/{each['instruction_id']}/recall", {})
            assert response.status_code < 500, response.text  # it may be too late, or not possible

    def misbehave(self, verb: str, preset: str) -> None:
        """One request of that verb meets a fault at the bank."""
        self.town.bank.faults.program(msgspec.structs.replace(PRESETS[preset], verb=verb))

    async def repay(self, merchant: str, per_cent: int, way: str) -> None:
        """Pay back so much of each open claim: with money that has arrived, by a debit at once, or by one in a file."""
        for claim in (await self.clerk.get("/v1/settlement/claims", payee_id=merchant, state="OPEN"))["claims"]:
            amount = max(1, (claim["owed_minor"] - claim["pending_minor"]) * per_cent // 100)
            body: dict[str, Any] = {"amount_minor": amount}
            if way != "deposit":
                body |= {"source": "bank_debit", "bank_account_id": self.accounts[merchant][0]}
            if way == "file":
                body["debit_on"] = business_day_on_or_after(self.today() + timedelta(days=7)).isoformat()
            if way == "deposit":
                arrived = RecordRepayment(claim_id=claim["claim_id"], amount_minor=amount)
                digest = content_digest(arrived)
                body["approval_id"] = await self._approval("settlement.repayment", claim["claim_id"], digest)
            response = await self.clerk.ask(f"/v1/settlement/claims/{claim['claim_id']}/repayments", body)
            assert response.status_code < 400 or response.json()["code"] == "repayment_above_claim", response.text

    async def hold(self, merchant: str, *, let_go: bool) -> None:
        """An operator keeps what would be paid next, or lets go what was kept."""
        state, verb = ("HELD", "release") if let_go else ("CLEARED", "hold")
        for payout in (await self.clerk.get("/v1/settlement/payouts", payee_id=merchant, state=state))["payouts"]:
            path = f"/v1/settlement/payouts/{payout['payout_id']}/{verb}"
            response = await self.clerk.ask(path, {"reason": "looked at by hand"})
            assert response.status_code in (200, 409, 422), response.text


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(PATIENCE_S):
        while not await holds():
            await asyncio.sleep(PAUSE_S)


@asynccontextmanager
async def opened(database_url: str, folder: Path, begins: date) -> AsyncGenerator[District]:
    """A platform with its banks on a morning; nobody has signed up yet."""
    morning = datetime.combine(begins, time(MORNING), TOKYO).astimezone(UTC)
    async with town_opened(database_url, folder, begins=morning) as town:
        scopes = [Scope(each) for each in APPROVER_SCOPES]
        keys = [await town.platform.identity.create_key(CreateKey(name="approver", scopes=scopes)) for _ in range(2)]
        yield District(town, [Clerk(town.http, each.secret) for each in keys])
