"""Journals for Beancount: accounts opened with their Japanese names, each asset a commodity, balances asserted exactly.

The balances come from the running totals, the transactions from the journals: `bean-check` proves one by the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, timedelta

from kessai.services.books.domain.exporting import Balances, Voucher, VoucherLine
from kessai.services.books.service.forms.cells import decimal_text
from kessai.services.books.service.forms.plain_text import PlainTextPen

_LINK = re.compile(r"[A-Za-z0-9_/.-]+\Z")


class BeancountPen(PlainTextPen):
    """One transaction a journal; at each month's end the balances that must have come of them."""

    def _head(self) -> Iterable[str]:
        book = self._book
        yield f'option "title" "kessai {book.since} - {book.until}"'
        yield 'option "operating_currency" "JPY"'
        yield ""
        for asset in self.assets:
            yield f"{book.since} commodity {asset}"
        yield ""
        for account in book.accounts:
            yield f"{book.since} open {account.path}"
            yield f"  name_ja: {quoted(account.name_ja)}"
            yield f"  code: {quoted(account.code)}"
        yield ""
        if any(book.opening.values()):
            yield f'{book.since} * "前期繰越"'
            for (account, asset), amount in sorted(book.opening.items()):
                if amount:
                    yield f"  {self._paths[account]}  {decimal_text(amount, asset)} {asset}"
            yield ""

    def _transaction(self, voucher: Voucher) -> Iterable[str]:
        payment = voucher.payment_id or ""
        link = f" ^{payment}" if _LINK.match(payment) else ""
        yield f"{voucher.booked_on} * {quoted(voucher.description)}{link}"
        for name, value in _about(voucher):
            yield f"  {name}: {quoted(value)}"
        for line in voucher.lines:
            yield from self._posting(line)
        yield ""

    def _posting(self, line: VoucherLine) -> Iterable[str]:
        yield f"  {self._paths[line.account]}  {decimal_text(line.amount, line.asset)} {line.asset}"
        for name, value in (("tax", line.tax_code), ("ledger", line.account_type), ("owner", line.owner)):
            if value:
                yield f"    {name}: {quoted(value)}"

    def _balances(self, day: date, balances: Balances) -> Iterable[str]:
        """Beancount holds a balance against the morning of its day: the next; `~ 0` allows no tolerance."""
        morning = day + timedelta(days=1)
        for (account, asset), amount in sorted(balances.items()):
            yield f"{morning} balance {self._paths[account]}  {decimal_text(amount, asset)} ~ 0 {asset}"
        yield ""


def _about(voucher: Voucher) -> Iterable[tuple[str, str]]:
    """What else is known of a journal, under the names of its columns."""
    event_on = None if voucher.event_on == voucher.booked_on else voucher.event_on.isoformat()
    for name, value in (
        ("journal_id", voucher.journal_id),
        ("source", voucher.source),
        ("kind", voucher.kind),
        ("event_on", event_on),
        ("merchant", voucher.merchant),
        ("product", voucher.product),
        ("payment_id", voucher.payment_id),
        ("processing_id", voucher.processing_id),
        ("exchange_id", voucher.exchange_id),
        ("reverses", voucher.reverses),
    ):
        if value:
            yield name, value


def quoted(text: str) -> str:
    """A string in one line."""
    line = "".join(each if each.isprintable() else " " for each in text)
    return '"' + line.replace("\\", "\\\\").replace('"', '\\"') + '"'
