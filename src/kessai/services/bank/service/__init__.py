"""The bank service: the class behind its door."""

from kessai.services.bank.service.verbs import BankService

__all__ = ["BankService"]
