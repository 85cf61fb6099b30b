"""The words of the bank's door: ids, kinds, states and codes."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec

AMOUNT_MINOR_MAX = 9_999_999_999
"""What one instruction may move: ten digits of yen, as the Zengin records have them."""

AccountId = Annotated[str, msgspec.Meta(pattern=r"^bac_[0-9a-f]{32}$")]
InstructionId = Annotated[str, msgspec.Meta(pattern=r"^(btr|bdb)_[0-9a-f]{32}$")]
FileId = Annotated[str, msgspec.Meta(pattern=r"^btf_[0-9a-f]{32}$")]
LineNumber = Annotated[int, msgspec.Meta(ge=1, le=999_999)]
TransferId = Annotated[str, msgspec.Meta(pattern=r"^btr_[0-9a-f]{32}$")]
DebitId = Annotated[str, msgspec.Meta(pattern=r"^bdb_[0-9a-f]{32}$")]
Participant = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:/-]+$")]
Yen = Annotated[int, msgspec.Meta(ge=1, le=AMOUNT_MINOR_MAX, description="whole yen")]
BankCode = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}$")]
BranchCode = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{3}$")]
AccountNumber = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{7}$")]
HolderName = Annotated[str, msgspec.Meta(min_length=1, max_length=48)]
Cursor = Annotated[str, msgspec.Meta(max_length=128)]


class OwnerKind(StrEnum):
    """Whose bank account it is."""

    CUSTOMER = "customer"
    MERCHANT = "merchant"


class DepositType(StrEnum):
    """預金種目: the kind of bank account, as Zengin codes 1, 2 and 4 have it."""

    ORDINARY = "ordinary"
    """普通"""
    CURRENT = "current"
    """当座"""
    SAVINGS = "savings"
    """貯蓄"""


class InstructionKind(StrEnum):
    """What the bank is told to do."""

    TRANSFER = "transfer"
    """振込: push money out to the account."""
    DEBIT = "debit"
    """口座振替: pull money in from the account."""


class InstructionState(StrEnum):
    """Where an instruction stands. DONE is final for a debit; a transfer that is DONE may still be RETURNED."""

    ACCEPTED = "ACCEPTED"
    """Journalled here; the bank has not answered yet."""
    UNKNOWN = "UNKNOWN"
    """The bank's reply was lost; it is being inquired."""
    SENT = "SENT"
    """The bank has it and works on it (手続中)."""
    DONE = "DONE"
    """手続済: the money moved."""
    FAILED = "FAILED"
    """手続不成立: the money did not move; `failure_code` says why."""
    RETURNED = "RETURNED"
    """資金返却・組戻済: the money had left, and came back."""


class FailureCode(StrEnum):
    """Why an instruction failed or came back; the first six are the result codes 1–4, 8 and 9 of a 口座振替."""

    INSUFFICIENT_FUNDS = "insufficient_funds"
    NO_ACCOUNT = "no_account"
    STOPPED_BY_HOLDER = "stopped_by_holder"
    NO_MANDATE = "no_mandate"
    STOPPED_BY_CLIENT = "stopped_by_client"
    OTHER = "other"
    NAME_MISMATCH = "name_mismatch"
    ACCOUNT_CLOSED = "account_closed"
    LIMIT_EXCEEDED = "limit_exceeded"
    ABORTED = "aborted"
    """It was prevented before the bank was told, see `abort`."""
    RECALLED = "recalled"
    """組戻: it was called back, before or after the money had left."""
    NOT_WRITABLE = "not_writable"
    """What the file would have to say cannot be written in the bank's alphabet."""
    LATE = "late"
    """The file came to the bank after its cut-off."""
    NOT_TAKEN = "not_taken"
    """The bank did not take the whole file."""


FINAL_STATES = frozenset({InstructionState.DONE, InstructionState.FAILED, InstructionState.RETURNED})


class FileState(StrEnum):
    """Where a file to the bank stands."""

    MADE = "MADE"
    """Written and kept; waits for its approvals."""
    APPROVED = "APPROVED"
    """By as many keys as it needs; it may be sent."""
    SENDING = "SENDING"
    """From here on it may be at the bank."""
    SENT = "SENT"
    """The bank has it."""
    ACCEPTED = "ACCEPTED"
    """The bank has taken it; single lines may have been refused."""
    REFUSED = "REFUSED"
    """The bank did not take it."""
    CLOSED = "CLOSED"
    """Each line has come to an end; a transfer that is done may still come back."""
    DISCARDED = "DISCARDED"
    """It was rejected, or came too late to be sent: its instructions wait for another file."""


class LineState(StrEnum):
    """Where one line of a file stands."""

    MADE = "MADE"
    APPROVED = "APPROVED"
    SENT = "SENT"
    """With its file."""
    ACCEPTED = "ACCEPTED"
    """受付: the bank will carry it out."""
    REFUSED = "REFUSED"
    """The bank did not take the line: it is tried again in another file, or its instruction FAILED."""
    DONE = "DONE"
    """手続済."""
    FAILED = "FAILED"
    """手続不成立."""
    RETURNED = "RETURNED"
    """資金返却."""
    RECALLED = "RECALLED"
    """組戻済."""
    DISCARDED = "DISCARDED"
    """With its file."""


class RecallState(StrEnum):
    """How far a 組戻依頼 has come."""

    ASKED = "ASKED"
    """The bank is asked, and has still to say."""
    DONE = "DONE"
    """組戻済."""
    REFUSED = "REFUSED"
    """組戻不成立: the money stays where it is."""
