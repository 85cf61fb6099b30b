"""The class that implements the payment door."""

from kessai.services.payment.service.verbs import PaymentService

__all__ = ["PaymentService"]
