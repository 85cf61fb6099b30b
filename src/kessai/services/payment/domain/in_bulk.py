"""Whether a merchant's inner movement may be made among many, and between whom. Pure."""

from __future__ import annotations

from kessai.foundation.errors import Invalid, Refused
from kessai.services.payment.api import MerchantMovement
from kessai.services.payment.domain.checks import check_amount
from kessai.services.payment.domain.kinds import PaymentKind, PaymentKinds


def kind_of(movement: MerchantMovement, kinds: PaymentKinds) -> PaymentKind:
    """The movement's kind.

    Raises `unknown_kind`, `kind_not_in_bulk`, `malformed_id`, `counterpart_not_allowed`, `amount_above_limit`.
    """
    kind = kinds.require(movement.kind)
    if not kind.batch:
        raise Invalid("kind_not_in_bulk", f"A {kind.name} is made by a verb of its own.", kind=kind.name)
    if movement.payment_id[:3] != kind.id_prefix:
        raise Invalid("malformed_id", f"The id of a {kind.name} begins with {kind.id_prefix}_.", field="payment_id")
    check_counterpart(movement.merchant_id, movement.counterpart_id, kind)
    check_amount(movement.amount_minor, kind.asset, kind)
    return kind


def check_counterpart(merchant_id: str, counterpart_id: str | None, kind: PaymentKind) -> None:
    """Raises `counterpart_not_allowed`: the payee is the platform, or must be the payer itself."""
    if counterpart_id in (None, merchant_id if kind.payee == "merchant" or kind.own_accounts else None):
        return
    if kind.payee != "merchant" or kind.own_accounts:
        raise Refused("counterpart_not_allowed", f"A {kind.name} has no other merchant on its other side.")


def payee_of(movement: MerchantMovement, kind: PaymentKind) -> str:
    """Who gets it."""
    return kind.payee_owner or movement.counterpart_id or movement.merchant_id
