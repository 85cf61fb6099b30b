"""What the books go by: chart of accounts, posting rules, the law's figures, and the ledger's account types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kessai.foundation.config import TomlDocument
from kessai.services.books.domain.chart import Chart, load_chart, read_chart
from kessai.services.books.domain.rules import PostingRules, load_posting_rules, read_posting_rules
from kessai.services.books.domain.statutory.rules import StatutoryConfig, read_statutory
from kessai.services.ledger.api import AccountTypeInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class BooksConfig:
    """Read and checked at start, immutable afterwards."""

    chart: Chart
    rules: PostingRules
    statutory: StatutoryConfig
    types: Mapping[str, AccountTypeInfo]
    """The ledger's account types by code: asset, owner_kind, statutory_class …"""


def read_books(
    types: Iterable[AccountTypeInfo],
    *,
    chart: TomlDocument | None = None,
    rules: TomlDocument | None = None,
    statutory: TomlDocument | None = None,
) -> BooksConfig:
    """The configuration of files, or the platform's own; ConfigError names file and line of what is wrong."""
    known = {each.account_type: each for each in types}
    read = load_chart() if chart is None else read_chart(chart)
    assets = {code: each.asset for code, each in known.items()}
    posting = load_posting_rules(read, assets) if rules is None else read_posting_rules(rules, read, assets)
    classes = {code: each.statutory_class for code, each in known.items()}
    return BooksConfig(chart=read, rules=posting, statutory=read_statutory(statutory, classes), types=known)
