"""`@define`: a workflow's name, version and types, and the register by which recovery finds its function."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from kessai.sdk.workflow.run import Workflow

D = TypeVar("D")
A = TypeVar("A")
R = TypeVar("R")

_registry: dict[tuple[str, int], Definition[Any, Any, Any]] = {}


class Definition(Generic[D, A, R]):
    """A workflow function under its stable name and version."""

    def __init__(
        self,
        name: str,
        version: int,
        deadline_s: float | None,
        function: Callable[[Workflow[D], A], Awaitable[R]],
    ) -> None:
        self.name = name
        self.version = version
        self.deadline_s = deadline_s
        self.function = function
        self.digest_prefix = f"{name}\x1f".encode()

    @cached_property
    def request_type(self) -> Any:
        """What the request is decoded as at recovery."""
        return types_of(self.function)[0]

    @cached_property
    def result_type(self) -> Any:
        """What a stored result is decoded as."""
        return types_of(self.function)[1]


def define(
    name: str, *, version: int = 1, deadline_s: float | None = None
) -> Callable[[Callable[[Workflow[D], A], Awaitable[R]]], Definition[D, A, R]]:
    """Make a module-level async function a workflow.

    `deadline_s` is real time from the start; past it, activities raise DeadlineExceeded (Unknown where the outcome is
    not certain). Several versions of one name may be defined while older runs are still open. The name has no
    meaning but to be found again: it never changes.
    """

    def register(function: Callable[[Workflow[D], A], Awaitable[R]]) -> Definition[D, A, R]:
        assert "<locals>" not in function.__qualname__, "a workflow is a module-level function"
        assert (name, version) not in _registry, f"workflow {name} version {version} is defined twice"
        definition = Definition(name, version, deadline_s, function)
        _registry[name, version] = definition
        return definition

    return register


def definition_of(name: str, version: int) -> Definition[Any, Any, Any] | None:
    """The function that a journal speaks of, or None when this program no longer has it."""
    return _registry.get((name, version))


def definitions() -> list[Definition[Any, Any, Any]]:
    """Every workflow that this program has."""
    return list(_registry.values())


@cache
def types_of(function: Callable[..., Any]) -> tuple[Any, Any]:
    """The types of an activity's or a workflow's argument and result."""
    first, second = list(inspect.signature(function).parameters)[:2]
    # The first parameter is the engine's own and may name types that exist only for the type checker.
    hints = typing.get_type_hints(_without(function, first))
    assert {second, "return"} <= hints.keys(), f"{function.__qualname__} needs annotated argument and result"
    return hints[second], hints["return"]


@cache
def name_of(function: Callable[..., Any]) -> str:
    """An activity's name in the journal."""
    return function.__qualname__


def _without(function: Callable[..., Any], parameter: str) -> Callable[..., Any]:
    def bare() -> None: ...

    bare.__annotations__ = {k: v for k, v in function.__annotations__.items() if k != parameter}
    bare.__module__ = function.__module__
    bare.__wrapped__ = function  # type: ignore[attr-defined]  # get_type_hints finds the module's names through it
    return bare
