"""A page as the statements that write it want it: arrays of rows for what is many, one array a column for the rest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter

import msgspec

from kessai.foundation.events import encode_events
from kessai.foundation.ids import new_hex
from kessai.foundation.rowarray import EncodedRows, RowType
from kessai.sdk.processing.announce import touched_row
from kessai.services.ledger.api import AccountOpened, ExchangeState
from kessai.services.ledger.domain.page import Page
from kessai.services.ledger.domain.progress import Progress
from kessai.services.ledger.domain.state import NEVER, AccountState, flush_instant, instant

Columns = list[Sequence[object]]

ACCOUNT_CHANGE = RowType("account_change", "uuid", "bigint", "bigint", "bigint", "bigint", "bigint", "text", "boolean")
LOG_ENTRY = RowType("log_entry", "uuid", "bigint", "uuid", "int", "bigint", "bigint", "bigint", "bigint")
LOT_CHANGE = RowType("lot_change", "uuid", "bigint", "bigint", "bigint")
LOT_BIRTH = RowType("lot_birth", "uuid", "bigint", "bigint", "bigint", "bigint", "timestamptz", "text")
LOT_ENTRY = RowType("lot_entry", "uuid", "bigint", "bigint", "bigint", "bigint")
EXCHANGE_BIRTH = RowType("exchange_birth", "uuid", "int", "bytea", "bytea", "text", "text")
ROW_TYPES = (ACCOUNT_CHANGE, LOG_ENTRY, LOT_CHANGE, LOT_BIRTH, LOT_ENTRY, EXCHANGE_BIRTH)
"""The composite types of `write_flush`, as the migration declares them."""

encode = msgspec.json.Encoder().encode
by_account = itemgetter(0)


@dataclass(slots=True)
class Rows:
    """What a page writes. `births` is None when its statement has nothing to do."""

    flush_id: int
    effects: int
    digest: bytes
    expected: int
    flush: list[Sequence[object] | EncodedRows]
    births: Columns | None
    verified: Columns
    """Only looked at: for a page that writes nothing."""


def columns(rows: Iterable[Sequence[object]], width: int) -> Columns:
    """Rows turned into columns; `width` empty ones when there are none."""
    turned: Columns = list(zip(*rows, strict=True))
    return turned or [()] * width


def ordered(rows: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Rows by account: neighbours in an index are then touched together, and locks are taken in one order."""
    return sorted(rows, key=by_account)


def page_digest(records: Iterable[bytes], digests: Iterable[bytes]) -> bytes:
    """SHA-256 over a page's effects in their order, then over the content digests of the exchanges among them."""
    return hashlib.sha256(b"\n".join(records) + b"\x00" + b"".join(digests)).digest()


def rows_of(page: Page) -> Rows:
    """Everything a page writes, fixed now: later pages may change the same accounts."""
    changed = [account for account in page.accounts if account not in page.births]
    carried = _carried(page)
    return Rows(
        flush_id=page.flush_id,
        effects=len(page.records),
        digest=page_digest(page.records, [row[3] for row in page.exchanges]),
        expected=1 + len(changed) + len(page.consulted) + len(page.lots) + len(carried),
        flush=[
            ACCOUNT_CHANGE.encode(ordered([_changed(account) for account in changed])),
            *_consulted(page),
            LOG_ENTRY.encode(ordered(page.logs)),
            LOT_CHANGE.encode(
                ordered([(owner.hex, lot.sequence, lot.remaining, lot.held) for lot, owner in page.lots.items()])
            ),
            LOT_BIRTH.encode(ordered(list(_new_lots(page)))),
            LOT_ENTRY.encode(ordered(page.lot_logs)),
            EXCHANGE_BIRTH.encode(page.exchanges),
            *columns(page.hot_logs, 5),
            *columns(_outbox(page), 5),
            *columns([_begun(progress) for progress, was in page.progress.items() if was == 0], 5),
            *columns(page.actions, 6),
            *columns(carried, 5),
            *columns(page.references.items(), 2),
            *columns([(key, asked.digest) for key, asked in page.keys.items()], 2),
        ],
        births=_birth_columns(page, changed),
        verified=_consulted(page),
    )


def _changed(account: AccountState) -> tuple[object, ...]:
    return (
        account.hex, account.was, account.balance, account.held, account.version, account.overdraft,
        account.freeze, account.closed,
    )  # fmt: skip


def _consulted(page: Page) -> Columns:
    return columns([(account.hex, version) for account, version in page.consulted.items()], 2)


def _new_lots(page: Page) -> Iterable[tuple[object, ...]]:
    for account, lot in page.new_lots:
        expires = None if lot.expires == NEVER else instant(lot.expires)
        yield (account.hex, lot.sequence, lot.amount, lot.remaining, lot.held, expires, lot.rate)


def _outbox(page: Page) -> Iterable[tuple[object, ...]]:
    recorded_at = flush_instant(page.flush_id)
    if page.births:
        yield accounts_row(page, recorded_at)
    effects = page.exchange_records()
    if effects:
        yield (new_hex(), "ledger.exchange", len(effects), encode_events(effects), recorded_at)
    if page.expiries:
        yield (new_hex(), "ledger.expiry", len(page.expiries), encode_events(page.expiries), recorded_at)
    if touched := _touched(page):
        yield touched_row(touched, recorded_at)


def accounts_row(page: Page, recorded_at: datetime) -> tuple[object, ...]:
    """The outbox row that tells of the accounts opened on a page; before any that tells of an exchange they are in."""
    opened = [opened_event(each.account_id, each.owner, each.type.code, recorded_at) for each in page.births]
    return (new_hex(), "ledger.account", len(opened), encode_events(opened), recorded_at)


def opened_event(account_id: str, owner: str, account_type: str, opened_at: datetime) -> bytes:
    """What is published of a new account."""
    return encode(AccountOpened(account_id=account_id, owner=owner, account_type=account_type, opened_at=opened_at))


def _touched(page: Page) -> list[str]:
    """The processings that the page has effects in: of new exchanges, and of those that were carried further."""
    ids = dict.fromkeys(row[5] for row in page.exchanges if row[1] not in page.unpublished)
    ids.update(dict.fromkeys(progress.processing_id for progress in page.progress))
    return [each for each in ids if each is not None]


def _birth_columns(page: Page, changed: list[AccountState]) -> Columns | None:
    if not (page.births or page.account_events):
        return None
    told = {event[0] for event in page.account_events}
    return [
        *columns([_born(account) for account in page.births], 12),
        *columns(page.account_events, 5),
        *columns([(a.hex, encode(a.metadata).decode(), a.incoming) for a in changed if a.hex in told], 3),
    ]


def _born(account: AccountState) -> tuple[object, ...]:
    return (
        account.hex, account.owner, account.type.code, account.type.asset, account.balance, account.held,
        account.version, account.overdraft, account.freeze.value, account.closed, encode(account.metadata).decode(),
        account.incoming,
    )  # fmt: skip


def _carried(page: Page) -> list[tuple[object, ...]]:
    return [
        (progress.hex, progress.state.value, was, progress.version, _encoded(progress))
        for progress, was in page.progress.items()
        if was
    ]


def _begun(progress: Progress) -> tuple[object, ...]:
    expires: datetime | None = None
    if progress.expires is not None and progress.state is ExchangeState.AUTHORIZED:
        expires = instant(progress.expires)
    return (progress.hex, progress.state.value, progress.version, expires, _encoded(progress))


def _encoded(progress: Progress) -> bytes:
    return encode((progress.state, progress.legs, progress.actions))
