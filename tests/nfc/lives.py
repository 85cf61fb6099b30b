"""Lives that rows of nfc can have led, for whoever proves or searches them."""

from __future__ import annotations

import pytest

from kessai.foundation.errors import Refused, Unavailable, Unknown
from kessai.services.nfc.api import (
    AuthenticateDevice,
    CloseCard,
    InquireDevice,
    LockReason,
    PrepaidCard,
    ReissueCard,
    RequestCards,
    SendCode,
    VerifyPhone,
)
from kessai.services.nfc.api.clearing import CloseClearingFinding, ExplainClearingFinding, ListClearingFindings
from kessai.services.payment.api import CapturePayment, CreatePayment, TopUp
from kessai.simulators.cardnetwork import IssueFate
from kessai.simulators.cardnetwork.records import ClearingFate, ClearingLine, Tap
from tests.nfc.test_authorization_doubts import reversal
from tests.nfc.whole_world import WholeWorld

FLOOR = {"policy": "approve", "floor_minor": 500}
"""How these lives stand in."""


async def led(world: WholeWorld) -> None:
    """All of them; at the end nothing is open any more."""
    await batches(world)
    await cards(world)
    _, card = await world.holder(funds=5_000)
    await approved_and_declined(world, card)
    await reversed_in_all_ways(world, card)
    await doubtful(world, card)
    await taken_and_given_back(world, card)
    await forced(world, card)
    await expired(world, card)
    await cleared(world)
    await standing(world)


async def batches(world: WholeWorld) -> None:
    """One with wrong lines, one that was refused, one whose file is not whole."""
    issuing = world.network.books.issuing
    issuing.foresee(IssueFate(spoil="bad_pan", times=2))
    issuing.foresee(IssueFate(spoil="twice"))
    issuing.foresee(IssueFate(refuse="N101"))
    await world.service.request_cards(RequestCards(count=9))
    issuing.foresee(IssueFate(spoil="cut"))
    await world.service.request_cards(RequestCards(count=2))


async def cards(world: WholeWorld) -> None:
    """Registered twice, a code wrong, another sent; on two phones, locked, reissued; and another customer's, closed."""
    await world.registered()
    card = await world.registered()
    with pytest.raises(Refused, match="sms_code_wrong"):
        await world.service.verify_phone(VerifyPhone(card_id=card.card_id, code=world.wrong_code()))
    world.pass_time(minutes=5)
    await world.service.send_code(SendCode(card_id=card.card_id))
    card = await world.service.verify_phone(VerifyPhone(card_id=card.card_id, code=world.code()))
    for _ in range(2):
        await phone(world, card)
    await world.locked(card, LockReason.LOST)
    await world.service.reissue_card(
        ReissueCard(card_id=card.card_id, authentication=world.authentication(), note="lost")
    )
    _, other = await world.holder()
    await phone(world, other)
    await world.service.close_card(CloseCard(card_id=other.card_id, note="leaves"))


async def phone(world: WholeWorld, card: PrepaidCard) -> str:
    """An active device of a card; its id."""
    device = await world.provisioned(card)
    which = {"card_id": card.card_id, "device_id": device.device_id}
    await world.service.authenticate_device(AuthenticateDevice(**which, authentication=world.authentication()))
    world.network.books.devices.activate(device.device_id, world.clock.now())
    await world.service.inquire_device(InquireDevice(**which))
    return device.device_id


async def approved_and_declined(world: WholeWorld, card: PrepaidCard) -> None:
    """From the card and from a phone; a refund; without funds; by rule; of nobody; repeated."""
    assert (await world.tap(card, 1_000)).approved
    device_id = await phone(world, card)
    assert (await world.network.tap(Tap(device=device_id, amount=300))).approved
    assert (await world.tap(card, 200, processing="refund")).approved
    assert (await world.tap(card, 900_000)).response in ("51", "61")
    assert (await world.tap(card, 40_000)).response == "51"
    assert (await world.tap(card, 100, country="US")).response == "62"
    assert (await world.network.tap(Tap(pan="9990000000000011", expiry="3112", amount=100))).response == "14"
    message = await world.request(card, 400)
    assert (await world.ask(message)) == (await world.ask(message))


async def reversed_in_all_ways(world: WholeWorld, card: PrepaidCard) -> None:
    """Whole; in part; before the original; with another amount."""
    whole = await world.tap(card, 500)
    await world.network.reverse(whole.id)
    part = await world.tap(card, 600)
    await world.network.reverse(part.id, 250)
    late = await world.request(card, 700)
    assert (await world.ask(reversal(late))).response == "25"
    assert (await world.ask(late)).response == "12"


async def doubtful(world: WholeWorld, card: PrepaidCard) -> None:
    """The payment service's answer lost; and the service away, so that the issuer stands in."""

    async def lose() -> None:
        world.line.after.clear()
        raise Unknown("no_answer", "The answer was lost.")

    async def away() -> None:
        world.line.before.clear()
        raise Unavailable("payment_unavailable", "It is away.")

    world.line.after["create_payment"] = lose
    assert (await world.ask(await world.request(card, 450))).response == "91"
    await world.rest()
    _, poor = await world.holder(funds=100)
    for whose, amount, told in ((card, 501, "91"), (card, 499, "00"), (poor, 498, "00")):
        world.line.before["create_payment"] = away
        assert (await world.ask(await world.request(whose, amount))).response == told
        await world.rest()


async def forced(world: WholeWorld, card: PrepaidCard) -> None:
    """An advice that the wallet cannot bear, and some of it paid back; one of nobody's card."""
    await world.network.advise(Tap(card=await world.reference(card), amount=9_000))
    await world.network.advise(Tap(pan="9990000000000011", expiry="3112", amount=50))
    await world.rest()


async def taken_and_given_back(world: WholeWorld, card: PrepaidCard) -> None:
    """One of which a part was captured when it was reversed: that part is given back."""
    message = await world.request(card, 300)
    assert (await world.ask(message)).response == "00"
    rows = await world.database.fetch(
        None, "SELECT payment_id FROM nfc.id_authorization WHERE message_key = $1", message.key
    )
    part = CapturePayment(payment_id=rows[0]["payment_id"], amount_minor=120, final=False)
    await world.payments.capture_payment(part)
    assert (await world.ask(reversal(message, stan="900077"))).response == "00"
    await world.rest()


async def expired(world: WholeWorld, card: PrepaidCard) -> None:
    """What no clearing claims lapses with its payment; and one that came after that."""
    world.pass_days(40)
    await world.payments.expire_due()
    await world.desk.expire()
    assert (await world.tap(card, 77)).approved
    await world.rest()


async def cleared(world: WholeWorld) -> None:
    """Two days' files: what matches and what does not, given back, reversed, unreadable; compared, and looked into."""
    clearing = world.network.books.clearing
    customer_id, card = await world.holder(funds=20_000)
    told = [await world.tap(card, amount) for amount in (700, 800, 900, 1_000, 1_100, 1_200)]
    await world.tap(card, 300, merchant="SHOP00000000002")
    for each, case, amount in zip(
        told, ("match", "other_amount", "other_amount", "wrong_card", "duplicate", "omit"),
        (None, 500, 30_000, None, None, None), strict=True,
    ):  # fmt: skip
        clearing.foresee(ClearingFate(case=case, about=each.id, amount=amount))  # type: ignore[arg-type]
    reference = await world.reference(card)
    clearing.close(world.today, [ClearingLine(case="no_authorization", card=reference, amount=450)])
    await world.job("nfc.clear")
    assert (await world.tap(card, 200, processing="refund")).approved
    clearing.close(
        world.today,
        [
            ClearingLine(case="refund", authorization=told[0].id, amount=250),
            ClearingLine(case="reversal", authorization=told[1].id),
            ClearingLine(case="refund", authorization=told[2].id, amount=10_000),
            ClearingLine(case="late", authorization=told[3].id),
        ],
        "bad_line",
    )
    await world.job("nfc.clear")
    await world.rest()
    clearing.close(world.today, spoil="count")
    more = [await world.tap(card, amount) for amount in (640, 650)]
    clearing.foresee(ClearingFate(case="duplicate", about=more[1].id))
    clearing.close(world.today, [ClearingLine(case="refund", authorization=more[0].id, amount=40)])
    await world.job("nfc.clear")
    await world.job("nfc.reconcile")
    await looked_into(world)
    await world.network.reverse(told[4].id, 100)
    await world.rest()
    await world.payments.top_up(TopUp(customer_id=customer_id, source="bank_deposit", amount_minor=1_500))
    await paid_back(world, customer_id, 1_000)


async def looked_into(world: WholeWorld) -> None:
    """A finding is explained, and another closed."""
    page = await world.service.list_clearing_findings(ListClearingFindings())
    one, other = page.findings[:2]
    explained = ExplainClearingFinding(finding_id=one.finding_id, note="asked the processor")
    await world.service.explain_clearing_finding(explained)
    await world.service.close_clearing_finding(CloseClearingFinding(finding_id=other.finding_id, reason="they know"))


async def standing(world: WholeWorld) -> None:
    """What stands at the end: a hold in part, an advice, and one that nobody could bear for long."""
    _, card = await world.holder(funds=2_000)
    assert (await world.tap(card, 800)).approved
    part = await world.tap(card, 600)
    await world.network.reverse(part.id, 250)
    await world.network.advise(Tap(card=await world.reference(card), amount=3_000))
    await world.rest()
    await phone(world, card)
    await world.locked(card, LockReason.RISK)
    await world.registered("cus:waits", "+818099999999")
    world.pass_time(minutes=30)


async def paid_back(world: WholeWorld, customer_id: str, amount: int) -> None:
    """Some of what a customer owes."""
    repayment = CreatePayment(kind="id_repayment", payer_id=customer_id, payee_id=customer_id, amount_minor=amount)
    await world.payments.create_payment(repayment)
