"""The day inside the platform: sales, holds, points, transfers, and what must not work."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

from kessai.apps.demo.diary import CAMPAIGN, HANAKO, SHOP, TARO, Diary, expect, given, problem, shown, shown_course


class Inside:
    """What concerns nobody but the platform and its customers."""

    def __init__(self, diary: Diary) -> None:
        self.diary = diary

    # -- the script ----------------------------------------------------------------------------------------------

    def morning(self) -> None:
        """Accounts, money in, points."""
        for customer in (HANAKO, TARO):
            self.diary.client.post("/v1/ledger/accounts", {"owner": customer, "account_type": "funds"})
            self.diary.tell(f"{given(customer)} opens an account · 口座開設 (資金移動口座)", None, "opened")
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
        self.transfer(1_500)

    def afternoon(self) -> None:
        """What must not work, does not; what is sent twice happens once. Points are sold, and used."""
        self.refusal()
        self.replay()
        self.sell_points(HANAKO, 1_000)
        self.charge(300, ["paid_points"], capture=True, what="a cake for points bought · 有償ポイントで購入")

    def night(self) -> None:
        """The sandbox's clock is moved: a hold lapses, points expire."""
        held = self.charge(2_000, ["funds"], capture=False, what="a hold for one day · 一日限りの仮売上", days=1)
        now = self.diary.advance(timedelta(days=1, hours=1))
        self.diary.tell("the clock moves a day and an hour · 時計を進める", None, now)
        state = self.diary.payment(held)["state"]
        self.diary.tell("the hold lapsed by itself · 仮売上失効", 2_000, shown(state))
        expect(state == "EXPIRED", f"the hold should have expired, it is {state}")
        now = self.diary.advance(timedelta(days=3))
        left = self.diary.balance(TARO, "free_points")
        self.diary.tell("three days later: points expired · ポイント失効", 120, f"{left} left · 残 {left} ({now})")
        self.diary.note(TARO, "free_points", -120)

    # -- its steps -----------------------------------------------------------------------------------------------

    def top_up(self, customer: str, source: str, amount: int, source_ja: str) -> None:
        done = self.diary.client.post(
            "/v1/top-ups", {"customer_id": customer, "source": source, "amount_minor": amount}
        )
        self.diary.note(customer, "funds", done["captured_minor"])
        self.diary.tell(f"{given(customer)} tops up · 入金 ({source_ja})", amount, _done(done))

    def grant(self, customer: str, amount: int, what: str, *, days: int) -> None:
        until = (self.diary.now() + timedelta(days=days)).isoformat()
        self.diary.client.post(
            "/v1/ledger/exchanges",
            {
                "kind": "point_grant",
                "sources": [_leg(CAMPAIGN, "point_cost", amount)],
                "targets": [_leg(customer, "free_points", amount) | {"expires_at": until}],
            },
        )
        self.diary.note(customer, "free_points", amount)
        self.diary.tell(f"{given(customer)}: {what}", amount, "granted · 付与")

    def sell_points(self, customer: str, amount: int) -> None:
        body = {
            "kind": "point_sale",
            "sources": [_leg(customer, "funds", amount)],
            "targets": [_leg(customer, "paid_points", amount)],
        }
        self.diary.client.post("/v1/ledger/exchanges", body)
        self.diary.note(customer, "funds", -amount)
        self.diary.note(customer, "paid_points", amount)
        self.diary.tell(f"{given(customer)} buys points · 有償ポイント購入", amount, "issued · 発行")

    def charge(self, amount: int, sources: list[str], *, capture: bool, what: str, days: int | None = None) -> str:
        body: dict[str, Any] = {
            "customer_id": HANAKO,
            "merchant_id": SHOP,
            "amount_minor": amount,
            "sources": [{"source": source} for source in sources],
            "capture": capture,
        }
        if days is not None:
            body["expires_at"] = (self.diary.now() + timedelta(days=days)).isoformat()
        done = self.diary.client.post("/v1/charges", body)
        split = " + ".join(f"{part['amount_minor']:,} {part['source']}" for part in done["funding"])
        if capture:
            self.settle(done)
        self.diary.tell(f"{given(HANAKO)} → {given(SHOP)}: {what}", amount, f"{shown(done['state'])} = {split}")
        return done["payment_id"]

    def settle(self, payment: dict[str, Any]) -> None:
        """Enter a payment's captured value, which a single source or both wholly gave."""
        for part in payment["funding"]:
            self.diary.note(payment["payer_id"], part["source"], -part["amount_minor"])
        self.diary.note(SHOP, "unsettled_sales", payment["captured_minor"])

    def capture(self, payment_id: str, amount: int) -> None:
        body = {"amount_minor": amount, "final": False}
        done = self.diary.client.post(f"/v1/charges/{payment_id}/capture", body)
        self.diary.note(HANAKO, "funds", -amount)
        self.diary.note(SHOP, "unsettled_sales", amount)
        self.diary.tell("  captured in part · 一部売上確定", amount, shown(done["state"]))

    def cancel(self, payment_id: str, what: str) -> None:
        done = self.diary.client.post(f"/v1/charges/{payment_id}/cancel")
        self.diary.tell(f"  {what}", done["amount_minor"] - done["captured_minor"], shown(done["state"]))

    def refund(self, payment_id: str, amount: int) -> None:
        before = self.diary.balance(HANAKO, "free_points")
        done = self.diary.client.post(
            f"/v1/charges/{payment_id}/refunds", {"amount_minor": amount, "reason": "cold soup"}
        )
        points = self.diary.balance(HANAKO, "free_points") - before
        self.diary.note(HANAKO, "free_points", points)
        self.diary.note(HANAKO, "funds", amount - points)
        self.diary.note(SHOP, "unsettled_sales", -amount)
        self.diary.tell(
            "  part of it is given back · 一部返金",
            amount,
            f"{shown(done['state'])}: {points:,} free_points + {amount - points:,} funds",
        )

    def transfer(self, amount: int) -> None:
        body = {"customer_id": HANAKO, "recipient_id": TARO, "amount_minor": amount}
        done = self.diary.client.post("/v1/transfers", body)
        self.diary.note(HANAKO, "funds", -amount)
        self.diary.note(TARO, "funds", amount)
        self.diary.payments["transfer"] = done["payment_id"]
        states = shown_course(self.diary.course(done["payment_id"]), "完了")
        self.diary.tell(f"{given(HANAKO)} sends to {given(TARO)} · 個人間送金", amount, states)

    def refusal(self) -> None:
        body = {"customer_id": TARO, "merchant_id": SHOP, "amount_minor": 99_999, "sources": [{"source": "funds"}]}
        answer = self.diary.client.try_post("/v1/charges", body)
        expect(answer.body.get("code") == "insufficient_funds", f"a refusal was expected: {answer}")
        self.diary.tell(f"{given(TARO)} spends more than there is · 残高不足", 99_999, problem(answer))
        answer = self.diary.client.try_post(
            "/v1/top-ups", {"customer_id": HANAKO, "source": "bank_deposit", "amount_minor": 990_000}
        )
        expect(answer.body.get("code") == "retention_cap_exceeded", f"a refusal was expected: {answer}")
        self.diary.tell(f"{given(HANAKO)} tops up above the cap · 滞留上限超過", 990_000, problem(answer))

    def replay(self) -> None:
        key, body = uuid4().hex, {"customer_id": TARO, "source": "atm", "amount_minor": 700}
        first = self.diary.client.try_post("/v1/top-ups", body, key=key)
        again = self.diary.client.try_post("/v1/top-ups", body, key=key)
        expect(first.body == again.body and again.replayed, f"a replay was expected: {again}")
        self.diary.note(TARO, "funds", 700)
        self.diary.tell("the same request twice, one key · 冪等な再送", 700, "done once, the answer replayed")
        other = self.diary.client.try_post("/v1/top-ups", body | {"amount_minor": 701}, key=key)
        expect(other.body.get("code") == "idempotency_key_reused", f"a refusal was expected: {other}")
        self.diary.tell("the same key, other content · キーの使い回し", 701, problem(other))


def _leg(owner: str, account_type: str, amount: int) -> dict[str, Any]:
    return {"owner": owner, "account_type": account_type, "amount_minor": amount, "asset": "JPY"}


def _done(payment: dict[str, Any]) -> str:
    """Of a payment that is done at once."""
    return f"{payment['state']} 完了" if payment["state"] == "CAPTURED" else shown(payment["state"])
