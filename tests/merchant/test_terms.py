"""What settlement asks: the terms of a sale, and how a payee is paid, as of any instant."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from kessai.foundation.clock import TOKYO, business_date
from kessai.services.merchant.api import (
    Bearer,
    BelowMinimum,
    Contract,
    Cycle,
    FeeTax,
    FeeUnit,
    Holiday,
    NoTerms,
    PayoutRule,
    ResolveTerms,
    Rounding,
    SettlementRules,
    SettlementTerms,
    SettlementTermsOf,
    TermsQuestion,
)
from tests.merchant.world import S, World, calling, contract, fresh_key


async def test_an_active_merchant_with_a_contract_has_terms(world: World) -> None:
    await world.merchant(
        "mer:1", rate_ppm=32_500, fixed_minor=10, rounding="half_up", unit="day", tax="added", tax_rate_bps=1000
    )
    terms = await world.terms("mer:1")
    assert (terms.owner_id, terms.merchant_id, terms.payee_id) == ("mer:1", "mer:1", "mer:1")
    assert (terms.state, terms.reason) == (S.ACTIVE, None)
    assert terms.fee is not None
    assert (terms.fee.rate_ppm, terms.fee.fixed_minor) == (32_500, 10)
    assert (terms.fee.rounding, terms.fee.unit) == (Rounding.HALF_UP, FeeUnit.DAY)
    assert (terms.fee.tax, terms.fee.tax_rate_bps, terms.fee.campaign) == (FeeTax.ADDED, 1000, None)
    assert str(terms.contract_id).startswith("mct_")


async def test_the_first_thing_that_is_missing_is_the_reason(world: World) -> None:
    await world.merchant("mer:applied", S.APPLIED)
    await world.merchant("mer:ended")
    await world.contract("mer:ended", contract(), until=world.clock.now() + timedelta(days=1))
    await world.merchant("mer:active")
    world.pass_time(days=1)
    found = [await world.terms(each) for each in ("mer:nobody", "mer:applied", "mer:ended")]
    found.append(await world.terms("mer:active", method="net"))
    assert [each.reason for each in found] == [
        NoTerms.MERCHANT_UNKNOWN,
        NoTerms.MERCHANT_NOT_ACTIVE,
        NoTerms.NO_CONTRACT,
        NoTerms.METHOD_NOT_ACCEPTED,
    ]
    assert [each.payee_id for each in found] == [None, "mer:applied", "mer:ended", "mer:active"]


async def test_a_suspended_merchant_keeps_its_terms_and_is_not_active(world: World) -> None:
    await world.merchant("mer:1")
    sold_at = world.clock.now()
    world.pass_time(hours=1)
    await world.state("mer:1", S.SUSPENDED)
    now, then = await world.terms("mer:1"), await world.terms("mer:1", sold_at)
    assert (now.reason, now.fee is None) == (NoTerms.MERCHANT_NOT_ACTIVE, False)
    assert (then.reason, then.state) == (None, S.ACTIVE)


async def test_a_new_fee_is_for_what_is_sold_from_then_on(world: World) -> None:
    await world.merchant("mer:1", rate_ppm=30_000)
    change = world.clock.now() + timedelta(days=3)
    await world.contract("mer:1", contract(rate_ppm=25_000), since=change)
    before, after = [await world.terms("mer:1", at) for at in (change - timedelta(microseconds=1), change)]
    assert before.fee is not None
    assert after.fee is not None
    assert (before.fee.rate_ppm, after.fee.rate_ppm) == (30_000, 25_000)
    assert int(str(after.contract_version)) > int(str(before.contract_version))
    assert after.contract_id == before.contract_id


async def test_a_campaign_has_its_own_rate_while_it_runs(world: World) -> None:
    since = world.clock.now() + timedelta(days=1)
    until = since + timedelta(days=7)
    campaign = {"name": "spring", "since": since.isoformat(), "until": until.isoformat(), "rate_ppm": 0}
    await world.merchant("mer:1", rate_ppm=30_000, campaigns=[campaign])
    found = [await world.terms("mer:1", at) for at in (since - timedelta(seconds=1), since, until)]
    assert [each.fee and (each.fee.rate_ppm, each.fee.campaign) for each in found] == [
        (30_000, None),
        (0, "spring"),
        (30_000, None),
    ]


async def test_an_id_of_a_payment_method_has_the_terms_of_its_merchant(world: World) -> None:
    await world.merchant("mer:1")
    await world.map_id("0001-77", "mer:1", "code")
    terms = await world.terms("0001-77")
    assert (terms.owner_id, terms.merchant_id, terms.reason) == ("0001-77", "mer:1", None)
    other_method = await world.terms("0001-77", method="net")
    assert other_method.reason is NoTerms.MERCHANT_UNKNOWN


async def test_the_payee_is_whoever_collected_then(world: World) -> None:
    for each in ("mer:child", "mer:parent"):
        await world.merchant(each)
    joined = world.clock.now() + timedelta(days=2)
    await world.parent("mer:child", "mer:parent", joined)
    left = joined + timedelta(days=5)
    await world.parent("mer:child", None, left)
    instants = (joined - timedelta(seconds=1), joined, left - timedelta(seconds=1), left)
    found = [(await world.terms("mer:child", at)).payee_id for at in instants]
    assert found == ["mer:child", "mer:parent", "mer:parent", "mer:child"]


async def test_a_change_made_by_another_process_is_seen_at_once(world: World) -> None:
    await world.merchant("mer:1")
    other = world.another_process()
    question = ResolveTerms(questions=[TermsQuestion(owner_id="mer:1", method="code", at=world.clock.now())])
    assert (await other.resolve_terms(question)).answers[0].reason is None
    await world.state("mer:1", S.SUSPENDED)
    assert (await other.resolve_terms(question)).answers[0].reason is NoTerms.MERCHANT_NOT_ACTIVE


async def test_a_thousand_questions_are_answered_in_their_order(world: World) -> None:
    for number in range(5):
        await world.merchant(f"mer:{number}")
    await world.map_id("x-9", "mer:3", "code")
    owners = [f"mer:{number % 7}" if number % 11 else "x-9" for number in range(1000)]
    at = world.clock.now()
    questions = [TermsQuestion(owner_id=each, method="code", at=at) for each in owners]
    answers = (await world.service.resolve_terms(ResolveTerms(questions=questions))).answers
    assert [each.owner_id for each in answers] == owners
    known = {f"mer:{number}": f"mer:{number}" for number in range(5)} | {"x-9": "mer:3"}
    assert [each.merchant_id for each in answers] == [known.get(each) for each in owners]


async def test_no_questions_have_no_answers(world: World) -> None:
    assert (await world.service.resolve_terms(ResolveTerms(questions=[]))).answers == []
    asked = SettlementTermsOf(merchant_ids=[], on=date(2026, 1, 1))
    assert (await world.service.settlement_terms(asked)).answers == []


# -- how a payee is paid ------------------------------------------------------------------------------------------


async def _paid(world: World, on: date, *merchant_ids: str) -> list[SettlementTerms]:
    asked = SettlementTermsOf(merchant_ids=list(merchant_ids), on=on)
    return (await world.service.settlement_terms(asked)).answers


async def test_settlement_terms_are_the_contracts_with_account_and_registration_number(world: World) -> None:
    rules = SettlementRules(
        cycle=Cycle.WEEKLY,
        cycle_day=4,
        payout=PayoutRule(days_after=7),
        holiday=Holiday.NEXT,
        minimum_minor=10_000,
        below_minimum=BelowMinimum.BEAR_FEE,
        transfer_fee_minor=200,
        transfer_fee_borne_by=Bearer.MERCHANT,
        instruct_days_before=3,
    )
    await world.merchant("mer:1")
    await world.contract("mer:1", Contract(methods=[], settlement=rules))
    account = world.bank.account("mer:1")
    await world.bank_account("mer:1", account)
    (found,) = await _paid(world, business_date(world.clock.now()), "mer:1")
    assert (found.name, found.state) == ("mer:1 shop", S.ACTIVE)
    assert (found.cycle, found.cycle_day, found.payout.days_after) == (Cycle.WEEKLY, 4, 7)
    assert (found.holiday, found.instruct_days_before) == (Holiday.NEXT, 3)
    assert (found.minimum_minor, found.below_minimum) == (10_000, BelowMinimum.BEAR_FEE)
    assert (found.transfer_fee_minor, found.transfer_fee_borne_by) == (200, Bearer.MERCHANT)
    assert (found.bank_account_id, found.registration_number) == (account, None)


async def test_settlement_terms_are_those_of_the_days_end_in_tokyo(world: World) -> None:
    today = business_date(world.clock.now())
    await world.merchant("mer:1")
    midnight = datetime.combine(today + timedelta(days=1), datetime.min.time(), TOKYO)
    new = Contract(methods=[], settlement=SettlementRules(cycle=Cycle.TWICE_MONTHLY))
    await world.contract("mer:1", new, since=midnight)
    found = [(await _paid(world, day, "mer:1"))[0].cycle for day in (today, today + timedelta(days=1))]
    assert found == [Cycle.MONTHLY, Cycle.TWICE_MONTHLY]


async def test_who_is_unknown_or_never_had_a_contract_has_no_settlement_terms(world: World) -> None:
    await world.merchant("mer:1")
    await world.merchant("mer:applied", S.APPLIED)
    today = business_date(world.clock.now())
    found = await _paid(world, today, "mer:nobody", "mer:1", "mer:applied")
    assert [each.merchant_id for each in found] == ["mer:1"]
    assert await _paid(world, today - timedelta(days=1), "mer:1") == []


async def test_what_was_sold_is_paid_by_the_rules_of_a_contract_that_has_ended(world: World) -> None:
    await world.merchant("mer:1")
    await world.contract("mer:1", contract(), until=world.clock.now() + timedelta(hours=1))
    later = business_date(world.pass_time(days=40))
    assert [each.cycle for each in await _paid(world, later, "mer:1")] == [Cycle.MONTHLY]


@pytest.mark.parametrize(
    ("rules", "days"),
    [
        (SettlementRules(cycle=Cycle.MONTHLY), [date(2028, 2, 29), date(2028, 4, 30)]),
        (
            SettlementRules(cycle=Cycle.TWICE_MONTHLY),
            [date(2028, 2, 15), date(2028, 2, 29), date(2028, 4, 15), date(2028, 4, 30)],
        ),
        (
            SettlementRules(cycle=Cycle.WEEKLY, cycle_day=6, payout=PayoutRule(days_after=5)),
            [date(2028, 2, 20), date(2028, 2, 27), date(2028, 4, 16), date(2028, 4, 23), date(2028, 4, 30)],
        ),
    ],
)
async def test_a_cycle_closes_on_its_days(world: World, rules: SettlementRules, days: list[date]) -> None:
    await world.merchant("mer:1")
    await world.contract("mer:1", Contract(methods=[], settlement=rules))
    asked = [date(2028, month, 14) + timedelta(days=number) for month in (2, 4) for number in range(17)]
    found = [day for day in asked if day.month in (2, 4) and (await _paid(world, day, "mer:1"))[0].closes]
    assert found == days


async def test_the_registration_number_is_the_companys_as_it_was_then(world: World) -> None:
    from kessai.services.merchant.api import ChangeCompany, CompanyProfile, GetMerchant

    await world.merchant("mer:1")
    company_id = (await world.service.get_merchant(GetMerchant(merchant_id="mer:1"))).profile.company_id
    today = business_date(world.clock.now())
    world.pass_time(days=1)
    profile = CompanyProfile(name="株式会社みどり", registration_number="T1234567890123")
    with calling("key_1", fresh_key()):
        change = ChangeCompany(company_id=company_id, profile=profile, reason="registered")
        await world.service.change_company(await world.approved(change, "merchant.company", company_id))
    before, after = [(await _paid(world, day, "mer:1"))[0] for day in (today, today + timedelta(days=1))]
    assert (before.registration_number, after.registration_number) == (None, "T1234567890123")
