"""The class that implements the merchant door, and the desks it is made of."""

from kessai.services.merchant.service.verbs import MerchantService

__all__ = ["MerchantService"]
