"""The life of a processing as a tree in the terminal, and as a Mermaid sequence drawing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby

from rich.text import Text
from rich.tree import Tree

from kessai.apps.trace.kept import EffectLife, ExchangeLife, Happening, Life, LotTaken, Movement, WorkflowLife
from kessai.services.tracer.api import Finding, Processing, ReportRecord

COLOURS = {
    "CONSISTENT": "green", "MATCHED": "green", "INCONSISTENT": "red", "DIFFERENT": "red", "INCOMPLETE": "red",
    "PENDING": "yellow", "IN_FLIGHT": "yellow",
}  # fmt: skip


def tree_of(life: Life) -> Tree:
    """All of it, service by service."""
    tracer = life.tracer
    verdict = (
        "not heard of by the tracer" if tracer is None else f"{tracer.verdict.value} at revision {tracer.revision}"
    )
    tree = Tree(_line(life.processing_id, "bold", f"  {verdict}", _colour(verdict)))
    services = ("nfc", life.taps), ("payment", life.payments), ("cardgateway", life.cards), ("bank", life.bank)
    for name, effects in services:
        if effects:
            branch = tree.add(_line(name, "bold"))
            for each in effects:
                _effect(branch, each)
    if life.exchanges:
        branch = tree.add(_line("ledger", "bold"))
        for each in life.exchanges:
            _exchange(branch, each)
    if life.workflows:
        branch = tree.add(_line("workflows", "bold"))
        for each in life.workflows:
            _workflow(branch, each)
    if life.events:
        branch = tree.add(_line("events", "bold"))
        for each in life.events:
            branch.add(_happening(each))
    if tracer is not None:
        _reports(tree, tracer)
    if life.finding is not None:
        _finding(tree, life.finding)
    return tree


def _effect(branch: Tree, effect: EffectLife) -> None:
    head = f"{effect.effect_id} {effect.kind} {effect.amount_minor:,} {effect.asset} {effect.party}"
    detail = f"  {effect.detail}" if effect.detail else ""
    below = branch.add(
        _line(
            f"{head}{detail}  ", "", effect.state, "cyan", f"  {_instant(effect.created_at)} by {effect.caller}", "dim"
        )
    )
    for each in effect.steps:
        below.add(_happening(each))


def _exchange(branch: Tree, exchange: ExchangeLife) -> None:
    head = f"{exchange.exchange_id} {exchange.what} {exchange.kind}  "
    when = f"  {_instant(exchange.at)} by {exchange.caller}"
    below = branch.add(_line(head, "", exchange.state, "cyan", when, "dim"))
    for each in exchange.movements:
        movement = below.add(_line(_moved(each)))
        for lot in each.lots:
            movement.add(_line(_lot(lot), "dim"))


def _moved(movement: Movement) -> str:
    held = f", held {movement.held_minor:+,}" if movement.held_minor else ""
    return f"{movement.owner} {movement.account_type} {movement.amount_minor:+,} {movement.asset}{held}"


def _lot(lot: LotTaken) -> str:
    until = "without expiry" if lot.expires_at is None else f"good until {_instant(lot.expires_at)}"
    held = f", held {lot.held_minor:+,}" if lot.held_minor else ""
    return f"lot {lot.lot}: {lot.amount_minor:+,}{held}, {until}"


def _workflow(branch: Tree, workflow: WorkflowLife) -> None:
    head = f"{workflow.service} {workflow.name} {workflow.workflow_id}  "
    below = branch.add(_line(head, "", workflow.state, "cyan", f"  {_instant(workflow.since)}", "dim"))
    for _, same in groupby(workflow.steps, key=lambda each: each.what):
        journalled = list(same)
        below.add(_happening(journalled[-1], begun=journalled[0].at if len(journalled) > 1 else None))
    for note in workflow.notes:
        below.add(_line(note, "dim"))


def _reports(tree: Tree, tracer: Processing) -> None:
    branch = tree.add(_line("tracer", "bold"))
    for revision, told in groupby(tracer.reports, key=lambda each: each.report.revision):
        below = branch.add(_line(f"revision {revision}"))
        for each in told:
            _report(below, each)
        for each in tracer.verdicts:
            if each.revision == revision:
                sealed = f"  {_instant(each.decided_at)}, batch {each.batch} leaf {each.leaf}"
                below.add(_line("verdict ", "", each.verdict.value, _colour(each.verdict.value), sealed, "dim"))
    if tracer.waiting_for:
        branch.add(_line(f"waiting for {', '.join(tracer.waiting_for)}", "yellow"))


def _report(branch: Tree, record: ReportRecord) -> None:
    report = record.report
    facts = [f"{len(report.effects)} effects"]
    facts += [f"depends on {', '.join(report.dependencies)}"] if report.dependencies else []
    facts += [f"called by {', '.join(report.callers)}"] if report.callers else []
    outcome = report.outcome.value
    below = branch.add(_line(f"{record.participant} ", "", outcome, _colour(outcome), f"  {'; '.join(facts)}", "dim"))
    for each in report.differences:
        fields = f" ({', '.join(each.fields)})" if each.fields else ""
        below.add(_line(f"{each.kind.value} {each.effect_id} {each.part}{fields} {each.text}".strip(), "red"))


def _finding(tree: Tree, finding: Finding) -> None:
    branch = tree.add(_line(f"finding {finding.finding_id} {finding.kind.value} ", "bold", finding.state.value, "red"))
    for step in finding.steps:
        repair = f"  repaired by {step.repair_kind} {step.repair_id}" if step.repair_id else ""
        branch.add(_line(f"{_instant(step.recorded_at)} {step.state} by {step.by}: {step.reason}{repair}"))


def _happening(each: Happening, *, begun: datetime | None = None) -> Text:
    amount = "" if not each.amount_minor else f" {each.amount_minor:,}"
    facts = [
        each.detail,
        "" if begun is None else f"begun {_instant(begun)}",
        "" if each.at is None else _instant(each.at),
    ]
    return _line(f"{each.what}{amount} ", "", each.state, "cyan", f"  {'  '.join(filter(None, facts))}", "dim")


def _line(*parts: str) -> Text:
    """Texts and their styles in turn."""
    line = Text()
    for at in range(0, len(parts), 2):
        line.append(parts[at], style=parts[at + 1] if at + 1 < len(parts) else "")
    return line


def _colour(verdict: str) -> str:
    return COLOURS.get(verdict.partition(" ")[0], "")


def _instant(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}"


# -- the drawing --------------------------------------------------------------------------------------------------


def mermaid_of(life: Life) -> str:
    """Who did what for whom, in order of time, and how it was judged."""
    lines = sorted(_messages(life), key=lambda each: each[0])
    return "\n".join(["sequenceDiagram", *(f"    {text}" for _, text in lines), *_judged(life)]) + "\n"


def _messages(life: Life) -> Iterator[tuple[datetime, str]]:
    for effect in life.payments:
        for step in effect.steps:
            if step.at is not None:
                yield step.at, f"Note over payment: {_plain(step.what, step.state)}"
    for exchange in life.exchanges:
        moved = max((abs(each.amount_minor or each.held_minor) for each in exchange.movements), default=0)
        caller = _actor(exchange.caller)
        yield exchange.at, f"{caller}->>ledger: {_plain(exchange.what, exchange.kind, f'{moved:,}', exchange.state)}"
    for tap in life.taps:
        yield tap.created_at, f"{_actor(tap.caller)}->>nfc: {_plain(tap.kind, f'{tap.amount_minor:,}', tap.state)}"
    for name, effects in (("nfc", life.taps), ("cardgateway", life.cards), ("bank", life.bank)):
        for effect in effects:
            yield from _instructed(name, effect)


def _instructed(service: str, effect: EffectLife) -> Iterator[tuple[datetime, str]]:
    caller = _actor(effect.caller)
    for step in effect.steps:
        if step.at is not None:
            amount = step.amount_minor or effect.amount_minor
            yield step.at, f"{caller}->>{service}: {_plain(effect.kind, step.what, f'{amount:,}', step.state)}"


def _judged(life: Life) -> list[str]:
    if life.tracer is None:
        return []
    lines: list[str] = []
    for record in life.tracer.reports:
        told = record.report
        text = _plain(f"revision {told.revision}", told.outcome.value)
        lines.append(f"    {record.participant}-->>tracer: {text}")
    judged: Sequence[str] = [f"revision {each.revision} {each.verdict.value}" for each in life.tracer.verdicts]
    lines += [f"    Note over tracer: {each}" for each in judged]
    return lines


def _actor(caller: str) -> str:
    return "client" if caller.startswith("key_") else caller.replace("-", "_")


def _plain(*parts: str) -> str:
    """Words of a message, without what the drawing's own language would read."""
    return " ".join(part.replace(";", ",").replace(":", " ") for part in parts if part)
