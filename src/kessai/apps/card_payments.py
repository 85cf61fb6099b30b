"""Card payments (iD), put together from the settings."""

from __future__ import annotations

from pathlib import Path

from kessai.apps.configured import read_card_terms_of, read_id_clearing_of, read_id_rules_of
from kessai.foundation.clock import Clock
from kessai.foundation.config import Settings
from kessai.foundation.db import Database
from kessai.foundation.vault import Vault
from kessai.sdk.workflow.executor import Options
from kessai.services.nfc.gateways import (
    FolderIssuer,
    HttpIssuer,
    HttpSms,
    HttpTokens,
    files_destination,
    network_destination,
    sms_destination,
)
from kessai.services.nfc.gateways.clearing import HttpClearing
from kessai.services.nfc.service import NfcService
from kessai.services.payment.api import Payment


def nfc_of(
    settings: Settings,
    database: Database,
    clock: Clock,
    vault: Vault,
    payment: Payment,
    lease_s: float,
    engine: Options,
) -> NfcService:
    """The nfc service with its ways outside; without their addresses nothing outside is reached."""
    network = network_destination(settings.card_network_url, settings.card_network_key)
    files, folder = files_destination(network), settings.card_files
    return NfcService(
        database,
        clock,
        vault,
        issuer=HttpIssuer(files) if folder is None else FolderIssuer(Path(folder)),
        tokens=HttpTokens(network),
        sms=HttpSms(sms_destination(settings.sms_url, settings.sms_key)),
        network=HttpClearing(files),
        payment=payment,
        terms=read_card_terms_of(settings),
        rules=read_id_rules_of(settings),
        clearing=read_id_clearing_of(settings),
        lease_s=lease_s,
        **engine,
    )
