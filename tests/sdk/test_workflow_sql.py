"""The statements of operations keep to the dialect, prepare against a migrated database, and are all used."""

from __future__ import annotations

import re
from pathlib import Path

import asyncpg
import pytest

from kessai.foundation.db import Database, role_of
from kessai.sdk import workflow
from kessai.sdk.workflow.host import operations
from tests.house.dialect import EVERYWHERE, Rule
from tests.house.sources import shards

FOLDER = Path(workflow.__file__).parent
MAINTENANCE = re.compile(r"^(forget_|log_replace)")
"""Statements that only maintenance may run."""


@pytest.mark.parametrize("rule", EVERYWHERE, ids=lambda rule: rule.__name__)
def test_every_statement_keeps_to_the_dialect(rule: Rule) -> None:
    mine = {name.removeprefix("payment."): shard for name, shard in shards().items() if name.startswith("payment.")}
    found = {name: rule(text, mine) for name, text in operations("payment")}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


async def test_every_statement_prepares_under_the_services_role(shop: Database) -> None:
    connection = await shop.connect(role_of("shop"))
    failures: list[str] = []
    for name, text in operations("shop"):
        try:
            await connection.prepare(text)
        except asyncpg.PostgresError as error:
            if not (MAINTENANCE.match(name) and isinstance(error, asyncpg.InsufficientPrivilegeError)):
                failures.append(f"{name}: {error}")
    await connection.close()
    assert failures == []


def test_every_statement_is_used_and_named_once() -> None:
    text = (FOLDER / "sql" / "operations.sql").read_text(encoding="utf-8")
    names = re.findall(r"^-- name: (\w+)", text, re.MULTILINE)
    code = "\n".join(file.read_text(encoding="utf-8") for file in FOLDER.rglob("*.py"))
    assert [name for name in names if f'"{name}"' not in code] == []
    assert len(names) == len(set(names))
