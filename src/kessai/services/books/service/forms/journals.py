"""Journals as files that other books read: 弥生会計, Beancount and hledger; written voucher by voucher."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import BinaryIO, Protocol

from kessai.services.books.domain.exporting import JournalBook, Voucher


class JournalPen(Protocol):
    """A journal form that is being written."""

    left_out: int
    """Lines that the form cannot hold."""

    def vouchers(self, vouchers: list[Voucher]) -> None:
        """Write some journals, in order of their days."""
        ...

    def close(self) -> None:
        """Write what comes after them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalForm:
    """A form that the journal, and nothing else, may take."""

    name: str
    suffix: str
    media_type: str
    maker: str
    """`module:class` of its pen."""
    text: bool = True

    def open(self, book: JournalBook, out: BinaryIO) -> JournalPen:
        """Begin to write journals."""
        module, _, name = self.maker.partition(":")
        make: Callable[[JournalBook, BinaryIO], JournalPen] = getattr(
            import_module(f"kessai.services.books.service.forms.{module}"), name
        )
        return make(book, out)


JOURNAL_FORMS: dict[str, JournalForm] = {
    form.name: form
    for form in (
        JournalForm(
            name="yayoi",
            suffix=".yayoi.csv",
            media_type="text/csv; charset=windows-31j",
            maker="yayoi:YayoiPen",
            text=False,
        ),
        JournalForm(
            name="beancount",
            suffix=".beancount",
            media_type="text/plain; charset=utf-8",
            maker="beancount:BeancountPen",
        ),
        JournalForm(
            name="hledger", suffix=".journal", media_type="text/plain; charset=utf-8", maker="hledger:HledgerPen"
        ),
    )
}


@dataclass(frozen=True, slots=True)
class WrittenJournals:
    """What came of it."""

    vouchers: int
    left_out: int
    """Lines that the form could not hold."""


async def write_journals(
    form: JournalForm, book: JournalBook, out: BinaryIO, told: Callable[[int], None] | None = None
) -> WrittenJournals:
    """Write the journals of a book, beside the event loop; `told` hears how many after each chunk."""
    pen, count = await asyncio.to_thread(form.open, book, out), 0
    async for chunk in book.chunks:
        await asyncio.to_thread(pen.vouchers, chunk)
        count += len(chunk)
        if told is not None:
            told(count)
    await asyncio.to_thread(pen.close)
    return WrittenJournals(count, pen.left_out)
