"""The simulated card network's books against our authorizations: what was answered, taken back and cleared, to the yen.

The network writes a request down before it is sent, and an answer once it has come. So whatever was approved in its
books before ours were looked at, ours must have approved; and what ours have, its books must know, for they are read
again after that. What is under way on either side is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import asyncpg

from kessai.apps.verify.finding import Report
from kessai.foundation.db import Connection, load_queries
from kessai.simulators.cardnetwork.books import LATER, Books
from kessai.simulators.cardnetwork.records import Authorization

INVARIANT = "the card network's books agree with ours"
_TABLE = "nfc.id_authorization"
_UNDER_WAY = ("INSTRUCTED", "LATE", "REVERSING")


async def verify_card_network(connection: Connection, path: Path, report: Report) -> None:
    """Report on what we and the simulated network disagree; without a file of the network's at `path`, on nothing."""
    shared = load_queries("kessai.apps.verify", file="sql/shared.sql")
    if "nfc.id_authorization" not in {row["name"] for row in await connection.fetch(shared["tables"])}:
        return
    before = Books.read(path)
    sql = load_queries("kessai.apps.verify", file="sql/nfc_authorizations.sql")
    done = {row["file_id"] for row in await connection.fetch(sql["files_done"])}
    rows = await connection.fetch(sql["for_network"])
    if before is not None and (after := Books.read(path)) is not None:
        compare(rows, before, after, report, done=done)


def compare(
    rows: Sequence[asyncpg.Record], before: Books, after: Books, report: Report, *, done: set[str] | None = None
) -> None:
    """Our authorizations with the network's, as they were before and after we looked at ours; `done`: clearing files
    that we were through with by then (None: with all of them)."""
    ours = {row["message_key"]: row for row in rows}
    coming = set[str]() if done is None else _in_files(after, done)
    for key, theirs in before.by_key.items():
        later = after.by_key.get(key)
        if later is None or _moved(theirs, later) or not _rests(theirs):
            continue
        for text in _faults(ours.get(key), theirs, filed=theirs.id in coming):
            report.add(INVARIANT, _TABLE, key, text)
    for key in ours.keys() - after.by_key.keys():
        report.add(INVARIANT, _TABLE, key, "the network never asked for it")


def _in_files(books: Books, done: set[str]) -> set[str]:
    """What is in files that the network has made, and that the morning's clearing is still to take."""
    files = [each for each in books.clearing.files.values() if each.id not in done]
    return {line.authorization for each in files for line in each.details}


def _moved(one: Authorization, other: Authorization) -> bool:
    told = ("state", "response", "reversed", "cleared", "refunded")
    return any(getattr(one, name) != getattr(other, name) for name in told) or len(one.reversals) != len(
        other.reversals
    )


def _rests(theirs: Authorization) -> bool:
    return theirs.state != "sent" and all(each.response not in (None, *LATER) for each in theirs.reversals)


def _faults(row: asyncpg.Record | None, theirs: Authorization, *, filed: bool) -> Iterator[str]:
    if row is None:
        if theirs.approved:
            yield "it was approved there, and is unknown here"
        return
    if row["work"] is not None or row["state"] in _UNDER_WAY:
        return
    state, stands, disputed = row["state"], row["stands_minor"], row["disputed"]
    if row["amount_minor"] != theirs.amount:
        yield f"it is over {row['amount_minor']} here, over {theirs.amount} there"
    if theirs.approved and row["response"] != "00":
        yield f"it was answered {row['response']} here, {theirs.response} there"
    if disputed or filed or theirs.processing == "refund":
        return
    if state == "APPROVED" and (stands != theirs.stands or theirs.cleared):
        yield f"{stands} of it stand here, {theirs.stands} there, of which {theirs.cleared} were cleared"
    net = theirs.cleared - theirs.refunded
    if state in ("CLEARED", "REVERSED") and row["cleared_minor"] != net and (net or state == "CLEARED"):
        yield f"{row['cleared_minor']} of it were cleared and kept here, {net} there"
    if state in ("DECLINED", "REVERSED", "EXPIRED") and theirs.stands and not theirs.cleared and state != "EXPIRED":
        yield f"it is {state} here, and {theirs.stands} of it stand there"
