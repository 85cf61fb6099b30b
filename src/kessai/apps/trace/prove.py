"""`kessai trace prove`: one processing or all of them, the chain of seals, and what of it people and programs read."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from kessai.apps.trace.proof import BATCH, Disagreement, Proof, prover_of
from kessai.apps.trace.view import PACKAGE, open_view
from kessai.foundation.db import load_queries
from kessai.services.payment.domain.kinds import PaymentKinds
from kessai.services.tracer.service.checking import check_chain

LOOKS = 3
"""How often what does not agree is looked at, on a platform that goes on meanwhile."""
LOOK_PAUSE_S = 1.0
"""Between two looks: what one service tells another arrives within it."""
SHOWN_MAX = 20
"""Rows of the table that people read."""
PROGRESS_FROM = 5_000
"""Processings from which on a proof is long enough for a progress bar."""

_sql = load_queries(PACKAGE, file="sql/prove.sql")


@dataclass(slots=True)
class Result:
    """A whole proof."""

    proof: Proof = field(default_factory=Proof)
    chain: list[str] = field(default_factory=list[str])
    """What does not agree in the chain of seals and what hangs on it."""
    without_processing: dict[str, int] = field(default_factory=dict[str, int])
    """Rows of effects that name no processing, by table: nothing proves them here."""

    @property
    def proved(self) -> bool:
        """Whether everything agrees."""
        return not (self.proof.disagreements or self.chain)


async def prove_all(dsn: str, kinds: PaymentKinds, progress: Progress | None = None) -> Result:
    """Every processing that any row names, as one instant shows them, and the chain."""
    result = Result()
    async with open_view(dsn) as view:
        prover = await prover_of(view, kinds)
        (known,) = await view.fetch(None, _sql["processings_known"])
        task = _begun(progress, known["known"])
        async for ids in prover.every():
            await prover.prove(ids, result.proof)
            if progress is not None and task is not None:
                progress.update(task, completed=result.proof.processings)
        rows = await view.fetch(None, _sql["rows_without_processing"])
        result.without_processing = {row["relation"]: row["number"] for row in rows}
        result.chain = [sentence async for sentence in check_chain(view)]
    await _look_again(dsn, kinds, result.proof)
    return result


async def prove_these(dsn: str, kinds: PaymentKinds, ids: Sequence[str]) -> Result:
    """Some processings, without the chain."""
    result = Result(proof=await _proof(dsn, kinds, ids))
    await _look_again(dsn, kinds, result.proof)
    return result


async def _proof(dsn: str, kinds: PaymentKinds, ids: Sequence[str]) -> Proof:
    proof = Proof()
    async with open_view(dsn) as view:
        prover = await prover_of(view, kinds)
        for at in range(0, len(ids), BATCH):
            await prover.prove(ids[at : at + BATCH], proof)
    return proof


async def _look_again(dsn: str, kinds: PaymentKinds, proof: Proof) -> None:
    """What is wrong is so at a later instant, too; what one service had still to hear from another is not."""
    for _ in range(LOOKS - 1):
        doubtful = list(dict.fromkeys(each.processing_id for each in proof.disagreements))
        if not doubtful:
            return
        await asyncio.sleep(LOOK_PAUSE_S)
        proof.disagreements = (await _proof(dsn, kinds, doubtful)).disagreements


# -- what people and programs read ------------------------------------------------------------------------------


def bar(console: Console) -> Progress:
    """A bar for a long proof; it is started by `prove_all` when there is much to prove."""
    columns = (
        TextColumn("[bold]trace prove"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("processings"),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, transient=True)


def _begun(progress: Progress | None, known: int) -> TaskID | None:
    if progress is None or known < PROGRESS_FROM:
        return None
    progress.start()
    return progress.add_task("prove", total=known)


def show(console: Console, result: Result, seconds: float) -> None:
    """The outcome for people."""
    proof = result.proof
    rate = f"{proof.processings:,} processings in {seconds:.1f} s ({proof.processings / max(seconds, 1e-9):,.0f}/s)"
    if result.proved:
        console.print(f"[green]Every record agrees with its counterpart:[/green] {rate}.", highlight=False)
    else:
        console.print(_table(proof.disagreements, rate))
        for sentence in result.chain[:SHOWN_MAX]:
            console.print(f"[red]chain[/red] {sentence}", highlight=False, markup=True)
    if proof.in_flight:
        console.print(f"{proof.in_flight:,} are in flight: compared once that has ended.")
    if proof.unheard:
        console.print(
            f"{proof.unheard:,} have no verdict of now: their services were compared, not the sealed reports."
        )
    for relation, number in result.without_processing.items():
        console.print(f"{number:,} rows of {relation} belong to no processing.")


def _table(disagreements: Sequence[Disagreement], rate: str) -> Table:
    columns = (Column(name, overflow="fold") for name in ("processing", "who", "what", "effect", "in words"))
    table = Table(*columns, title=f"{len(disagreements)} differences; {rate}")
    for each in disagreements[:SHOWN_MAX]:
        who = each.participant if each.other == each.participant else f"{each.participant} / {each.other}"
        table.add_row(each.processing_id, who, each.kind, f"{each.effect_id} {each.part}".strip(), each.sentence)
    return table


def answer(result: Result, seconds: float) -> str:
    """The outcome as one JSON object."""
    proof = result.proof
    content = {
        "proved": result.proved,
        "processings": proof.processings,
        "in_flight": proof.in_flight,
        "without_verdict": proof.unheard,
        "rows_without_processing": result.without_processing,
        "seconds": round(seconds, 3),
        "rate": round(proof.processings / max(seconds, 1e-9)),
        "differences": [msgspec.to_builtins(each) for each in proof.disagreements],
        "chain": result.chain,
    }
    return json.dumps(content, ensure_ascii=False)


async def timed_all(dsn: str, kinds: PaymentKinds, console: Console) -> tuple[Result, float]:
    """`prove_all` with its bar, and how many seconds it took."""
    started = time.perf_counter()
    progress = bar(console)
    try:
        return await prove_all(dsn, kinds, progress), time.perf_counter() - started
    finally:
        progress.stop()
