"""Activities outside the platform: a card gateway, a bank, a second person. Each goes under ids fixed beforehand.

What a gateway refuses is Refused; whether a lost answer took effect is asked again under the same id. Undoing accepts
that there may be nothing to undo.
"""

from __future__ import annotations

from kessai.foundation.call import current_call
from kessai.foundation.errors import Conflict, PaymentError, Refused, Unavailable, Unknown
from kessai.sdk.workflow import Activity
from kessai.services.bank.api import (
    Bank,
    DebitIn,
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
    account = await bank.get_account(GetBankAccount(account_id=outside.instrument_id))
    if account.owner_id != outside.owner_id:
        raise Refused("bank_account_of_another", "The bank account is not this participant's.")
    if order.pays_out:
        await bank.transfer(
            TransferOut(
                instruction_id=transfer_id_of(payment.payment_id),
                account_id=outside.instrument_id,
                amount_minor=payment.amount_minor,
                reference=payment.payment_id,
            )
        )
    else:
        await bank.debit(
            DebitIn(
                instruction_id=debit_id_of(payment.payment_id),
                account_id=outside.instrument_id,
                amount_minor=_part(order),
                reference=payment.payment_id,
            )
        )
    return Settled()


async def look_at_bank(activity: Activity[Deps], task: Task) -> Elsewhere:
    """What the bank says; raises why it failed, or that there is nothing to say yet."""
    bank, payment_id = bank_of(activity, task.processing_id), task.payment.payment_id
    found = await bank.get_instruction(GetInstruction(instruction_id=debit_id_of(payment_id)))
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
