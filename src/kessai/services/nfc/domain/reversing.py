"""Reversals: whole or in part, after their original, before it, or while it is being decided. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from kessai.sdk.iso8583 import Message, Response
from kessai.services.nfc.api.authorizations import AuthorizationKind, AuthorizationState
from kessai.services.nfc.domain.authorization import Authorization, Work, authorization_id_of
from kessai.services.nfc.domain.page import Page, Seen, StoredReversal, answer_to, new_row, release

S, R = AuthorizationState, Response
_GONE = (S.REVERSING, S.REVERSED)


@dataclass(frozen=True, slots=True)
class Reverse:
    """A 0400, 0420 or a repeat of one, without its card's number."""

    message: Message
    marks: list[bytes]
    last_four: str
    reversal_id: str
    caller: str
    processing_id: str
    now: datetime
    real_now: datetime

    @property
    def authorization_id(self) -> str:
        """The 32 digits of what it takes back."""
        return authorization_id_of(self.message.original_key)


@dataclass(frozen=True, slots=True)
class Reversed:
    """The row afterwards, and the answer."""

    row: Authorization
    answer: bytes


def reverse(page: Page, command: Reverse) -> Reversed:
    """Take an authorization back; before its original, leave a tombstone."""
    known = page.rows.get(command.authorization_id)
    stored = page.reversals.get(command.reversal_id)
    if stored is not None:
        assert known is not None, "a reversal stands beside what it reverses"
        return Reversed(known, stored.answer)
    response, row = _taken_back(page, command, known)
    answer = answer_to(command.message, response)
    page.made.append(
        StoredReversal(
            row.authorization_id,
            command.reversal_id,
            command.message.mti.value,
            command.message.replacement_amount or 0,
            response.value,
            answer,
            command.now,
        )
    )
    page.reversals[command.reversal_id] = page.made[-1]
    return Reversed(row, answer)


def _taken_back(page: Page, command: Reverse, known: Authorization | None) -> tuple[Response, Authorization]:
    message, stands = command.message, command.message.replacement_amount or 0
    if known is None:
        return R.ORIGINAL_NOT_FOUND, page.put(_tombstone(page, command), command.now)
    if known.kind is AuthorizationKind.TOMBSTONE:
        return R.ORIGINAL_NOT_FOUND, known
    if _another(page, command, known):
        return R.INVALID_TRANSACTION, known
    if stands and known.state in (S.APPROVED, S.INSTRUCTED, S.CLEARED) and stands > known.stands_minor:
        return R.INVALID_AMOUNT, known
    if known.state in (S.DECLINED, S.EXPIRED, *_GONE) or stands == known.stands_minor:
        return R.APPROVED, known
    if message.replacement_amount is not None and known.state is S.LATE:
        return R.APPROVED, known  # nothing of it will stand anyway
    return R.APPROVED, page.put(_shrunk(page, command, known, stands), command.now)


def _another(page: Page, command: Reverse, known: Authorization) -> bool:
    """Whether it speaks of another card or amount than its original."""
    standing = page.standing_of(command.marks)
    token = None if standing is None else standing.token
    return token != known.token or command.message.amount != known.amount_minor


def _shrunk(page: Page, command: Reverse, known: Authorization, stands: int) -> Authorization:
    """What stands after it. A hold that stands in part is captured for less, and let go of with that."""
    if known.plan is not None and known.state is not S.LATE:
        release(page, known, known.stands_minor - stands, whole=not stands)
    after = replace(known, stands_minor=stands)
    if stands and known.state is not S.CLEARED:
        return after
    if known.plan is None:
        return after if stands else replace(after, state=S.REVERSED)
    state = known.state if stands else S.REVERSING
    return replace(after, state=state, work=Work.UNDO, work_since=command.real_now)


def _tombstone(page: Page, command: Reverse) -> Authorization:
    original = command.message.original
    assert original is not None
    seen = replace(command.message, transmitted=original.transmitted, stan=original.stan, acquirer=original.acquirer)
    opened = Seen(
        seen,
        command.marks,
        command.last_four,
        b"",
        command.caller,
        command.processing_id,
        command.now,
        command.real_now,
    )
    row = new_row(opened, page.standing_of(command.marks), page.rules)
    return replace(row, kind=AuthorizationKind.TOMBSTONE, state=S.REVERSED, stands_minor=0)
