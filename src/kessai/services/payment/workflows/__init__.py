"""The sagas of a payment. Each ends with the new state, its step and its event together."""

from kessai.services.payment.workflows.actions import capture, refund, release
from kessai.services.payment.workflows.create import create
from kessai.services.payment.workflows.holding import Held, HeldAll, HeldPath, Holds, held_payments_of, hold
from kessai.services.payment.workflows.movements import Move, Moved, Moves, Path, move, payments_of
from kessai.services.payment.workflows.notes import Deps
from kessai.services.payment.workflows.orders import (
    ApprovalUse,
    FeeLeg,
    LegPair,
    Order,
    Outside,
    SourceLeg,
    Task,
)
from kessai.services.payment.workflows.outcomes import complete, settle

__all__ = [
    "ApprovalUse",
    "Deps",
    "FeeLeg",
    "Held",
    "HeldAll",
    "HeldPath",
    "Holds",
    "LegPair",
    "Move",
    "Moved",
    "Moves",
    "Order",
    "Outside",
    "Path",
    "SourceLeg",
    "Task",
    "capture",
    "complete",
    "create",
    "held_payments_of",
    "hold",
    "move",
    "payments_of",
    "refund",
    "release",
    "settle",
]
