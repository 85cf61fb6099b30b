"""What the ledger tells of itself: the exchanges of a processing, and where its records of them disagree."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import msgspec

from kessai.foundation.clock import Clock
from kessai.foundation.db import Connection, Database, load_queries, plan_by_index, role_of
from kessai.foundation.ids import ID_PATTERN, bare
from kessai.sdk.processing.api import Difference, EffectsPage, ListEffects, ProcessingEffects
from kessai.sdk.processing.participant import Own
from kessai.sdk.processing.within import contradiction
from kessai.services.ledger.domain.effects import (
    Holder,
    Standing,
    TracedAction,
    TracedExchange,
    contradictions,
    decode_told,
    given_back_twice,
    records_of,
)
from kessai.services.ledger.domain.refusals import is_refusal
from kessai.services.ledger.store import PACKAGE, SERVICE

HOLDERS_MAX = 65_536
"""Accounts whose owner and type are remembered; neither ever changes, and an account's id is derived from them."""

_SQL = load_queries(PACKAGE, file="sql/effects.sql")


@dataclass(slots=True)
class _Found:
    """Everything of one processing."""

    exchanges: list[TracedExchange] = field(default_factory=list[TracedExchange])
    within: list[Difference] = field(default_factory=list[Difference])

    def add(self, exchange_id: str, text: str) -> None:
        self.within.append(contradiction(SERVICE, exchange_id, text))


@dataclass(slots=True)
class _Rows:
    """What was read, at one instant."""

    exchanges: list[asyncpg.Record]
    actions: list[asyncpg.Record]
    elsewhere: set[Any]
    """Exchanges of other processings that actions of these are on."""


class LedgerEffects:
    """Reads the ledger's own rows of whole processings."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._holders: dict[str, Holder] = {}

    async def own_view(self, processing_ids: Sequence[str]) -> dict[str, Own]:
        """Effects, and where records contradict each other; the ledger depends on nobody."""
        read = await self._read(processing_ids)
        now, holder_of, own = self._clock.now(), self._holders.get, dict[str, Own]()
        for processing_id, found in read.items():
            for exchange in found.exchanges:
                for text in contradictions(exchange, holder_of):
                    found.add(exchange.exchange_id, text)
            for exchange_id, text in given_back_twice(found.exchanges):
                found.add(exchange_id, text)
            own[processing_id] = Own(
                effects=[record for each in found.exchanges for record in records_of(each, holder_of)],
                in_flight=not found.within and any(each.lapsed(now) for each in found.exchanges),
                callers=_callers(found.exchanges),
                within=found.within,
            )
        return own

    async def list_effects(self, request: ListEffects) -> EffectsPage:
        """The exchanges of some processings, of one caller or of all."""
        read = await self._read(request.processing_ids, whole=False)
        now, holder_of, told = self._clock.now(), self._holders.get, list[ProcessingEffects]()
        for processing_id, found in read.items():
            mine = [each for each in found.exchanges if request.caller in (None, each.caller)]
            if mine:
                told.append(
                    ProcessingEffects(
                        processing_id=processing_id,
                        effects=[record for each in mine for record in records_of(each, holder_of)],
                        in_flight=any(each.lapsed(now) for each in mine),
                        callers=_callers(mine),
                    )
                )
        return EffectsPage(processings=told)

    # -- reading ------------------------------------------------------------------------------------------------

    async def _read(self, processing_ids: Sequence[str], *, whole: bool = True) -> dict[str, _Found]:
        """Exchanges as they stand; `whole`: with what was done to them, which only contradictions are found by."""
        ids = list(processing_ids)

        async def read(connection: Connection) -> _Rows:
            await plan_by_index(connection)
            exchanges = await connection.fetch(_SQL["exchanges_of_processings"], ids)
            exchanges = [row for row in exchanges if not is_refusal(row["record"])]
            if not whole:
                return _Rows(exchanges, [], set())
            actions = await connection.fetch(_SQL["actions_of_processings"], ids)
            actions = [row for row in actions if not is_refusal(row["record"])]
            known = {row["exchange_id"] for row in exchanges}
            strangers = {row["exchange_id"] for row in actions} - known
            there = await connection.fetch(_SQL["exchanges_that_exist"], list(strangers)) if strangers else []
            if incomplete := _incomplete(exchanges, actions):
                more = await connection.fetch(_SQL["actions_of_exchanges"], incomplete)
                actions = [row for row in actions if row["exchange_id"] not in incomplete]
                actions += [row for row in more if not is_refusal(row["record"])]
            return _Rows(exchanges, actions, {row["exchange_id"] for row in there})

        found = _sorted(await self._database.transaction(role_of(SERVICE), read, isolation="repeatable_read"))
        await self._learn({leg.account_id for each in found.values() for one in each.exchanges for leg in one.legs})
        return found

    async def _learn(self, account_ids: set[str]) -> None:
        """Remember whose accounts these are."""
        missing = account_ids - self._holders.keys()
        if not missing:
            return
        if len(self._holders) + len(missing) > HOLDERS_MAX:
            self._holders, missing = {}, account_ids
        known = [bare(each) for each in missing if re.fullmatch(ID_PATTERN, each)]
        for row in await self._database.fetch(role_of(SERVICE), _SQL["holders_of_accounts"], known):
            holder = Holder(row["owner"], row["account_type"], row["asset"])
            self._holders[f"acc_{row['account_id'].hex}"] = holder


def _sorted(rows: _Rows) -> dict[str, _Found]:
    found: dict[str, _Found] = {}
    known: dict[Any, TracedExchange] = {}
    broken: set[Any] = set()
    for row in rows.exchanges:
        into = found.setdefault(row["processing_id"], _Found())
        try:
            exchange = known[row["exchange_id"]] = _exchange(row)
            into.exchanges.append(exchange)
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
            broken.add(row["exchange_id"])
            into.add(f"exc_{row['exchange_id'].hex}", f"its records cannot be read: {error}")
    for row in rows.actions:
        exchange_id, into = row["exchange_id"], found.setdefault(row["processing_id"] or "", _Found())
        if (exchange := known.get(exchange_id)) is not None:
            try:
                exchange.actions.append(_action(row))
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                into.add(exchange.exchange_id, f"the record of an action cannot be read: {error}")
        elif exchange_id not in rows.elsewhere and exchange_id not in broken:
            into.add(f"exc_{exchange_id.hex}", "it is missing, though something was done to it")
    return {processing_id: each for processing_id, each in found.items() if each.exchanges or each.within}


def _incomplete(exchanges: Sequence[asyncpg.Record], actions: Sequence[asyncpg.Record]) -> list[Any]:
    """Exchanges whose progress tells of another number of actions than were found in their processing."""
    made: dict[Any, int] = {}
    for row in actions:
        made[row["exchange_id"]] = made.get(row["exchange_id"], 0) + 1
    told = {row["exchange_id"]: row["progress"].count(b'"act_') for row in exchanges if row["progress"] is not None}
    return [exchange_id for exchange_id, number in told.items() if number != made.get(exchange_id, 0)]


def _exchange(row: asyncpg.Record) -> TracedExchange:
    standing = None
    if row["progress"] is not None:
        standing = Standing(row["state"], row["version"], row["expires_at"], row["progress"])
    return TracedExchange(
        exchange_id=f"exc_{row['exchange_id'].hex}",
        flush_id=row["flush_id"],
        caller=row["caller"],
        processing_id=row["processing_id"],
        birth=decode_told(row["record"]),
        standing=standing,
    )


def _action(row: asyncpg.Record) -> TracedAction:
    action_id = f"act_{row['action_id'].hex}"
    return TracedAction(action_id, row["caller"], row["processing_id"], decode_told(row["record"]))


def _callers(exchanges: Iterable[TracedExchange]) -> list[str]:
    return sorted({each.caller for each in exchanges} - {SERVICE})
