"""Whether payments of a kind may be authorized many at a time, and one of them among many. Pure."""

from __future__ import annotations

from kessai.foundation.errors import Invalid
from kessai.services.payment.api import Hold
from kessai.services.payment.domain.checks import check_amount
from kessai.services.payment.domain.kinds import PaymentKind, PaymentKinds
from kessai.services.payment.domain.limits import has_limits


def held_kind(name: str, kinds: PaymentKinds) -> PaymentKind:
    """The kind of that name; raises `unknown_kind`, `kind_not_in_bulk`."""
    kind = kinds.require(name)
    if not _is_held_plainly(kind):
        raise Invalid("kind_not_in_bulk", f"A {name} is made by a verb of its own.", kind=name)
    return kind


def check_hold(hold: Hold, kind: PaymentKind) -> None:
    """Raises `malformed_id`, `amount_above_limit`."""
    if hold.payment_id[:4] != f"{kind.id_prefix}_":
        raise Invalid("malformed_id", f"The id of a {kind.name} begins with {kind.id_prefix}_.", field="payment_id")
    check_amount(hold.amount_minor, kind.asset, kind)


def _is_held_plainly(kind: PaymentKind) -> bool:
    """From a customer's own accounts to the platform's, to be captured later, with nothing besides."""
    besides = (kind.sources, kind.along, kind.fee, kind.pays_out, kind.needs_approval, has_limits(kind.limits))
    inward = kind.payer == "customer" and kind.payee == "internal"
    return inward and "capture" in kind.actions and not any(besides) and not kind.parks
