"""A message that has gained a field is known again by what was recorded before it had one."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from kessai.foundation.contract import Message
from kessai.sdk.workflow.earlier import asked_digest, earlier_digest_of, without_appended
from kessai.sdk.workflow.outcome import digest_of, encode


class Then(Message):
    """As it was."""

    name: str
    amount: int = 0


class Now(Message):
    """As it is."""

    appended: ClassVar = ("method", "notes")

    name: str
    amount: int = 0
    method: str | None = None
    notes: list[str] = []


class Sparse(msgspec.Struct, frozen=True, omit_defaults=True):
    """Leaves out what is at its default, as it always has."""

    one: int = 1
    two: int = 2


class Outer(Message):
    """Holds others."""

    within: Now
    more: dict[str, list[Now]]
    sparse: Sparse = Sparse()


class OuterThen(Message):
    """Holds others as they were."""

    within: Then
    more: dict[str, list[Then]]
    sparse: Sparse = Sparse()


def test_what_holds_a_message_at_its_defaults_is_encoded_as_before() -> None:
    now = Outer(within=Now(name="a"), more={"b": [Now(name="b", amount=3)]}, sparse=Sparse(two=5))
    then = OuterThen(within=Then(name="a"), more={"b": [Then(name="b", amount=3)]}, sparse=Sparse(two=5))
    assert encode(without_appended(now)) == encode(then)
    assert earlier_digest_of(now) == digest_of(encode(then))


def test_a_field_that_says_something_new_makes_it_another_message() -> None:
    then = digest_of(encode(Then(name="a")))
    assert earlier_digest_of(Now(name="a", method="code")) != then
    assert earlier_digest_of(Now(name="a", notes=["x"])) != then


def test_what_was_asked_for_before_a_field_came_is_the_same_request() -> None:
    asked, now = Then(name="a", amount=7), Now(name="a", amount=7)
    assert asked_digest(b"p", now, encode(now)) == asked_digest(b"p", asked, encode(asked))
    other = Now(name="a", amount=7, method="net")
    assert asked_digest(b"p", other, encode(other)) != asked_digest(b"p", asked, encode(asked))
