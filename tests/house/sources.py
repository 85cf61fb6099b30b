"""All SQL of the platform, and the shard column of each table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources

from kessai.apps.wiring import SCHEMAS
from kessai.foundation.db import Queries
from kessai.foundation.migrations import SchemaSpec, migrations_of

_TABLE = re.compile(r"^CREATE (?:UNLOGGED )?TABLE (?:IF NOT EXISTS )?\"?(\w+)\"?", re.MULTILINE | re.IGNORECASE)
_SHARD = re.compile(r"^-- shard: (\w+)$", re.MULTILINE)


@dataclass(frozen=True)
class Sql:
    """One named query, or one migration file."""

    schema: str
    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.schema}/{self.name}"


def queries() -> list[Sql]:
    """Every named query, shared ones once for each schema that has them."""
    return [Sql(spec.service, f"{package}:{name}", text) for spec, package, name, text in _named()]


def _named() -> Iterator[tuple[SchemaSpec, str, str, str]]:
    for spec in SCHEMAS:
        for package in (spec.package, *spec.components):
            folder = resources.files(package).joinpath("sql")
            for file in folder.iterdir() if folder.is_dir() else ():
                if not file.name.endswith(".sql"):
                    continue
                text = file.read_text(encoding="utf-8").replace("{schema}", spec.service)
                for name, query in Queries(text):
                    yield spec, package, name, query


def migrations() -> list[Sql]:
    """Every migration file."""
    return [Sql(m.schema, f"{m.component}/{m.name}", m.text) for spec in SCHEMAS for m in migrations_of(spec)]


def shard_of_tables(text: str) -> dict[str, str | None]:
    """Each table that a migration creates, with the column its `-- shard:` comment names; None when it names none."""
    found: dict[str, str | None] = {}
    before = 0
    for match in _TABLE.finditer(text):
        comments = _SHARD.findall(text[before : match.start()])
        found[match[1]] = comments[-1] if comments else None
        before = match.end()
    return found


def shards() -> dict[str, str | None]:
    """The shard column of every table, by `schema.table`."""
    return {
        f"{sql.schema}.{table}": shard for sql in migrations() for table, shard in shard_of_tables(sql.text).items()
    }
