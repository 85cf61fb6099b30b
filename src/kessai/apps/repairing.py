"""What rules of the tracer may have services do: each instruction as the verb of the service that does it."""

from __future__ import annotations

from kessai.foundation.errors import Invalid
from kessai.sdk.processing.api import Repair, Repaired
from kessai.services.cardgateway.api import InquireAuthorization, VoidCard
from kessai.services.cardgateway.service import CardGatewayService
from kessai.services.ledger.api import Ledger, VoidExchange


class CardRepairs:
    """Lets go of holds on cards; of one that is let go of here already, outside."""

    def __init__(self, cards: CardGatewayService) -> None:
        self._cards = cards

    async def repair(self, request: Repair, /) -> Repaired:
        """Void an authorization, once for the instruction's id."""
        operation_id = f"cop_{request.repair_id}"
        _require(request, "cau_")
        known = await self._cards.inquire(InquireAuthorization(authorization_id=request.effect_id))
        mine = any(each.operation_id == operation_id for each in known.operations)
        if known.state in ("VOIDED", "REFUSED") and not mine:
            await self._cards.release_outside(request.effect_id, operation_id)
        else:
            await self._cards.void(VoidCard(authorization_id=request.effect_id, operation_id=operation_id))
        return Repaired(reference=operation_id)


class LedgerRepairs:
    """Lets go of holds of the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def repair(self, request: Repair, /) -> Repaired:
        """Void an exchange, once for the instruction's id."""
        _require(request, "exc_")
        action_id = f"act_{request.repair_id}"
        await self._ledger.void_exchange(VoidExchange(exchange_id=request.effect_id, action_id=action_id))
        return Repaired(reference=action_id)


def _require(request: Repair, prefix: str) -> None:
    if not request.effect_id.startswith(prefix):
        raise Invalid("invalid_request", "This service can void nothing of that name.", field="$.effect_id")
