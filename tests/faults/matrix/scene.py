"""A scene: the owners of one case, what they have, what they ask for, and what they were told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, TypeVar

from kessai.foundation.errors import PaymentError
from kessai.foundation.ids import new_hex, new_id
from kessai.services.bank.api import GetInstruction, Instruction, InstructionState, OwnerKind, RegisterBankAccount
from kessai.services.cardgateway.api import RegisterCard
from kessai.services.ledger.api import CreateExchange, GetAccount, Leg, OpenAccount, account_id_of
from kessai.services.payment.api import FundingSource, GetPayment, PaymentRecord, PaymentState, Refund
from tests.faults.matrix.lane import PATIENCE_S, Lane

R = TypeVar("R")
_numbers = count(1_000_000)
_BEHIND = {"processing": "SENT", "done": "DONE", "failed": "FAILED", "returned": "RETURNED"}
_WAITING = (PaymentState.PENDING, PaymentState.REQUIRES_ACTION, PaymentState.IN_FLIGHT, PaymentState.UNKNOWN)


class Scene:
    """Fresh owners on a lane; `owners` by role."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.tag = new_hex()
        self.owners = {
            "customer": f"cus:{self.tag}",
            "friend": f"cus:friend{self.tag}",
            "seller": f"cus:seller{self.tag}",
            "merchant": f"mer:{self.tag}",
            "market": f"mer:market{self.tag}",
        }
        self.payment_id = ""
        self.told: list[str] = []
        """What each step was told: `done`, or a refusal's code."""
        self.card_id = ""
        self.bank_account_id = ""
        self._steps = 0

    # -- before anything goes wrong -----------------------------------------------------------------------------

    async def give(self, role: str, account_type: str, amount: int) -> None:
        """Somebody has so much to begin with."""
        owner = self.owners[role]
        if account_type in ("funds", "trading_funds"):
            await self.open_account(role, account_type)
        if not amount:
            return
        source = Leg(owner="internal:bank_deposit", account_type="deposit", amount_minor=amount, asset="JPY")
        target = Leg(owner=owner, account_type=account_type, amount_minor=amount, asset="JPY")
        await self.lane.ledger.create_exchange(
            CreateExchange(exchange_id=f"exc_{new_hex()}", kind="opening", sources=[source], targets=[target])
        )

    async def open_account(self, role: str, account_type: str, **more: Any) -> None:
        """An account that is not opened by itself."""
        await self.lane.ledger.open_account(OpenAccount(owner=self.owners[role], account_type=account_type, **more))

    async def have_card(self, form_token: str = "tok_visa") -> None:
        """The customer has a card."""
        cards, self.card_id = await self.lane.living("cardgateway"), new_id("crd")
        request = RegisterCard(customer_id=self.owners["customer"], form_token=form_token, card_id=self.card_id)
        await _until_known(lambda: cards.register_card(request))

    async def have_bank_account(self, role: str = "customer") -> None:
        """Somebody has a bank account that can be debited."""
        bank, self.bank_account_id = await self.lane.living("bank"), new_id("bac")
        request = RegisterBankAccount(
            account_id=self.bank_account_id,
            owner_kind=OwnerKind.MERCHANT if role == "merchant" else OwnerKind.CUSTOMER,
            owner_id=self.owners[role],
            bank_code="0005",
            branch_code="001",
            account_number=str(next(_numbers)),
            holder_name="ヤマダ タロウ",
            debits=True,
        )
        await _until_known(lambda: bank.register_account(request))

    @property
    def card(self) -> FundingSource:
        """The card as a source."""
        return FundingSource(source="card", instrument_id=self.card_id)

    # -- asking -------------------------------------------------------------------------------------------------

    async def ask(self, verb: str, request: Any) -> Any:
        """Ask under a key of this step's own until it is known; notes what was told. None when it was refused."""
        self._steps += 1
        key = f"{self._steps:04x}{self.tag}"[:32]
        try:
            answer = await self.lane.ask(verb, request, key)
        except PaymentError as refusal:
            self.told.append(refusal.code)
            self.payment_id = self.payment_id or str(refusal.details.get("payment_id", ""))
            return None
        self.told.append("done")
        if not isinstance(answer, Refund):
            self.payment_id = answer.payment_id
        return answer

    async def payment(self) -> PaymentRecord:
        """As it is stored."""

        async def read() -> PaymentRecord:
            service = await self.lane.living("payment")
            return await service.get_payment(GetPayment(payment_id=self.payment_id))

        return await _until_known(read)

    async def balance(self, role: str, account_type: str) -> tuple[int, int]:
        """What an account has, and how much of that is available; nothing where there is none."""
        try:
            account = await self.lane.ledger.get_account(
                GetAccount(account_id=account_id_of(self.owners[role], account_type))
            )
        except PaymentError:
            return 0, 0
        return account.balance_minor, account.available_minor

    # -- the bank's answer --------------------------------------------------------------------------------------

    async def hear_from_bank(self, instruction_id: str) -> None:
        """Read the bank's feed, and let the payment hear of it, until the bank has nothing more to say."""
        if not self.payment_id:
            return
        async with asyncio.timeout(PATIENCE_S):
            while not await self._is_heard(instruction_id):
                await asyncio.sleep(0.01)
        self.told.append("done")

    async def _is_heard(self, instruction_id: str) -> bool:
        bank, payments = await self.lane.living("bank"), await self.lane.living("payment")
        try:
            await bank.collect()
            told: Instruction = await bank.get_instruction(GetInstruction(instruction_id=instruction_id))
            moved = await payments.hear_from_bank(self.payment_id)
        except PaymentError as error:
            if error.code == "instruction_not_found":
                return (await self.payment()).state not in _WAITING
            if not error.retryable and error.code != "already_settled":  # a run that was taken up came first
                raise
            return False
        order = self.lane.bank.books.orders.get(instruction_id)
        behind = order is not None and _BEHIND[order.state] != told.state.value
        at_its_end = told.state in (InstructionState.DONE, InstructionState.FAILED, InstructionState.RETURNED)
        comes_back = order is not None and order.state == "done" and order.fate.state == "returned"
        if moved or behind or not at_its_end or (comes_back and order is not None and order.kind == "transfer"):
            return False
        return (await self.payment()).state not in _WAITING


async def _until_known(ask: Callable[[], Awaitable[R]]) -> R:
    """Ask again under the same id for as long as the answer does not come."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await ask()
            except PaymentError as error:
                if not error.retryable:
                    raise
                await asyncio.sleep(0.05)
