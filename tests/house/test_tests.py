"""House rules about the tests themselves: each asserts something, with its own words or a helper's that says so."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
CLAIM = re.compile(r"_?require_|shows$")
"""A helper of such a name asserts, wherever it is: `require_invariants`, `shows`."""
RUNNERS = ("run_state_machine_as_test", "eventually")
"""What fails by itself: a state machine whose rules assert, a wait for a condition that must come."""
EXPECTED = ("raises", "warns", "fail")

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def silent_tests(tree: ast.Module) -> list[str]:
    """Tests of a module that assert nothing: not themselves, and not by a helper of that module, nor by a known one."""
    functions = [node for node in ast.walk(tree) if isinstance(node, _Function)]
    speaking = {each.name for each in functions if _asserts(each)}
    tests = [each for each in functions if each.name.startswith("test_")]
    return [each.name for each in tests if each.name not in speaking and not speaking.intersection(_called(each))]


def _asserts(function: _Function) -> bool:
    if any(isinstance(each, ast.Assert | ast.Raise) for each in ast.walk(function)):
        return True
    return any(CLAIM.match(name) or name in EXPECTED or name in RUNNERS for name in _called(function))


def _called(function: _Function) -> Iterator[str]:
    for node in ast.walk(function):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute):
                yield node.func.attr
            elif isinstance(node.func, ast.Name):
                yield node.func.id


def _trees(pattern: str) -> Iterator[tuple[str, ast.Module]]:
    for file in sorted(TESTS.rglob(pattern)):
        yield str(file.relative_to(TESTS)), ast.parse(file.read_text(encoding="utf-8"))


def test_every_test_asserts_something() -> None:
    found = {name: silent for name, tree in _trees("test_*.py") if (silent := silent_tests(tree))}
    assert found == {}


def test_a_helper_that_says_it_asserts_does() -> None:
    named = [
        (name, each)
        for name, tree in _trees("*.py")
        for each in ast.walk(tree)
        if isinstance(each, _Function) and CLAIM.match(each.name)
    ]
    assert named
    assert [f"{name}: {each.name}" for name, each in named if not _asserts(each)] == []


@pytest.mark.parametrize(
    ("body", "silent"),
    [
        ("assert answer == 1", False),
        ("with pytest.raises(Refused): pay()", False),
        ("await book.shows('a', balance=1)", False),
        ("require_invariants(database)", False),
        ("run_state_machine_as_test(Machine)", False),
        ("_refused(answer)", False),
        ("await book.give('a 1')", True),
        ("open_required_door()", True),
    ],
)
def test_the_rule_knows_an_assertion_when_it_sees_one(body: str, silent: bool) -> None:
    helper = "def _refused(answer):\n    assert answer.status == 422\n"
    tree = ast.parse(f"{helper}async def test_it():\n    {body}\n")
    assert silent_tests(tree) == (["test_it"] if silent else [])
