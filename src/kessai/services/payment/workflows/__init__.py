"""The sagas of a payment. Each ends with the new state, its step and its event together."""

from kessai.services.payment.workflows.actions import capture, refund, release
from kessai.services.payment.workflows.create import create
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
    "LegPair",
    "Order",
    "Outside",
    "SourceLeg",
    "Task",
    "capture",
    "complete",
    "create",
    "refund",
    "release",
    "settle",
]
