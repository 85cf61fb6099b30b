"""Batches of the card gateway; each calls what the verbs call."""

from __future__ import annotations

from kessai.services.cardgateway.service import CardGatewayService


async def repair_cards(cards: CardGatewayService) -> int:
    """The repairer: void every authorization that nobody wants; gives how many voids were begun."""
    return await cards.repair()
