"""The client's own account of the day: what it did, what it was told, and whether everybody else says the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.table import Table

from kessai.apps.demo.client import Answer, Client

HANAKO, TARO = "customer:hanako", "customer:taro"
SHOP, MARKET = "merchant:kissaten", "merchant:furima"
CAMPAIGN, CARD_COMPANY, BANK, BANK_FEE = (
    "internal:campaign",
    "internal:card",
    "internal:bank",
    "internal:withdrawal_fee",
)
NAMES = {
    HANAKO: "Hanako 花子", TARO: "Taro 太郎", SHOP: "Kissaten 喫茶店", MARKET: "Furima フリマ",
    CARD_COMPANY: "card company カード会社", BANK: "bank 銀行", BANK_FEE: "withdrawal fees 出金手数料",
}  # fmt: skip
STATES_JA = {
    "AUTHORIZED": "仮売上", "PARTIALLY_CAPTURED": "一部売上", "CAPTURED": "売上確定", "CANCELED": "取消",
    "EXPIRED": "失効", "REFUSED": "拒否", "SUCCEEDED": "完了", "RETURNED": "資金返却", "UNKNOWN": "不明",
    "IN_FLIGHT": "手続中", "REQUIRES_ACTION": "処理待ち",
}  # fmt: skip
PATIENCE_S = 40.0
"""How long a state is waited for; what is in doubt is settled well within it."""
PAUSE_S = 0.1


class Diary:
    """One day: its client, what was told to it, and the table of what happened."""

    def __init__(self, client: Client, title: str = "A business day over HTTP · HTTP で演じる営業日") -> None:
        self.client = client
        self.table = Table(title=title, title_justify="left")
        self.table.add_column("#", justify="right")
        self.table.add_column("what", overflow="fold")
        self.table.add_column("出来事", overflow="fold")
        self.table.add_column("amount 金額", justify="right")
        self.table.add_column("states, answer 状態・結果", overflow="fold")
        self.told: dict[tuple[str, str], int] = {}
        """Our own account: owner and account type to balance, from answers alone."""
        self.payments: dict[str, str] = {}
        """Payments that are told of by a name of ours."""

    def tell(self, what: str, amount_minor: int | None, answer: str) -> None:
        """One more line of the day; `what` is in English and, after a dot, in Japanese."""
        english, _, japanese = what.partition(" · ")
        amount = "" if amount_minor is None else f"¥{amount_minor:,}"
        self.table.add_row(str(self.table.row_count + 1), english, japanese, amount, answer)

    def note(self, owner: str, account_type: str, amount_minor: int) -> None:
        """Enter what an answer said into our own account."""
        self.told[owner, account_type] = self.told.get((owner, account_type), 0) + amount_minor

    # -- asking --------------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The platform's business time."""
        return datetime.fromisoformat(self.client.get("/v1/sandbox/clock")["now"]).astimezone(UTC)

    def advance(self, by: timedelta) -> str:
        """Move business time forward; due jobs have run when this returns."""
        done = self.client.post("/v1/sandbox/clock/advance", {"seconds": int(by.total_seconds())})
        return str(done["now"])[:16].replace("T", " ")

    def payment(self, payment_id: str) -> dict[str, Any]:
        """A payment as it stands."""
        return self.client.get(f"/v1/payments/{payment_id}")

    def until(self, payment_id: str, state: str) -> dict[str, Any]:
        """A payment once it is in a state; the day ends when it does not get there."""
        ends = time.monotonic() + PATIENCE_S
        while (found := self.payment(payment_id))["state"] != state:
            expect(time.monotonic() < ends, f"{payment_id} should have become {state}, it is {found['state']}")
            time.sleep(PAUSE_S)
        return found

    def course(self, payment_id: str) -> list[str]:
        """The states that a payment went through, oldest first."""
        steps = self.client.get(f"/v1/payments/{payment_id}/history")["steps"]
        return [state for state, _ in groupby(step["state"] for step in steps)]

    def courses(self) -> dict[str, list[str]]:
        """The courses of the payments that have a name."""
        return {name: self.course(payment_id) for name, payment_id in self.payments.items()}

    def balance(self, owner: str, account_type: str) -> int:
        """One balance, 0 when there is no such account."""
        return self.balances(owner).get(account_type, 0)

    def balances(self, owner: str) -> dict[str, int]:
        """An owner's balances by account type."""
        accounts = self.client.get(f"/v1/ledger/accounts?owner={quote(owner, safe='')}")["accounts"]
        return {account["account_type"]: account["balance_minor"] for account in accounts}

    # -- the proof -----------------------------------------------------------------------------------------------

    def compare(self, console: Console) -> bool:
        """Our own account of the day beside the ledger's."""
        table = _sides("What we were told, and what the ledger holds · 突合", "told · 控え", "ledger · 台帳")
        same = True
        for (owner, account_type), told in sorted(self.told.items()):
            held = self.balance(owner, account_type)
            same &= _beside(table, NAMES[owner], account_type, told, held)
        console.print(table)
        return same

    def compare_outside(self, console: Console, taken: Callable[[], int], received: Callable[[], int]) -> bool:
        """What card company and bank say that they did for us beside what the ledger says of them, in yen."""
        table = _sides(
            "The books of the card company and the bank · 社外の帳簿との照合", "theirs · 先方", "ours · 当方"
        )
        cards, bank = self.balance(CARD_COMPANY, "card_receivable"), self.balance(BANK, "bank_in_transit")
        same = _beside(table, NAMES[CARD_COMPANY], "taken, less given back · 売上−返金", taken(), -cards)
        same &= _beside(table, NAMES[BANK], "received, less sent · 受取−支払", received(), -bank)
        console.print(table)
        return same

    def totals(self, console: Console) -> bool:
        """Totals per account type; per asset they must add up to zero."""
        types = self.client.get("/v1/ledger/account-types")["types"]
        names = {each["account_type"]: each["name_ja"] for each in types}
        table = Table(title="Totals per account type · 口座種別ごとの合計", title_justify="left")
        for heading in ("account type · 口座種別", "", "asset"):
            table.add_column(heading)
        for heading in ("accounts · 口座数", "balance · 残高", "held · 仮売上中"):
            table.add_column(heading, justify="right")
        sums: dict[str, int] = {}
        for each in self.client.get("/v1/ledger/totals")["totals"]:
            sums[each["asset"]] = sums.get(each["asset"], 0) + each["balance_minor"]
            if each["accounts"]:
                table.add_row(
                    each["account_type"], names.get(each["account_type"], ""), each["asset"], f"{each['accounts']:,}",
                    f"{each['balance_minor']:,}", f"{each['held_minor']:,}",
                )  # fmt: skip
        table.add_section()
        for asset, total in sorted(sums.items()):
            table.add_row("sum · 合計", "must be zero · 必ず零", asset, "", f"{total:,}", "")
        console.print(table)
        return not any(sums.values())


def _sides(title: str, one: str, other: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in ("owner · 名義", "what · 項目"):
        table.add_column(heading)
    for heading in (one, other):
        table.add_column(heading, justify="right")
    table.add_column("")
    return table


def _beside(table: Table, owner: str, what: str, one: int, other: int) -> bool:
    table.add_row(owner, what, f"{one:,}", f"{other:,}", "✓" if one == other else "✗")
    return one == other


def given(owner: str) -> str:
    """A participant's name in English alone."""
    return NAMES[owner].rpartition(" ")[0]


def shown(state: str, name_ja: str | None = None) -> str:
    """A state with its Japanese name, or with the one that a kind has for it."""
    return f"{state} {name_ja or STATES_JA.get(state, '')}".strip()


def shown_course(states: list[str], name_ja: str | None = None) -> str:
    """States one after the other, the last with its Japanese name."""
    return " → ".join([*states[:-1], shown(states[-1], name_ja)])


def problem(answer: Answer) -> str:
    """A refusal in a few words."""
    return f"{answer.status} {answer.body.get('code')}"


def expect(true: bool, otherwise: str) -> None:
    """End the day with a sentence when something is not as it must be."""
    if not true:
        raise SystemExit(otherwise)
