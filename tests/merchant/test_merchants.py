"""Companies and merchants: registered, changed by two persons, with everything that was ever changed."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import pytest
from msgspec.structs import replace

from kessai.foundation.errors import PaymentError
from kessai.foundation.ids import new_hex, new_id
from kessai.services.bank.api import OwnerKind
from kessai.services.merchant.api import (
    AgreeContract,
    Aspect,
    ChangeCompany,
    ChangeProfile,
    ChangeState,
    CompanyProfile,
    Contract,
    Cycle,
    FeeSchedule,
    FeeTax,
    GetCompany,
    GetCompanyHistory,
    GetMerchant,
    GetMerchantHistory,
    ListChildren,
    ListCompanies,
    ListMerchants,
    MerchantChanged,
    MerchantKind,
    MerchantProfile,
    MerchantState,
    MethodTerms,
    PayoutRule,
    RegisterCompany,
    RegisterMerchant,
    SetBankAccount,
    SetParent,
    SettlementRules,
)
from kessai.services.merchant.service import MerchantService
from tests.merchant.world import ANNA, BEN, S, World, calling, contract, fresh_key, refusal


def _profile(company_id: str, name: str = "みどり新宿") -> MerchantProfile:
    return MerchantProfile(name=name, kind=MerchantKind.SHOP, company_id=company_id)


# -- registered ---------------------------------------------------------------------------------------------------


async def test_a_merchant_begins_as_applied(world: World) -> None:
    request = RegisterMerchant(profile=_profile(await world.company()))
    made = await world.service.register_merchant(request)
    assert (made.state, made.contract, made.parent_id, made.bank_account_id) == (S.APPLIED, None, None, None)
    assert made.merchant_id.startswith("mer_")
    assert await world.service.get_merchant(GetMerchant(merchant_id=made.merchant_id)) == made


async def test_the_same_registration_again_is_the_same_merchant(world: World) -> None:
    request = RegisterMerchant(profile=_profile(await world.company()), merchant_id="mer:1")
    first, again = [await world.service.register_merchant(request) for _ in range(2)]
    assert first == again
    other = replace(request, profile=_profile(request.profile.company_id, "another name"))
    assert await refusal(world.service.register_merchant(other)) == "idempotency_key_reused"


async def test_a_merchant_belongs_to_a_company_that_is_there(world: World) -> None:
    request = RegisterMerchant(profile=_profile(new_id("cmp")))
    assert await refusal(world.service.register_merchant(request)) == "company_not_found"


@pytest.mark.parametrize(
    ("profile", "code"),
    [
        ({"corporate_number": "7000012050002"}, "done"),
        ({"corporate_number": "7000012050002", "registration_number": "T7000012050002"}, "done"),
        ({"corporate_number": "1000012050002"}, "corporate_number_wrong"),
        (
            {"corporate_number": "7000012050002", "registration_number": "T1000012050002"},
            "registration_number_differs",
        ),
        ({"registration_number": "T1000012050002"}, "done"),
    ],
)
async def test_a_companys_numbers_are_checked(world: World, profile: dict[str, str], code: str) -> None:
    request = RegisterCompany(profile=msgspec.convert({"name": "株式会社みどり"} | profile, CompanyProfile))
    approved = await world.approved(request, "merchant.company", "merchant-companies")
    assert await refusal(world.service.register_company(approved)) == code


async def test_nobody_registers_a_company_alone(world: World) -> None:
    alone = RegisterCompany(profile=CompanyProfile(name="株式会社みどり"), company_id=f"cmp_{new_hex()}")
    assert await refusal(world.service.register_company(alone)) == "approval_required"
    another = await world.approved(
        replace(alone, profile=CompanyProfile(name="b")), "merchant.company", "merchant-companies"
    )
    taken = replace(alone, approval_id=another.approval_id)
    assert await refusal(world.service.register_company(taken)) == "approval_content_differs"
    both = await world.approved(alone, "merchant.company", "merchant-companies")
    company = await world.service.register_company(both)
    again = await world.service.register_company(both)
    assert (company.company_id, again) == (alone.company_id, company)
    (entry,) = (await world.service.get_company_history(GetCompanyHistory(company_id=company.company_id))).changes
    assert (entry.approval_id, entry.approved_by is not None) == (both.approval_id, True)


async def test_a_company_keeps_what_it_was(world: World) -> None:
    company_id = await world.company(name="old")
    alone = ChangeCompany(company_id=company_id, profile=CompanyProfile(name="new"), reason="renamed")
    assert await refusal(world.service.change_company(alone)) == "approval_required"
    new = await world.approved(alone, "merchant.company", company_id)
    other = replace(new, profile=CompanyProfile(name="new", registration_number="T1234567890123"))
    assert await refusal(world.service.change_company(other)) == "approval_content_differs"
    with calling(ANNA, key := fresh_key()):
        changed = await world.service.change_company(new)
    with calling(ANNA, key) as call:
        assert await world.service.change_company(new) == changed
    assert call.replayed
    with calling(ANNA, key):
        assert await refusal(world.service.change_company(replace(new, reason="x"))) == "idempotency_key_reused"
    history = await world.service.get_company_history(GetCompanyHistory(company_id=company_id))
    names = [msgspec.json.decode(each.content)["name"] for each in history.changes]
    assert names == ["new", "old"]
    assert (history.changes[0].changed_by, history.changes[0].approved_by) == (ANNA, BEN)
    assert (await world.service.get_company(GetCompany(company_id=company_id))).profile.name == "new"


# -- the life of a merchant ---------------------------------------------------------------------------------------


ROADS = {
    S.APPLIED: (S.SCREENED, S.CLOSED),
    S.SCREENED: (S.ACTIVE, S.CLOSED),
    S.ACTIVE: (S.SUSPENDED,),
    S.SUSPENDED: (S.ACTIVE, S.CLOSED),
    S.CLOSED: (),
}


@pytest.mark.parametrize("before", list(S))
async def test_a_state_leads_only_to_the_next_ones(world: World, before: MerchantState) -> None:
    for number, after in enumerate(S):
        merchant_id = await world.merchant(f"mer:{number}", before)
        if before is S.SCREENED:
            await world.contract(merchant_id, contract())
        expected = "done" if after in ROADS[before] else "state_not_reachable"
        if before is S.CLOSED:
            expected = "merchant_closed"
        assert await refusal(world.state(merchant_id, after)) == expected


async def test_a_merchant_without_a_contract_is_not_activated(world: World) -> None:
    await world.merchant("mer:1", S.SCREENED)
    assert await refusal(world.state("mer:1", S.ACTIVE)) == "contract_required"


async def test_one_person_suspends_and_two_resume(world: World) -> None:
    await world.merchant("mer:1")
    suspend = ChangeState(merchant_id="mer:1", state=S.SUSPENDED, reason="fraud is suspected")
    assert (await world.service.change_state(suspend)).state is S.SUSPENDED
    resume = ChangeState(merchant_id="mer:1", state=S.ACTIVE, reason="cleared up")
    assert await refusal(world.service.change_state(resume)) == "approval_required"
    assert (await world.state("mer:1", S.ACTIVE)).state is S.ACTIVE


async def test_who_collects_for_others_is_not_closed(world: World) -> None:
    for each in ("mer:child", "mer:parent"):
        await world.merchant(each)
    await world.parent("mer:child", "mer:parent", world.clock.now() + timedelta(days=1))
    await world.state("mer:parent", S.SUSPENDED)
    assert await refusal(world.state("mer:parent", S.CLOSED)) == "merchant_has_children"
    await world.parent("mer:child", None, world.clock.now() + timedelta(days=1))
    assert (await world.state("mer:parent", S.CLOSED)).state is S.CLOSED


# -- four eyes ----------------------------------------------------------------------------------------------------


async def test_an_approval_is_for_one_content_and_is_used_once(world: World) -> None:
    await world.merchant("mer:1")
    request = AgreeContract(merchant_id="mer:1", contract=contract(), reason="as agreed")
    approved = await world.approved(request, "merchant.contract", "mer:1")
    cheaper = replace(approved, contract=contract(rate_ppm=1))
    assert await refusal(world.service.agree_contract(cheaper)) == "approval_content_differs"
    assert await refusal(world.service.agree_contract(approved)) == "done"
    assert await refusal(world.service.agree_contract(approved)) == "approval_consumed"


async def test_an_approval_for_one_merchant_is_none_for_another(world: World) -> None:
    for each in ("mer:1", "mer:2"):
        await world.merchant(each)
    request = AgreeContract(merchant_id="mer:2", contract=contract(), reason="as agreed")
    approved = await world.approved(request, "merchant.contract", "mer:1")
    assert await refusal(world.service.agree_contract(approved)) == "approval_content_differs"


async def test_what_nobody_approved_is_not_done(world: World) -> None:
    await world.merchant("mer:1")
    account = world.bank.account("mer:1")
    agree = AgreeContract(merchant_id="mer:1", contract=contract(), reason="alone")
    collect = SetParent(merchant_id="mer:1", parent_id=await world.merchant("mer:2"), reason="alone")
    pay = SetBankAccount(merchant_id="mer:1", bank_account_id=account, reason="alone")
    before = await world.service.get_merchant(GetMerchant(merchant_id="mer:1"))
    rename = ChangeProfile(merchant_id="mer:1", profile=_profile(await world.company(), "new"), reason="alone")
    for attempt in (
        world.service.change_profile(rename),
        world.service.agree_contract(agree),
        world.service.set_parent(collect),
        world.service.set_bank_account(pay),
    ):
        assert await refusal(attempt) == "approval_required"
    assert await world.service.get_merchant(GetMerchant(merchant_id="mer:1")) == before


async def test_without_approvals_nothing_that_needs_one_is_done(world: World) -> None:
    await world.merchant("mer:1")
    alone = MerchantService(world.database, world.clock, approvals=None, bank=None)
    request = AgreeContract(merchant_id="mer:1", contract=contract(), reason="x", approval_id=new_id("apv"))
    assert await refusal(alone.agree_contract(request)) == "approvals_not_available"


async def test_a_request_that_is_refused_anyway_uses_no_approval(world: World) -> None:
    await world.merchant("mer:1")
    request = AgreeContract(
        merchant_id="mer:1", contract=contract(), valid_from=world.clock.now() + timedelta(hours=1), reason="late"
    )
    approved = await world.approved(request, "merchant.contract", "mer:1")
    world.pass_time(hours=2)
    assert await refusal(world.service.agree_contract(approved)) == "in_the_past"
    with pytest.raises(PaymentError) as caught:
        await world.service.agree_contract(replace(approved, approval_id=new_id("apv")))
    assert caught.value.code == "in_the_past"


async def test_the_same_call_again_changes_nothing(world: World) -> None:
    await world.merchant("mer:1")
    request = AgreeContract(merchant_id="mer:1", contract=contract(rate_ppm=7), reason="as agreed")
    request = await world.approved(request, "merchant.contract", "mer:1")
    key = fresh_key()
    with calling(ANNA, key):
        first = await world.service.agree_contract(request)
    world.pass_time(days=1)
    with calling(ANNA, key) as call:
        again = await world.service.agree_contract(request)
    assert (again, call.replayed) == (first, True)
    with calling(ANNA, key):
        other = world.service.agree_contract(replace(request, reason="another"))
        assert await refusal(other) == "idempotency_key_reused"


async def test_changes_at_once_are_made_one_after_the_other(world: World) -> None:
    await world.merchant("mer:1")
    requests = [
        await world.approved(
            AgreeContract(merchant_id="mer:1", contract=contract(rate_ppm=rate), reason="as agreed"),
            "merchant.contract",
            "mer:1",
        )
        for rate in range(4)
    ]
    before = (await world.service.get_merchant(GetMerchant(merchant_id="mer:1"))).version
    await asyncio.gather(*(world.service.agree_contract(each) for each in requests))
    after = (await world.service.get_merchant(GetMerchant(merchant_id="mer:1"))).version
    assert after == before + 4


# -- contracts ----------------------------------------------------------------------------------------------------


async def test_a_change_is_never_valid_from_the_past(world: World) -> None:
    for each in ("mer:1", "mer:2"):
        await world.merchant(each)
    past = world.clock.now() - timedelta(microseconds=1)
    assert await refusal(world.contract("mer:1", contract(), since=past)) == "in_the_past"
    assert await refusal(world.parent("mer:1", "mer:2", past)) == "in_the_past"


_CAMPAIGN = {"name": "a", "since": "2030-01-01T00:00:00+09:00", "until": "2030-02-01T00:00:00+09:00", "rate_ppm": 0}
_NEXT = _CAMPAIGN | {"since": _CAMPAIGN["until"], "until": "2031-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("fee", "code"),
    [
        ({"tiers": [{"from_minor": 100, "rate_ppm": 1}, {"from_minor": 100, "rate_ppm": 2}]}, "tiers_not_rising"),
        ({"tax": "included"}, "tax_rate_mismatch"),
        ({"tax_rate_bps": 1000}, "tax_rate_mismatch"),
        ({"campaigns": [_CAMPAIGN | {"until": "2029-01-01T00:00:00Z"}]}, "campaign_reversed"),
        ({"campaigns": [_CAMPAIGN, _CAMPAIGN | {"name": "b"}]}, "campaigns_overlap"),
        (
            {"campaigns": [_CAMPAIGN, _CAMPAIGN | {"since": _CAMPAIGN["until"], "until": "2031-01-01T00:00:00Z"}]},
            "done",
        ),
    ],
)
async def test_a_fee_schedule_is_sound(world: World, fee: dict[str, object], code: str) -> None:
    await world.merchant("mer:1", S.SCREENED)
    assert await refusal(world.contract("mer:1", contract(**fee))) == code


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        (SettlementRules(cycle=Cycle.WEEKLY, payout=PayoutRule(days_after=3)), "cycle_day_mismatch"),
        (SettlementRules(cycle_day=3), "cycle_day_mismatch"),
        (SettlementRules(cycle=Cycle.DAILY), "payout_rule_mismatch"),
        (SettlementRules(payout=PayoutRule(days_after=3)), "payout_rule_mismatch"),
        (SettlementRules(cycle=Cycle.DAILY, payout=PayoutRule(days_after=1)), "done"),
    ],
)
async def test_settlement_rules_are_sound(world: World, rules: SettlementRules, code: str) -> None:
    await world.merchant("mer:1", S.SCREENED)
    assert await refusal(world.contract("mer:1", Contract(methods=[], settlement=rules))) == code


async def test_a_method_is_accepted_once_and_a_contract_ends_after_it_begins(world: World) -> None:
    await world.merchant("mer:1", S.SCREENED)
    twice = [MethodTerms(method="code", fee=FeeSchedule(rate_ppm=1, tax=FeeTax.EXEMPT))] * 2
    assert await refusal(world.contract("mer:1", Contract(methods=twice))) == "method_twice"
    now = world.clock.now()
    assert await refusal(world.contract("mer:1", contract(), until=now)) == "validity_reversed"
    assert await refusal(world.contract("mer:1", contract(), since=now, until=now)) == "validity_reversed"


async def test_what_was_planned_is_planned_anew_from_the_same_instant(world: World) -> None:
    await world.merchant("mer:1", rate_ppm=1)
    change = world.clock.now() + timedelta(days=30)
    for rate in (2, 3):
        await world.contract("mer:1", contract(rate_ppm=rate), since=change)
    await world.contract("mer:1", contract(rate_ppm=4), since=change - timedelta(days=10))
    instants = (world.clock.now(), change - timedelta(days=1), change)
    fees = [(await world.terms("mer:1", at)).fee for at in instants]
    assert [each and each.rate_ppm for each in fees] == [1, 4, 3]


# -- who collects -------------------------------------------------------------------------------------------------


async def test_there_is_one_level_of_collecting(world: World) -> None:
    for each in "abcd":
        await world.merchant(f"mer:{each}")
    assert await refusal(world.parent("mer:a", "mer:a")) == "parent_is_itself"
    assert await refusal(world.parent("mer:a", "mer:x")) == "parent_not_found"
    await world.parent("mer:a", "mer:b")
    assert await refusal(world.parent("mer:b", "mer:a")) == "parent_has_parent"
    assert await refusal(world.parent("mer:b", "mer:c")) == "merchant_has_children"
    assert await refusal(world.parent("mer:c", "mer:a")) == "parent_has_parent"
    assert await refusal(world.parent("mer:c", "mer:b")) == "done"
    await world.state("mer:d", S.SUSPENDED)
    await world.state("mer:d", S.CLOSED)
    assert await refusal(world.parent("mer:a", "mer:d")) == "parent_closed"


async def test_who_will_be_a_parent_only_later_may_have_one_until_then(world: World) -> None:
    for each in "abc":
        await world.merchant(f"mer:{each}")
    later = world.clock.now() + timedelta(days=10)
    await world.parent("mer:b", "mer:c")
    assert await refusal(world.parent("mer:a", "mer:b", later)) == "parent_has_parent"
    await world.parent("mer:b", None, later)
    assert await refusal(world.parent("mer:a", "mer:b", later)) == "done"
    assert await refusal(world.parent("mer:b", "mer:c", later)) == "merchant_has_children"


async def test_of_two_that_would_collect_for_each_other_one_is_refused(world: World) -> None:
    for each in "ab":
        await world.merchant(f"mer:{each}")
    codes = await asyncio.gather(refusal(world.parent("mer:a", "mer:b")), refusal(world.parent("mer:b", "mer:a")))
    assert sorted(code == "done" for code in codes) == [False, True]


async def test_who_collects_has_a_contract_all_that_time(world: World) -> None:
    now = world.clock.now()
    await world.merchant("mer:child")
    await world.merchant("mer:parent", S.SCREENED)
    assert await refusal(world.parent("mer:child", "mer:parent")) == "parent_without_contract"
    await world.contract("mer:parent", contract(), since=now + timedelta(days=10), until=now + timedelta(days=20))
    for days in (5, 10, 20):
        asked = world.parent("mer:child", "mer:parent", now + timedelta(days=days))
        assert await refusal(asked) == "parent_without_contract"
    await world.parent("mer:child", None, now + timedelta(days=20))
    assert await refusal(world.parent("mer:child", "mer:parent", now + timedelta(days=10))) == "done"
    await world.contract("mer:parent", contract(), since=now + timedelta(days=20))
    assert await refusal(world.parent("mer:child", "mer:parent", now + timedelta(days=15))) == "done"


async def test_a_contract_does_not_end_while_others_are_collected_for(world: World) -> None:
    now = world.clock.now()
    for each in ("mer:child", "mer:parent"):
        await world.merchant(each)
    await world.parent("mer:child", "mer:parent", now + timedelta(days=10))
    ends = now + timedelta(days=12)
    assert await refusal(world.contract("mer:parent", contract(), until=ends)) == "merchant_has_children"
    assert await refusal(world.contract("mer:parent", contract(), since=now + timedelta(days=11), until=ends)) == (
        "merchant_has_children"
    )
    assert await refusal(world.contract("mer:parent", contract(), since=ends)) == "done"
    assert await refusal(world.contract("mer:parent", contract(), since=now + timedelta(days=11), until=ends)) == "done"
    await world.parent("mer:child", None, now + timedelta(days=30))
    later = now + timedelta(days=40)
    assert await refusal(world.contract("mer:parent", contract(), since=ends, until=later)) == "done"


async def test_children_are_listed_as_of_an_instant(world: World) -> None:
    for each in ("a", "b", "c", "parent"):
        await world.merchant(f"mer:{each}")
    now = world.clock.now()
    await world.parent("mer:a", "mer:parent")
    await world.parent("mer:b", "mer:parent")
    await world.parent("mer:c", "mer:parent", now + timedelta(days=2))
    await world.parent("mer:a", None, now + timedelta(days=1))

    async def children(**asked: object) -> list[str]:
        request = msgspec.convert({"merchant_id": "mer:parent"} | asked, ListChildren)
        return [each.merchant_id for each in (await world.service.list_children(request)).merchants]

    assert await children() == ["mer:a", "mer:b"]
    assert await children(at=now + timedelta(days=3)) == ["mer:b", "mer:c"]


# -- where it is paid to ------------------------------------------------------------------------------------------


async def test_a_merchant_is_paid_to_its_own_account_alone(world: World) -> None:
    await world.merchant("mer:1")
    own, others = world.bank.account("mer:1"), world.bank.account("mer:2")
    customers = world.bank.account("mer:1", owner_kind=OwnerKind.CUSTOMER)
    removed = world.bank.account("mer:1", removed_at=world.clock.now())
    assert await refusal(world.bank_account("mer:1", others)) == "bank_account_not_merchants"
    assert await refusal(world.bank_account("mer:1", customers)) == "bank_account_not_merchants"
    assert await refusal(world.bank_account("mer:1", removed)) == "bank_account_removed"
    assert await refusal(world.bank_account("mer:1", new_id("bac"))) == "bank_account_not_found"
    assert (await world.bank_account("mer:1", own)).bank_account_id == own
    assert (await world.bank_account("mer:1", None)).bank_account_id is None


@pytest.mark.parametrize(
    ("company", "merchant", "code"),
    [
        (None, None, "done"),  # nothing is registered that could be compared: the approver looks
        ("カブシキガイシャミドリ", None, "done"),
        ("ミドリ", None, "done"),
        ("ユウゲンガイシャミドリ", None, "holder_name_differs"),
        ("アオキ", None, "holder_name_differs"),
        ("アオキ", "ミドリ", "done"),
        (None, "ミドリ シンジュク", "holder_name_differs"),
        ("株式会社みどり", None, "holder_name_differs"),
    ],
)
async def test_the_accounts_holder_bears_a_registered_name(
    world: World, company: str | None, merchant: str | None, code: str
) -> None:
    await world.merchant("mer:1")
    kana = {} if company is None else {"name_kana": company}
    company_id = await world.company(**kana)
    await world.profile("mer:1", replace(_profile(company_id), name_kana=merchant))
    account = world.bank.account("mer:1", holder="カ)ミドリ")
    assert await refusal(world.bank_account("mer:1", account)) == code


async def test_the_last_sales_of_a_closed_merchant_are_paid_to_a_new_account(world: World) -> None:
    await world.merchant("mer:1", S.SUSPENDED)
    await world.state("mer:1", S.CLOSED)
    account = world.bank.account("mer:1")
    assert (await world.bank_account("mer:1", account)).bank_account_id == account
    assert await refusal(world.contract("mer:1", contract())) == "merchant_closed"


# -- history, lists, events ---------------------------------------------------------------------------------------


async def test_the_history_says_who_asked_who_approved_and_why(world: World) -> None:
    await world.merchant("mer:1")
    request = AgreeContract(merchant_id="mer:1", contract=contract(rate_ppm=9), reason="a better rate")
    with calling(ANNA):
        await world.service.agree_contract(await world.approved(request, "merchant.contract", "mer:1"))
    (newest, *_) = (await world.service.get_history(GetMerchantHistory(merchant_id="mer:1"))).changes
    assert (newest.aspect, newest.reason) == (Aspect.CONTRACT, "a better rate")
    assert (newest.changed_by, newest.approved_by) == (ANNA, BEN)
    assert msgspec.json.decode(newest.content, type=Contract) == contract(rate_ppm=9)


async def test_the_history_comes_in_pages_newest_first(world: World) -> None:
    await world.merchant("mer:1")
    versions: list[int] = []
    cursor = None
    while True:
        page = await world.service.get_history(GetMerchantHistory(merchant_id="mer:1", limit=2, cursor=cursor))
        versions += [each.version for each in page.changes]
        if (cursor := page.next_cursor) is None:
            break
    assert versions == [5, 4, 3, 2, 1]
    only = await world.service.get_history(GetMerchantHistory(merchant_id="mer:1", aspect=Aspect.STATE))
    assert [msgspec.json.decode(each.content) for each in only.changes] == ["active", "screened", "applied"]


async def test_nothing_of_a_history_can_be_changed_by_the_service(world: World) -> None:
    from kessai.foundation.db import role_of

    await world.merchant("mer:1")
    for statement in ("UPDATE merchant.change SET reason = 'x'", "DELETE FROM merchant.change"):
        with pytest.raises(Exception, match="permission denied"):
            await world.database.fetch(role_of("merchant"), statement)


async def test_merchants_and_companies_are_listed_in_pages(world: World) -> None:
    for number in range(3):
        await world.merchant(f"mer:{number}", S.APPLIED)
    await world.state("mer:1", S.SCREENED)
    first = await world.service.list_merchants(ListMerchants(limit=2))
    rest = await world.service.list_merchants(ListMerchants(limit=2, cursor=first.next_cursor))
    assert [each.merchant_id for each in (*first.merchants, *rest.merchants)] == ["mer:0", "mer:1", "mer:2"]
    assert rest.next_cursor is None
    screened = await world.service.list_merchants(ListMerchants(state=S.SCREENED))
    assert [each.merchant_id for each in screened.merchants] == ["mer:1"]
    company_id = screened.merchants[0].company_id
    of_company = await world.service.list_merchants(ListMerchants(company_id=company_id))
    assert [each.merchant_id for each in of_company.merchants] == ["mer:1"]
    assert len((await world.service.list_companies(ListCompanies())).companies) == 3
    assert await refusal(world.service.list_merchants(ListMerchants(cursor="x"))) == "bad_cursor"


async def test_a_profile_is_what_it_was_then(world: World) -> None:
    await world.merchant("mer:1", S.APPLIED)
    before = world.clock.now()
    after = world.pass_time(hours=1)
    await world.profile("mer:1", _profile(await world.company(), "new"))
    names = [
        (await world.service.get_merchant(GetMerchant(merchant_id="mer:1", at=at))).profile.name
        for at in (before, after)
    ]
    assert names == ["mer:1 shop", "new"]
    long_ago = GetMerchant(merchant_id="mer:1", at=before - timedelta(days=1))
    assert await refusal(world.service.get_merchant(long_ago)) == "merchant_not_found"


async def test_every_change_is_published_once_with_its_version(world: World) -> None:
    for each in ("mer:child", "mer:parent"):
        await world.merchant(each)
    await world.parent("mer:child", "mer:parent")
    rows = await world.database.fetch(
        None, "SELECT payload FROM merchant.outbox WHERE topic = 'merchant.changed' ORDER BY recorded_at, outbox_id"
    )
    events = [each for row in rows for each in msgspec.json.decode(row["payload"], type=list[MerchantChanged])]
    for each, aspect in (("mer:child", Aspect.PARENT), ("mer:parent", Aspect.CHILDREN)):
        own = [event for event in events if event.merchant_id == each]
        assert [event.version for event in own] == [1, 2, 3, 4, 5, 6]
        assert own[-1].aspect is aspect
    assert len({event.event_id for event in events}) == len(events)
