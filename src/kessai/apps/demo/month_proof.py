"""The proof of the month: for each payee what was sold is what was paid, charged, carried and claimed, to the yen.

What was sold is the demonstration's own account of it; the rest is what settlement, the ledger and the bank say.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.table import Table

from kessai.apps.demo.cast import NAMES, ROLES
from kessai.apps.demo.client import Client
from kessai.apps.demo.parties import BankCounter

BANK_OWNER = "internal:bank"
STATES_JA = {
    "PAID": "入金済", "FAILED": "振込不能", "RETURNED": "組戻", "CARRIED_OVER": "繰越", "NOTHING": "支払なし",
    "HELD": "保留", "CLEARED": "精算済", "INSTRUCTED": "振込依頼済", "MADE": "作成済",
}  # fmt: skip


SOLD = {"sale": 1, "refund": -1}
CHARGED = {"fee": 1, "fee_refund": -1}


@dataclass(slots=True)
class Open:
    """What is recorded, and in no day's summary yet."""

    sold: int = 0
    fees: int = 0


@dataclass(frozen=True, slots=True)
class Sum:
    """A payee's month."""

    payee_id: str
    sold: int
    told: int
    """What was sold less what was refunded, as settlement has it."""
    fees: int
    """Less what was given back."""
    paid: int
    transfer_fees: int
    carried: int
    """Still to be paid, or in no cycle yet."""
    owed: int
    collected: int
    held: dict[str, int]
    """The ledger's balances of the payee and those it collects for."""

    @property
    def explained(self) -> int:
        """What becomes of what was sold."""
        return self.paid + self.fees + self.transfer_fees + self.carried - self.owed - self.collected

    @property
    def holds(self) -> bool:
        """Whether everybody says the same."""
        in_ledger = self.held["unsettled_sales"] + self.held["settled_sales"]
        same = self.held["settled_claims"] == -self.owed and in_ledger == self.carried
        return self.sold == self.told == self.explained and same


class Proof:
    """Asks everybody."""

    def __init__(
        self, client: Client, bank: BankCounter, sold: dict[str, int], refunded: dict[str, int], payees: Sequence[str]
    ) -> None:
        self._client = client
        self._bank = bank
        self._net = {owner: amount - refunded.get(owner, 0) for owner, amount in sold.items()}
        self._payees = payees
        self.sums: list[Sum] = []
        self.payouts: dict[str, list[dict[str, Any]]] = {}
        self.claims: dict[str, list[dict[str, Any]]] = {}
        self.at_bank: list[tuple[str, int, int]] = []
        """What is compared, ours, the bank's."""

    def look(self) -> bool:
        """Ask everybody; True when all of it adds up."""
        self.sums = [self._sum(payee) for payee in self._payees]
        paid = sum(each.paid for each in self.sums)
        days = self._client.get("/v1/bank/statements?limit=100")["days"]
        transit = self._balances([BANK_OWNER])["bank_in_transit"]
        self.at_bank = [
            ("paid out to merchants · 加盟店への振込", paid, -self._bank.moved_by_files()),
            ("all that moved on our account · 当方口座の増減", -transit, self._bank.received()),
            ("days of the statement that agree · 照合済みの日数", sum(day["agrees"] for day in days), len(days)),
        ]
        return all(each.holds for each in self.sums) and all(ours == theirs for _, ours, theirs in self.at_bank)

    def _sum(self, payee: str) -> Sum:
        owners = [payee, *(each.merchant_id for each in ROLES if each.parent_id == payee)]
        cycles = self._client.get(f"/v1/settlement/sales-summaries?payee_id={_q(payee)}")["summaries"]
        days = [each for each in self._summaries(payee) if each["cycle_id"] is None]
        self.payouts[payee] = self._all("payouts", payee)
        self.claims[payee] = self._all("claims", payee)
        waits = self._open(owners)
        paid = [each for each in self.payouts[payee] if each["state"] == "PAID"]
        waiting = [each for each in self.payouts[payee] if each["state"] != "PAID" and each["taken_by"] is None]
        on_the_way = self._fees_on_the_way(payee)
        return Sum(
            payee_id=payee,
            sold=sum(self._net.get(owner, 0) for owner in owners),
            told=sum(each["sales_minor"] - each["refunds_minor"] for each in [*cycles, *days]) + waits.sold,
            fees=sum(each["fees_minor"] - each["fee_refunds_minor"] for each in [*cycles, *days]) + waits.fees,
            paid=sum(each["amount_minor"] for each in paid),
            transfer_fees=sum(each["transfer_fee_minor"] for each in paid) + on_the_way,
            carried=sum(each["payable_minor"] for each in waiting)
            - on_the_way
            + sum(each["net_minor"] for each in days)
            + (waits.sold - waits.fees),
            owed=sum(each["owed_minor"] for each in self.claims[payee]),
            collected=sum(each["collected_minor"] for each in self.claims[payee]),
            held=self._balances(owners),
        )

    def _fees_on_the_way(self, payee: str) -> int:
        """Transfer fees that were taken for payouts of which the bank has still to tell."""
        path = f"/v1/payments?customer_id={_q(payee)}&kind=transfer_fee&limit=200"
        taken = sum(each["captured_minor"] - each["refunded_minor"] for each in self._client.get(path)["payments"])
        fees = {
            state: sum(each["transfer_fee_minor"] for each in self.payouts[payee] if each["state"] == state)
            for state in ("PAID", "INSTRUCTED")
        }
        return max(0, min(taken - fees["PAID"], fees["INSTRUCTED"]))

    def _summaries(self, payee: str) -> list[dict[str, Any]]:
        """The newest daily summaries; those of earlier days are in a cycle."""
        now = self._client.get("/v1/sandbox/clock")["now"][:10]
        since = f"{now[:8]}01"
        path = f"/v1/settlement/daily-summaries?payee_id={_q(payee)}&since={since}&until={now}&limit=1000"
        return self._client.get(path)["summaries"]

    def _open(self, owners: Sequence[str]) -> Open:
        """What is not in a daily summary yet: today's, and what is not proved."""
        found, cursor = Open(), ""
        while cursor is not None:
            page = self._client.get(f"/v1/settlement/open-transactions?limit=500{cursor and f'&cursor={_q(cursor)}'}")
            for each in page["transactions"]:
                if each["owner_id"] in owners:
                    found.sold += SOLD.get(each["kind"], 0) * each["amount_minor"]
                    found.fees += CHARGED.get(each["kind"], 0) * each["amount_minor"]
            cursor = page["next_cursor"]
        return found

    def _all(self, what: str, payee: str) -> list[dict[str, Any]]:
        return self._client.get(f"/v1/settlement/{what}?payee_id={_q(payee)}&limit=500")[what]

    def _balances(self, owners: Sequence[str]) -> dict[str, int]:
        found: dict[str, int] = {"unsettled_sales": 0, "settled_sales": 0, "settled_claims": 0, "bank_in_transit": 0}
        for owner in owners:
            for account in self._client.get(f"/v1/ledger/accounts?owner={_q(owner)}")["accounts"]:
                if account["account_type"] in found:
                    found[account["account_type"]] += account["balance_minor"]
        return found

    def states(self) -> set[str]:
        """The states in which payouts ended."""
        return {each["state"] for payouts in self.payouts.values() for each in payouts}

    # -- telling ----------------------------------------------------------------------------------------------------

    def show(self, console: Console) -> None:
        """Payouts, claims, files and the sum."""
        console.print(self._payout_table())
        if any(self.claims.values()):
            console.print(self._claim_table())
        console.print(self._file_table())
        console.print(self._sum_table())
        console.print(self._bank_table())

    def _payout_table(self) -> Table:
        table = _table("Payouts of the month · 入金", "payee · 加盟店", "cycle ends · 締日", "paid on · 入金日")
        for heading in (
            "cleared · 精算",
            "carried · 繰越",
            "failed · 再振込",
            "offset · 相殺",
            "fee · 手数料",
            "paid · 入金",
        ):
            table.add_column(heading, justify="right")
        table.add_column("state · 状態")
        for payee in self._payees:
            for each in sorted(self.payouts[payee], key=lambda payout: payout["last_day"]):
                names = ("cleared", "carried", "failed", "offset", "transfer_fee")
                amounts = [f"{each[f'{name}_minor']:,}" for name in names]
                amount = f"{each['amount_minor']:,}"
                state = f"{each['state']} {STATES_JA.get(each['state'], '')}"
                days = (each["last_day"], each["paid_on"] or each["pay_on"])
                table.add_row(NAMES[payee], *days, *amounts, amount, state)
        return table

    def _claim_table(self) -> Table:
        table = _table("Claims · 請求", "payee · 加盟店", "due · 期限")
        for heading in ("claimed · 請求", "offset · 相殺", "collected · 回収", "owed · 残"):
            table.add_column(heading, justify="right")
        for payee, claims in self.claims.items():
            for each in claims:
                amounts = [f"{each[f'{name}_minor']:,}" for name in ("amount", "offset", "collected", "owed")]
                table.add_row(NAMES[payee], each["due_on"], *amounts)
        return table

    def _file_table(self) -> Table:
        table = _table("Files to the bank · 総合振込ファイル", "file · ファイル", "day · 振込日", "state · 状態")
        for heading in ("lines · 件数", "total · 合計", "approvals · 承認"):
            table.add_column(heading, justify="right")
        for each in sorted(self._client.get("/v1/bank/files")["files"], key=lambda file: file["made_at"]):
            counts = (f"{each['lines']:,}", f"{each['total_minor']:,}", str(each["approved"]))
            table.add_row(f"…{each['file_id'][-12:]}", each["transfer_on"], each["state"], *counts)
        return table

    def _sum_table(self) -> Table:
        table = _table("Sold = paid out + fees + carried + claimed - collected · 精算の証明", "payee · 加盟店")
        headings = (
            "sold · 売上",
            "paid · 入金",
            "fees · 手数料",
            "transfer · 振込料",
            "carried · 未払",
            "owed · 請求残",
            "collected · 回収",
        )
        for heading in headings:
            table.add_column(heading, justify="right")
        table.add_column("")
        for each in self.sums:
            amounts = (each.sold, each.paid, each.fees, each.transfer_fees, each.carried, -each.owed, -each.collected)
            table.add_row(NAMES[each.payee_id], *(f"{amount:,}" for amount in amounts), "✓" if each.holds else "✗")
        return table

    def _bank_table(self) -> Table:
        table = _table("With the bank · 銀行との照合", "what · 項目")
        for heading in ("ours · 当方", "theirs · 先方"):
            table.add_column(heading, justify="right")
        table.add_column("")
        for what, ours, theirs in self.at_bank:
            table.add_row(what, f"{ours:,}", f"{theirs:,}", "✓" if ours == theirs else "✗")
        return table

    # -- files ------------------------------------------------------------------------------------------------------

    def write(self, console: Console, folder: Path) -> None:
        """Write every payee's statements, and the invoices of claims."""
        folder.mkdir(parents=True, exist_ok=True)
        names = list[str]()
        for payee, payouts in self.payouts.items():
            for each in payouts:
                path = f"/v1/settlement/statements/{each['cycle_id']}?payee_id={_q(payee)}"
                names += [self._save(folder, f"{path}&format={form}") for form in ("pdf", "csv")]
            for claim in self.claims[payee]:
                names.append(self._save(folder, f"/v1/settlement/claims/{claim['claim_id']}/invoice?format=pdf"))
        console.print(f"{len(names)} statements and invoices of merchants are in {folder} · 精算明細書・請求書")

    def _save(self, folder: Path, path: str) -> str:
        file = self._client.get(path)
        content = base64.b64decode(file["content"]) if file["base64"] else file["content"].encode()
        (folder / file["file_name"]).write_bytes(content)
        return file["file_name"]


def _q(text: str) -> str:
    return quote(text, safe="")


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading)
    return table
