"""A month (精算月) played from outside: `python -m kessai.apps.demo.month URL`, the API key in KESSAI_API_KEY,
those of two approvers in APPROVER_KEYS.

Merchants with cycles of every kind sell and refund; the sandbox's clock is moved day by day, and every morning the
platform's own jobs have closed the day before, paid who is due, made the bank's file, read its results and statement.
A stall refunds more than it sells, a chain of three shops is paid as one, one transfer fails and another comes back.
It ends once everybody was paid, with the merchants' statements in SETTLEMENT_FOLDER and the proof of the sum.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import date, datetime, timedelta
from pathlib import Path

from rich.console import Console

from kessai.apps.demo.cast import (
    BAKER,
    BOOKSHOP,
    COBBLER,
    FLORIST,
    PAYEES,
    SHOPS,
    STALL,
    SWEETS,
    Staff,
)
from kessai.apps.demo.client import Client
from kessai.apps.demo.closing import TOKYO
from kessai.apps.demo.diary import PATIENCE_S, PAUSE_S, expect
from kessai.apps.demo.month_proof import Proof
from kessai.apps.demo.parties import BankCounter
from kessai.foundation.calendar import business_day_on_or_after, month_end, next_business_day
from kessai.services.settlement.api.claims import RecordRepayment

WIDTH = 118
CUSTOMERS = ("customer:kaito", "customer:yui", "customer:ren")
BUDGET = 900_000
HOUR = 10
"""Of each day, in Tokyo, at which the platform is looked at."""
LAST_DAY_PAID = 15
"""Of the month after: by then every cycle of the month is paid."""
PRICES = {
    BOOKSHOP: (1_650, 2_420, 880), FLORIST: (3_300, 5_500), SWEETS: (720, 560), COBBLER: (8_800,), BAKER: (640, 1_280),
    SHOPS[0]: (4_200, 2_800), SHOPS[1]: (3_150,), SHOPS[2]: (1_980, 2_640),
}  # fmt: skip
"""What is sold on a day, and on the next one that has a sale."""
SALE_DAYS = frozenset((1, 2, 5, 9, 11, 15, 16, 18, 22, 25, 29))
"""Others are quiet, so that a month does not take long."""
STALL_SALES = {1: 6_000, 2: 6_000, 9: 1_000, 16: 2_500, 18: 1_500}
REFUND_DAYS = (15, 29)
STALL_REFUND_ON, STALL_REFUND = 11, 9_000
"""The stall was paid for its first week already when most of it is refunded."""
NEW_ACCOUNT_ON = 14
"""By then the cobbler and the baker have heard of their transfers, and named another account."""
NEW_ACCOUNTS = {COBBLER: ("1000007", "クツヤ"), BAKER: ("1000008", "パンヤ")}


class Month:
    """The script."""

    def __init__(self, staff: Staff) -> None:
        self.staff = staff
        self.client = staff.operator
        self.first = date.min
        self.files: list[str] = []
        self.days = 0
        self.sold: dict[str, int] = {}
        self.refunded: dict[str, int] = {}
        self._charges: dict[str, list[tuple[str, int]]] = {}
        self._repaid: set[str] = set()

    def play(self) -> None:
        """All of it."""
        self.begin()
        last = self._paid_by(month_end(self.first))
        while self.today() <= last:
            self.day()

    def days_on(self, count: int) -> None:
        """So many days of it."""
        for _ in range(count):
            self.day()

    def day(self) -> None:
        """One day, up to the next morning."""
        today = self.today()
        if today.month == self.first.month:
            self._sell(today)
        self._next_day()

    def begin(self) -> None:
        """The month begins: merchants are signed up, customers have money."""
        self._begin()
        self.staff.sign_up()
        for customer in CUSTOMERS:
            self.client.post("/v1/ledger/accounts", {"owner": customer, "account_type": "funds"})
            body = {"customer_id": customer, "source": "bank_deposit", "amount_minor": BUDGET}
            self.client.post("/v1/top-ups", body)

    # -- time -----------------------------------------------------------------------------------------------------

    def today(self) -> date:
        """The business date."""
        return self.now().date()

    def now(self) -> datetime:
        """Business time, in Tokyo."""
        return datetime.fromisoformat(self.client.get("/v1/sandbox/clock")["now"]).astimezone(TOKYO)

    def _begin(self) -> None:
        """Move on to the first day of the next month."""
        now = self.now()
        first = (now.replace(day=1) + timedelta(days=32)).replace(day=1, hour=HOUR, minute=0, second=0, microsecond=0)
        self.first = first.date()
        self._move(first)

    def _next_day(self) -> None:
        self._look_after()
        now = self.now()
        self._move((now + timedelta(days=1)).replace(hour=HOUR, minute=0, second=0, microsecond=0))
        self.days += 1

    def _move(self, to: datetime) -> None:
        while (seconds := round((to - self.now()).total_seconds())) > 0:
            self.client.post("/v1/sandbox/clock/advance", {"seconds": seconds})

    def _paid_by(self, last: date) -> date:
        """The day by which all cycles of the month are paid, and the bank has told of it: the business day after."""
        return next_business_day(business_day_on_or_after((last + timedelta(days=1)).replace(day=LAST_DAY_PAID)))

    # -- what happens on a day --------------------------------------------------------------------------------------

    def _sell(self, today: date) -> None:
        if today.day not in SALE_DAYS:
            return
        for number, (shop, prices) in enumerate(PRICES.items()):
            if (today.day + number) % 3:
                self._charge(shop, prices[today.day % len(prices)], CUSTOMERS[today.day % len(CUSTOMERS)])
        if (amount := STALL_SALES.get(today.day)) is not None:
            self._charge(STALL, amount, CUSTOMERS[0])
        if today.day == STALL_REFUND_ON:
            self._refund(STALL, STALL_REFUND)
        if today.day in REFUND_DAYS:
            self._refund(FLORIST, 1_000)
            self._refund(SHOPS[0], 500)

    def _charge(self, merchant_id: str, amount: int, customer: str) -> None:
        body = {
            "customer_id": customer, "merchant_id": merchant_id, "amount_minor": amount,
            "sources": [{"source": "funds"}], "capture": True,
        }  # fmt: skip
        payment = self.client.post("/v1/charges", body)
        self._charges.setdefault(merchant_id, []).append((payment["payment_id"], amount))
        self.sold[merchant_id] = self.sold.get(merchant_id, 0) + amount

    def _refund(self, merchant_id: str, amount: int) -> None:
        """Give back so much of what was sold, the oldest sale first."""
        charges, left = self._charges[merchant_id], amount
        while left:
            payment_id, paid = charges.pop(0)
            part = min(left, paid)
            body = {"amount_minor": part, "reason": "not as described"}
            self.client.post(f"/v1/charges/{payment_id}/refunds", body)
            if part < paid:
                charges.insert(0, (payment_id, paid - part))
            left -= part
        self.refunded[merchant_id] = self.refunded.get(merchant_id, 0) + amount

    def _look_after(self) -> None:
        """What people do: approve the bank's files, name another account, pay back what is owed."""
        self.files += self.staff.approve_files()
        if self.today() == self.first.replace(day=NEW_ACCOUNT_ON):
            for merchant_id, (number, holder) in NEW_ACCOUNTS.items():
                self.staff.bank_account(merchant_id, number, holder)
        if self.today().month != self.first.month:
            self._pay_back()

    def _pay_back(self) -> None:
        for claim in self.client.get("/v1/settlement/claims?state=OPEN")["claims"]:
            if claim["owed_minor"] and claim["claim_id"] not in self._repaid:
                claim_id, path = claim["claim_id"], f"/v1/settlement/claims/{claim['claim_id']}/repayments"
                arrived = RecordRepayment(claim_id=claim_id, amount_minor=claim["owed_minor"])
                self.staff.do(path, "settlement.repayment", claim_id, arrived, "claim_id")
                self._repaid.add(claim_id)

    def until_proved(self, proof: Proof, patience_s: float = PATIENCE_S) -> bool:
        """Whether everything adds up, once nothing is on its way any more."""
        ends = time.monotonic() + patience_s
        while not (holds := proof.look()) and time.monotonic() < ends:
            time.sleep(PAUSE_S)
        return holds


def main() -> int:
    """Play the month; 0 when every yen that was sold is accounted for."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    began = time.monotonic()
    url = sys.argv[1]
    approvers = [Client(url, secret) for secret in os.environ["APPROVER_KEYS"].split()]
    month = Month(Staff(Client(url, os.environ["KESSAI_API_KEY"]), approvers))
    month.play()
    proof = Proof(month.client, BankCounter(os.environ["BANK_URL"]), month.sold, month.refunded, PAYEES)
    holds = month.until_proved(proof)
    proof.show(console)
    for state in ("PAID", "CARRIED_OVER", "FAILED", "RETURNED"):
        expect(state in proof.states(), f"a payout of the month should have been {state}")
    proof.write(console, Path(os.environ["SETTLEMENT_FOLDER"]))
    spent = f"{month.days} days from {month.first} in {time.monotonic() - began:.1f} s"
    sentence = "sold = paid out + fees + carried + claimed - collected, with the ledger's and the bank's"
    mark = f"[green]{sentence} · 一致[/green]" if holds else f"[red]It does not hold: {sentence}[/red]"
    console.print(f"{mark} ({spent})")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
