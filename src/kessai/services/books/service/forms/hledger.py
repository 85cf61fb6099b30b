"""Journals for hledger: the same accounts as for Beancount, tags for what is known of a journal, balances asserted."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from kessai.services.books.domain.exporting import Balances, Voucher
from kessai.services.books.service.forms.cells import decimal_text, exponent_of
from kessai.services.books.service.forms.plain_text import PlainTextPen

_TYPES = {"asset": "A", "liability": "L", "equity": "E", "income": "R", "expense": "X"}
_CLEAN = str.maketrans({";": " ", "|": " ", "\n": " ", "\r": " ", "\t": " "})


class HledgerPen(PlainTextPen):
    """One transaction a journal; at each month's end one that moves nothing and asserts every balance."""

    def _head(self) -> Iterable[str]:
        book = self._book
        yield f"; kessai {book.since} - {book.until}"
        yield "decimal-mark ."
        for asset in self.assets:
            yield f"commodity 1000.{'0' * exponent_of(asset)} {asset}"
        for account in book.accounts:
            yield f"account {account.path}  ; type:{_TYPES[account.section]}, name_ja:{tagged(account.name_ja)}"
        yield ""
        if any(book.opening.values()):
            yield f"{book.since} * 前期繰越"
            for (account, asset), amount in sorted(book.opening.items()):
                if amount:
                    yield f"    {self._paths[account]}  {decimal_text(amount, asset)} {asset}"
            yield ""

    def _transaction(self, voucher: Voucher) -> Iterable[str]:
        yield f"{voucher.booked_on} * ({voucher.journal_id}) {_line(voucher.description)}"
        for name, value in (
            ("source", voucher.source),
            ("kind", voucher.kind),
            ("event_on", None if voucher.event_on == voucher.booked_on else voucher.event_on.isoformat()),
            ("merchant", voucher.merchant),
            ("payment_id", voucher.payment_id),
            ("processing_id", voucher.processing_id),
            ("reverses", voucher.reverses),
        ):
            if value:
                yield f"    ; {name}:{tagged(value)}"
        for line in voucher.lines:
            tag = f"  ; tax:{tagged(line.tax_code)}" if line.tax_code else ""
            yield f"    {self._paths[line.account]}  {decimal_text(line.amount, line.asset)} {line.asset}{tag}"
        yield ""

    def _balances(self, day: date, balances: Balances) -> Iterable[str]:
        if not balances:
            return
        yield f"{day} * 残高"
        for (account, asset), amount in sorted(balances.items()):
            zero = decimal_text(0, asset)
            yield f"    {self._paths[account]}  {zero} {asset} = {decimal_text(amount, asset)} {asset}"
        yield ""


def _line(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text.translate(_CLEAN)).strip()


def tagged(text: str) -> str:
    """A tag's value: a comma would end it."""
    return _line(text).replace(",", "，")
