"""Pure decisions about cards and authorizations: what may be done when, what the gateway's words mean, what follows."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec.structs import replace

from kessai.foundation.contract import Message
from kessai.foundation.errors import Conflict, Invalid, Refused, Unavailable, Unknown
from kessai.services.cardgateway.api import DECLINES, CaptureCard, CardAuthorization, RefundCard
from kessai.services.cardgateway.api import AuthorizationState as S
from kessai.services.cardgateway.api import OperationKind as K

ASSETS = ("JPY",)
UNAVAILABLE = "card_gateway_unavailable"
UNKNOWN = "card_outcome_unknown"
ABORTED = "authorization_voided"
PENDING_ACTION = "action_pending"
"""The customer has not come back from 3-D Secure yet: nothing is decided."""
HELD = (S.REQUIRES_ACTION, S.AUTHORIZED)
"""Something is, or may come to be, held."""
_OWN_WORDS = frozenset(
    (*DECLINES, "authentication_required", "authorization_expired", "invalid_form_token", PENDING_ACTION)
)


Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]


class Patience(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long is waited for what, in real time."""

    answer_s: Seconds = 6.0
    """Then a caller is told that the outcome is not known."""
    reach_s: Seconds = 2.0
    """An authorization that surely could not be sent for so long is refused."""
    abandon_after_s: Seconds = 60.0
    """An authorization whose outcome nobody came for is voided; more than a lease, so that a caller may recover."""
    converge_within_s: Seconds = 120.0
    """The bound: an outcome that is not known for longer, while the gateway answers, is an alarm."""


class Busy(Conflict):
    """Something is going on with the authorization; the same request may be sent again."""

    retryable = True


class Instruction(Message):
    """What the gateway is told, under an id of ours."""

    kind: K
    authorization_id: str
    operation_id: str
    """Of the authorization itself, its own id."""
    amount_minor: int = 0
    asset: str = "JPY"
    final: bool = True
    card_token: str = ""
    return_url: str | None = None


class GatewayRecord(Message):
    """The gateway's own record of an authorization."""

    authorization_id: str
    card_token: str
    """Empty of one that was only ever voided."""
    state: str
    """The gateway's word."""
    amount_minor: int
    asset: str
    captured_minor: int
    refunded_minor: int


class Outcome(Message):
    """What became of an instruction, for sure."""

    refusal_code: str | None = None
    gateway_code: str | None = None
    """The gateway's own word for it, where it is another."""
    action_url: str | None = None
    """Where the customer has to go first."""
    aborted: bool = False
    """It was undone, whatever became of it, for nobody wanted it any more."""
    heard: bool = True
    """Somebody was waiting for it."""
    doubt_ms: int | None = None
    """How long it was not known, where the first answer was lost."""


class Plastic(Message):
    """A registered card as the gateway tells it, or its refusal."""

    card_token: str = ""
    brand: str = ""
    last_four: str = ""
    expiry_month: int = 0
    expiry_year: int = 0
    refusal_code: str | None = None
    gateway_code: str | None = None


# -- what may be done ---------------------------------------------------------------------------------------------


def check_asset(asset: str) -> None:
    """Raises `wrong_asset`."""
    if asset not in ASSETS:
        raise Invalid("wrong_asset", f"Cards are charged in {', '.join(ASSETS)}.", asset=asset)


def check_complete(authorization: CardAuthorization) -> None:
    """Raises `authorization_unresolved`, `authorization_not_waiting`."""
    _require_resolved(authorization)
    if authorization.state is not S.REQUIRES_ACTION:
        raise Refused("authorization_not_waiting", "It does not wait for the customer.", state=authorization.state)


def capture_amount(authorization: CardAuthorization, request: CaptureCard) -> int:
    """How much is taken; raises `authorization_unresolved`, `authorization_not_authorized`,
    `capture_above_authorized`."""
    _require_resolved(authorization)
    if authorization.state is not S.AUTHORIZED:
        raise Refused("authorization_not_authorized", "Nothing is held.", state=authorization.state)
    left = authorization.amount_minor - authorization.captured_minor
    amount = left if request.amount_minor is None else request.amount_minor
    if amount > left:
        raise Refused("capture_above_authorized", f"Only {left} is left to capture.", capturable_minor=left)
    return amount


def refund_amount(authorization: CardAuthorization, request: RefundCard) -> int:
    """How much is given back; raises `authorization_unresolved`, `authorization_not_captured`,
    `refund_above_captured`."""
    _require_resolved(authorization)
    left = authorization.captured_minor - authorization.refunded_minor
    if authorization.captured_minor == 0:
        raise Refused("authorization_not_captured", "Nothing was captured.", state=authorization.state)
    amount = left if request.amount_minor is None else request.amount_minor
    if amount > left or amount == 0:
        raise Refused("refund_above_captured", f"Only {left} is left to refund.", refundable_minor=left)
    return amount


def check_void(authorization: CardAuthorization) -> None:
    """Raises `already_captured`."""
    if authorization.state is S.CAPTURED:
        raise Refused("already_captured", "It is captured; refund it instead.")


def is_undone(authorization: CardAuthorization) -> bool:
    """Nothing is held and nothing will be."""
    return authorization.state in (S.VOIDED, S.REFUSED)


def _require_resolved(authorization: CardAuthorization) -> None:
    if authorization.state is S.PENDING:
        raise unresolved(authorization)


# -- what follows -------------------------------------------------------------------------------------------------


def settled(authorization: CardAuthorization, instruction: Instruction, outcome: Outcome) -> CardAuthorization:
    """The authorization after an outcome of an instruction, `authorization` being as it was when that was given."""
    after = replace(authorization, version=authorization.version + 1, operations=[])
    if outcome.aborted:
        return replace(after, state=S.VOIDED, action_url=None)
    if outcome.refusal_code is not None:
        if instruction.kind in (K.AUTHORIZE, K.COMPLETE) and outcome.refusal_code != PENDING_ACTION:
            return replace(after, state=S.REFUSED, refusal_code=outcome.refusal_code, action_url=None)
        return after
    match instruction.kind:
        case K.AUTHORIZE if outcome.action_url is not None:
            return replace(after, state=S.REQUIRES_ACTION, action_url=outcome.action_url)
        case K.AUTHORIZE | K.COMPLETE:
            return replace(after, state=S.AUTHORIZED, action_url=None)
        case K.CAPTURE:
            captured = authorization.captured_minor + instruction.amount_minor
            whole = instruction.final or captured == authorization.amount_minor
            return replace(after, captured_minor=captured, state=S.CAPTURED if whole else S.AUTHORIZED)
        case K.VOID:
            return replace(after, state=S.CAPTURED if authorization.captured_minor else S.VOIDED, action_url=None)
        case K.REFUND:
            return replace(after, refunded_minor=authorization.refunded_minor + instruction.amount_minor)


def word_for(gateway_code: str) -> tuple[str, str | None]:
    """Our code for a gateway's, and its own where that is another."""
    if gateway_code in _OWN_WORDS:
        return gateway_code, None
    return "gateway_refused", gateway_code


# -- what callers are told ----------------------------------------------------------------------------------------


def refusal(outcome: Outcome | Plastic, **details: object) -> Refused:
    """A refusal as it is told and stored."""
    assert outcome.refusal_code is not None
    if outcome.gateway_code is not None:
        details["gateway_code"] = outcome.gateway_code
    return Refused(outcome.refusal_code, "The card's issuer or the gateway refused.", **details)


def aborted(authorization_id: str) -> Refused:
    """Whoever comes late is told that it was undone."""
    return Refused(ABORTED, "The authorization was voided.", authorization_id=authorization_id)


def unresolved(authorization: CardAuthorization) -> Busy:
    """What became of it is not known yet."""
    return Busy(
        "authorization_unresolved",
        "What became of the authorization is still being found out.",
        authorization_id=authorization.authorization_id,
    )


def under_way(authorization: CardAuthorization) -> Busy:
    """Another operation is at it, or it is not known yet what became of it."""
    if authorization.state is S.PENDING:
        return unresolved(authorization)
    return busy(authorization.authorization_id)


def busy(authorization_id: str) -> Busy:
    """Another operation is under way."""
    return Busy(
        "authorization_busy", "Another operation on it is under way; try again.", authorization_id=authorization_id
    )


def unknown(**details: object) -> Unknown:
    """The outcome did not come in time; it is being found out."""
    return Unknown(UNKNOWN, "The gateway's answer is not known yet; ask again with the same id.", **details)


def unavailable() -> Unavailable:
    """Nothing was done."""
    return Unavailable(UNAVAILABLE, "The card gateway cannot be reached just now.")
