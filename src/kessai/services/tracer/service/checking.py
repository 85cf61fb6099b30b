"""The chain computed again from its rows: whether any report, verdict, seal or standing was changed afterwards.

What it gives names table and key. It reads and never writes, under any role that may read: `kessai_auditor` too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from itertools import groupby

from kessai.foundation.db import Database
from kessai.sdk.processing.reconcile import digest_of
from kessai.services.tracer.api import Verdict
from kessai.services.tracer.domain.sealing import NOTHING, leaf_of, report_digest, root_of, seal_of, split
from kessai.services.tracer.store import ROLE, chain
from kessai.services.tracer.store.chain import Kept
from kessai.services.tracer.store.reports import StoredReport, StoredSeal, StoredVerdict

SEALS_PAGE = 200
PROCESSINGS_PAGE = 1_000


async def check_chain(database: Database, *, role: str = ROLE) -> AsyncIterator[str]:
    """What does not agree, sentence by sentence; nothing when all does.

    A database at rest is taken for granted: what is written meanwhile may be told as a difference.
    """
    leaf_count = 0
    async for links, problems in _links(database, role):
        leaf_count += sum(len(each.leaves) // len(NOTHING) for each in links)
        for each in problems:
            yield each
    after = ""
    while page := await chain.processings_from(database, after, PROCESSINGS_PAGE, role=role):
        for each in await _page_problems(database, page, role):
            yield each
        after = page[-1].processing_id
    verdicts = await chain.count_verdicts(database, role=role)
    if verdicts != leaf_count:
        yield f"tracer.verdict: {verdicts} rows, but {leaf_count} leaves are sealed."


async def _links(database: Database, role: str) -> AsyncIterator[tuple[list[StoredSeal], list[str]]]:
    batch, seal = 0, NOTHING
    while links := await chain.seals_from(database, batch + 1, SEALS_PAGE, role=role):
        problems: list[str] = []
        for each in links:
            problems += _link_problems(batch, seal, each)
            batch, seal = each.batch, each.seal
        yield links, problems
    if (batch, seal) != await chain.head(database, role=role):
        yield [], [f"tracer.seal_head: is not the seal of batch {batch}, the last one."]


def _link_problems(batch: int, previous: bytes, link: StoredSeal) -> Iterator[str]:
    leaves = split(link.leaves)
    if link.batch != batch + 1:
        yield f"tracer.seal batch {batch + 1}: is missing."
    if root_of(leaves) != link.root:
        yield f"tracer.seal batch {link.batch}: its root is not that of its leaves."
    if seal_of(previous, link.batch, len(leaves), link.root) != link.seal:
        yield f"tracer.seal batch {link.batch}: its seal does not follow from the one before."


async def _page_problems(database: Database, page: Sequence[Kept], role: str) -> list[str]:
    first, last = page[0].processing_id, page[-1].processing_id
    verdicts = await chain.verdicts_between(database, first, last, role=role)
    reports = await chain.reports_between(database, first, last, role=role)
    seals = await chain.seals_named(database, {each.batch for each in verdicts}, role=role)
    by_key = {(each.report.processing_id, each.report.revision, each.participant, each.digest) for each in reports}
    problems = [problem for each in reports for problem in _report_problems(each)]
    for each in verdicts:
        problems += _verdict_problems(each, seals, by_key)
    last_of = {one: list(given)[-1] for one, given in groupby(verdicts, key=lambda each: each.processing_id)}
    problems += [problem for each in page for problem in _standing_problems(each, last_of.get(each.processing_id))]
    return problems


def _report_problems(stored: StoredReport) -> Iterator[str]:
    report = stored.report
    key = f"tracer.report ({report.processing_id}, {report.revision}, {stored.participant})"
    if digest_of(report.effects) != report.digest:
        yield f"{key}: its effects are not those of its digest."
    elif report_digest(stored.participant, report) != stored.digest:
        yield f"{key}: its content is not that of its digest."


def _verdict_problems(
    given: StoredVerdict, seals: Mapping[int, StoredSeal], reports: set[tuple[str, int, str, bytes]]
) -> Iterator[str]:
    key = f"tracer.verdict ({given.processing_id}, {given.revision}, {given.verdict})"
    leaves = split(seals[given.batch].leaves) if given.batch in seals else []
    if given.retired:
        if given.leaf >= len(leaves):
            yield f"{key}: has no leaf in its batch."
        return
    leaf = leaf_of(
        given.processing_id,
        given.revision,
        given.verdict.value,
        late=given.late,
        undeclared=given.undeclared,
        reports=given.reports,
    )
    if given.leaf >= len(leaves) or leaves[given.leaf] != leaf:
        yield f"{key}: is not what was sealed."
    for participant, digest in given.reports:
        if (given.processing_id, given.revision, participant, digest) not in reports:
            yield f"{key}: the report of {participant} that it rests on is not there."


def _standing_problems(kept: Kept, last: StoredVerdict | None) -> Iterator[str]:
    """What a processing shows is its last verdict, or PENDING at a later revision."""
    shown = (kept.revision, kept.verdict)
    if last is not None and shown == (last.revision, last.verdict.value):
        return
    if kept.verdict != Verdict.PENDING or (last is not None and last.revision >= kept.revision):
        yield f"tracer.processing {kept.processing_id}: shows {kept.verdict}, which was not its last verdict."
