"""The settlement service: one desk for what comes in, one for cycles and payouts."""

from kessai.services.settlement.service.verbs import SettlementService

__all__ = ["SettlementService"]
