"""Calling transfers back (組戻): the bank is asked under the line's own id, and again until it has answered."""

from __future__ import annotations

import structlog
from msgspec.structs import replace

from kessai.foundation.db import Connection
from kessai.foundation.errors import Unavailable, Unknown
from kessai.foundation.ids import bare
from kessai.services.bank import store
from kessai.services.bank.api import FileLine, FileState, RecallState
from kessai.services.bank.domain import LineChange
from kessai.services.bank.store import files as file_store
from kessai.services.bank.workflows.deps import Deps

log = structlog.get_logger(__name__)

PAGE = 200


async def ask_for(deps: Deps, place: tuple[str, int]) -> bool:
    """Ask for a line to be called back; False: the bank says that it has no such line.

    Then the recall is REFUSED: nothing comes back of it. While the file is only on its way there, it stays ASKED.
    """

    async def read(connection: Connection) -> FileLine:
        return (await file_store.load_lines(connection, [place]))[place]

    known = await deps.files.recall(await deps.database.transaction(store.ROLE, read))
    if not known:
        await deps.database.transaction(store.ROLE, lambda connection: _refuse(deps, connection, place))
    return known


async def _refuse(deps: Deps, connection: Connection, place: tuple[str, int]) -> None:
    line = (await file_store.load_lines(connection, [place]))[place]
    file = (await file_store.load_files(connection, [line.file_id]))[line.file_id]
    if line.recall is not RecallState.ASKED or file.state is FileState.SENDING:
        return
    after = replace(line, recall=RecallState.REFUSED, version=line.version + 1, updated_at=deps.clock.now())
    if not await file_store.write_lines(connection, [LineChange(after, line.state)]):
        raise Unavailable("contention", "The line was changed meanwhile; try again.")
    log.error("bank_recall_of_unknown_line", file_id=line.file_id, line=line.line)


async def recalls_wait(deps: Deps) -> bool:
    """Whether the bank has still to say about any line that is called back."""

    async def read(connection: Connection) -> list[FileLine]:
        return await file_store.lines_to_recall(connection, (store.FIRST, 0), 1)

    return bool(await deps.database.transaction(store.ROLE, read))


async def ask_again(deps: Deps) -> None:
    """Ask once more for every line about which the bank has still to say; what it cannot be asked now waits."""
    after = (store.FIRST, 0)

    async def read(connection: Connection) -> list[FileLine]:
        return await file_store.lines_to_recall(connection, after, PAGE)

    while page := await deps.database.transaction(store.ROLE, read):
        for each in page:
            try:
                await ask_for(deps, (each.file_id, each.line))
            except (Unavailable, Unknown) as error:
                log.warning("bank_recall_waits", file_id=each.file_id, line=each.line, error=error.code)
        after = (bare(page[-1].file_id), page[-1].line)
