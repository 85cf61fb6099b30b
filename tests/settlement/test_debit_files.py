"""口座振替: what payees owe is debited with the file of a day, and what the bank says of each line comes back."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

from tests.settlement.district import MERCHANTS, PLAIN_FEE, District, opened

MONDAY = date(2027, 2, 1)
FRIDAY = MONDAY + timedelta(days=4)
POOR = "9000003"
"""Of whose account the simulated bank says that there is not enough in it."""
RULES: dict[str, Any] = {"cycle": "daily", "payout": {"days_after": 4}}


async def claim_of(district: District, merchant: str) -> dict[str, Any]:
    """What a merchant owes, by its only claim."""
    (claim,) = (await district.clerk.get("/v1/settlement/claims", payee_id=merchant))["claims"]
    return claim


async def test_claims_are_debited_by_a_file_line_by_line(database_url: str, tmp_path: Path) -> None:
    rich, poor, *_ = MERCHANTS
    async with opened(database_url, tmp_path, MONDAY) as district:
        await district.sign_up(dict.fromkeys(MERCHANTS, RULES), dict.fromkeys(MERCHANTS, PLAIN_FEE))
        await district.name_account(poor, POOR)
        for merchant in (rich, poor):
            await district.correct(merchant, -2_000)
        await district.days(1)
        for merchant in (rich, poor):
            claim = await claim_of(district, merchant)
            assert (claim["state"], claim["owed_minor"]) == ("OPEN", 2_000)
            body = {
                "amount_minor": 2_000, "source": "bank_debit", "bank_account_id": district.accounts[merchant][-1],
                "debit_on": FRIDAY.isoformat(),
            }  # fmt: skip
            path = f"/v1/settlement/claims/{claim['claim_id']}/repayments"
            closed = await district.clerk.ask(path, body | {"debit_on": "2027-02-06"})  # a Saturday
            assert (closed.json()["state"], closed.json()["code"]) == ("REFUSED", "not_a_business_day")
            waits = await district.clerk.post(path, body)
            assert (waits["state"], waits["claim"]["pending_minor"]) == ("ASKED", 2_000)
        misplaced = await district.clerk.ask(path, {"amount_minor": 1, "debit_on": FRIDAY.isoformat()})
        assert misplaced.json()["code"] == "debit_day_misplaced"

        await district.days(6)
        (file,) = [each for each in (await district.clerk.get("/v1/bank/files"))["files"] if each["kind"] == "debit"]
        assert (file["transfer_on"], file["lines"], file["state"]) == (FRIDAY.isoformat(), 2, "CLOSED")
        assert (file["paid_minor"], file["unpaid_minor"]) == (2_000, 2_000)
        paid, unpaid = await claim_of(district, rich), await claim_of(district, poor)
        assert (paid["state"], paid["collected_minor"], paid["pending_minor"]) == ("SETTLED", 2_000, 0)
        assert (unpaid["state"], unpaid["owed_minor"], unpaid["pending_minor"]) == ("OPEN", 2_000, 0)
        alone = await district.clerk.ask(path, {"amount_minor": 2_000})
        assert (alone.status_code, alone.json()["code"]) == (422, "approval_required")
        await district.repay(poor, 100, "deposit")  # with a second person's approval
        assert (await claim_of(district, poor))["state"] == "SETTLED"
        assert await district.town.findings() == []
