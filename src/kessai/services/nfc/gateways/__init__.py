"""The ways outside: the issuer's files (HTTP or a drop folder), the token service, and the sender of text messages."""

from kessai.services.nfc.gateways.folder import FolderIssuer
from kessai.services.nfc.gateways.issuer import CardIssuer, HttpIssuer, Issuance
from kessai.services.nfc.gateways.sms import HttpSms, SmsSender
from kessai.services.nfc.gateways.tokens import DeviceEvents, HttpTokens, TokenService, ToldDevice
from kessai.services.nfc.gateways.words import (
    files_destination,
    network_destination,
    sms_destination,
)

__all__ = [
    "CardIssuer",
    "DeviceEvents",
    "FolderIssuer",
    "HttpIssuer",
    "HttpSms",
    "HttpTokens",
    "Issuance",
    "SmsSender",
    "TokenService",
    "ToldDevice",
    "files_destination",
    "network_destination",
    "sms_destination",
]
