"""The class that implements the nfc door, and the desks it is made of."""

from kessai.services.nfc.service.verbs import NfcService

__all__ = ["NfcService"]
