"""One flush of the journal of authorizations, as one statement: one round trip, and one transaction.

Each part is a CTE, and the events are inserted last. They count what the guarded parts gave: where one gave less than
it was to, a row is not as the page took it to be, and the events have no count, which no outbox takes.
"""

from __future__ import annotations

import contextlib
import re
import struct
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

import asyncpg

from kessai.foundation import events
from kessai.foundation.db import (
    EXHAUSTED,
    LOST,
    RETRYABLE,
    Connection,
    Database,
    commit_unknown,
    load_queries,
    nothing_written,
)
from kessai.foundation.groupcommit import Conflicted
from kessai.foundation.ids import bare
from kessai.foundation.rowarray import accept_columns
from kessai.sdk.processing.announce import touched_row
from kessai.services.nfc.api.authorizations import TOPIC_AUTHORIZATION, AuthorizationChanged
from kessai.services.nfc.domain.authorization import Authorization, Usage
from kessai.services.nfc.domain.page import Page, StoredReversal
from kessai.services.nfc.store import ROLE, SCHEMA, clearing
from kessai.services.nfc.store.findings import add_findings

_SQL = load_queries("kessai.services.nfc", file="sql/authorizations.sql")
SETTINGS = (
    "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off;"
    " SET enable_mergejoin = off"
)
"""Plans are kept for a connection's life, from a time when tables were small: every row is to be found by its index."""
SHAPES_MAX = 64
"""Statements kept composed; there are about ten."""
_COUNT = "event_count"
_PARAMETER = re.compile(r"\$(\d+)")


class _Part(NamedTuple):
    """One statement of a flush, with its rows."""

    name: str
    rows: Sequence[Sequence[object]]
    guarded: bool
    """It gives a row for each of them, or the flush conflicts."""


class Flushes:
    """Writes one process's pages, over a connection of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Connection | None = None

    async def write(self, page: Page, now: datetime) -> None:
        """Everything that a page changed, or nothing.

        Raises Conflicted when a row is not as the page took it to be, Unavailable (nothing was written), or Unknown.
        """
        parts, outbox = _parts(page), _outbox(page, now)
        if page.clearing is not None or page.found or (parts and not outbox):
            await self._write_apart(page, parts, outbox, now)
        elif parts:
            await self._write_at_once(parts, outbox)
        else:
            return
        events.wake(self._database, SCHEMA.service)

    async def close(self) -> None:
        """Let the connection go."""
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            with contextlib.suppress(*LOST, TimeoutError):
                await connection.close(timeout=5)

    async def _write_at_once(self, parts: Sequence[_Part], outbox: Sequence[events.OutboxRow]) -> None:
        shape = tuple((part.name, part.guarded) for part in parts)
        arguments: list[object] = []
        for part in parts:
            arguments += _columns(part.rows)
        arguments += [*_columns(outbox), [len(part.rows) for part in parts if part.guarded]]
        connection = await self._connected()
        try:
            await connection.execute(_composed(shape), *arguments)
        except asyncpg.NotNullViolationError as error:
            if error.column_name != _COUNT:
                raise
            raise Conflicted from error
        except RETRYABLE as error:
            raise Conflicted from error
        except EXHAUSTED as error:
            connection.terminate()  # the next one may reach the server that writes now
            raise nothing_written(error) from error
        except asyncpg.DataError:
            raise  # an argument that does not fit its column: nothing was sent
        except (*LOST, TimeoutError) as error:
            connection.terminate()
            raise commit_unknown() from error

    async def _write_apart(
        self, page: Page, parts: Sequence[_Part], outbox: Sequence[events.OutboxRow], now: datetime
    ) -> None:
        """Findings, and what clearing files bring, go with their page in a transaction of several statements."""

        async def work(connection: Connection) -> None:
            for part in parts:
                given = await connection.fetch(_SQL[part.name], *_columns(part.rows))
                if part.guarded and len(given) != len(part.rows):
                    raise Conflicted
            if page.clearing is not None:
                await clearing.write_page(connection, page.clearing, now)
            await add_findings(connection, page.found, now)
            if outbox:
                await connection.execute(events.outbox_insert(SCHEMA.service), *_columns(outbox))

        await self._database.transaction(ROLE, work)

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            connection = await self._database.connect(ROLE)
            try:
                await connection.execute(SETTINGS)
                accept_columns(connection)
            except BaseException:
                connection.terminate()
                raise
            self._connection = connection
        return self._connection


@lru_cache(maxsize=SHAPES_MAX)
def _composed(shape: tuple[tuple[str, bool], ...]) -> str:
    """Each part a CTE with its parameters moved up; the events are inserted where all that is guarded was met."""
    ctes: list[str] = []
    counts: list[str] = []
    offset = 0
    for number, (name, guarded) in enumerate(shape):
        statement = _SQL[name]
        ctes.append(f"w{number} AS ({_shifted(statement, offset)})")
        if guarded:
            counts.append(f"(SELECT count(*)::int FROM w{number})")  # noqa: S608  (a number of our own)
        offset += max(map(int, _PARAMETER.findall(statement)))
    end = _SQL["insert_events"].replace("$7::int[]", f"ARRAY[{', '.join(counts)}]::int[]")
    return f"WITH {', '.join(ctes)} {_shifted(end, offset)}"


def _shifted(statement: str, offset: int) -> str:
    return _PARAMETER.sub(lambda match: f"${int(match[1]) + offset}", statement)


def _columns(rows: Iterable[Sequence[object]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]


# -- what a page changed --------------------------------------------------------------------------------------------


def _parts(page: Page) -> list[_Part]:
    after, used = _changed_rows(page), [page.usages[each] for each in sorted(page.used)]
    old = [(page.used[each.card_id], _usage_row(each)) for each in used if page.used[each.card_id]]
    told = [(each, back.refund_id, back.amount_minor, back.state, at) for each, back, at in page.refunds]
    parts = (
        _Part("insert_usages", [_usage_row(each) for each in used if not page.used[each.card_id]], True),
        _Part("update_usages", [(row[0], known, *row[1:]) for known, row in old], True),
        _Part("insert_authorizations", [_row(each) for each in after if not page.changed[each.authorization_id]], True),
        _Part(
            "update_authorizations",
            [_update(each, known) for each in after if (known := page.changed[each.authorization_id])],
            True,
        ),
        _Part("insert_reversals", [_reversal_row(each) for each in page.made], True),
        _Part("insert_refunds", told, False),
        _Part("insert_refused_payments", page.refused, False),
    )
    return [each for each in parts if each.rows]


def _changed_rows(page: Page) -> list[Authorization]:
    return [row for each in page.changed if (row := page.rows[each]) is not None]


def _outbox(page: Page, now: datetime) -> list[events.OutboxRow]:
    """What the flush publishes, and which processings it touched."""
    after = _changed_rows(page)
    rows = [events.outbox_row(TOPIC_AUTHORIZATION, [_changed(each) for each in after], now)] if after else []
    begun = set(page.began)
    if begun:
        rows.append(touched_row(page.began, now, entry=True))
    touched = [each.processing_id for each in after if each.plan is not None and each.processing_id not in begun]
    if touched:
        rows.append(touched_row(touched, now))
    return rows


def _row(each: Authorization) -> tuple[object, ...]:
    return (
        each.authorization_id, each.message_key, each.kind.value, each.state.value, each.work, each.work_since,
        each.caller, each.digest, each.token, each.last_four, each.card_id and bare(each.card_id), each.customer_id,
        each.device_id and bare(each.device_id), each.amount_minor, each.stands_minor, each.currency, each.mcc,
        each.entry_mode, each.category.value, each.merchant, each.terminal, each.place, each.acquirer, each.rrn,
        each.stan, each.transmitted, each.processing_code, each.approval_code, each.response, each.answer,
        each.refusal_code, each.stood_in, each.plan, each.payment_id, each.payment_state, each.captured_minor,
        each.refunded_minor, each.processing_id, each.received_at, each.updated_at, each.version,
    )  # fmt: skip


def _update(each: Authorization, known: int) -> tuple[object, ...]:
    return (
        each.authorization_id, known, each.state.value, each.work, each.work_since, each.stands_minor,
        each.approval_code, each.response, each.answer, each.refusal_code, each.stood_in, each.plan, each.payment_id,
        each.payment_state, each.captured_minor, each.refunded_minor, each.updated_at, each.version,
    )  # fmt: skip


def _reversal_row(each: StoredReversal) -> tuple[object, ...]:
    return (
        each.authorization_id,
        each.reversal_id,
        each.mti,
        each.stands_minor,
        each.response,
        each.answer,
        each.recorded_at,
    )


def _usage_row(each: Usage) -> tuple[object, ...]:
    recent = struct.pack(f">{len(each.recent)}q", *each.recent)
    return bare(each.card_id), each.day, each.day_minor, each.day_count, each.month_minor, recent, each.version


def _changed(each: Authorization) -> AuthorizationChanged:
    return AuthorizationChanged(
        authorization_id=f"ath_{each.authorization_id}",
        kind=each.kind,
        state=each.state,
        customer_id=each.customer_id,
        card_id=each.card_id,
        amount_minor=each.amount_minor,
        stands_minor=each.stands_minor,
        asset="JPY",
        category=each.category,
        mcc=each.mcc,
        merchant=each.merchant,
        response=each.response,
        refusal_code=each.refusal_code,
        payment_id=each.payment_id,
        processing_id=each.processing_id,
        version=each.version,
        occurred_at=each.updated_at,
    )
