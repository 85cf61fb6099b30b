"""Activities outside the platform: a card gateway, a bank, a second person. Each goes under ids fixed beforehand.

What a gateway refuses is Refused; whether a lost answer took effect is asked again under the same id. A service that
cannot answer may have written down what it was asked for: only what it says before it writes anything is Unavailable
here, everything else is Unknown. Undoing accepts that there may be nothing to undo.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from kessai.foundation.call import current_call
from kessai.foundation.errors import Conflict, NotFound, PaymentError, Refused, Unavailable, Unknown
from kessai.sdk.workflow import Activity
from kessai.services.bank.api import (
    AbortInstruction,
    Bank,
    DebitIn,
    FailureCode,
    GetBankAccount,
    GetInstruction,
    Instruction,
    InstructionState,
    TransferOut,
)
from kessai.services.cardgateway.api import (
    AuthorizationState,
    AuthorizeCard,
    CaptureCard,
    CardAuthorization,
    CardGateway,
    InquireAuthorization,
    OperationState,
    RefundCard,
    VoidCard,
)
from kessai.services.identity.api import ConsumeApproval
from kessai.services.payment.api import PaymentRecord
from kessai.services.payment.workflows.notes import Deps
from kessai.services.payment.workflows.orders import (
    Elsewhere,
    Order,
    Settled,
    Task,
    authorization_id_of,
    card_operation_id_of,
    debit_id_of,
    transfer_id_of,
)

VOID_NEEDS_NOTHING = ("already_captured", "authorization_not_found")
SAID_BEFOREHAND = ("card_gateway_unavailable",)
"""What a service says before it has written anything down."""


@contextmanager
def in_doubt() -> Generator[None]:
    """Whoever could not answer may have taken it up: Unknown, but for what is said before anything is written."""
    try:
        yield
    except Unavailable as error:
        if error.code in SAID_BEFOREHAND:
            raise
        raise Unknown(error.code, error.message, **error.details) from error


def cards_of(activity: Activity[Deps], processing_id: str) -> CardGateway:
    """The card gateway, entered for the payment's own processing."""
    current_call().processing_id = processing_id
    assert activity.deps.cards is not None, "checked before the payment was made"
    return activity.deps.cards


def bank_of(activity: Activity[Deps], processing_id: str) -> Bank:
    """The bank, entered for the payment's own processing."""
    current_call().processing_id = processing_id
    assert activity.deps.bank is not None, "checked before the payment was made"
    return activity.deps.bank


# -- approvals ----------------------------------------------------------------------------------------------------


async def use_approval(activity: Activity[Deps], order: Order) -> Settled:
    """Use up the approval of this very payment."""
    assert order.approval is not None
    assert activity.deps.approvals is not None, "checked before the payment was made"
    current_call().processing_id = order.payment.processing_id
    await activity.deps.approvals.consume_approval(
        ConsumeApproval(
            approval_id=order.approval.approval_id,
            consumer_id=order.payment.payment_id,
            subject=order.approval.subject,
            action=order.approval.action,
            content_sha256=order.approval.content_sha256,
        )
    )
    return Settled()


# -- cards --------------------------------------------------------------------------------------------------------


def _part(order: Order) -> int:
    assert order.outside is not None
    return sum(part.amount_minor for part in order.payment.funding if part.source == order.outside.source)


async def authorize_card(activity: Activity[Deps], order: Order) -> Elsewhere:
    """Hold the card's part on the card."""
    outside, payment = order.outside, order.payment
    assert outside is not None
    assert outside.instrument_id is not None
    request = AuthorizeCard(
        card_id=outside.instrument_id,
        customer_id=outside.owner_id,
        amount_minor=_part(order),
        asset=payment.asset,
        authorization_id=authorization_id_of(payment.payment_id),
        return_url=outside.return_url,
        reference=payment.payment_id,
    )
    with in_doubt():
        return _held(await cards_of(activity, payment.processing_id).authorize(request))


def _held(found: CardAuthorization) -> Elsewhere:
    """What became of an authorization; raises its refusal."""
    match found.state:
        case AuthorizationState.AUTHORIZED | AuthorizationState.CAPTURED:
            return Elsewhere()
        case AuthorizationState.REQUIRES_ACTION:
            return Elsewhere(url=found.action_url)
        case AuthorizationState.PENDING | AuthorizationState.VOIDING:
            raise Unknown("card_outcome_unknown", "What became of the card's authorization is not known yet.")
        case AuthorizationState.REFUSED:
            raise Refused(found.refusal_code or "gateway_refused", "The card's authorization was refused.")
        case AuthorizationState.VOIDED:
            raise Refused("authorization_voided", "The card's authorization was undone.")


async def void_card(activity: Activity[Deps], order: Order) -> None:
    """Undo a new payment's authorization, whatever became of it."""
    await _void(cards_of(activity, order.payment.processing_id), order.payment)


async def let_card_go(activity: Activity[Deps], task: Task) -> Settled:
    """Release what is still held on the card."""
    await _void(cards_of(activity, task.processing_id), task.payment)
    return Settled()


async def _void(cards: CardGateway, payment: PaymentRecord) -> None:
    request = VoidCard(
        authorization_id=authorization_id_of(payment.payment_id),
        operation_id=card_operation_id_of("void", payment.payment_id),
    )
    try:
        await cards.void(request)
    except Conflict as busy:
        raise Unavailable(busy.code, busy.message) from busy
    except PaymentError as refusal:
        if refusal.code not in VOID_NEEDS_NOTHING:
            raise


async def look_at_card(activity: Activity[Deps], task: Task) -> Elsewhere:
    """What became of the card's authorization."""
    request = InquireAuthorization(authorization_id=authorization_id_of(task.payment.payment_id))
    with in_doubt():
        found = _held(await cards_of(activity, task.processing_id).inquire(request))
    if found.url is not None:
        raise Refused("action_pending", "The customer has not finished what the card's issuer asked for.")
    return found


async def take_card_whole(activity: Activity[Deps], payment: PaymentRecord) -> Settled:
    """Take what a new payment holds on the card."""
    operation_id = card_operation_id_of("take", payment.payment_id)
    await _capture(cards_of(activity, payment.processing_id), payment, operation_id, None, final=True)
    return Settled()


async def give_card_whole_back(activity: Activity[Deps], payment: PaymentRecord) -> None:
    """Undo `take_card_whole`, if it was done."""
    cards = cards_of(activity, payment.processing_id)
    if await _was_taken(cards, payment, card_operation_id_of("take", payment.payment_id)):
        await _give_back(cards, payment, card_operation_id_of("give_back", payment.payment_id), None)


async def take_card_part(activity: Activity[Deps], task: Task) -> Settled:
    """Take the card's part of a capture."""
    cards, operation_id = cards_of(activity, task.processing_id), card_operation_id_of("take", task.action_id)
    await _capture(cards, task.payment, operation_id, task.outside_part(), final=task.final)
    return Settled()


async def give_card_part_back(activity: Activity[Deps], task: Task) -> None:
    """Undo `take_card_part`, if it was done."""
    cards = cards_of(activity, task.processing_id)
    if await _was_taken(cards, task.payment, card_operation_id_of("take", task.action_id)):
        back = card_operation_id_of("give_back", task.action_id)
        await _give_back(cards, task.payment, back, task.outside_part())


async def _was_taken(cards: CardGateway, payment: PaymentRecord, operation_id: str) -> bool:
    """Whether a capture was done; raises Unknown while that is in doubt."""
    found = await cards.inquire(InquireAuthorization(authorization_id=authorization_id_of(payment.payment_id)))
    state = next((each.state for each in found.operations if each.operation_id == operation_id), None)
    if state is OperationState.PENDING:
        raise Unknown("card_outcome_unknown", "Whether the card was charged is not known yet.")
    return state is OperationState.DONE


async def refund_card(activity: Activity[Deps], task: Task) -> Settled:
    """Give the card's part of a refund back to the card."""
    cards = cards_of(activity, task.processing_id)
    await _refund(cards, task.payment, card_operation_id_of("refund", task.action_id), task.outside_part())
    return Settled()


async def _capture(
    cards: CardGateway, payment: PaymentRecord, operation_id: str, amount: int | None, *, final: bool
) -> None:
    request = CaptureCard(
        authorization_id=authorization_id_of(payment.payment_id),
        amount_minor=amount,
        final=final,
        operation_id=operation_id,
    )
    try:
        with in_doubt():
            await cards.capture(request)
    except Conflict as busy:
        raise Unknown(busy.code, busy.message) from busy


async def _give_back(cards: CardGateway, payment: PaymentRecord, operation_id: str, amount: int | None) -> None:
    try:
        await _refund(cards, payment, operation_id, amount)
    except PaymentError as refusal:
        if refusal.code not in ("authorization_not_captured", "authorization_not_found", "refund_above_captured"):
            raise


async def _refund(cards: CardGateway, payment: PaymentRecord, operation_id: str, amount: int | None) -> None:
    request = RefundCard(
        authorization_id=authorization_id_of(payment.payment_id), amount_minor=amount, operation_id=operation_id
    )
    try:
        with in_doubt():
            await cards.refund(request)
    except Conflict as busy:
        raise Unknown(busy.code, busy.message) from busy


# -- the bank -----------------------------------------------------------------------------------------------------


async def instruct_bank(activity: Activity[Deps], order: Order) -> Settled:
    """Tell the bank to debit the customer's account, or to send the payment to it; it answers later."""
    outside, payment = order.outside, order.payment
    assert outside is not None
    assert outside.instrument_id is not None
    bank = bank_of(activity, payment.processing_id)
    with in_doubt():
        account = await bank.get_account(GetBankAccount(account_id=outside.instrument_id))
        if account.owner_id != outside.owner_id:
            raise Refused("bank_account_of_another", "The bank account is not this participant's.")
        try:
            made = await _instructed(bank, order, account.account_id)
        except PaymentError as refusal:
            if refusal.retryable or activity.attempt == 1:
                raise
            return await prevent_instruction(activity, order)  # an earlier attempt may have been taken up after all
    return _taken_up(made)


async def _instructed(bank: Bank, order: Order, account_id: str) -> Instruction:
    reference, (instruction_id, amount) = order.payment.payment_id, instruction_of(order)
    if order.pays_out:
        request = TransferOut(
            account_id=account_id,
            amount_minor=amount,
            reference=reference,
            instruction_id=instruction_id,
            transfer_on=order.payment.pay_on,
        )
        return await bank.transfer(request)
    return await bank.debit(
        DebitIn(
            account_id=account_id,
            amount_minor=amount,
            reference=reference,
            instruction_id=instruction_id,
            transfer_on=order.payment.pay_on,
        )
    )


def instruction_of(order: Order) -> tuple[str, int]:
    """Id and amount of what a payment instructs the bank to do."""
    payment = order.payment
    if order.pays_out:
        return transfer_id_of(payment.payment_id), payment.amount_minor
    return debit_id_of(payment.payment_id), _part(order)


async def prevent_instruction(activity: Activity[Deps], order: Order) -> Settled:
    """Raise Refused when the bank has not been instructed, which it then never will be; else leave it be."""
    outside, (instruction_id, amount) = order.outside, instruction_of(order)
    assert outside is not None
    assert outside.instrument_id is not None
    bank = bank_of(activity, order.payment.processing_id)
    with in_doubt():
        found = await bank.abort(
            AbortInstruction(
                instruction_id=instruction_id,
                account_id=outside.instrument_id,
                amount_minor=amount,
                reference=order.payment.payment_id,
            )
        )
    return _taken_up(found)


def _taken_up(found: Instruction) -> Settled:
    if found.failure_code is FailureCode.ABORTED:
        raise Refused("bank_not_instructed", "The bank could not be instructed in time; it never will be.")
    return Settled()


async def look_at_bank(activity: Activity[Deps], task: Task) -> Elsewhere:
    """What the bank says; raises why it failed, or that there is nothing to say yet."""
    bank, payment_id = bank_of(activity, task.processing_id), task.payment.payment_id
    try:
        found = await bank.get_instruction(GetInstruction(instruction_id=debit_id_of(payment_id)))
    except NotFound as missing:  # it was given before the payment began to wait: nothing follows from a missing row
        raise AssertionError(f"the debit of {payment_id} is not there") from missing
    code = failure_of(found)
    if code is not None:
        raise Refused(code, f"The bank says: {code}.")
    return Elsewhere()


def failure_of(found: Instruction) -> str | None:
    """Why an instruction came to nothing; None when it is done. Raises `action_pending` while the bank works on it."""
    match found.state:
        case InstructionState.DONE:
            return None
        case InstructionState.FAILED | InstructionState.RETURNED:
            return found.failure_code.value if found.failure_code else "other"
        case InstructionState.ACCEPTED | InstructionState.SENT | InstructionState.UNKNOWN:
            raise Refused("action_pending", "The bank has not answered yet.")
