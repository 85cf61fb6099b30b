"""A business day (営業日) played from outside: `python -m kessai.apps.demo.day URL`, the API key in KESSAI_API_KEY.

A separate process that knows the platform only through its public HTTP API. It keeps its own account of what it was
told, and ends by comparing it with the ledger's.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from rich.console import Console
from rich.table import Table

from kessai.apps.demo.client import Answer, Client

HANAKO, TARO, SHOP, CAMPAIGN = "customer:hanako", "customer:taro", "merchant:kissaten", "internal:campaign"
NAMES = {HANAKO: "Hanako", TARO: "Taro", SHOP: "Kissaten"}
NAMES_JA = {HANAKO: "花子", TARO: "太郎", SHOP: "喫茶店"}
WIDTH = 118
"""Of the tables, where no terminal says how wide it is."""
STATES_JA = {
    "AUTHORIZED": "仮売上", "PARTIALLY_CAPTURED": "一部売上", "CAPTURED": "売上確定", "CANCELED": "取消",
    "EXPIRED": "失効", "REFUSED": "拒否", "SUCCEEDED": "完了",
}  # fmt: skip


class Day:
    """One day: its client, what was told to it, and the table of what happened."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.table = Table(title="A business day over HTTP · HTTP で演じる営業日", title_justify="left")
        self.table.add_column("#", justify="right")
        self.table.add_column("what", overflow="fold")
        self.table.add_column("出来事", overflow="fold")
        self.table.add_column("amount 金額", justify="right")
        self.table.add_column("answer 結果", overflow="fold")
        self.told: dict[tuple[str, str], int] = {}
        """Our own account: owner and account type to balance, from answers alone."""

    def tell(self, what: str, amount_minor: int | None, answer: str) -> None:
        """One more line of the day; `what` is in English and, after a dot, in Japanese."""
        english, _, japanese = what.partition(" · ")
        amount = "" if amount_minor is None else f"¥{amount_minor:,}"
        self.table.add_row(str(self.table.row_count + 1), english, japanese, amount, answer)

    def note(self, owner: str, account_type: str, amount_minor: int) -> None:
        """Enter what an answer said into our own account."""
        self.told[owner, account_type] = self.told.get((owner, account_type), 0) + amount_minor

    # -- the script ----------------------------------------------------------------------------------------------

    def morning(self) -> None:
        """Accounts, money in, points."""
        for customer in (HANAKO, TARO):
            self.client.post("/v1/ledger/accounts", {"owner": customer, "account_type": "funds"})
            self.tell(f"{NAMES[customer]} opens an account · 口座開設 (資金移動口座)", None, "opened")
        self.top_up(HANAKO, "bank_deposit", 20_000, "銀行口座")
        self.top_up(TARO, "convenience_store", 5_000, "コンビニ")
        self.grant(HANAKO, 300, "points for a first top-up · 無償ポイント付与", days=90)
        self.grant(TARO, 120, "points for three days · 期限三日", days=3)

    def noon(self) -> None:
        """Sales: at once, held, captured in part, canceled, given back."""
        lunch = self.charge(1_000, ["free_points", "funds"], capture=True, what="lunch, points first · ポイント併用")
        self.refund(lunch, 400)
        party = self.charge(5_000, ["funds"], capture=False, what="a party is booked · 仮売上")
        self.capture(party, 3_200)
        self.cancel(party, "the rest is released · 残額取消")
        mistake = self.charge(800, ["funds"], capture=False, what="an order by mistake · 仮売上")
        self.cancel(mistake, "canceled · 取消")
        self.client_transfer(1_500)

    def afternoon(self) -> None:
        """What must not work, does not; what is sent twice happens once."""
        self.refusal()
        self.replay()

    def night(self) -> None:
        """The sandbox's clock is moved: a hold lapses, points expire."""
        held = self.charge(2_000, ["funds"], capture=False, what="a hold for one day · 一日限りの仮売上", days=1)
        now = self.advance(timedelta(days=1, hours=1))
        self.tell("the clock moves a day and an hour · 時計を進める", None, now)
        state = self.payment(held)["state"]
        self.tell("the hold lapsed by itself · 仮売上失効", 2_000, _state(state))
        _expect(state == "EXPIRED", f"the hold should have expired, it is {state}")
        now = self.advance(timedelta(days=3))
        left = self.balance(TARO, "free_points")
        self.tell("three days later: points expired · ポイント失効", 120, f"{left} left · 残 {left} ({now})")
        self.note(TARO, "free_points", -120)

    # -- its steps -----------------------------------------------------------------------------------------------

    def top_up(self, customer: str, source: str, amount: int, source_ja: str) -> None:
        done = self.client.post("/v1/top-ups", {"customer_id": customer, "source": source, "amount_minor": amount})
        self.note(customer, "funds", done["captured_minor"])
        self.tell(f"{NAMES[customer]} tops up · 入金 ({source_ja})", amount, _done(done))

    def grant(self, customer: str, amount: int, what: str, *, days: int) -> None:
        until = (self.now() + timedelta(days=days)).isoformat()
        self.client.post(
            "/v1/ledger/exchanges",
            {
                "kind": "point_grant",
                "sources": [_leg(CAMPAIGN, "point_cost", amount)],
                "targets": [_leg(customer, "free_points", amount) | {"expires_at": until}],
            },
        )
        self.note(customer, "free_points", amount)
        self.tell(f"{NAMES[customer]}: {what}", amount, "granted · 付与")

    def charge(self, amount: int, sources: list[str], *, capture: bool, what: str, days: int | None = None) -> str:
        body: dict[str, Any] = {
            "customer_id": HANAKO,
            "merchant_id": SHOP,
            "amount_minor": amount,
            "sources": [{"source": source} for source in sources],
            "capture": capture,
        }
        if days is not None:
            body["expires_at"] = (self.now() + timedelta(days=days)).isoformat()
        done = self.client.post("/v1/charges", body)
        split = " + ".join(f"{part['amount_minor']:,} {part['source']}" for part in done["funding"])
        if capture:
            self.settle(done)
        self.tell(f"{NAMES[HANAKO]} → {NAMES[SHOP]}: {what}", amount, f"{_state(done['state'])} = {split}")
        return done["payment_id"]

    def settle(self, payment: dict[str, Any]) -> None:
        """Enter a payment's captured value, which a single source or both wholly gave."""
        for part in payment["funding"]:
            self.note(payment["payer_id"], part["source"], -part["amount_minor"])
        self.note(SHOP, "unsettled_sales", payment["captured_minor"])

    def capture(self, payment_id: str, amount: int) -> None:
        body = {"amount_minor": amount, "final": False}
        done = self.client.post(f"/v1/charges/{payment_id}/capture", body)
        self.note(HANAKO, "funds", -amount)
        self.note(SHOP, "unsettled_sales", amount)
        self.tell("  captured in part · 一部売上確定", amount, _state(done["state"]))

    def cancel(self, payment_id: str, what: str) -> None:
        done = self.client.post(f"/v1/charges/{payment_id}/cancel")
        self.tell(f"  {what}", done["amount_minor"] - done["captured_minor"], _state(done["state"]))

    def refund(self, payment_id: str, amount: int) -> None:
        before = self.balance(HANAKO, "free_points")
        done = self.client.post(f"/v1/charges/{payment_id}/refunds", {"amount_minor": amount, "reason": "cold soup"})
        points = self.balance(HANAKO, "free_points") - before
        self.note(HANAKO, "free_points", points)
        self.note(HANAKO, "funds", amount - points)
        self.note(SHOP, "unsettled_sales", -amount)
        self.tell(
            "  part of it is given back · 一部返金",
            amount,
            f"{_state(done['state'])}: {points:,} free_points + {amount - points:,} funds",
        )

    def client_transfer(self, amount: int) -> None:
        body = {"customer_id": HANAKO, "recipient_id": TARO, "amount_minor": amount}
        done = self.client.post("/v1/transfers", body)
        self.note(HANAKO, "funds", -amount)
        self.note(TARO, "funds", amount)
        self.tell(f"{NAMES[HANAKO]} sends to {NAMES[TARO]} · 個人間送金", amount, _done(done))

    def refusal(self) -> None:
        body = {"customer_id": TARO, "merchant_id": SHOP, "amount_minor": 99_999, "sources": [{"source": "funds"}]}
        answer = self.client.try_post("/v1/charges", body)
        _expect(answer.body.get("code") == "insufficient_funds", f"a refusal was expected: {answer}")
        self.tell(f"{NAMES[TARO]} spends more than there is · 残高不足", 99_999, _problem(answer))
        answer = self.client.try_post(
            "/v1/top-ups", {"customer_id": HANAKO, "source": "bank_deposit", "amount_minor": 990_000}
        )
        _expect(answer.body.get("code") == "retention_cap_exceeded", f"a refusal was expected: {answer}")
        self.tell(f"{NAMES[HANAKO]} tops up above the cap · 滞留上限超過", 990_000, _problem(answer))

    def replay(self) -> None:
        key, body = uuid4().hex, {"customer_id": TARO, "source": "atm", "amount_minor": 700}
        first = self.client.try_post("/v1/top-ups", body, key=key)
        again = self.client.try_post("/v1/top-ups", body, key=key)
        _expect(first.body == again.body and again.replayed, f"a replay was expected: {again}")
        self.note(TARO, "funds", 700)
        self.tell("the same request twice, one key · 冪等な再送", 700, "done once, the answer replayed")
        other = self.client.try_post("/v1/top-ups", body | {"amount_minor": 701}, key=key)
        _expect(other.body.get("code") == "idempotency_key_reused", f"a refusal was expected: {other}")
        self.tell("the same key, other content · キーの使い回し", 701, _problem(other))

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
        table = Table(title="What we were told, and what the ledger holds · 突合", title_justify="left")
        for heading in ("owner · 名義", "account type · 口座種別"):
            table.add_column(heading)
        for heading in ("told · 控え", "ledger · 台帳"):
            table.add_column(heading, justify="right")
        table.add_column("")
        same = True
        for (owner, account_type), told in sorted(self.told.items()):
            held = self.balance(owner, account_type)
            same &= held == told
            table.add_row(
                f"{NAMES[owner]} {NAMES_JA[owner]}",
                account_type,
                f"{told:,}",
                f"{held:,}",
                "✓" if held == told else "✗",
            )
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


def main() -> int:
    """Play the day; 0 when our account and the ledger's agree and everything adds up to zero."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    day = Day(Client(sys.argv[1], os.environ["KESSAI_API_KEY"]))
    day.morning()
    day.noon()
    day.afternoon()
    day.night()
    console.print(day.table)
    agrees = day.compare(console)
    balances = day.totals(console)
    return 0 if agrees and balances else 1


def _leg(owner: str, account_type: str, amount: int) -> dict[str, Any]:
    return {"owner": owner, "account_type": account_type, "amount_minor": amount, "asset": "JPY"}


def _state(state: str) -> str:
    return f"{state} {STATES_JA.get(state, '')}".strip()


def _done(payment: dict[str, Any]) -> str:
    """Of a payment that is done at once."""
    return f"{payment['state']} 完了" if payment["state"] == "CAPTURED" else _state(payment["state"])


def _problem(answer: Answer) -> str:
    return f"{answer.status} {answer.body.get('code')}"


def _expect(true: bool, otherwise: str) -> None:
    if not true:
        raise SystemExit(otherwise)


if __name__ == "__main__":
    sys.exit(main())
