"""The ways to the bank: online orders over HTTP (`BankConnection`), files over HTTP or a drop folder (`BankFiles`)."""

from __future__ import annotations

from pathlib import Path

from kessai.services.bank.domain import FileTerms
from kessai.services.bank.gateways.files import BankFiles, BankLine, BankStatement, FileEntries, NoFiles
from kessai.services.bank.gateways.folder import FolderFiles
from kessai.services.bank.gateways.http import (
    RECORDS_AT_ONCE,
    BankConnection,
    Destination,
    Finding,
    Holding,
    HttpBank,
    Results,
    destination_of,
)
from kessai.services.bank.gateways.http_files import HttpFiles, files_destination

__all__ = [
    "RECORDS_AT_ONCE",
    "BankConnection",
    "BankFiles",
    "BankLine",
    "BankStatement",
    "FileEntries",
    "Finding",
    "FolderFiles",
    "Holding",
    "HttpBank",
    "HttpFiles",
    "NoFiles",
    "Results",
    "destination_of",
    "files_destination",
    "files_of",
]


def files_of(terms: FileTerms, online: Destination | None) -> BankFiles:
    """The way for files that the terms name; over HTTP to the bank that is spoken to online."""
    if terms.connection.way == "folder":
        return FolderFiles(Path(terms.connection.folder), group=terms.connection.group)
    return NoFiles() if online is None else HttpFiles(files_destination(online))
