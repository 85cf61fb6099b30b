"""House rules about the Python, read from its syntax tree; each rule comes with what it must catch."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "kessai"
MODULE_LINES_MAX = 450
FUNCTION_LINES_MAX = 70
NO_NAMES = ("utils", "util", "helpers", "helper", "manager", "managers", "common", "base", "misc")
PRINTERS = ("apps",)
"""Storeys that talk to a terminal."""

_Function = ast.FunctionDef | ast.AsyncFunctionDef
Rule = Callable[[Path, str, ast.Module], list[str]]


def modules_are_short(_: Path, text: str, __: ast.Module) -> list[str]:
    """A longer module has become two things."""
    lines = text.count("\n")
    return [f"{lines} lines"] if lines > MODULE_LINES_MAX else []


def functions_are_short(_: Path, __: str, tree: ast.Module) -> list[str]:
    """A longer function has become two things."""
    return [each.name for each in _functions(tree) if _length(each) > FUNCTION_LINES_MAX]


def _functions(tree: ast.AST) -> Iterator[_Function]:
    return (node for node in ast.walk(tree) if isinstance(node, _Function))


def _length(function: _Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def no_error_is_swallowed(_: Path, __: str, tree: ast.Module) -> list[str]:
    """A bare or all-catching `except` whose body does nothing hides what went wrong."""
    handlers = (node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler))
    return [f"line {each.lineno}" for each in handlers if _catches_all(each) and _does_nothing(each)]


def _catches_all(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or (
        isinstance(handler.type, ast.Name) and handler.type.id in ("Exception", "BaseException")
    )


def _does_nothing(handler: ast.ExceptHandler) -> bool:
    return all(isinstance(each, ast.Pass | ast.Continue) or _is_text(each) for each in handler.body)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def services_enter_each_other_by_the_door(path: Path, _: str, tree: ast.Module) -> list[str]:
    """Another service is imported as `kessai.services.x.api` alone."""
    service = _service_of(path)
    if service is None:
        return []
    found: list[str] = []
    for name in _imports(tree):
        match = re.match(r"kessai\.services\.(\w+)(?:\.(\w+))?", name)
        if match and match[1] != service and match[2] != "api":
            found.append(name)
    return found


def _service_of(path: Path) -> str | None:
    parts = path.parts
    return parts[parts.index("services") + 1] if "services" in parts[:-2] else None


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            if re.fullmatch(r"kessai\.services\.\w+", node.module):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def only_apps_print(path: Path, _: str, tree: ast.Module) -> list[str]:
    """Everything else logs events."""
    if path.parts[0] in PRINTERS:
        return []
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return [f"line {call.lineno}" for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


def names_say_what_a_module_is(path: Path, _: str, __: ast.Module) -> list[str]:
    """A drawer for anything is filled with everything."""
    return [part for part in (*path.parent.parts, path.stem) if part in NO_NAMES]


def public_things_have_docstrings(_: Path, __: str, tree: ast.Module) -> list[str]:
    """A module, and each public class and function of it."""
    found = [] if ast.get_docstring(tree) or not tree.body else ["the module"]
    public = (n for n in tree.body if isinstance(n, ast.ClassDef | _Function) and not n.name.startswith("_"))
    return [*found, *(each.name for each in public if not ast.get_docstring(each))]


def money_is_never_a_float(_: Path, __: str, tree: ast.Module) -> list[str]:
    """No annotation of an amount names float."""
    nodes = list(ast.walk(tree))
    found = [(each.arg, each.annotation) for each in nodes if isinstance(each, ast.arg)]
    found += [(ast.unparse(each.target), each.annotation) for each in nodes if isinstance(each, ast.AnnAssign)]
    return [
        name
        for name, annotation in found
        if annotation and name.endswith("_minor") and "float" in ast.unparse(annotation)
    ]


RULES: tuple[Rule, ...] = (
    modules_are_short,
    functions_are_short,
    no_error_is_swallowed,
    services_enter_each_other_by_the_door,
    only_apps_print,
    names_say_what_a_module_is,
    public_things_have_docstrings,
    money_is_never_a_float,
)

VIOLATIONS: dict[str, tuple[str, str]] = {
    "modules_are_short": ("foundation/x.py", "a = 1\n" * (MODULE_LINES_MAX + 1)),
    "functions_are_short": ("foundation/x.py", "def f():\n" + "    a = 1\n" * FUNCTION_LINES_MAX),
    "no_error_is_swallowed": ("foundation/x.py", "try:\n    a()\nexcept Exception:\n    pass\n"),
    "services_enter_each_other_by_the_door": (
        "services/payment/service.py",
        "from kessai.services.ledger import store\n",
    ),
    "only_apps_print": ("services/ledger/service.py", "print(1)\n"),
    "names_say_what_a_module_is": ("foundation/utils.py", ""),
    "public_things_have_docstrings": ("foundation/x.py", '"""A module."""\nclass A: ...\n'),
    "money_is_never_a_float": ("foundation/x.py", "def f(amount_minor: float | None): ...\n"),
}

BY_NAME = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)


@BY_NAME
def test_rule_catches_what_it_is_for(rule: Rule) -> None:
    path, text = VIOLATIONS[rule.__name__]
    assert rule(Path(path), text, ast.parse(text))


@BY_NAME
def test_the_house_keeps_the_rule(rule: Rule) -> None:
    found: dict[str, list[str]] = {}
    for file in sorted(SOURCE.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        if wrong := rule(file.relative_to(SOURCE), text, ast.parse(text)):
            found[str(file.relative_to(SOURCE))] = wrong
    assert found == {}


def test_every_package_has_an_init() -> None:
    folders = {file.parent for file in SOURCE.rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_functions_are_mostly_small() -> None:
    sizes = sorted(
        _length(function)
        for file in SOURCE.rglob("*.py")
        for function in _functions(ast.parse(file.read_text(encoding="utf-8")))
    )
    assert sizes[len(sizes) // 2] <= 10
    assert sizes[len(sizes) * 9 // 10] <= 30
