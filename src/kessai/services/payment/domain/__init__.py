"""Pure decisions about payments: how an amount is split, what may be done when, and what follows from it.

Nothing here waits, reads a clock or knows a database.
"""

from kessai.services.payment.domain.checks import (
    Busy,
    authorization_expiry,
    capture_amount,
    check_amount,
    check_cancel,
    is_overdue,
    refund_amount,
    unresolved,
)
from kessai.services.payment.domain.funding import PlannedSource, plan_funding
from kessai.services.payment.domain.kinds import PaymentKind, PaymentKinds
from kessai.services.payment.domain.steps import (
    FINAL,
    TRANSITIONS,
    Change,
    action_refused,
    authorized,
    captured,
    lost_track,
    may_follow,
    refunded,
    refused,
    released,
    sold,
)

__all__ = [
    "FINAL",
    "TRANSITIONS",
    "Busy",
    "Change",
    "PaymentKind",
    "PaymentKinds",
    "PlannedSource",
    "action_refused",
    "authorization_expiry",
    "authorized",
    "capture_amount",
    "captured",
    "check_amount",
    "check_cancel",
    "is_overdue",
    "lost_track",
    "may_follow",
    "plan_funding",
    "refund_amount",
    "refunded",
    "refused",
    "released",
    "sold",
    "unresolved",
]
