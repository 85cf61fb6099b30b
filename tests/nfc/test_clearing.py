"""Every case of a clearing file's lines: what is captured, charged by force or given back, and what is a finding."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kessai.foundation.db import Database
from kessai.services.ledger.api import GetAccount, account_id_of
from kessai.services.payment.api import ListPayments
from kessai.simulators.cardnetwork.records import Authorization as Heard
from kessai.simulators.cardnetwork.records import Tap
from tests.nfc.clearing_world import ClearingWorld, asked, opened

FUNDS = 5_000


@pytest.fixture
async def clearing(database: Database) -> AsyncIterator[ClearingWorld]:
    async with opened(database) as running:
        yield running


async def bought(clearing: ClearingWorld, amount: int = 700, funds: int = FUNDS) -> tuple[str, Heard]:
    """A customer who has paid at a terminal."""
    customer_id, card = await clearing.world.holder(funds=funds)
    told = await clearing.world.tap(card, amount)
    assert told.approved
    return customer_id, told


async def cleared(clearing: ClearingWorld, amount: int = 700, funds: int = FUNDS) -> tuple[str, Heard]:
    """A customer whose payment was cleared."""
    customer_id, told = await bought(clearing, amount, funds)
    clearing.close_day()
    await clearing.clear()
    return customer_id, told


async def owed(clearing: ClearingWorld, customer_id: str) -> int:
    """What a customer owes for forced payments."""
    account = GetAccount(account_id=account_id_of(customer_id, "id_claims"))
    return -(await clearing.world.ledger.get_account(account)).balance_minor


async def test_a_line_that_matches_captures_what_was_held(clearing: ClearingWorld) -> None:
    customer_id, _ = await bought(clearing)
    file = clearing.close_day()
    assert (await clearing.clear()).done == 1
    assert await clearing.outcomes(file.id) == ["matched"]
    assert await clearing.borne(customer_id) == {"purchase": ("CLEARED", 700, 0)}
    await clearing.rests(customer_id)
    assert await clearing.world.available(customer_id) == FUNDS - 700
    assert (await clearing.file(file.id)).state == "CLEARED"
    assert await clearing.kinds() == []


async def test_a_lower_line_captures_less_and_lets_go_of_the_rest(clearing: ClearingWorld) -> None:
    customer_id, told = await bought(clearing)
    clearing.foresee("other_amount", told, 500)
    file = clearing.close_day()
    await clearing.clear()
    assert await clearing.outcomes(file.id) == ["lower"]
    assert await clearing.borne(customer_id) == {"purchase": ("CLEARED", 500, 0)}
    await clearing.rests(customer_id)
    assert await clearing.world.available(customer_id) == FUNDS - 500
    assert await clearing.kinds() == []


async def test_a_higher_line_is_captured_and_the_difference_charged_by_force(clearing: ClearingWorld) -> None:
    customer_id, told = await bought(clearing, 700, funds=800)
    clearing.foresee("other_amount", told, 1_000)
    file = clearing.close_day()
    await clearing.clear()
    assert await clearing.outcomes(file.id) == ["higher"]
    assert await clearing.borne(customer_id) == {"purchase": ("CLEARED", 700, 0), "clearing": ("CLEARED", 300, 0)}
    await clearing.rests(customer_id)
    assert await clearing.world.available(customer_id) == 0
    assert await owed(clearing, customer_id) == 200
    (found,) = await clearing.findings()
    assert (found.kind, found.ours_minor, found.theirs_minor, found.about) == ("higher", 700, 1_000, f"{file.id}#1")
    assert found.customer_id == customer_id


async def test_what_stands_after_a_partial_reversal_is_what_matches(clearing: ClearingWorld) -> None:
    customer_id, told = await bought(clearing)
    await clearing.world.network.reverse(told.id, 200)
    file = clearing.close_day()
    await clearing.clear()
    assert await clearing.outcomes(file.id) == ["matched"]
    assert await clearing.borne(customer_id) == {"purchase": ("CLEARED", 500, 0)}
    assert await clearing.world.available(customer_id) == FUNDS - 500


async def test_a_sale_that_nobody_authorized_is_charged_by_force(clearing: ClearingWorld) -> None:
    customer_id, card = await clearing.world.holder(funds=400)
    file = clearing.close_day(asked("no_authorization", card=card, amount=900))
    await clearing.clear()
    assert await clearing.outcomes(file.id) == ["unauthorized"]
    assert await clearing.borne(customer_id) == {"clearing": ("CLEARED", 900, 0)}
    await clearing.rests(customer_id)
    assert (await clearing.world.available(customer_id), await owed(clearing, customer_id)) == (0, 500)
    made = await clearing.world.payments.list_payments(ListPayments(customer_id=customer_id, kind="id_forced"))
    assert [each.state for each in made.payments] == ["CAPTURED"]
    (found,) = await clearing.findings()
    assert (found.kind, found.customer_id, found.theirs_minor) == ("unauthorized", customer_id, 900)


async def test_a_sale_whose_authorization_expired_is_charged_by_force(clearing: ClearingWorld) -> None:
    customer_id, told = await bought(clearing)
    clearing.foresee("omit", told)
    clearing.close_day()
    await clearing.clear()
    clearing.world.pass_days(31)
    await clearing.world.payments.expire_due()
    await clearing.world.desk.expire()
    assert await clearing.borne(customer_id) == {"purchase": ("EXPIRED", 0, 0)}
    file = clearing.close_day()
    await clearing.clear()
    assert await clearing.outcomes(file.id) == ["expired"]
    assert await clearing.borne(customer_id) == {"purchase": ("EXPIRED", 0, 0), "clearing": ("CLEARED", 700, 0)}
    assert await clearing.world.available(customer_id) == FUNDS - 700
    assert await clearing.kinds() == ["expired"]


async def test_a_hold_that_lapsed_unheard_is_charged_by_force_all_the_same(clearing: ClearingWorld) -> None:
    customer_id, _ = await bought(clearing)
    clearing.world.pass_days(31)
    await clearing.world.payments.expire_due()
    file = clearing.close_day()
    await clearing.clear()
    assert await clearing.outcomes(file.id) == ["matched"]  # the journal had not heard of the lapse
    assert await clearing.borne(customer_id) == {"purchase": ("EXPIRED", 0, 0), "clearing": ("CLEARED", 700, 0)}
    await clearing.rests(customer_id)
    assert await clearing.world.available(customer_id) == FUNDS - 700
    assert await clearing.kinds() == ["expired"]


async def test_a_sale_that_was_reversed_before_is_not_charged(clearing: ClearingWorld) -> None:
    customer_id, told = await bought(clearing)
    await clearing.world.network.reverse(told.id)
    file = clearing.close_day(asked("late", told))
    await clearing.clear()
    assert await clearing.outcomes(file.id) == ["reversed_before"]
    assert await clearing.borne(customer_id) == {"purchase": ("REVERSED", 0, 0)}
    assert await clearing.world.available(customer_id) == FUNDS
    assert await clearing.kinds() == ["reversed_before"]


async def test_a_sale_that_we_declined_is_charged_by_force(clearing: ClearingWorld) -> None:
    customer_id, card = await clearing.world.holder(funds=400)
    told = await clearing.world.tap(card, 900)
    assert told.response == "51"
    file = clearing.close_day(asked("late", told))
    await clearing.clear()
    assert await clearing.outcomes(file.id) == ["not_approved"]
    assert (await clearing.world.available(customer_id), await owed(clearing, customer_id)) == (0, 500)
    assert await clearing.kinds() == ["not_approved"]


async def test_the_same_sale_twice_in_a_file_is_charged_once(clearing: ClearingWorld) -> None:
    customer_id, told = await bought(clearing)
    clearing.foresee("duplicate", told)
    file = clearing.close_day()
    await clearing.clear()
    assert await clearing.outcomes(file.id) == ["matched", "duplicate"]
    assert await clearing.borne(customer_id) == {"purchase": ("CLEARED", 700, 0)}
    assert await clearing.world.available(customer_id) == FUNDS - 700
    (found,) = await clearing.findings()
    assert (found.kind, found.line, found.ours_minor) == ("duplicate", 2, 0)


async def test_a_sale_of_an_earlier_file_once_more_is_not_charged(clearing: ClearingWorld) -> None:
    customer_id, _ = await cleared(clearing)
    first = (await clearing.files())[0]
    file = clearing.close_day(asked("again", file=first.file_id, line=1))
    await clearing.clear()
    assert await clearing.outcomes(file.id) == ["duplicate"]
    assert await clearing.world.available(customer_id) == FUNDS - 700


async def test_a_refund_gives_captured_value_back_in_parts(clearing: ClearingWorld) -> None:
    customer_id, told = await cleared(clearing)
    file = clearing.close_day(asked("refund", told, amount=200))
    await clearing.clear()
    assert await clearing.outcomes(file.id) == ["refunded"]
    assert await clearing.borne(customer_id) == {"purchase": ("CLEARED", 700, 200)}
    later = clearing.close_day(asked("refund", told, amount=500))
    await clearing.clear()
    assert await clearing.outcomes(later.id) == ["refunded"]
    assert await clearing.borne(customer_id) == {"purchase": ("CLEARED", 700, 700)}
    await clearing.rests(customer_id)
    assert await clearing.world.available(customer_id) == FUNDS
    assert await clearing.kinds() == []


async def test_a_refund_of_more_than_was_captured_gives_back_what_is_left(clearing: ClearingWorld) -> None:
    customer_id, told = await cleared(clearing)
    file = clearing.close_day(asked("refund", told, amount=900))
    await clearing.clear()
    assert await clearing.outcomes(file.id) == ["refund_above"]
    assert await clearing.borne(customer_id) == {"purchase": ("CLEARED", 700, 700)}
    assert await clearing.world.available(customer_id) == FUNDS
    (found,) = await clearing.findings()
    assert (found.kind, found.ours_minor, found.theirs_minor) == ("refund_above", 700, 900)


async def test_a_refund_of_a_higher_sale_lowers_first_what_the_customer_owes(clearing: ClearingWorld) -> None:
    customer_id, told = await bought(clearing, 700, funds=700)
    clearing.foresee("other_amount", told, 1_000)
    clearing.close_day()
    await clearing.clear()
    assert await owed(clearing, customer_id) == 300
    clearing.close_day(asked("refund", told, amount=400))
    await clearing.clear()
    assert (await clearing.world.available(customer_id), await owed(clearing, customer_id)) == (100, 0)
    await clearing.rests(customer_id)


async def test_a_refund_asked_for_by_0100_is_of_what_the_card_bought_there(clearing: ClearingWorld) -> None:
    customer_id, told = await cleared(clearing)
    back = await clearing.world.tap(told.card, 300, processing="refund")
    assert back.approved
    clearing.foresee("duplicate", back)
    file = clearing.close_day()
    await clearing.clear()
    assert await clearing.outcomes(file.id) == ["refunded", "duplicate"]
    assert await clearing.borne(customer_id) == {"purchase": ("CLEARED", 700, 300), "refund": ("CLEARED", 0, 0)}
    assert await clearing.world.available(customer_id) == FUNDS - 400


async def test_a_refund_of_what_was_never_cleared_moves_nothing(clearing: ClearingWorld) -> None:
    customer_id, told = await bought(clearing)
    clearing.foresee("omit", told)
    file = clearing.close_day(asked("refund", told, amount=700))
    await clearing.clear()
    assert await clearing.outcomes(file.id) == ["refund_of_uncleared"]
    assert await clearing.borne(customer_id) == {"purchase": ("APPROVED", 0, 0)}
    assert await clearing.kinds() == ["refund_of_uncleared"]


async def test_a_refund_at_a_merchant_where_nothing_was_bought_moves_nothing(clearing: ClearingWorld) -> None:
    customer_id, told = await cleared(clearing)
    back = await clearing.world.tap(told.card, 300, processing="refund", merchant="OTHER0000000001")
    assert back.approved
    file = clearing.close_day()
    await clearing.clear()
    assert await clearing.outcomes(file.id) == ["refund_without_sale"]
    assert await clearing.world.available(customer_id) == FUNDS - 700
    assert await clearing.kinds() == ["refund_without_sale"]


async def test_a_reversal_after_the_clearing_gives_all_of_it_back(clearing: ClearingWorld) -> None:
    customer_id, told = await bought(clearing, 700, funds=800)
    clearing.foresee("other_amount", told, 1_000)
    clearing.close_day()
    await clearing.clear()
    file = clearing.close_day(asked("reversal", told))
    await clearing.clear()
    assert await clearing.outcomes(file.id) == ["reversed"]
    assert await clearing.borne(customer_id) == {"purchase": ("REVERSED", 700, 700), "clearing": ("REVERSED", 300, 300)}
    assert (await clearing.world.available(customer_id), await owed(clearing, customer_id)) == (800, 0)
    assert await clearing.kinds() == ["higher"]


async def test_a_reversal_in_the_sales_own_file_leaves_nothing_taken(clearing: ClearingWorld) -> None:
    customer_id, card = await clearing.world.holder(funds=FUNDS)
    told = await clearing.world.tap(card, 700)
    clearing.foresee("omit", told)
    file = clearing.close_day(asked("late", told), asked("reversal", told))
    await clearing.clear()
    assert await clearing.outcomes(file.id) == ["matched", "reversed"]
    assert [each.state for each in await clearing.rests(customer_id)] == ["REVERSED"]
    assert await clearing.world.available(customer_id) == FUNDS


async def test_a_reversal_of_another_amount_gives_the_lower_one_back(clearing: ClearingWorld) -> None:
    customer_id, told = await cleared(clearing)
    file = clearing.close_day(asked("reversal", told, amount=300))
    await clearing.clear()
    assert await clearing.outcomes(file.id) == ["reversal_differs"]
    assert await clearing.borne(customer_id) == {"purchase": ("CLEARED", 700, 300)}
    assert await clearing.kinds() == ["reversal_differs"]


@pytest.mark.parametrize("case", ["wrong_card", "wrong_approval_code", "wrong_currency"])
async def test_a_line_with_something_wrong_moves_nothing(clearing: ClearingWorld, case: str) -> None:
    customer_id, told = await bought(clearing)
    clearing.foresee(case, told)
    file = clearing.close_day()
    await clearing.clear()
    assert await clearing.outcomes(file.id) == [case]
    assert await clearing.borne(customer_id) == {"purchase": ("APPROVED", 0, 0)}
    assert await clearing.world.available(customer_id) == FUNDS - 700  # held, until a right line comes, or it lapses
    assert await clearing.kinds() == [case]
    late = clearing.close_day(asked("late", told))
    await clearing.clear()
    assert await clearing.outcomes(late.id) == ["matched"]
    assert await clearing.borne(customer_id) == {"purchase": ("CLEARED", 700, 0)}


async def test_a_sale_of_a_card_that_is_no_customers_has_nobody_to_charge(clearing: ClearingWorld) -> None:
    (made,) = clearing.world.network.books.issuing.issue(1, clearing.world.clock.now())
    file = clearing.close_day(asked("no_authorization", card=made.reference, amount=900))
    await clearing.clear()
    assert await clearing.outcomes(file.id) == ["unknown_card"]
    (found,) = await clearing.findings()
    assert (found.kind, found.customer_id, found.theirs_minor) == ("unknown_card", None, 900)


async def test_a_line_above_anything_plausible_is_looked_at_by_somebody(clearing: ClearingWorld) -> None:
    customer_id, card = await clearing.world.holder(funds=FUNDS)
    file = clearing.close_day(asked("no_authorization", card=card, amount=20_000_000))
    await clearing.clear()
    assert await clearing.outcomes(file.id) == ["implausible"]
    assert await clearing.world.available(customer_id) == FUNDS


async def test_an_advice_that_the_wallet_did_not_bear_is_cleared(clearing: ClearingWorld) -> None:
    customer_id, card = await clearing.world.holder(funds=200)
    told = await clearing.world.network.advise(Tap(card=card, amount=700))
    assert told.state == "advised"
    file = clearing.close_day()
    await clearing.clear()
    assert await clearing.outcomes(file.id) == ["matched"]
    assert await clearing.borne(customer_id) == {"advice": ("CLEARED", 700, 0)}
    assert (await clearing.world.available(customer_id), await owed(clearing, customer_id)) == (0, 500)
