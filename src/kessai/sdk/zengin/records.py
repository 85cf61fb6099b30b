"""The records of a file, as values."""

from __future__ import annotations

from datetime import date
from enum import IntEnum

import msgspec

from kessai.sdk.zengin.characters import kana


class Kind(IntEnum):
    """What a file asks for (種別コード)."""

    TRANSFER = 21
    """総合振込: transfers out of our account."""
    DEBIT = 91
    """口座振替: debits from others' accounts into ours; it comes back with a result in each line."""


class DepositType(IntEnum):
    """What sort of account it is (預金種目)."""

    ORDINARY = 1
    """普通"""
    CURRENT = 2
    """当座"""
    TAX = 3
    """納税準備, of debits alone."""
    SAVINGS = 4
    """貯蓄, of transfers alone."""
    OTHER = 9


class DebitResult(IntEnum):
    """What became of a debit (振替結果コード)."""

    PAID = 0
    INSUFFICIENT_FUNDS = 1
    NO_ACCOUNT = 2
    STOPPED_BY_DEPOSITOR = 3
    NO_MANDATE = 4
    STOPPED_BY_CLIENT = 8
    OTHER = 9


NO_CODE = "0" * 10
"""A customer code that says nothing."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks for it, when, and for which account of theirs."""

    kind: Kind
    client_code: str
    """委託者コード, ten digits."""
    client_name: str
    """At most 40 bytes."""
    day: date
    """When it is to be done: a bank business day. The file has no year."""
    bank_code: str
    """Four digits; the name of a bank or a branch is at most 15 bytes and may be blank."""
    bank_name: str
    branch_code: str
    """Three digits."""
    branch_name: str
    deposit_type: DepositType
    account_number: str
    """Seven digits."""

    def as_written(self) -> Header:
        """The header as it will be read again: its names folded to the format's characters; raises as `kana` does."""
        return msgspec.structs.replace(
            self,
            client_name=kana(self.client_name, slash=True),
            bank_name=kana(self.bank_name, slash=True),
            branch_name=kana(self.branch_name, slash=True),
        )


class Line(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One transfer or one debit: a data record."""

    bank_code: str
    bank_name: str
    branch_code: str
    branch_name: str
    deposit_type: DepositType
    account_number: str
    name: str
    """The payee's, or of a debit the depositor's; at most 30 bytes."""
    amount: int
    """In yen, from 1 to 9,999,999,999."""
    new_code: int = 0
    """1: the first one to this account, 2: changed, 0: neither."""
    customer_code_1: str = NO_CODE
    """Ours to choose: ten digits. The two together are a debit's customer number of twenty digits."""
    customer_code_2: str = NO_CODE
    edi: str | None = None
    """EDI information of at most 20 bytes, in the place of a transfer's customer codes."""
    delivery: int = 7
    """Of a transfer: 7 by wire (電信), 8 by mail (文書)."""
    result: int | None = None
    """Of a debit that came back, a DebitResult; None in what is asked for."""

    def as_written(self) -> Line:
        """The line as it will be read again: its texts folded to the format's characters; raises as `kana` does."""
        return msgspec.structs.replace(
            self,
            bank_name=kana(self.bank_name, slash=True),
            branch_name=kana(self.branch_name, slash=True),
            name=kana(self.name, slash=True),
            edi=None if self.edi is None else kana(self.edi, slash=True),
        )


class Trailer(msgspec.Struct, frozen=True, kw_only=True):
    """What the lines come to; in yen."""

    count: int
    total: int
    settled_count: int = 0
    """Of a debit file that came back; 0 in what is asked for."""
    settled_total: int = 0
    failed_count: int = 0
    failed_total: int = 0

    @property
    def answered(self) -> bool:
        """Whether the file has the results of debits."""
        return self.settled_count + self.failed_count > 0


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A whole file."""

    header: Header
    lines: list[Line]
    trailer: Trailer
    newline: bool = True
    """Whether each record ends with CR LF."""
