"""The graph of a processing's participants: its edges, and a Mermaid flowchart of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from kessai.services.tracer.api import GraphEdge
from kessai.services.tracer.domain.deciding import Told, is_service

_MARKS = {"MATCHED": "✓", "DIFFERENT": "✗", "IN_FLIGHT": "…"}


def edges_of(reports: Mapping[str, Told]) -> list[GraphEdge]:
    """Every call that a caller or a callee told of, in order of names."""
    by_caller = {(name, callee) for name, told in reports.items() for callee in told.dependencies}
    by_callee = {(caller, name) for name, told in reports.items() for caller in told.callers if is_service(caller)}
    return [
        GraphEdge(
            caller=caller,
            callee=callee,
            told_by_caller=(caller, callee) in by_caller,
            told_by_callee=(caller, callee) in by_callee,
        )
        for caller, callee in sorted(by_caller | by_callee)
    ]


def flowchart(
    participants: Collection[str], entry: str | None, reports: Mapping[str, Told], edges: Sequence[GraphEdge]
) -> str:
    """A Mermaid flowchart: the entry as a stadium, ✓ matched, ✗ different, … in flight, ? not reported.

    A call that the caller does not declare is dotted.
    """
    names = sorted({*participants, *(each.caller for each in edges), *(each.callee for each in edges)})
    lines = ["flowchart LR"]
    for name in names:
        mark = _MARKS[reports[name].outcome] if name in reports else "?"
        opening, closing = ("([", "])") if name == entry else ("[", "]")
        lines.append(f'    {_node(name)}{opening}"{name} {mark}"{closing}')
    for each in edges:
        arrow = "-->" if each.told_by_caller else "-.->"
        lines.append(f"    {_node(each.caller)} {arrow} {_node(each.callee)}")
    return "\n".join(lines) + "\n"


def _node(name: str) -> str:
    return "p_" + name.replace("-", "_")
