"""The card gateway service: the class behind its door."""

from kessai.services.cardgateway.service.repairer import Doubt
from kessai.services.cardgateway.service.verbs import CardGatewayService

__all__ = ["CardGatewayService", "Doubt"]
