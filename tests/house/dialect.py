"""The dialect of SQL that outgrows one machine, as rules over the parsed statement: each gives what it finds wrong."""

# The parser's types call every field of a node optional; what a kind of node always has is used as it is.
# pyright: reportOptionalIterable=false, reportOptionalSubscript=false, reportReturnType=false

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, TypeAlias

from pglast import ast, enums, parse_sql
from pglast.visitors import Visitor

Shards: TypeAlias = Mapping[str, str | None]
Rule: TypeAlias = Callable[[str, Shards], list[str]]
"""From a statement's text and the shard column of each table (by its bare name) to what is wrong."""

_SERIAL = {"serial", "bigserial", "smallserial", "serial4", "serial8", "serial2"}
_RANGE = re.compile(r"^(int4|int8|num|ts|tstz|date)(multi)?range$")
_VOLATILE = {
    "now", "random", "gen_random_uuid", "uuidv4", "uuidv7", "timeofday", "statement_timestamp",
    "transaction_timestamp", "nextval", "currval", "setval", "lastval", "txid_current", "pg_current_xact_id",
}  # fmt: skip


@cache
def nodes(text: str) -> list[Any]:
    """Every node of a text's statements."""
    return [node for statement in parse_sql(text) for node in nodes_under(statement)]


def nodes_under(root: Any) -> list[Any]:
    """A node and every node below it."""
    found: list[Any] = []

    class Collect(Visitor):
        def visit(self, ancestors: Any, node: Any) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
            del ancestors
            found.append(node)

    Collect()(root)
    return found


def _of(text: str, *kinds: type) -> Iterator[Any]:
    return (node for node in nodes(text) if isinstance(node, kinds))


def _functions(text: str) -> Iterator[str]:
    return (node.funcname[-1].sval.lower() for node in _of(text, ast.FuncCall))


def _types(text: str) -> Iterator[str]:
    return (node.names[-1].sval.lower() for node in _of(text, ast.TypeName) if node.names)


# -- what is forbidden everywhere -------------------------------------------------------------------------------


def no_code_in_the_database(text: str, _: Shards) -> list[str]:
    """No triggers, functions, DO blocks or rules: PL/pgSQL stays out."""
    kinds = (ast.CreateTrigStmt, ast.CreateFunctionStmt, ast.DoStmt, ast.RuleStmt, ast.CallStmt)
    return [type(node).__name__ for node in _of(text, *kinds)]


def no_advisory_locks(text: str, _: Shards) -> list[str]:
    """Lease rows instead."""
    return [name for name in _functions(text) if "advisory" in name]


def no_sequences(text: str, _: Shards) -> list[str]:
    """Ids are UUIDv7 made by the client."""
    found = [type(node).__name__ for node in _of(text, ast.CreateSeqStmt)]
    found += [name for name in _types(text) if name in _SERIAL]
    identity = enums.ConstrType.CONSTR_IDENTITY
    return found + ["IDENTITY" for node in _of(text, ast.Constraint) if node.contype == identity]


def no_passing_objects(text: str, _: Shards) -> list[str]:
    """No temporary, unlogged or materialized objects."""
    found = [node.relname for node in _of(text, ast.RangeVar) if node.relpersistence in ("t", "u")]
    matview = enums.ObjectType.OBJECT_MATVIEW
    return found + [type(node).__name__ for node in _of(text, ast.CreateTableAsStmt) if node.objtype == matview]


def no_savepoints(text: str, _: Shards) -> list[str]:
    """Transactions are begun and ended by the driver, whole."""
    return [node.kind.name for node in _of(text, ast.TransactionStmt)]


def no_table_locks(text: str, _: Shards) -> list[str]:
    """No LOCK TABLE."""
    return [type(node).__name__ for node in _of(text, ast.LockStmt)]


def no_special_constraints(text: str, _: Shards) -> list[str]:
    """No DEFERRABLE, no exclusion constraints, no domains."""
    found = [type(node).__name__ for node in _of(text, ast.CreateDomainStmt, ast.CreateRangeStmt)]
    for node in _of(text, ast.Constraint):
        kind = enums.ConstrType(node.contype)
        if kind in (enums.ConstrType.CONSTR_EXCLUSION, enums.ConstrType.CONSTR_ATTR_DEFERRABLE) or node.deferrable:
            found.append(kind.name)
    return found


def no_range_types(text: str, _: Shards) -> list[str]:
    """Two columns instead."""
    return [name for name in _types(text) if _RANGE.match(name)]


def no_notifications(text: str, _: Shards) -> list[str]:
    """NOTIFY is never part of a payment's transaction."""
    found = [type(node).__name__ for node in _of(text, ast.NotifyStmt, ast.ListenStmt)]
    return found + [name for name in _functions(text) if name == "pg_notify"]


def no_volatile_functions(text: str, _: Shards) -> list[str]:
    """Values are passed in."""
    found = [name for name in _functions(text) if name in _VOLATILE]
    return found + [node.op.name for node in _of(text, ast.SQLValueFunction)]


def clock_only_for_leases(text: str, _: Shards) -> list[str]:
    """clock_timestamp() is read by leases alone, and never written from inside SQL."""
    if "clock_timestamp" not in _functions(text):
        return []
    if next(_of(text, ast.UpdateStmt, ast.InsertStmt, ast.ColumnDef), None) is not None:
        return ["clock_timestamp() in a statement that writes"]
    return [] if "lease" in text or re.fullmatch(r"\s*SELECT clock_timestamp\(\)[^;]*", text) else ["clock_timestamp()"]


def no_division(text: str, _: Shards) -> list[str]:
    """Engines differ on `/` between integers; code divides, and names its rounding."""
    return ["/" for node in _of(text, ast.A_Expr) if any(each.sval == "/" for each in node.name)]


def columns_are_explicit(text: str, _: Shards) -> list[str]:
    """No `SELECT *`, and INSERT names its columns."""
    stars = [node for node in _of(text, ast.ColumnRef) if any(isinstance(each, ast.A_Star) for each in node.fields)]
    return ["*" for _ in stars] + [f"INSERT INTO {n.relation.relname}" for n in _of(text, ast.InsertStmt) if not n.cols]


def no_correctness_from_partial_indexes(text: str, _: Shards) -> list[str]:
    """No partial unique index, and no ON CONFLICT that relies on one."""
    found = [node.idxname for node in _of(text, ast.IndexStmt) if node.unique and node.whereClause is not None]
    return found + ["ON CONFLICT … WHERE" for node in _of(text, ast.InferClause) if node.whereClause is not None]


# -- what concerns the shard key --------------------------------------------------------------------------------


def keys_contain_the_shard_key(text: str, shards: Shards) -> list[str]:
    """Every table says what it is sharded by, and each of its primary, unique and foreign keys contains that."""
    found: list[str] = []
    for table in _of(text, ast.CreateStmt):
        name = table.relation.relname
        shard = shards.get(name)
        if shard is None:
            found.append(f"{name} has no `-- shard:` comment")
            continue
        lacking = [columns for columns in _keys(table) if shard not in columns]
        found += [f"{name}: key ({', '.join(columns)}) without {shard}" for columns in lacking]
    for index in _of(text, ast.IndexStmt):
        columns = [element.name for element in index.indexParams]
        if index.unique and shards.get(index.relation.relname) not in columns:
            found.append(f"{index.idxname}: unique without the shard key")
    return found


def _keys(table: Any) -> Iterator[list[str]]:
    unique = (enums.ConstrType.CONSTR_PRIMARY, enums.ConstrType.CONSTR_UNIQUE)
    for element in table.tableElts or ():
        if isinstance(element, ast.Constraint):
            if element.contype in unique:
                yield [key.sval for key in element.keys]
            elif element.contype == enums.ConstrType.CONSTR_FOREIGN:
                yield [key.sval for key in element.fk_attrs]
        elif isinstance(element, ast.ColumnDef):
            for constraint in element.constraints or ():
                if constraint.contype in (*unique, enums.ConstrType.CONSTR_FOREIGN):
                    yield [element.colname]


def row_locks_name_the_shard_key(text: str, shards: Shards) -> list[str]:
    """FOR UPDATE and SKIP LOCKED only with equality on the shard key of a table that is read."""
    found: list[str] = []
    for select in _of(text, ast.SelectStmt):
        if not select.lockingClause:
            continue
        inner = nodes_under(select)
        tables: list[str] = [
            str(node.relname) for node in inner if isinstance(node, ast.RangeVar) and node.relname in shards
        ]
        equal = {name for node in inner if isinstance(node, ast.A_Expr) for name in _equated(node)}
        found += [
            f"{table}: locked without equality on {shards[table]}" for table in tables if shards[table] not in equal
        ]
    return found


def _equated(expression: Any) -> Iterator[str]:
    if [each.sval for each in expression.name] != ["="]:
        return
    for side in (expression.lexpr, expression.rexpr):
        for node in [side] if isinstance(side, ast.ColumnRef) else getattr(side, "args", None) or ():
            if isinstance(node, ast.ColumnRef) and isinstance(node.fields[-1], ast.String):
                yield node.fields[-1].sval


EVERYWHERE: tuple[Rule, ...] = (
    no_code_in_the_database,
    no_advisory_locks,
    no_sequences,
    no_passing_objects,
    no_savepoints,
    no_table_locks,
    no_special_constraints,
    no_range_types,
    no_notifications,
    no_volatile_functions,
    clock_only_for_leases,
    no_division,
    columns_are_explicit,
    no_correctness_from_partial_indexes,
    keys_contain_the_shard_key,
    row_locks_name_the_shard_key,
)
