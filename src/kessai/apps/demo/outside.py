"""The day with others outside: the bank, the card company, a marketplace; answers that are lost, money that returns."""

from __future__ import annotations

from typing import Any

from kessai.apps.demo.diary import (
    BANK,
    BANK_FEE,
    CARD_COMPANY,
    HANAKO,
    MARKET,
    SHOP,
    TARO,
    Diary,
    expect,
    given,
    shown,
    shown_course,
)
from kessai.apps.demo.parties import CardCompany

COMES_BACK = "9000006"
"""The simulated bank sends money on to this account, and has it back three days later."""
ACCOUNT_OF = {
    "free_points": (HANAKO, "free_points"),
    "funds": (HANAKO, "funds"),
    "card": (CARD_COMPANY, "card_receivable"),
}
"""What each of Hanako's sources is in the ledger."""
LATE_MS = 20_000
"""How late the card company answers: nobody waits so long."""


class Outside:
    """What needs somebody outside; `cards` can be told to misbehave."""

    def __init__(self, diary: Diary, cards: CardCompany) -> None:
        self.diary = diary
        self.cards = cards
        self.card_id = ""
        self.fee_minor = 0

    # -- the script ----------------------------------------------------------------------------------------------

    def morning(self) -> None:
        """A bank account and a card are registered; money comes by bank debit."""
        account_id = self.bank_account(HANAKO, "1234567", "ヤマダ ハナコ", debits=True)
        body = {"customer_id": HANAKO, "form_token": "tok_visa"}
        card = self.diary.client.post("/v1/cards", body)
        self.card_id = card["card_id"]
        self.diary.tell(f"{given(HANAKO)} registers a card · カード登録", None, f"{card['brand']} …{card['last_four']}")
        self.bank_debit(account_id, 30_000)

    def noon(self) -> None:
        """Points, balance and card in one charge, and back to each of them; a seller is paid; an answer is lost."""
        self.incentive(200)
        mixed = self.mixed_charge(5_000)
        self.escrow(4_000, fee=400)
        self.lost_answer(6_000)
        self.kept_hold(2_400)
        self.refund(mixed, 3_500, "a first part is given back, card first · 混合決済の返金")
        self.refund(mixed, 1_500, "the rest is given back to each · 残額も各支払手段へ")

    def afternoon(self) -> None:
        """Money leaves for a bank account that is not open any more."""
        account_id = self.bank_account(TARO, COMES_BACK, "スズキ タロウ")
        body = {"customer_id": TARO, "bank_account_id": account_id, "amount_minor": 3_000}
        sent = self.diary.client.post("/v1/withdrawals", body)
        self.diary.payments["withdrawal"] = sent["payment_id"]
        done = self.diary.until(sent["payment_id"], "CAPTURED")
        self.fee_minor = done["fee_minor"]
        self._move(3_000, (TARO, "funds"), (BANK, "bank_in_transit"))
        self._move(self.fee_minor, (TARO, "funds"), (BANK_FEE, "fee_income"))
        what = f"{given(TARO)} withdraws, fee {self.fee_minor} · 出金 (手数料 {self.fee_minor})"
        self.diary.tell(what, 3_000, self._course(sent, "手続済"))

    def night(self) -> None:
        """Some days have passed: the bank returns what it could not pay out."""
        payment_id = self.diary.payments["withdrawal"]
        returned = self.diary.until(payment_id, "RETURNED")
        self._move(3_000, (BANK, "bank_in_transit"), (TARO, "funds"))
        self.diary.tell("the bank returns the withdrawal, not the fee · 資金返却", 3_000, self._course(returned))

    # -- its steps -----------------------------------------------------------------------------------------------

    def bank_account(self, owner: str, number: str, holder: str, *, debits: bool = False) -> str:
        body = {
            "owner_kind": "customer", "owner_id": owner, "bank_code": "0001", "branch_code": "001",
            "account_number": number, "holder_name": holder, "debits": debits,
        }  # fmt: skip
        done = self.diary.client.post("/v1/bank/accounts", body)
        what = f"{given(owner)} registers a bank account · 銀行口座登録"
        self.diary.tell(what, None, f"…{done['last_digits']}" + (", may be debited · 口座振替" if debits else ""))
        return done["account_id"]

    def bank_debit(self, account_id: str, amount: int) -> None:
        body = {"customer_id": HANAKO, "source": "bank_debit", "amount_minor": amount, "instrument_id": account_id}
        asked = self.diary.client.post("/v1/top-ups", body)
        self.diary.payments["top-up by bank"] = asked["payment_id"]
        self.diary.until(asked["payment_id"], "CAPTURED")
        self._move(amount, (BANK, "bank_in_transit"), (HANAKO, "funds"))
        self.diary.tell(f"{given(HANAKO)} tops up by bank debit · 入金 (口座振替)", amount, self._course(asked, "完了"))

    def incentive(self, amount: int) -> None:
        self.diary.client.post("/v1/incentives", {"customer_id": HANAKO, "amount_minor": amount})
        self.diary.note(HANAKO, "free_points", amount)
        self.diary.tell(f"{given(HANAKO)} gets points · ポイント付与", amount, "CAPTURED 完了")

    def mixed_charge(self, amount: int) -> str:
        sources = [{"source": "free_points"}, {"source": "funds", "max_amount_minor": 1_800}, self._by_card()]
        done = self._charge(amount, sources)
        self.diary.payments["mixed charge"] = done["payment_id"]
        what = f"{given(HANAKO)} → {given(SHOP)}: points, balance, card · ポイント・残高・カード"
        self.diary.tell(what, amount, f"{self._course(done)} = {_parts(_funding(done))}")
        self._sold(done)
        return done["payment_id"]

    def escrow(self, amount: int, *, fee: int) -> None:
        body = {
            "customer_id": HANAKO, "marketplace_id": MARKET, "seller_id": TARO, "amount_minor": amount,
            "sources": [{"source": "funds"}],
        }  # fmt: skip
        parked = self.diary.client.post("/v1/escrows", body)
        self.diary.payments["escrow"] = parked["payment_id"]
        what = f"{given(HANAKO)} buys from {given(TARO)} on {given(MARKET)} · エスクロ決済 (預かり)"
        self.diary.tell(what, amount, self._course(parked, "預かり中"))
        self.diary.client.post(f"/v1/escrows/{parked['payment_id']}/capture", {"fee_minor": fee})
        self._move(amount - fee, (HANAKO, "funds"), (TARO, "sales"))
        self._move(fee, (HANAKO, "funds"), (MARKET, "unsettled_sales"))
        what = f"  received: the seller is paid, less {fee} · 受取評価、出品者へ (手数料 {fee})"
        self.diary.tell(what, amount - fee, self._course(parked, "取引完了"))

    def lost_answer(self, amount: int) -> None:
        """The card company takes the money, but answers too late, and then not at all for a while."""
        self.cards.misbehave("slow_reply", "authorize", reply_delay_ms=LATE_MS)
        self.cards.misbehave("drop_before", "inquire", times=0)
        try:
            lost = self._charge(amount, [self._by_card()])
            self.diary.payments["lost answer"] = lost["payment_id"]
            self.diary.until(lost["payment_id"], "UNKNOWN")
            what = f"{given(HANAKO)} → {given(SHOP)}: the card's answer is lost · カード応答なし"
            self.diary.tell(what, amount, self._course(lost))
        finally:
            self.cards.behave()
        done = self.diary.until(lost["payment_id"], "CAPTURED")
        self._sold(done)
        self.diary.tell("  it is asked for: it had succeeded · 照会、成功していた", amount, self._course(done))

    def kept_hold(self, amount: int) -> None:
        """The card company says that it let go of a hold, and keeps it: nobody here can see that from his own books."""
        self.cards.misbehave("undone", "void")
        body = {
            "customer_id": HANAKO, "merchant_id": SHOP, "amount_minor": amount, "sources": [self._by_card()],
            "capture": False,
        }  # fmt: skip
        held = self.diary.client.post("/v1/charges", body)
        self.diary.payments["kept hold"] = held["payment_id"]
        self.diary.client.post(f"/v1/charges/{held['payment_id']}/cancel", {})
        what = f"{given(HANAKO)} cancels a hold; the card company says so, and keeps it · 取消、先方は保留のまま"
        self.diary.tell(what, amount, self._course(held))

    def refund(self, payment_id: str, amount: int, what: str) -> None:
        before = self._sources_hold()
        done = self.diary.client.post(f"/v1/charges/{payment_id}/refunds", {"amount_minor": amount})
        after = self._sources_hold()
        back = {source: after[source] - before[source] for source in before}
        expect(sum(back.values()) == amount, f"{amount} should have come back, it was {back}")
        for source, part in back.items():
            self._move(part, (SHOP, "unsettled_sales"), ACCOUNT_OF[source])
        back = {source: part for source, part in reversed(back.items()) if part}
        self.diary.tell(f"  {what}", amount, f"{shown(done['state'])}: {_parts(back)}")

    # -- beneath them --------------------------------------------------------------------------------------------

    def _by_card(self) -> dict[str, Any]:
        return {"source": "card", "instrument_id": self.card_id}

    def _charge(self, amount: int, sources: list[dict[str, Any]]) -> dict[str, Any]:
        body = {"customer_id": HANAKO, "merchant_id": SHOP, "amount_minor": amount, "sources": sources, "capture": True}
        return self.diary.client.post("/v1/charges", body)

    def _sold(self, payment: dict[str, Any]) -> None:
        """Enter a sale at once, source by source."""
        for source, amount in _funding(payment).items():
            self._move(amount, ACCOUNT_OF[source], (SHOP, "unsettled_sales"))

    def _move(self, amount: int, payer: tuple[str, str], payee: tuple[str, str]) -> None:
        self.diary.note(*payer, -amount)
        self.diary.note(*payee, amount)

    def _course(self, payment: dict[str, Any], name_ja: str | None = None) -> str:
        return shown_course(self.diary.course(payment["payment_id"]), name_ja)

    def _sources_hold(self) -> dict[str, int]:
        """What Hanako has in each source; of the card, what it was not charged, less than zero."""
        page = self.diary.client.get(f"/v1/card-authorizations?customer_id={HANAKO}")
        on_card = sum(each["captured_minor"] - each["refunded_minor"] for each in page["authorizations"])
        balances = self.diary.balances(HANAKO)
        return {"free_points": balances.get("free_points", 0), "funds": balances.get("funds", 0), "card": -on_card}


def _funding(payment: dict[str, Any]) -> dict[str, int]:
    return {part["source"]: part["amount_minor"] for part in payment["funding"]}


def _parts(amounts: dict[str, int]) -> str:
    return " + ".join(f"{amount:,} {source}" for source, amount in amounts.items())
