"""The sum of a shopping street: every yen sold = paid out + fees + carried + claimed − collected.

For each merchant as the seller and as the payee, for those whose money flows together, and in total; by the merchants'
own tills, the payment service's payments, settlement's rows, the ledger's balances and the bank's books and statement.
Then whatever is stored verifies, and every processing is CONSISTENT, by the tracer's word and proved anew.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from kessai.apps.trace.prove import prove_all
from kessai.services.payment.domain.kinds import load_kinds
from kessai.simulators.bank.books import Books, StatementLine
from tests.settlement.district import EVENING, MERCHANTS, PAUSE_S, District

PATIENCE_S = 45.0
PAGE = 500
WRONG = ("INCONSISTENT", "INCOMPLETE")
WAITS = ("PAID", "INSTRUCTED", "NOTHING")
"""States of payouts whose amount does not wait."""

_PAYMENTS = """
SELECT kind, payer_id, payee_id, sum(captured_minor - refunded_minor)::bigint AS amount FROM payment.payment
WHERE kind IN ('merchant_fee', 'merchant_fee_exempt', 'clearing', 'shortfall', 'claim_offset', 'transfer_fee',
    'claim_repayment')
GROUP BY kind, payer_id, payee_id
"""
_OPEN = """
SELECT owner_id, coalesce(sum(CASE WHEN to_id = owner_id THEN amount_minor ELSE -amount_minor END), 0)::bigint AS amount
FROM settlement.transaction_data WHERE state <> 'RECONCILED' GROUP BY owner_id
"""
_NOT_IN_A_CYCLE = """
SELECT owner_id, sum(net_minor)::bigint AS amount FROM settlement.daily_summary
WHERE cycle_id IS NULL GROUP BY owner_id
"""
_NOT_CLEARED = """
SELECT s.owner_id, sum(s.net_minor)::bigint AS amount FROM settlement.daily_summary AS s
WHERE s.cycle_id IS NOT NULL AND s.net_minor <> 0 AND NOT EXISTS (
    SELECT FROM settlement.clearing AS c
    WHERE c.payee_id = s.payee_id AND c.cycle_id = s.cycle_id AND c.owner_id = s.owner_id AND c.state = 'DONE')
GROUP BY s.owner_id, s.payee_id, s.cycle_id
"""
_ON_ITS_WAY = """
SELECT processing_id FROM payment.payment
WHERE state NOT IN ('CAPTURED', 'CANCELED', 'REFUSED', 'EXPIRED')
"""


@dataclass
class Moved:
    """What the payment service moved, by kind and by whom."""

    of: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict[tuple[str, str], int](int))
    """By kind and payer."""
    to: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict[tuple[str, str], int](int))
    """By kind and payee."""
    links: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """Merchants between whom anything was moved."""

    def fees(self, merchant: str) -> int:
        """Less what went back."""
        return self.of["merchant_fee", merchant] + self.of["merchant_fee_exempt", merchant]


@dataclass
class Proof:
    """What everybody says, at about one moment."""

    district: District
    wrong: list[str] = field(default_factory=list[str])

    async def look(self) -> list[str]:
        """Ask everybody; what does not add up."""
        self.wrong = []
        moved = await self._moved()
        balances = {each: await self._balances(each) for each in MERCHANTS}
        payouts = await self._all("payouts")
        claims = await self._all("claims")
        for merchant in MERCHANTS:
            self._seller(merchant, moved, balances[merchant])
            self._payee(merchant, moved, balances[merchant], [e for e in payouts if e["payee_id"] == merchant])
            self._debtor(merchant, moved, balances[merchant], [e for e in claims if e["payee_id"] == merchant])
        await self._unsettled(balances)
        await self._total(moved, balances, payouts)
        await self._statement()
        return self.wrong

    def _same(self, what: str, one: int, other: int) -> None:
        if one != other:
            self.wrong.append(f"{what}: {one} is not {other}")

    # -- each merchant ----------------------------------------------------------------------------------------------

    def _seller(self, merchant: str, moved: Moved, held: dict[str, int]) -> None:
        till = self.district.tills[merchant]
        kept = held["unsettled_sales"] + moved.of["clearing", merchant] - moved.to["shortfall", merchant]
        self._same(f"{merchant} sold, less fees", till.sold - moved.fees(merchant), kept)
        if (asked := till.fees()) is not None:
            self._same(f"fees of {merchant}", moved.fees(merchant), asked)

    def _payee(self, merchant: str, moved: Moved, held: dict[str, int], payouts: list[dict[str, Any]]) -> None:
        paid = sum(each["amount_minor"] for each in payouts if each["state"] == "PAID")
        taken = moved.of["transfer_fee", merchant] + moved.of["claim_offset", merchant]
        self._same(f"cleared for {merchant}", moved.to["clearing", merchant], paid + taken + held["settled_sales"])
        tolls = {state: sum(each["transfer_fee_minor"] for each in payouts if state(each)) for state in (_goes, _came)}
        given_back_later = moved.of["transfer_fee", merchant] - tolls[_goes]
        if not 0 <= given_back_later <= tolls[_came]:
            self.wrong.append(
                f"transfer fees of {merchant}: {given_back_later} of {tolls[_came]} still to be given back"
            )
        if all(each["state"] != "MADE" for each in payouts):
            waits = sum(
                each["payable_minor"] for each in payouts if each["state"] not in WAITS and not each["taken_by"]
            )
            under_way = sum(each["amount_minor"] for each in payouts if each["state"] == "INSTRUCTED")
            said = waits + under_way - given_back_later
            self._same(f"settled sales of {merchant}", held["settled_sales"], said)

    def _debtor(self, merchant: str, moved: Moved, held: dict[str, int], claims: list[dict[str, Any]]) -> None:
        owed = sum(each["owed_minor"] for each in claims)
        collected = sum(each["collected_minor"] for each in claims)
        settled = moved.to["claim_offset", merchant] + moved.to["claim_repayment", merchant]
        self._same(f"claimed of {merchant}", moved.of["shortfall", merchant], settled + owed)
        self._same(f"collected of {merchant}", moved.to["claim_repayment", merchant], collected)
        self._same(f"settled claims of {merchant}", held["settled_claims"], -owed)

    async def _unsettled(self, balances: dict[str, dict[str, int]]) -> None:
        """What the ledger has as unsettled is what settlement has in no day, no cycle, or not cleared yet."""
        waits = defaultdict[str, int](int)
        for query in (_OPEN, _NOT_IN_A_CYCLE, _NOT_CLEARED):
            for row in await self.district.town.platform.database.fetch(None, query):
                waits[row["owner_id"]] += row["amount"]
        for merchant in MERCHANTS:
            self._same(f"unsettled sales of {merchant}", balances[merchant]["unsettled_sales"], waits[merchant])

    # -- all of them ------------------------------------------------------------------------------------------------

    async def _total(self, moved: Moved, balances: dict[str, dict[str, int]], payouts: list[dict[str, Any]]) -> None:
        """The sum, for those whose money flows together and for all; what was paid is what the bank says it paid."""
        paid = defaultdict[str, int](int)
        for each in payouts:
            paid[each["payee_id"]] += each["amount_minor"] if each["state"] == "PAID" else 0
        for group in _together(moved.links):
            sold = sum(self.district.tills[each].sold for each in group)
            self._same(f"the sum of {', '.join(sorted(group))}", sold, self._explained(group, moved, balances, paid))
        lines = _lines(self.district.town.bank.books)
        self._same("paid out, by the bank", sum(paid.values()), -sum(each.amount for each in lines if _by_file(each)))
        fees = sum(moved.fees(each) for each in MERCHANTS)
        tolls = sum(moved.of["transfer_fee", each] for each in MERCHANTS)
        self._same("fees, by the ledger", fees, await self._earned("merchant_fee", "merchant_fee_exempt"))
        self._same("transfer fees, by the ledger", tolls, await self._earned("transfer_fee"))
        transit = (await self._balances("internal:bank"))["bank_in_transit"]
        self._same("what moved on our account", -transit, sum(each.amount for each in lines))

    def _explained(
        self, group: set[str], moved: Moved, balances: dict[str, dict[str, int]], paid: dict[str, int]
    ) -> int:
        """Paid out + fees + carried − owed − collected."""
        fees = sum(moved.fees(each) + moved.of["transfer_fee", each] for each in group)
        carried = sum(balances[each]["unsettled_sales"] + balances[each]["settled_sales"] for each in group)
        owed = sum(-balances[each]["settled_claims"] for each in group)
        collected = sum(moved.to["claim_repayment", each] for each in group)
        return sum(paid[each] for each in group) + fees + carried - owed - collected

    async def _statement(self) -> None:
        """Each day agrees, at the latest when it is looked at anew: what came back may be heard of days later."""
        for day in (await self.district.clerk.get("/v1/bank/statements", limit=100))["days"]:
            if not day["agrees"]:
                await self.district.run("bank.statement", date.fromisoformat(day["day"]))
                told = await self.district.clerk.get(f"/v1/bank/statements/{day['day']}")
                if not told["agrees"]:
                    self.wrong.append(f"the statement of {day['day']} does not agree: {told}")

    # -- asking -----------------------------------------------------------------------------------------------------

    async def _moved(self) -> Moved:
        found = Moved()
        for row in await self.district.town.platform.database.fetch(None, _PAYMENTS):
            found.of[row["kind"], row["payer_id"]] += row["amount"]
            found.to[row["kind"], row["payee_id"]] += row["amount"]
            if row["payer_id"] in MERCHANTS and row["payee_id"] in MERCHANTS:
                found.links.add((row["payer_id"], row["payee_id"]))
        return found

    async def _all(self, what: str) -> list[dict[str, Any]]:
        found, cursor = list[dict[str, Any]](), None
        while True:
            query = {"limit": 500} | ({} if cursor is None else {"cursor": cursor})
            page = await self.district.clerk.get(f"/v1/settlement/{what}", **query)
            found += page[what]
            if (cursor := page["next_cursor"]) is None:
                return found

    async def _balances(self, owner: str) -> dict[str, int]:
        found = defaultdict[str, int](int)
        for account in (await self.district.clerk.get("/v1/ledger/accounts", owner=owner))["accounts"]:
            found[account["account_type"]] += account["balance_minor"]
        return found

    async def _earned(self, *kinds: str) -> int:
        """What internal owners of these kinds hold, whatever the accounts are called."""
        return sum([sum((await self._balances(f"internal:{each}")).values()) for each in kinds])


def _goes(payout: dict[str, Any]) -> bool:
    """Its transfer fee is kept."""
    return payout["state"] in ("PAID", "INSTRUCTED")


def _came(payout: dict[str, Any]) -> bool:
    """Its transfer fee goes back, before anything takes the payout over."""
    return payout["state"] in ("FAILED", "RETURNED") and payout["taken_by"] is None


def _together(links: set[tuple[str, str]]) -> list[set[str]]:
    """Merchants whose money flows together, and all of them."""
    groups = [{each} for each in MERCHANTS]
    for one, other in links:
        joined = set[str]().union(*(each for each in groups if one in each or other in each))
        groups = [each for each in groups if not each & joined] + [joined]
    return [*groups, set(MERCHANTS)]


def _lines(books: Books) -> list[StatementLine]:
    found, after = list[StatementLine](), 0
    while page := books.statement(None, after, PAGE):
        found += page
        after = page[-1].position
    return found


def _by_file(line: StatementLine) -> bool:
    """Whether it is of a transfer that went in a file: out, or back."""
    return line.words.endswith("file transfer")


async def require_every_yen(district: District) -> None:
    """All of the above, in the evening, once nothing is on its way between services any more."""
    await district.leap(0, hour=EVENING)
    await _none(Proof(district).look)
    await _none(lambda: _unproved(district))
    result = await prove_all(district.town.dsn, load_kinds())
    assert result.proved, result
    findings = [str(each) for each in await district.town.findings()]
    assert findings == [], findings


async def _unproved(district: District) -> list[str]:
    """What the tracer does not find consistent; what is on its way may be pending, and nothing else."""
    found = list[str]()
    for verdict in WRONG:
        page = await district.clerk.get("/v1/tracer/processings", verdict=verdict, limit=20)
        found += [f"{verdict} {each['processing_id']}" for each in page["processings"]]
    page = await district.clerk.get("/v1/tracer/processings", verdict="PENDING", limit=500)
    pending = [each["processing_id"] for each in page["processings"]]
    on_its_way = {row["processing_id"] for row in await district.town.platform.database.fetch(None, _ON_ITS_WAY)}
    return [*found, *(f"PENDING {each}" for each in pending if each not in on_its_way)]


async def _none(look: Callable[[], Any]) -> None:
    """Wait until nothing is found."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + PATIENCE_S
    while (found := await look()) and loop.time() < ends:
        await asyncio.sleep(PAUSE_S * 4)
    assert found == [], found
