"""The statement of our own account, as it was imported, beside our own rows."""

from __future__ import annotations

from datetime import date

from msgspec.structs import replace

from kessai.foundation.db import Connection, Database
from kessai.foundation.errors import NotFound
from kessai.services.bank import store
from kessai.services.bank.api import GetStatementDay, ListStatementDays, StatementDay, StatementDays
from kessai.services.bank.store import statements


class StatementDesk:
    """What the verbs about the statement do."""

    _database: Database

    async def list_statement_days(self, request: ListStatementDays, /) -> StatementDays:
        """Days of our account that were imported, the newest first."""
        before = date.max if request.before is None else request.before
        return StatementDays(days=await statements.list_days(self._database, before, request.limit))

    async def get_statement_day(self, request: GetStatementDay, /) -> StatementDay:
        """A day of our account beside our own rows, with what differs."""

        async def read(connection: Connection) -> StatementDay:
            known = await statements.load_day(connection, request.day)
            if known is None:
                raise NotFound("statement_day_not_found", "This day was not imported.", day=request.day.isoformat())
            return replace(known, differences=await statements.differences_of(connection, request.day))

        return await self._database.transaction(store.ROLE, read)
