"""Code payment: one-time codes are good once, for a while, and cannot be guessed; merchants' QR are paid."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.db import role_of
from kessai.foundation.errors import Invalid, KeyReused, NotFound, PaymentError, Unavailable
from kessai.foundation.ids import new_hex
from kessai.foundation.vault import Vault, VaultKey
from kessai.services.payment import jobs
from kessai.services.payment.api import (
    FundingSource,
    GetPayment,
    ListPayments,
    PaymentRecord,
    PaymentState,
    PointsUse,
    RefundCharge,
)
from kessai.services.payment.api.codes import (
    ChargeCode,
    ChargeMerchantQr,
    CodeState,
    GetCode,
    IssueCode,
    IssuedCode,
    QrContent,
    ReadMerchantQr,
    RevokeCode,
)
from kessai.services.payment.domain import codes
from kessai.services.payment.domain.checkout import CodeTerms, load_checkout
from kessai.services.payment.service import PaymentService
from tests.payment.world import VAULT, World, key

TERMS = load_checkout().codes
TURNS = 24


async def issue(world: World, customer_id: str, *sources: str, **more: Any) -> IssuedCode:
    """A fresh code, to be paid from these sources (funds, when none is named)."""
    named = [FundingSource(source=source) for source in sources or ("funds",)]
    return await world.payments.issue_code(IssueCode(customer_id=customer_id, sources=named, **more))


def by_code(code: str, amount: int = 300, *, merchant_id: str = "mer:shop", **more: Any) -> ChargeCode:
    """A register's request."""
    return ChargeCode(code=code, merchant_id=merchant_id, amount_minor=amount, capture=True, **more)


async def refusal(charge: Any) -> str:
    """The code with which a request is refused."""
    with pytest.raises(PaymentError) as refused:
        await charge
    return refused.value.code


async def payments_of(world: World, customer_id: str) -> list[PaymentRecord]:
    """A customer's charges."""
    listed = await world.payments.list_payments(ListPayments(customer_id=customer_id, kind="charge"))
    return listed.payments


def unknown_code(number: int) -> str:
    """A code that was never issued, though its check digit is right."""
    return codes.digits_of(number, TERMS)


# -- digits ---------------------------------------------------------------------------------------------------------


def test_check_digit_is_luhns() -> None:
    assert codes.check_digit("7992739871") == "3"
    assert codes.check_digit("411111111111111") == "1"


@given(st.integers(0, codes.random_below(TERMS) - 1), st.data())
def test_one_digit_read_wrong_is_noticed(number: int, data: st.DataObject) -> None:
    digits = codes.digits_of(number, TERMS)
    assert codes.digits_in(digits, TERMS) == digits
    place = data.draw(st.integers(0, len(digits) - 1))
    other = data.draw(st.sampled_from("0123456789").filter(lambda digit: digit != digits[place]))
    with pytest.raises(Invalid) as refused:
        codes.digits_in(digits[:place] + other + digits[place + 1 :], TERMS)
    assert refused.value.code == "code_malformed"


@pytest.mark.parametrize("shown", ["{0}", "KESSAI:{0}", "{1} {2}", "{1}-{2}"])
async def test_a_code_is_taken_as_it_was_scanned_or_typed(world: World, shown: str) -> None:
    customer = await world.customer(funds=300)
    code = (await issue(world, customer)).code
    paid = await world.payments.charge_code(by_code(shown.format(code, code[:8], code[8:])))
    assert (paid.payer_id, paid.state) == (customer, PaymentState.CAPTURED)


@pytest.mark.parametrize(
    "shown", ["12345678", "１" * 20, "KESSAI:", "KESSAI:abcdefgh", "9" * 20, "+2800000000000000000"]
)
async def test_what_is_no_code_of_ours_is_refused_without_being_counted(world: World, shown: str) -> None:
    for _ in range(TERMS.failures_max + 1):
        assert await refusal(world.payments.charge_code(by_code(shown))) == "code_malformed"
    assert await world.database.fetch(role_of("payment"), "SELECT failures FROM payment.code_attempt") == []


# -- one use --------------------------------------------------------------------------------------------------------


async def test_a_code_pays_once_from_the_customers_own_sources(world: World) -> None:
    customer = await world.customer(funds=1_000, free_points=200)
    code = await issue(world, customer, "free_points", "funds")
    assert code.expires_at - code.issued_at == timedelta(seconds=TERMS.live_seconds)
    paid = await world.payments.charge_code(by_code(code.code, 300))
    assert [(part.source, part.amount_minor) for part in paid.funding] == [("free_points", 200), ("funds", 100)]
    assert await refusal(world.payments.charge_code(by_code(code.code, 300))) == "code_used"
    assert await world.balance(customer) == (900, 900)
    known = await world.payments.get_code(GetCode(code_id=code.code_id))
    assert (known.state, known.payment_id) == (CodeState.USED, paid.payment_id)


async def test_a_charge_by_code_is_a_charge_like_any_other(world: World) -> None:
    customer = await world.customer(funds=1_000)
    code = await issue(world, customer)
    paid = await world.payments.charge_code(by_code(code.code, 400, reference="till-7", metadata={"till": "7"}))
    assert paid.payment_id.startswith("chg_")
    assert (paid.reference, paid.metadata) == ("till-7", {"till": "7"})
    await world.payments.refund_charge(RefundCharge(charge_id=paid.payment_id, amount_minor=150))
    assert await world.balance(customer) == (750, 750)


async def test_the_customers_wish_about_points_goes_with_the_code(world: World) -> None:
    customer = await world.customer(funds=500, free_points=500)
    code = await world.payments.issue_code(IssueCode(customer_id=customer, points=PointsUse.NONE))
    paid = await world.payments.charge_code(by_code(code.code, 300))
    assert [part.source for part in paid.funding if part.amount_minor] == ["funds"]


async def test_what_the_merchant_does_not_accept_is_not_taken_and_the_code_stays_good(world: World) -> None:
    customer = await world.customer(funds=500, free_points=500)
    code = await issue(world, customer, "free_points")
    wrong = by_code(code.code, accepted_sources=["funds"])
    assert await refusal(world.payments.charge_code(wrong)) == "source_not_accepted"
    assert await refusal(world.payments.charge_code(by_code(code.code, 100_000_000))) == "amount_above_limit"
    assert (await world.payments.charge_code(by_code(code.code))).state is PaymentState.CAPTURED


async def test_a_charge_that_the_ledger_refuses_has_used_the_code_up(world: World) -> None:
    customer = await world.customer(funds=100)
    code = await issue(world, customer)
    assert await refusal(world.payments.charge_code(by_code(code.code, 300))) == "insufficient_funds"
    assert await refusal(world.payments.charge_code(by_code(code.code, 100))) == "code_used"


async def test_two_merchants_at_once_and_one_gets_it(world: World) -> None:
    for _ in range(TURNS):
        customer = await world.customer(funds=1_000)
        code = (await issue(world, customer)).code
        shops = [world.payments.charge_code(by_code(code, merchant_id=f"mer:{n}")) for n in range(4)]
        answers = await asyncio.gather(*shops, return_exceptions=True)
        assert sorted(_word(answer) for answer in answers) == ["CAPTURED", "code_used", "code_used", "code_used"]
        assert await world.balance(customer) == (700, 700)
        assert len(await payments_of(world, customer)) == 1


async def test_two_processes_at_once_and_one_gets_it(world: World) -> None:
    others = [world.another_process() for _ in range(2)]
    for each in others:
        await each.open()
    try:
        for _ in range(TURNS):
            customer = await world.customer(funds=1_000)
            code = (await issue(world, customer)).code
            processes = (world.payments, *others)
            shops = [each.charge_code(by_code(code, merchant_id=f"mer:{n}")) for n, each in enumerate(processes)]
            answers = await asyncio.gather(*shops, return_exceptions=True)
            assert sorted(_word(answer) for answer in answers) == ["CAPTURED", "code_used", "code_used"]
            assert await world.balance(customer) == (700, 700)
    finally:
        for each in others:
            await each.close()


def _word(answer: PaymentRecord | BaseException) -> str:
    if isinstance(answer, PaymentRecord):
        return answer.state.value
    assert isinstance(answer, PaymentError)
    return answer.code


async def test_a_repeated_charge_gets_the_same_answer_though_its_code_is_used(world: World) -> None:
    customer = await world.customer(funds=1_000)
    request = by_code((await issue(world, customer)).code)
    with key("till"):
        first = await world.payments.charge_code(request)
    for days in (0, 30):
        world.pass_days(days)
        await jobs.forget_codes(world.payments)
        with key("till") as call:
            assert await world.payments.charge_code(request) == first
            assert call.replayed
    assert await world.balance(customer) == (700, 700)
    with key("till"), pytest.raises(KeyReused):
        await world.payments.charge_code(by_code(request.code, 301))
    with key("till"), pytest.raises(KeyReused):
        await world.payments.charge_code(by_code((await issue(world, customer)).code))


async def test_a_repeated_charge_that_was_refused_is_refused_the_same(world: World) -> None:
    customer = await world.customer(funds=100)
    request = by_code((await issue(world, customer)).code)
    for _ in range(2):
        with key("till"):
            assert await refusal(world.payments.charge_code(request)) == "insufficient_funds"


async def test_the_same_request_by_two_processes_at_once_charges_once(world: World) -> None:
    other = world.another_process()
    await other.open()
    try:
        customer = await world.customer(funds=1_000)
        request = by_code((await issue(world, customer)).code)

        async def ask(process: PaymentService) -> str:
            with key("till"):
                try:
                    return (await process.charge_code(request)).payment_id
                except PaymentError as error:
                    return error.code

        answers = await asyncio.gather(ask(world.payments), ask(other))
        (paid,) = await payments_of(world, customer)
        assert set(answers) <= {paid.payment_id, "request_in_progress"}
        assert paid.payment_id in answers
    finally:
        await other.close()


# -- time -----------------------------------------------------------------------------------------------------------


async def test_a_code_is_good_until_its_time_and_no_longer(world: World) -> None:
    customer = await world.customer(funds=1_000)
    world.clock.freeze()
    early, late = await issue(world, customer), await issue(world, customer)
    world.clock.advance(timedelta(seconds=TERMS.live_seconds - 1))
    assert (await world.payments.charge_code(by_code(early.code))).state is PaymentState.CAPTURED
    world.clock.advance(timedelta(seconds=1))
    assert await refusal(world.payments.charge_code(by_code(late.code))) == "code_expired"
    assert (await world.payments.get_code(GetCode(code_id=late.code_id))).state is CodeState.EXPIRED
    assert await world.balance(customer) == (700, 700)


async def test_a_newer_code_makes_all_but_the_one_before_it_worthless(world: World) -> None:
    customer = await world.customer(funds=1_000)
    shown: list[IssuedCode] = []
    for _ in range(4):
        shown.append(await issue(world, customer))
        world.clock.advance(timedelta(seconds=1))
    assert TERMS.live_max == 2
    for old in shown[:2]:
        assert await refusal(world.payments.charge_code(by_code(old.code))) == "code_revoked"
    for good in shown[2:]:
        assert (await world.payments.charge_code(by_code(good.code, 100))).state is PaymentState.CAPTURED


async def test_a_code_that_was_revoked_pays_nothing_and_a_used_one_cannot_be(world: World) -> None:
    customer = await world.customer(funds=1_000)
    code, other = await issue(world, customer), await issue(world, customer)
    for _ in range(2):
        assert (await world.payments.revoke_code(RevokeCode(code_id=code.code_id))).state is CodeState.REVOKED
    assert await refusal(world.payments.charge_code(by_code(code.code))) == "code_revoked"
    await world.payments.charge_code(by_code(other.code))
    assert await refusal(world.payments.revoke_code(RevokeCode(code_id=other.code_id))) == "code_used"


async def test_codes_that_ran_out_are_forgotten_and_used_ones_kept(world: World) -> None:
    customer = await world.customer(funds=1_000)
    used, left = await issue(world, customer), await issue(world, customer)
    await world.payments.charge_code(by_code(used.code))
    assert await refusal(world.payments.charge_code(by_code(unknown_code(1)))) == "code_unknown"
    assert await jobs.forget_codes(world.payments) == 0
    world.pass_days(TERMS.kept_days + 1)
    assert await refusal(world.payments.charge_code(by_code(left.code))) == "code_expired"
    assert await jobs.forget_codes(world.payments) == 1
    assert await refusal(world.payments.charge_code(by_code(left.code))) == "code_unknown"
    assert (await world.payments.get_code(GetCode(code_id=used.code_id))).state is CodeState.USED
    rows = await world.database.fetch(role_of("payment"), "SELECT failures FROM payment.code_attempt")
    assert [row["failures"] for row in rows] == [1]


# -- guessing -------------------------------------------------------------------------------------------------------


async def guess(world: World, number: int, caller: str) -> str:
    """What an API key hears about a code that nobody issued."""
    token = enter_call(Call(caller=caller))
    try:
        return await refusal(world.payments.charge_code(by_code(unknown_code(number))))
    finally:
        leave_call(token)


async def test_an_api_key_that_guesses_is_refused_until_the_window_ends_and_others_are_not(world: World) -> None:
    customer = await world.customer(funds=1_000)
    code = (await issue(world, customer)).code
    world.clock.freeze()
    heard = [await guess(world, number, "key_bad") for number in range(TERMS.failures_max + 2)]
    assert heard == ["code_unknown"] * TERMS.failures_max + ["too_many_attempts"] * 2
    token = enter_call(Call(caller="key_bad"))
    assert await refusal(world.payments.charge_code(by_code(code))) == "too_many_attempts"
    leave_call(token)
    assert (await world.payments.charge_code(by_code(code))).state is PaymentState.CAPTURED
    world.clock.advance(timedelta(minutes=TERMS.failures_window_minutes))
    assert await guess(world, 0, "key_bad") == "code_unknown"


async def test_guesses_by_several_processes_are_counted_together(world: World) -> None:
    other = world.another_process()
    world.clock.freeze()
    for number in range(TERMS.failures_max):
        asked = world.payments if number % 2 else other
        assert await refusal(asked.charge_code(by_code(unknown_code(number)))) == "code_unknown"
    assert await refusal(other.charge_code(by_code(unknown_code(0)))) == "too_many_attempts"


async def test_the_digits_of_a_code_are_kept_nowhere(world: World) -> None:
    customer = await world.customer(funds=1_000)
    code = await issue(world, customer)
    with key("till"):
        await world.payments.charge_code(by_code(code.code))
    tables = await world.database.fetch(
        None, "SELECT schemaname AS s, tablename AS t FROM pg_tables WHERE schemaname IN ('payment', 'ledger')"
    )
    assert tables
    for table in tables:
        rows = await world.database.fetch(None, f'SELECT x::text AS row FROM "{table["s"]}"."{table["t"]}" AS x')
        assert [row["row"] for row in rows if code.code in row["row"]] == []


async def test_codes_differ_and_are_as_long_as_the_terms_say(world: World) -> None:
    customer = await world.customer()
    shown = [(await issue(world, customer)).code for _ in range(8)]
    assert len(set(shown)) == 8
    assert {len(code) for code in shown} == {len(TERMS.prefix) + TERMS.random_digits + 1}


async def test_a_code_outlives_a_new_key_of_the_vault(world: World) -> None:
    customer = await world.customer(funds=1_000)
    code = await issue(world, customer)
    rotated = Vault([VaultKey(b"n" * 32), VaultKey(bytes(range(32)))])
    line: Any = world.line
    later = PaymentService(world.database, world.clock, line, world.kinds, vault=rotated)
    await later.open()
    try:
        assert (await later.charge_code(by_code(code.code))).payer_id == customer
    finally:
        await later.close()
    assert VAULT.fingerprints(code.code, context="payment.one_time_code")[0].hex()[:32] == code.code_id[4:]


async def test_without_a_vault_no_code_is_issued(world: World) -> None:
    line: Any = world.line
    bare = PaymentService(world.database, world.clock, line, world.kinds)
    with pytest.raises(Unavailable) as refused:
        await bare.issue_code(IssueCode(customer_id="cus:1"))
    assert refused.value.code == "vault_not_configured"


@pytest.mark.parametrize(
    ("sources", "code"),
    [
        ([FundingSource(source="shells")], "unknown_source"),
        ([FundingSource(source="funds"), FundingSource(source="funds")], "duplicate_source"),
        ([FundingSource(source="card")], "instrument_required"),
    ],
)
async def test_sources_that_cannot_pay_are_refused_when_the_code_is_issued(
    world: World, sources: list[FundingSource], code: str
) -> None:
    assert await refusal(world.payments.issue_code(IssueCode(customer_id="cus:1", sources=sources))) == code


async def test_a_maximum_of_a_source_is_no_reason_to_refuse_the_code(world: World) -> None:
    customer = await world.customer(funds=1_000)
    sources = [FundingSource(source="funds", max_amount_minor=200)]
    code = await world.payments.issue_code(IssueCode(customer_id=customer, sources=sources))
    assert await refusal(world.payments.charge_code(by_code(code.code, 300))) == "sources_below_amount"
    assert (await world.payments.charge_code(by_code(code.code, 200))).state is PaymentState.CAPTURED


async def test_a_code_with_a_card_that_asks_for_the_customer_waits_for_them(world: World) -> None:
    world.cards.asks_for_3ds = True
    customer = await world.customer()
    card = FundingSource(source="card", instrument_id=f"crd_{new_hex()}")
    code = await world.payments.issue_code(
        IssueCode(customer_id=customer, sources=[card], return_url="https://app.example/back")
    )
    waiting = await world.payments.charge_code(by_code(code.code))
    assert waiting.state is PaymentState.REQUIRES_ACTION
    assert await refusal(world.payments.charge_code(by_code(code.code))) == "code_used"


async def test_a_code_nobody_knows_cannot_be_read_or_revoked(world: World) -> None:
    for asked in (GetCode(code_id=f"otc_{new_hex()}"), GetCode(code_id="chg_" + "0" * 32)):
        with pytest.raises(NotFound):
            await world.payments.get_code(asked)
    assert await refusal(world.payments.revoke_code(RevokeCode(code_id=f"otc_{new_hex()}"))) == "code_not_found"


def test_terms_that_could_be_guessed_are_not_the_platforms_own() -> None:
    assert codes.random_below(CodeTerms()) >= 10**15
    assert codes.random_below(TERMS) >= 10**15


# -- merchants' QR --------------------------------------------------------------------------------------------------


SHOP = QrContent(merchant_id="mer:cafe", shop_id="shp:1", name="CAFE", city="TOKYO", reference_label="TABLE 4")


async def test_a_customer_pays_the_qr_that_hangs_in_the_shop_again_and_again(world: World) -> None:
    qr = (await world.payments.make_merchant_qr(SHOP)).qr
    assert (await world.payments.read_merchant_qr(ReadMerchantQr(qr=qr))).content == SHOP
    customer = await world.customer(funds=1_000)
    for amount in (200, 300):
        paid = await world.payments.charge_merchant_qr(
            ChargeMerchantQr(qr=qr, customer_id=customer, amount_minor=amount)
        )
        assert (paid.payee_id, paid.state, paid.reference) == ("mer:cafe", PaymentState.CAPTURED, "TABLE 4")
        assert paid.metadata == {"shop_id": "shp:1"}
        assert await world.payments.get_payment(GetPayment(payment_id=paid.payment_id)) == paid
    assert await world.sales("mer:cafe") == 500


async def test_a_qr_with_an_amount_is_paid_with_that_amount(world: World) -> None:
    qr = (await world.payments.make_merchant_qr(QrContent(merchant_id="m", name="M", city="M", amount_minor=150))).qr
    customer = await world.customer(funds=1_000)
    paid = await world.payments.charge_merchant_qr(ChargeMerchantQr(qr=qr, customer_id=customer))
    assert paid.amount_minor == 150
    other = ChargeMerchantQr(qr=qr, customer_id=customer, amount_minor=149)
    assert await refusal(world.payments.charge_merchant_qr(other)) == "amount_differs"


async def test_a_qr_without_an_amount_asks_the_customer_for_one(world: World) -> None:
    qr = (await world.payments.make_merchant_qr(SHOP)).qr
    request = ChargeMerchantQr(qr=qr, customer_id="cus:1")
    assert await refusal(world.payments.charge_merchant_qr(request)) == "amount_required"


async def test_a_qr_that_was_read_wrong_moves_nothing(world: World) -> None:
    qr = (await world.payments.make_merchant_qr(SHOP)).qr.replace("CAFE", "CARE")
    customer = await world.customer(funds=1_000)
    request = ChargeMerchantQr(qr=qr, customer_id=customer, amount_minor=100)
    assert await refusal(world.payments.charge_merchant_qr(request)) == "qr_checksum_wrong"
    assert await refusal(world.payments.read_merchant_qr(ReadMerchantQr(qr=qr))) == "qr_checksum_wrong"
    assert await payments_of(world, customer) == []


async def test_a_repeated_charge_by_qr_is_made_once(world: World) -> None:
    qr = (await world.payments.make_merchant_qr(SHOP)).qr
    customer = await world.customer(funds=1_000)
    request = ChargeMerchantQr(qr=qr, customer_id=customer, amount_minor=100)
    answers: list[PaymentRecord] = []
    for _ in range(2):
        with key("scan"):
            answers.append(await world.payments.charge_merchant_qr(request))
    assert answers[0] == answers[1]
    assert await world.balance(customer) == (900, 900)


async def test_what_a_qr_says_of_the_place_leaves_room_for_the_callers_own_words(world: World) -> None:
    qr = (await world.payments.make_merchant_qr(SHOP)).qr
    customer = await world.customer(funds=1_000)
    own = {f"k{n}": "v" for n in range(16)}
    paid = await world.payments.charge_merchant_qr(
        ChargeMerchantQr(qr=qr, customer_id=customer, amount_minor=100, reference="mine", metadata=own)
    )
    assert (paid.metadata, paid.reference) == (own, "mine")
