"""The stories: every kind of payment from its beginning to its end, with the calls it makes outside on the way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from kessai.foundation.ids import bare, new_hex
from kessai.services.identity.api import content_digest
from kessai.services.ledger.api import CloseAccount, account_id_of
from kessai.services.payment.api import (
    Adjust,
    CancelCharge,
    CancelEscrow,
    CancelPayment,
    CaptureCharge,
    CaptureEscrow,
    CapturePayment,
    ChargeMerchantFee,
    ClearSales,
    CompletePayment,
    CreateCharge,
    CreateEscrow,
    Direction,
    ExchangeFunds,
    FundingSource,
    GrantIncentive,
    PayOut,
    RefundCharge,
    RefundEscrow,
    RefundPayment,
    Repay,
    TopUp,
    Transfer,
    Withdraw,
)
from tests.faults.matrix import oracle
from tests.faults.matrix.lane import Party
from tests.faults.matrix.oracle import MARKET, MERCHANT, SELLER, Account, Rule
from tests.faults.matrix.scene import Scene

Act = Callable[[Scene], Awaitable[Any]]
AMOUNT, FUNDS, ON_CARD, REPAYMENT = 1_000, 300, 700, 600
CUSTOMER: Account = ("customer", "funds")


@dataclass(frozen=True)
class Step:
    """Something that is asked for, what the oracle makes of it, and the calls outside that it makes."""

    act: Act
    rule: Rule
    calls: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Story:
    """A payment of a kind."""

    name: str
    kind: str
    steps: tuple[Step, ...]
    begins: Mapping[Account, int] = field(default_factory=dict[Account, int])
    """What owners have to begin with."""
    standing: Mapping[Account, int] = field(default_factory=dict[Account, int])
    """What its preparation leaves them with besides."""
    parts: Mapping[str, int] = field(default_factory=dict[str, int])
    """What each of its sources gives."""
    amount: int = AMOUNT
    party: Party | None = None
    prepare: tuple[Act, ...] = ()
    given: str | None = None
    """A call that is refused whatever else happens: what comes of it is part of the story."""
    ledger_refuses: str | None = None
    """A verb that the ledger refuses in the midst of it."""
    undoing: tuple[str, ...] = ()
    """Calls that undo; refusing them leaves an operator something to do, see docs/faults.md."""
    comes_back: Rule | None = None
    """Of a transfer that the bank returns."""

    @property
    def calls(self) -> list[str]:
        """Calls outside, each once."""
        made = dict.fromkeys(verb for step in self.steps for verb in step.calls)
        return [*(verb for verb in made if verb != self.given), *self.undoing]


# -- what is asked for --------------------------------------------------------------------------------------------


def charge(*, at_once: bool, return_url: str | None = None) -> Act:
    """A charge from funds and, for the rest, the card."""

    async def act(scene: Scene) -> None:
        sources = [FundingSource(source="funds"), scene.card]
        request = CreateCharge(
            customer_id=scene.owners["customer"], merchant_id=scene.owners["merchant"], amount_minor=AMOUNT,
            sources=sources, capture=at_once, return_url=return_url,
        )  # fmt: skip
        await scene.ask("create_charge", request)

    return act


async def escrow(scene: Scene) -> None:
    """An escrow from funds and, for the rest, the card."""
    request = CreateEscrow(
        customer_id=scene.owners["customer"], marketplace_id=scene.owners["market"], seller_id=scene.owners["seller"],
        amount_minor=AMOUNT, sources=[FundingSource(source="funds"), scene.card],
    )  # fmt: skip
    await scene.ask("create_escrow", request)


def asks(verb: str, make: Callable[[Scene], Any]) -> Act:
    """One request of a verb."""

    async def act(scene: Scene) -> None:
        await scene.ask(verb, make(scene))

    return act


async def lapse(scene: Scene) -> None:
    """Time passes, and the payment lapses."""
    scene.lane.clock.advance(timedelta(days=8))
    while (payment := await scene.payment()).state in ("AUTHORIZED", "UNKNOWN"):
        service = await scene.lane.living("payment")
        await service.expire(payment)
        await scene.lane.come_to_rest()
    scene.told.append("done")


async def pass_3d_secure(scene: Scene) -> None:
    """The customer proves who they are."""
    scene.lane.cards.books.challenge(f"cau_{bare(scene.payment_id)}", passed=True)


async def close_funds(scene: Scene) -> None:
    """The customer's account, which is empty by now, is closed."""
    await scene.lane.ledger.close_account(CloseAccount(account_id=account_id_of(scene.owners["customer"], "funds")))


async def repay(scene: Scene) -> None:
    """The customer pays most of what is owed for this payment back."""
    payment_id = scene.payment_id
    await scene.ask("repay", Repay(customer_id=scene.owners["customer"], amount_minor=REPAYMENT))
    scene.payment_id = payment_id


def hear(prefix: str) -> Act:
    """The bank has come to an end with its order."""

    async def act(scene: Scene) -> None:
        await scene.hear_from_bank(f"{prefix}_{bare(scene.payment_id)}")

    return act


def adjust(direction: Direction) -> Act:
    """A correction that a second person has approved."""

    async def act(scene: Scene) -> None:
        request = Adjust(
            owner=scene.owners["customer"], account_type="funds", direction=direction, amount_minor=AMOUNT,
            approval_id=f"apv_{new_hex()}",
        )  # fmt: skip
        scene.lane.approvals.approved[request.approval_id] = content_digest(request)
        await scene.ask("adjust", request)

    return act


def _customer(scene: Scene) -> str:
    return scene.owners["customer"]


def _id(scene: Scene) -> str:
    return scene.payment_id


async def has_credit(scene: Scene) -> None:
    """The customer has a credit line."""
    await scene.open_account("customer", "credit", overdraft_limit_minor=AMOUNT)


CARD = {"funds": FUNDS, "card": ON_CARD}
IN_POCKET: Mapping[Account, int] = {CUSTOMER: FUNDS}
has_card: Act = Scene.have_card
has_account: Act = Scene.have_bank_account


async def has_3ds_card(scene: Scene) -> None:
    """The customer's card asks for 3-D Secure."""
    await scene.have_card("tok_3ds")


async def merchant_has_account(scene: Scene) -> None:
    """The merchant has a bank account."""
    await scene.have_bank_account("merchant")


async def owes(scene: Scene) -> None:
    """The customer has a receivable of 500 to pay back."""
    await scene.open_account("customer", "credit", overdraft_limit_minor=AMOUNT)
    request = CreateCharge(
        customer_id=_customer(scene), merchant_id=scene.owners["merchant"], amount_minor=500,
        sources=[FundingSource(source="credit")], capture=True,
    )  # fmt: skip
    await scene.ask("create_charge", request)
    scene.payment_id = ""
    scene.told.clear()


def _refund(amount: int) -> Act:
    return asks("refund_charge", lambda s: RefundCharge(charge_id=_id(s), amount_minor=amount))


SELL = Step(charge(at_once=True), oracle.sell, ("authorize", "capture"))
AUTHORIZE = Step(charge(at_once=False), oracle.authorize, ("authorize",))
PARK = Step(escrow, oracle.park, ("authorize", "capture"))
CAPTURE_PART = asks("capture_charge", lambda s: CaptureCharge(charge_id=_id(s), amount_minor=600))
REPAID = ((("customer", "receivable"), -300), (("customer", "credit"), 300))
OWED: Mapping[Account, int] = {("customer", "receivable"): 500, ("customer", "credit"): -500, MERCHANT: 500}
"""What `owes` leaves behind."""

BY_CARD = (
    Story(
        name="charge_sold_and_refunded", kind="charge", party="card", prepare=(has_card,), begins=IN_POCKET, parts=CARD,
        steps=(SELL, Step(_refund(800), oracle.refund(800), ("refund",))),
    ),
    Story(
        name="charge_refunded_to_its_card_alone", kind="charge", party="card", prepare=(has_card,), begins=IN_POCKET,
        parts=CARD,
        steps=(
            SELL,
            Step(close_funds, lambda _, __: True),
            Step(_refund(800), oracle.refund_card_alone, ("refund",)),
        ),
    ),
    Story(
        name="charge_captured_in_parts", kind="charge", party="card", prepare=(has_card,), begins=IN_POCKET, parts=CARD,
        steps=(
            AUTHORIZE,
            Step(
                asks("capture_charge", lambda s: CaptureCharge(charge_id=_id(s), amount_minor=500, final=False)),
                oracle.capture(500, final=False), ("capture",),
            ),
            Step(
                asks("capture_charge", lambda s: CaptureCharge(charge_id=_id(s), amount_minor=400)),
                oracle.capture(400), ("capture",),
            ),
        ),
    ),
    Story(
        name="charge_captured_without_its_card", kind="charge", party="card", prepare=(has_card,), begins=IN_POCKET,
        parts=CARD,
        steps=(
            AUTHORIZE,
            Step(
                asks("capture_charge", lambda s: CaptureCharge(charge_id=_id(s), amount_minor=200)),
                oracle.capture(200), ("void",),
            ),
        ),
    ),
    Story(
        name="charge_canceled", kind="charge", party="card", prepare=(has_card,), begins=IN_POCKET, parts=CARD,
        steps=(
            AUTHORIZE,
            Step(
                asks("cancel_charge", lambda s: CancelCharge(charge_id=_id(s))), oracle.let_go("CANCELED"), ("void",)
            ),
        ),
    ),
    Story(
        name="charge_canceled_after_a_part", kind="charge", party="card", prepare=(has_card,), begins=IN_POCKET,
        parts=CARD,
        steps=(
            AUTHORIZE,
            Step(
                asks("capture_charge", lambda s: CaptureCharge(charge_id=_id(s), amount_minor=500, final=False)),
                oracle.capture(500, final=False), ("capture",),
            ),
            Step(
                asks("cancel_charge", lambda s: CancelCharge(charge_id=_id(s))), oracle.let_go("CANCELED"), ("void",)
            ),
        ),
    ),
    Story(
        name="charge_lapsed", kind="charge", party="card", prepare=(has_card,), begins=IN_POCKET, parts=CARD,
        steps=(AUTHORIZE, Step(lapse, oracle.let_go("EXPIRED"), ("void",))),
    ),
    Story(
        name="charge_after_3d_secure", kind="charge", party="card", prepare=(has_3ds_card,), begins=IN_POCKET,
        parts=CARD,
        steps=(
            Step(charge(at_once=True, return_url="https://shop.example/back"), oracle.wait, ("authorize",)),
            Step(pass_3d_secure, lambda _, __: True),
            Step(
                asks("complete_payment", lambda s: CompletePayment(payment_id=_id(s))), oracle.sell,
                ("complete", "capture"),
            ),
        ),
    ),
    Story(
        name="charge_undone_by_its_card", kind="charge", party="card", prepare=(has_card,), begins=IN_POCKET,
        parts=CARD, given="capture", undoing=("void",), steps=(SELL,),
    ),
    Story(
        name="charge_undone_by_the_ledger", kind="charge", party="card", prepare=(has_card,), begins=IN_POCKET,
        parts=CARD, ledger_refuses="capture_exchange", undoing=("refund",), steps=(SELL,),
    ),
    Story(
        name="escrow_paid_and_refunded", kind="escrow", party="card", prepare=(has_card,), begins=IN_POCKET, parts=CARD,
        steps=(
            PARK,
            Step(
                asks("capture_escrow", lambda s: CaptureEscrow(escrow_id=_id(s), fee_minor=100)),
                oracle.pay_on(1_000, 100),
            ),
            Step(
                asks("refund_escrow", lambda s: RefundEscrow(escrow_id=_id(s), amount_minor=500)),
                oracle.refund_escrow(500, 50), ("refund",),
            ),
        ),
    ),
    Story(
        name="escrow_paid_in_part", kind="escrow", party="card", prepare=(has_card,), begins=IN_POCKET, parts=CARD,
        steps=(
            PARK,
            Step(
                asks("capture_escrow", lambda s: CaptureEscrow(escrow_id=_id(s), amount_minor=600, fee_minor=60)),
                oracle.pay_on(600, 60), ("refund",),
            ),
        ),
    ),
    Story(
        name="escrow_canceled", kind="escrow", party="card", prepare=(has_card,), begins=IN_POCKET, parts=CARD,
        steps=(
            PARK,
            Step(
                asks("cancel_escrow", lambda s: CancelEscrow(escrow_id=_id(s))), oracle.unpark("CANCELED"), ("refund",)
            ),
        ),
    ),
    Story(
        name="escrow_canceled_for_its_card_alone", kind="escrow", party="card", prepare=(has_card,), begins=IN_POCKET,
        parts=CARD,
        steps=(
            PARK,
            Step(close_funds, lambda _, __: True),
            Step(
                asks("cancel_escrow", lambda s: CancelEscrow(escrow_id=_id(s))), oracle.unpark_card_alone, ("refund",)
            ),
        ),
    ),
    Story(
        name="escrow_refunded_to_its_card_alone", kind="escrow", party="card", prepare=(has_card,), begins=IN_POCKET,
        parts=CARD,
        steps=(
            PARK,
            Step(
                asks("capture_escrow", lambda s: CaptureEscrow(escrow_id=_id(s), fee_minor=100)),
                oracle.pay_on(1_000, 100),
            ),
            Step(close_funds, lambda _, __: True),
            Step(
                asks("refund_escrow", lambda s: RefundEscrow(escrow_id=_id(s), amount_minor=900)),
                oracle.refund_escrow_card_alone(70), ("refund",),
            ),
        ),
    ),
)  # fmt: skip

BY_BANK = (
    Story(
        name="top_up_by_bank", kind="top_up", party="bank", prepare=(has_account,), begins={CUSTOMER: 0},
        parts={"bank_debit": AMOUNT},
        steps=(
            Step(
                asks("top_up", lambda s: TopUp(
                    customer_id=_customer(s), source="bank_debit", amount_minor=AMOUNT, instrument_id=s.bank_account_id
                )),
                oracle.wait,
            ),
            Step(hear("bdb"), oracle.move((CUSTOMER, AMOUNT)), ("debit",)),
        ),
    ),
    Story(
        name="repayment_by_bank", kind="repayment", party="bank", prepare=(has_account, owes), standing=OWED,
        begins={CUSTOMER: 0}, parts={"bank_debit": 300}, amount=300,
        steps=(
            Step(
                asks("repay", lambda s: Repay(
                    customer_id=_customer(s), amount_minor=300, source="bank_debit", instrument_id=s.bank_account_id
                )),
                oracle.wait,
            ),
            Step(hear("bdb"), oracle.move(*REPAID), ("debit",)),
        ),
    ),
    Story(
        name="withdrawal", kind="withdrawal", party="bank", prepare=(has_account,), begins={CUSTOMER: 2_000},
        parts={"funds": AMOUNT + 200},
        steps=(
            Step(
                asks("withdraw", lambda s: Withdraw(
                    customer_id=_customer(s), bank_account_id=s.bank_account_id, amount_minor=AMOUNT
                )),
                oracle.wait,
            ),
            Step(hear("btr"), oracle.move((CUSTOMER, -AMOUNT - 200)), ("transfer",)),
        ),
        comes_back=oracle.come_back((CUSTOMER, AMOUNT)),
    ),
    Story(
        name="payout", kind="payout", party="bank", prepare=(merchant_has_account,),
        begins={("merchant", "settled_sales"): 1_500}, parts={"settled_sales": AMOUNT},
        steps=(
            Step(
                asks("pay_out", lambda s: PayOut(
                    merchant_id=s.owners["merchant"], bank_account_id=s.bank_account_id, amount_minor=AMOUNT
                )),
                oracle.wait,
            ),
            Step(hear("btr"), oracle.move((("merchant", "settled_sales"), -AMOUNT)), ("transfer",)),
        ),
        comes_back=oracle.come_back((("merchant", "settled_sales"), AMOUNT)),
    ),
)  # fmt: skip


def _complete(*postings: tuple[Account, int]) -> Step:
    return Step(asks("complete_payment", lambda s: CompletePayment(payment_id=_id(s))), oracle.move(*postings))


INSIDE = (
    Story(
        name="credit_refunded_after_repayment", kind="charge", prepare=(has_credit,), begins={CUSTOMER: REPAYMENT},
        parts={"credit": AMOUNT},
        steps=(
            Step(
                asks("create_charge", lambda s: CreateCharge(
                    customer_id=_customer(s), merchant_id=s.owners["merchant"], amount_minor=AMOUNT,
                    sources=[FundingSource(source="credit")], capture=True,
                )),
                oracle.move(
                    (MERCHANT, AMOUNT), (("customer", "credit"), -AMOUNT), (("customer", "receivable"), AMOUNT)
                ),
            ),
            Step(
                repay,
                oracle.also(
                    (CUSTOMER, -REPAYMENT), (("customer", "credit"), REPAYMENT),
                    (("customer", "receivable"), -REPAYMENT),
                ),
            ),
            Step(
                _refund(AMOUNT),
                oracle.also(
                    (MERCHANT, -AMOUNT), (("customer", "credit"), AMOUNT - REPAYMENT),
                    (("customer", "receivable"), REPAYMENT - AMOUNT), (CUSTOMER, REPAYMENT), refunded=AMOUNT,
                ),
            ),
        ),
    ),
    Story(
        name="transfer", kind="transfer", begins={CUSTOMER: AMOUNT, ("friend", "funds"): 0}, parts={"funds": AMOUNT},
        steps=(
            Step(
                asks("transfer", lambda s: Transfer(
                    customer_id=_customer(s), recipient_id=s.owners["friend"], amount_minor=AMOUNT
                )),
                oracle.move((CUSTOMER, -AMOUNT), (("friend", "funds"), AMOUNT)),
            ),
        ),
    ),
    Story(
        name="top_up_at_a_store", kind="top_up", begins={CUSTOMER: 0}, parts={"store_payment": AMOUNT},
        steps=(
            Step(
                asks("top_up", lambda s: TopUp(customer_id=_customer(s), source="store_payment", amount_minor=AMOUNT)),
                oracle.wait,
            ),
            _complete((CUSTOMER, AMOUNT)),
        ),
    ),
    Story(
        name="top_up_given_up", kind="top_up", begins={CUSTOMER: 0}, parts={"store_payment": AMOUNT},
        steps=(
            Step(
                asks("top_up", lambda s: TopUp(customer_id=_customer(s), source="store_payment", amount_minor=AMOUNT)),
                oracle.wait,
            ),
            Step(asks("cancel_payment", lambda s: CancelPayment(payment_id=_id(s))), oracle.let_go("CANCELED")),
        ),
    ),
    Story(
        name="repayment_from_balance", kind="repayment", prepare=(owes,), standing=OWED,
        begins={CUSTOMER: 300}, parts={"funds": 300}, amount=300,
        steps=(
            Step(
                asks("repay", lambda s: Repay(customer_id=_customer(s), amount_minor=300)),
                oracle.move((CUSTOMER, -300), *REPAID),
            ),
        ),
    ),
    Story(
        name="repayment_at_a_store", kind="repayment", prepare=(owes,), standing=OWED, begins={CUSTOMER: 0},
        parts={"store_payment": 300}, amount=300,
        steps=(
            Step(
                asks("repay", lambda s: Repay(customer_id=_customer(s), amount_minor=300, source="store_payment")),
                oracle.wait,
            ),
            _complete(*REPAID),
        ),
    ),
    Story(
        name="exchange_in_provisional", kind="exchange_in", begins={CUSTOMER: AMOUNT, ("customer", "trading_funds"): 0},
        parts={"funds": AMOUNT},
        steps=(
            Step(
                asks("exchange", lambda s: ExchangeFunds(
                    customer_id=_customer(s), direction=Direction.IN, amount_minor=AMOUNT, capture=False,
                    sources=[FundingSource(source="funds")],
                )),
                oracle.authorize,
            ),
            Step(
                asks("capture_payment", lambda s: CapturePayment(payment_id=_id(s))),
                oracle.move((CUSTOMER, -AMOUNT), (("customer", "trading_funds"), AMOUNT)),
            ),
        ),
    ),
    Story(
        name="exchange_out", kind="exchange_out", begins={CUSTOMER: 0, ("customer", "trading_funds"): AMOUNT},
        parts={"trading_funds": AMOUNT},
        steps=(
            Step(
                asks("exchange", lambda s: ExchangeFunds(
                    customer_id=_customer(s), direction=Direction.OUT, amount_minor=AMOUNT
                )),
                oracle.move((CUSTOMER, AMOUNT), (("customer", "trading_funds"), -AMOUNT)),
            ),
        ),
    ),
    Story(
        name="incentive_taken_back", kind="incentive", parts={"campaign": AMOUNT},
        steps=(
            Step(
                asks("grant_incentive", lambda s: GrantIncentive(customer_id=_customer(s), amount_minor=AMOUNT)),
                oracle.move((("customer", "free_points"), AMOUNT)),
            ),
            Step(
                asks("refund_payment", lambda s: RefundPayment(payment_id=_id(s), amount_minor=400)),
                oracle.refund_of(400, ("customer", "free_points")),
            ),
        ),
    ),
    Story(
        name="merchant_fee_taken_back", kind="merchant_fee", begins={MERCHANT: 3_000},
        parts={"unsettled_sales": AMOUNT},
        steps=(
            Step(
                asks("charge_merchant_fee", lambda s: ChargeMerchantFee(
                    merchant_id=s.owners["merchant"], amount_minor=AMOUNT
                )),
                oracle.move((MERCHANT, -AMOUNT)),
            ),
            Step(
                asks("refund_payment", lambda s: RefundPayment(payment_id=_id(s), amount_minor=250)),
                oracle.refund_of(250, MERCHANT, gives=False),
            ),
        ),
    ),
    Story(
        name="clearing", kind="clearing", begins={MERCHANT: 3_000},
        parts={"unsettled_sales": AMOUNT},
        steps=(
            Step(
                asks("clear_sales", lambda s: ClearSales(merchant_id=s.owners["merchant"], amount_minor=AMOUNT)),
                oracle.move((MERCHANT, -AMOUNT), (("merchant", "settled_sales"), AMOUNT)),
            ),
        ),
    ),
    Story(
        name="adjustment_in", kind="adjustment_in", begins={CUSTOMER: 0}, parts={"operator": AMOUNT},
        steps=(Step(adjust(Direction.IN), oracle.move((CUSTOMER, AMOUNT))),),
    ),
    Story(
        name="adjustment_out", kind="adjustment_out", begins={CUSTOMER: 1_500}, parts={"funds": AMOUNT},
        steps=(Step(adjust(Direction.OUT), oracle.move((CUSTOMER, -AMOUNT))),),
    ),
)  # fmt: skip

STORIES: Mapping[str, Story] = {each.name: each for each in (*BY_CARD, *BY_BANK, *INSIDE)}
"""Every one by its name."""
KNOWN_ACCOUNTS = (
    CUSTOMER, MERCHANT, MARKET, SELLER, ("friend", "funds"), ("customer", "trading_funds"),
    ("customer", "free_points"), ("customer", "receivable"), ("customer", "credit"), ("merchant", "settled_sales"),
)  # fmt: skip
"""Whose balances are compared after each case."""
