"""Search attributes: how workflows are found by what they are about."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeAlias

from kessai.foundation.db import Database, role_of
from kessai.foundation.errors import Invalid
from kessai.sdk.workflow.host import operations

AttributeValue: TypeAlias = str | int | bool | datetime
FOUND_MAX = 1_000
VALUE_LENGTH_MAX = 256
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def attribute_row(workflow_id: str, name: str, value: AttributeValue) -> tuple[Any, ...]:
    """A row of `attribute_upsert`; numbers and instants can be searched by range too."""
    return (workflow_id, name, text_of(name, value), number_of(value))


def text_of(name: str, value: AttributeValue) -> str:
    """A value as it is compared; raises Invalid `attribute_too_long`."""
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    if len(text) > VALUE_LENGTH_MAX:
        raise Invalid("attribute_too_long", f"The attribute {name} has more than {VALUE_LENGTH_MAX} characters.")
    return text


def number_of(value: AttributeValue) -> int | None:
    """Numbers as they are, instants in microseconds; None for text."""
    if isinstance(value, datetime):
        since = value - _EPOCH
        return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return value if isinstance(value, int) and not isinstance(value, bool) else None


async def find_by_attributes(
    database: Database, service: str, attributes: dict[str, AttributeValue], *, after: str, limit: int
) -> list[str]:
    """Ids of workflows, open or finished, that have all of these; in order of id, beyond `after`."""
    assert attributes, "at least one attribute"
    names = list(attributes)
    values = [text_of(name, attributes[name]) for name in names]
    rows = await database.fetch(
        role_of(service),
        operations(service)["search_by_values"],
        *(names[0], values[0], after, names, values, min(limit, FOUND_MAX)),
    )
    return [row["workflow_id"] for row in rows]


async def find_by_range(
    database: Database, service: str, name: str, low: int | datetime, high: int | datetime, *, after: str, limit: int
) -> list[str]:
    """Ids of workflows whose number or instant `name` lies between the two, both included."""
    bounds = (number_of(low), number_of(high))
    query = operations(service)["search_by_number"]
    rows = await database.fetch(role_of(service), query, name, *bounds, after, min(limit, FOUND_MAX))
    return [row["workflow_id"] for row in rows]
