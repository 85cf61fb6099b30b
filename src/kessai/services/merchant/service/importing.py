"""Imports into the merchant master: looked at line by line, approved, written whole or as far as they are good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from kessai.foundation.call import current_call
from kessai.foundation.clock import Clock
from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import Invalid, KeyReused, NotFound
from kessai.foundation.ids import new_hex
from kessai.services.merchant.api import (
    ERRORS_SHOWN_MAX,
    GetImport,
    ImportIds,
    ImportOutcome,
    ImportPage,
    ListImports,
)
from kessai.services.merchant.domain.importing import Plan, Sheet, plan, read_sheet, steps_of
from kessai.services.merchant.domain.master import Mapping
from kessai.services.merchant.service.changing import Overtaken, digest_of
from kessai.services.merchant.service.consent import Consent
from kessai.services.merchant.service.master import MasterDesk, author_of
from kessai.services.merchant.service.paging import cursor_of, position_of
from kessai.services.merchant.store import ROLE, changes, master
from kessai.services.merchant.store.master import Author

NEWEST = ("9999-01-01T00:00:00+00:00", "f" * 32)


class ImportDesk(MasterDesk):
    """Implements what of the door's part `MerchantMaster` is about imports."""

    _database: Database
    _clock: Clock

    async def import_ids(self, request: ImportIds, /) -> ImportOutcome:
        """Map many ids at once; lines that are wrong are listed."""
        sheet = read_sheet(request.csv)
        act_id, digest = current_call().request_key or new_hex(), digest_of(request)

        async def look(connection: Connection) -> ImportOutcome | Plan:
            return await _known(connection, act_id, digest) or await _planned(
                connection, request, sheet, self._clock.now()
            )

        found = await self._database.transaction(ROLE, look)
        if isinstance(found, ImportOutcome):
            return found
        if request.dry_run:
            return _outcome(request, found, None, self._clock.now())
        consent = await self.master_consent(act_id, digest, request.approval_id) if found.taken else Consent()
        author = author_of(act_id, request.reason, consent, digest, import_id=act_id)
        approved = bool(found.taken) or not self._rules.master

        async def write(connection: Connection) -> ImportOutcome:
            if (before := await _known(connection, act_id, digest)) is not None:
                return before
            return await self._write(connection, request, sheet, author, approved=approved)

        return await self.master_again(write)

    async def _write(
        self, connection: Connection, request: ImportIds, sheet: Sheet, author: Author, *, approved: bool
    ) -> ImportOutcome:
        now = self._clock.now()
        planned = await _planned(connection, request, sheet, now)
        if planned.taken and not approved:
            raise Overtaken  # what was wrong has been mended meanwhile: nobody was asked to approve anything yet
        outcome = _outcome(request, planned, f"imp_{author.change_id}", now)
        if not await master.insert_import(connection, outcome, planned.errors, author):
            raise Overtaken
        if planned.clashes:
            await master.insert_conflicts(connection, author.change_id, planned.clashes, now)
        if planned.taken:
            await _map(connection, planned.taken, author)
        return outcome

    async def get_import(self, request: GetImport, /) -> ImportOutcome:
        """What became of an import."""
        found = await self._database.transaction(
            ROLE, lambda connection: master.import_named(connection, request.import_id, ERRORS_SHOWN_MAX)
        )
        if found is None:
            raise NotFound("import_not_found", f"There is no import {request.import_id}.", import_id=request.import_id)
        return found[0]

    async def list_imports(self, request: ListImports, /) -> ImportPage:
        """Imports, newest first."""
        at, after = position_of(request.cursor, tuple[str, str], NEWEST)
        before = (_instant(at), after)
        found = await self._database.transaction(
            ROLE, lambda connection: master.imports_page(connection, before, request.limit + 1)
        )
        page = found[: request.limit]
        more = len(found) > request.limit
        last = cursor_of(page[-1].recorded_at, str(page[-1].import_id)[4:]) if more else None
        return ImportPage(imports=page, next_cursor=last)


async def _planned(connection: Connection, request: ImportIds, sheet: Sheet, now: datetime) -> Plan:
    keys = sheet.keys()
    standing = await master.mappings_of(connection, keys)
    heads = await master.heads_of(connection, keys)
    states = await changes.states(connection, list(sheet.named()))
    return plan(sheet, request.mode, standing, heads, states, now)


async def _map(connection: Connection, mappings: Sequence[Mapping], author: Author) -> None:
    steps = steps_of(mappings)
    last = {each.key: each.sequence for each in mappings}
    heads = {key: last[key] - count for key, count in steps.items()}
    if not await master.raise_heads(connection, heads, steps):
        raise Overtaken
    await master.map_ids(connection, [replace(each, import_id=author.import_id) for each in mappings], author)


async def _known(connection: Connection, act_id: str, digest: str) -> ImportOutcome | None:
    """What became of the same import before; KeyReused when it was another."""
    found = await master.import_named(connection, f"imp_{act_id}", ERRORS_SHOWN_MAX)
    if found is None:
        return None
    if found[1] != digest:
        raise KeyReused
    current_call().replayed = True
    return found[0]


def _outcome(request: ImportIds, planned: Plan, import_id: str | None, now: datetime) -> ImportOutcome:
    return ImportOutcome(
        import_id=import_id,
        mode=request.mode,
        lines=planned.lines,
        taken=len(planned.taken),
        unchanged=planned.unchanged,
        wrong=len(planned.errors),
        errors=planned.errors[:ERRORS_SHOWN_MAX],
        recorded_at=now,
        reason=request.reason,
        imported_by=current_call().caller,
    )


def _instant(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise Invalid("bad_cursor", "The cursor does not come from an earlier page.", field="$.cursor") from error
