"""Who plays the month: merchants with their contracts, who collects for whom, bank accounts, two approvers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from kessai.apps.demo.client import Client
from kessai.apps.demo.diary import PATIENCE_S, PAUSE_S, expect
from kessai.foundation.contract import Message
from kessai.services.identity.api import content_digest
from kessai.services.merchant.api import (
    AgreeContract,
    ChangeState,
    MerchantState,
    RegisterCompany,
    SetBankAccount,
    SetParent,
)

BOOKSHOP, FLORIST, STALL, SWEETS = "merchant:honya", "merchant:hanaya", "merchant:yatai", "merchant:dagashi"
COBBLER, BAKER = "merchant:kutsuya", "merchant:panya"
CHAIN = "merchant:sushi"
SHOPS = ("merchant:sushi-ginza", "merchant:sushi-shibuya", "merchant:sushi-ueno")
CLOSED_ACCOUNT, RETURNING_ACCOUNT = "9000007", "9000006"
"""Numbers that the simulated bank gives a meaning at every branch: it cannot pay the one out, and has the other's money
come back."""
ON_THEIR_WAY = ("APPROVED", "SENDING")
SUNDAY = 6


@dataclass(frozen=True, slots=True)
class Role:
    """A merchant of the month."""

    merchant_id: str
    name: str
    holder: str
    """Of its bank account, in kana; empty: somebody collects for it."""
    number: str = ""
    fee: dict[str, Any] = field(default_factory=dict[str, Any])
    """Its schedule; empty: it sells nothing itself."""
    settlement: dict[str, Any] = field(default_factory=dict[str, Any])
    parent_id: str | None = None


def _weekly(**more: Any) -> dict[str, Any]:
    return {
        "cycle": "weekly", "cycle_day": SUNDAY, "payout": {"days_after": 3}, "holiday": "next",
        "instruct_days_before": 1, **more,
    }  # fmt: skip


EXEMPT = {"rate_ppm": 32_500}
"""3.25 %, a discount on claims: no consumption tax."""
TAXED = {"rate_ppm": 25_000, "fixed_minor": 10, "tax": "added", "tax_rate_bps": 1000}
"""2.5 % and ten yen, consumption tax on top."""
DAILY_FEE = {"rate_ppm": 20_000, "unit": "day", "tax": "included", "tax_rate_bps": 1000}
"""2 % of a day's sales, tax in it."""

ROLES = (
    Role(BOOKSHOP, "Honya 本屋", "ホンヤ", "1000001", EXEMPT,
         {"cycle": "monthly", "payout": {"months_after": 1, "day": 10}, "instruct_days_before": 2}),
    Role(FLORIST, "Hanaya 花屋", "ハナヤ", "1000002", TAXED,
         {"cycle": "twice_monthly", "transfer_fee_minor": 200, "transfer_fee_borne_by": "merchant",
          "instruct_days_before": 2}),
    Role(STALL, "Yatai 屋台", "ヤタイ", "1000003", EXEMPT, _weekly()),
    Role(SWEETS, "Dagashi 駄菓子屋", "ダガシヤ", "1000004", EXEMPT,
         _weekly(minimum_minor=3_000, below_minimum="carry_over")),
    Role(COBBLER, "Kutsuya 靴屋", "クツヤ", CLOSED_ACCOUNT, EXEMPT,
         _weekly(transfer_fee_minor=150, transfer_fee_borne_by="merchant")),
    Role(BAKER, "Panya パン屋", "パンヤ", RETURNING_ACCOUNT, TAXED, _weekly()),
    Role(CHAIN, "Sushi chain 寿司本部", "スシホンブ", "1000005", {}, _weekly()),
    Role(SHOPS[0], "Sushi Ginza 銀座店", "", fee=DAILY_FEE, settlement=_weekly(), parent_id=CHAIN),
    Role(SHOPS[1], "Sushi Shibuya 渋谷店", "", fee=DAILY_FEE, settlement=_weekly(), parent_id=CHAIN),
    Role(SHOPS[2], "Sushi Ueno 上野店", "", fee=EXEMPT, settlement=_weekly(), parent_id=CHAIN),
)  # fmt: skip
NAMES = {each.merchant_id: each.name for each in ROLES}
PAYEES = tuple(each.merchant_id for each in ROLES if each.parent_id is None)
REGISTRATION_NUMBER = "T1180301018771"


class Staff:
    """An operator, and two others who approve what the operator does."""

    def __init__(self, operator: Client, approvers: Sequence[Client]) -> None:
        """The approvers' keys are nobody's whom the operator made: two hands, not two keys of one."""
        self.operator = operator
        self.approvers = approvers

    def do(self, path: str, action: str, subject: str, request: Message, omitted: str) -> dict[str, Any]:
        """Do what a second person has to approve; `omitted` is the part of the request that the path has."""
        body = msgspec.to_builtins(request)
        digest = content_digest(request)
        asked = {"subject": subject, "action": action, "content_sha256": digest, "reason": "as agreed"}
        approval = self.operator.post("/v1/identity/approvals", asked)["approval_id"]
        self.approvers[0].post(f"/v1/identity/approvals/{approval}/approve", {"content_sha256": digest})
        body = {name: value for name, value in body.items() if name != omitted and value is not None}
        return self.operator.post(path, {**body, "approval_id": approval})

    def approve_files(self) -> list[str]:
        """Have both approvers approve every file that waits for it, and see it off; gives the files."""
        waiting = [each for each in self.operator.get("/v1/bank/files")["files"] if each["state"] == "MADE"]
        for file in waiting:
            for approver in self.approvers:
                path = f"/v1/bank/files/{file['file_id']}/approve"
                approver.post(path, {"content_sha256": file["content_sha256"]})
        ids = [each["file_id"] for each in waiting]
        expect(self._have_gone(ids), f"the bank should have got the files that were approved: {ids}")
        return ids

    def _have_gone(self, file_ids: Sequence[str]) -> bool:
        """Whether the bank has them: what comes after its cut-off, it does not take."""
        ends = time.monotonic() + PATIENCE_S
        while any(self.operator.get(f"/v1/bank/files/{each}")["state"] in ON_THEIR_WAY for each in file_ids):
            if time.monotonic() > ends:
                return False
            time.sleep(PAUSE_S)
        return True

    # -- merchants ----------------------------------------------------------------------------------------------

    def sign_up(self) -> None:
        """Register every merchant, agree its contract, say who collects and where it is paid, and activate it."""
        profile = {"name": "Matsuri Shoten Co.", "registration_number": REGISTRATION_NUMBER}
        new = msgspec.convert({"profile": profile}, RegisterCompany)
        company = self.do("/v1/merchant-companies", "merchant.company", "merchant-companies", new, "")["company_id"]
        for role in ROLES:
            kind = "company" if role.merchant_id == CHAIN else "shop"
            profile = {"name": role.name, "kind": kind, "company_id": company}
            self.operator.post("/v1/merchants", {"merchant_id": role.merchant_id, "profile": profile})
            self._agree(role)
            if role.number:
                self.bank_account(role.merchant_id, role.number, role.holder)
        for role in ROLES:
            if role.parent_id is not None:
                request = SetParent(merchant_id=role.merchant_id, parent_id=role.parent_id, reason="one payout")
                self._change(role.merchant_id, "parent", request)
            self._activate(role.merchant_id)

    def _agree(self, role: Role) -> None:
        methods = [{"method": "direct", "fee": role.fee}] if role.fee else []
        contract = {"methods": methods, "settlement": role.settlement}
        body = {"merchant_id": role.merchant_id, "contract": contract, "reason": "a new merchant"}
        self._change(role.merchant_id, "contract", msgspec.convert(body, AgreeContract))

    def bank_account(self, merchant_id: str, number: str, holder: str) -> None:
        """Register a bank account as a merchant's, and have it paid there from now on."""
        body = {
            "owner_kind": "merchant", "owner_id": merchant_id, "bank_code": "0001", "branch_code": "005",
            "account_number": number, "holder_name": holder,
        }  # fmt: skip
        account_id = self.operator.post("/v1/bank/accounts", body)["account_id"]
        request = SetBankAccount(merchant_id=merchant_id, bank_account_id=account_id, reason="where it is paid")
        self._change(merchant_id, "bank-account", request, action="bank_account")

    def _activate(self, merchant_id: str) -> None:
        path = f"/v1/merchants/{merchant_id}/state"
        self.operator.post(path, {"state": "screened", "reason": "its papers are in order"})
        request = ChangeState(merchant_id=merchant_id, state=MerchantState.ACTIVE, reason="open for business")
        self._change(merchant_id, "state", request)

    def _change(self, merchant_id: str, place: str, request: Message, *, action: str | None = None) -> None:
        path, name = f"/v1/merchants/{merchant_id}/{place}", f"merchant.{action or place}"
        self.do(path, name, merchant_id, request, "merchant_id")
