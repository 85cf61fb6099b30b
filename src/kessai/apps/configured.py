"""What an operator configured by files, read: each an own file, or the platform's of that name."""

from __future__ import annotations

from pathlib import Path

from kessai.foundation.config import Settings, TomlDocument, load_toml, read_toml
from kessai.services.books.domain.configuration import BooksConfig, read_books
from kessai.services.ledger.domain.types import load_account_types
from kessai.services.nfc.domain.clearing_terms import ClearingTerms, read_clearing_terms
from kessai.services.nfc.domain.rules import AuthorizationRules
from kessai.services.nfc.domain.rules import read_rules as read_id_rules
from kessai.services.nfc.domain.terms import CardTerms, read_card_terms
from kessai.services.payment.domain.kinds import PaymentKinds, read_kinds


def load_payment_kinds(path: str | None = None) -> PaymentKinds:
    """The platform's own payment kinds, or those of a file; ConfigError names the line of what is wrong."""
    return read_kinds(document_of(path, "payment_kinds.toml"))


def document_of(path: str | None, name: str) -> TomlDocument:
    """An operator's own configuration file, or the platform's of that name."""
    return load_toml("kessai.config", name) if path is None else read_toml(Path(path))


def read_books_of(settings: Settings) -> BooksConfig:
    """What the books go by under these settings; ConfigError names the line of what is wrong."""
    types = load_account_types(document_of(settings.account_types, "account_types.toml"))
    return read_books(
        [each.info() for each in types],
        chart=document_of(settings.chart_of_accounts, "chart_of_accounts.toml"),
        rules=document_of(settings.posting_rules, "posting_rules.toml"),
        statutory=document_of(settings.statutory, "statutory.toml"),
    )


def read_card_terms_of(settings: Settings) -> CardTerms:
    """What cards (iD) go by under these settings; ConfigError names the line of what is wrong."""
    return read_card_terms(document_of(settings.nfc, "nfc.toml"))


def read_id_rules_of(settings: Settings) -> AuthorizationRules:
    """What card payments (iD) must meet under these settings; ConfigError names the line of what is wrong."""
    return read_id_rules(document_of(settings.nfc_authorization, "nfc_authorization.toml"))


def read_id_clearing_of(settings: Settings) -> ClearingTerms:
    """How card payments (iD) are cleared under these settings; ConfigError names the line of what is wrong."""
    return read_clearing_terms(document_of(settings.nfc_clearing, "nfc_clearing.toml"))
