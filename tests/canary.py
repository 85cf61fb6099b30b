"""A canary for card numbers over the whole suite: none may be seen in any table, event, log, error, span or metric.

The simulators' card numbers are of test BINs that nothing else has, and pass Luhn, so that any of them is known at
sight: as digits, in hexadecimal, in base64, or as JSON makes of bytes. A test in which one is seen fails at once.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from kessai.foundation import errors, telemetry
from kessai.sdk.iso8583 import passes_luhn

_DIGITS = re.compile(r"(?<![0-9])9990[ -]?0[01][0-9]{2}[ -]?[0-9]{4}[ -]?[0-9]{4}(?![0-9])")
_HEX = re.compile(r"3939393030(?:30|31)(?:3[0-9]){10}(?!3[0-9])", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*(?:OTk5MDA|k5OTAw|5OTkwMD)[A-Za-z0-9+/_-]*")
_NUMBERS = re.compile(r"57, ?57, ?57, ?48, ?48, ?4[89](?:, ?(?:4[89]|5[0-7])){10}(?![0-9])")
_LIKELY = ("99900", "9990 ", "9990-", "3939393030", "OTk5MDA", "k5OTAw", "5OTkwMD", "57, 57, 57", "57,57,57")
"""What a text with a card number in any form has in it."""
_IN_ROWS = (
    "9990[ -]?0[01][0-9]{2}[ -]?[0-9]{4}[ -]?[0-9]{4}|3939393030(30|31)(3[0-9]){10}|OTk5MDA|k5OTAw|5OTkwMD"
    "|57, ?57, ?57, ?48, ?48|4f546b354d4441|6b354f544177|354f546b774d44"
)
"""The same for PostgreSQL, which shows bytes in hexadecimal: also base64 and lists of numbers within those."""
_SHOWN = 3
_FILES = ("*.log", "*.jsonl")
_FILE_BYTES_MAX = 50_000_000


def sightings(text: str) -> list[str]:
    """How card numbers stand in a text: each form once, masked."""
    if not any(each in text for each in _LIKELY) and "393939303" not in text:
        return []
    found = [("digits", _only_digits(each)) for each in _DIGITS.findall(text)]
    found += [("hexadecimal", bytes.fromhex(each).decode()) for each in _HEX.findall(text)]
    for each in _BASE64.findall(text):
        found += [("base64", _only_digits(inner)) for inner in _DIGITS.findall(_decoded(each))]
    found += [
        ("a list of bytes", bytes(int(part) for part in each.split(",")).decode()) for each in _NUMBERS.findall(text)
    ]
    return sorted({f"{form}: {digits[:6]}…{digits[-4:]}" for form, digits in found if passes_luhn(digits)})


def _only_digits(text: str) -> str:
    return re.sub(r"[ -]", "", text)


def _decoded(text: str) -> str:
    """Base64 read from each of the four places where it can begin."""
    plain = text.translate(str.maketrans("-_", "+/"))
    parts: list[str] = []
    for begin in range(4):
        part = plain[begin:]
        part = part[:-1] if len(part) % 4 == 1 else part
        try:
            parts.append(base64.b64decode(part + "=" * (-len(part) % 4), validate=True).decode("latin-1"))
        except binascii.Error:
            continue
    return "\n".join(parts)


# -- databases --------------------------------------------------------------------------------------------------------

_TABLES = """
SELECT format('%I.%I', n.nspname, c.relname) AS name FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT IN ('information_schema') AND NOT starts_with(n.nspname, 'pg_')
ORDER BY 1
"""
_HOLDS_CARDS = """
SELECT coalesce(sum(pg_relation_size(to_regclass(name))), 0) > 0
FROM unnest(ARRAY['nfc.pan_vault', 'nfc.card', 'nfc.id_authorization', 'nfc.issue_batch']) AS t (name)
"""


async def search(dsn: str) -> None:
    """AssertionError when a database in which nfc holds anything shows a card number in any table."""
    try:
        connection = await asyncpg.connect(dsn)
    except asyncpg.InvalidCatalogNameError:
        return  # the test has dropped it itself
    try:
        if await connection.fetchval(_HOLDS_CARDS):
            found = await rows_seen(connection)
            assert not found, "card numbers stand in the database: " + "; ".join(found)
    finally:
        await connection.close()


async def rows_seen(connection: asyncpg.Connection[Any]) -> list[str]:
    """Tables with a card number in any row, and in which form."""
    names = [row["name"] for row in await connection.fetch(_TABLES)]
    query = " UNION ALL ".join(
        f"(SELECT '{name}' AS place, t::text AS row FROM {name} AS t WHERE t::text ~ $1 LIMIT 100)" for name in names
    )
    found: dict[str, list[str]] = {}
    for row in await connection.fetch(query, _IN_ROWS):
        inner = [_text_of(each) for each in re.findall(r"\\x([0-9a-f]+)", row["row"])]
        for text in (row["row"], *inner):
            found.setdefault(row["place"], []).extend(sightings(text))
    return [f"{place} ({', '.join(sorted(set(how))[:_SHOWN])})" for place, how in found.items() if how]


def _text_of(digits: str) -> str:
    return bytes.fromhex(digits).decode("latin-1")


# -- the suite --------------------------------------------------------------------------------------------------------


class Canary:
    """A pytest plugin: listens to the whole session, and fails the test in which something was seen."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        """What was seen and not yet told of."""

    def look(self, where: str, *texts: object) -> None:
        """Note card numbers in what is said somewhere."""
        for text in texts:
            self.seen += [f"{where} ({each})" for each in sightings(str(text))]

    def pytest_sessionstart(self) -> None:
        """Listen to errors as they are made, to spans as they end, to labels of metrics."""
        _wrap(errors.PaymentError, "__init__", self._error)
        _wrap(telemetry.Traces, "__init__", self._traces)
        from prometheus_client.metrics import MetricWrapperBase

        _wrap(MetricWrapperBase, "labels", self._labels)

    def _error(self, error: errors.PaymentError, *_: object, **details: object) -> None:
        self.look("an error", error.code, error.message)
        if details:
            self.look("an error's details", details)

    def _traces(self, traces: Any, *_: object, **__: object) -> None:
        traces._provider.add_span_processor(_Spans(self))

    def _labels(self, _: object, *values: object, **named: object) -> None:
        self.look("a metric's label", *values, *named.values())

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """What was printed and logged is looked at with each report."""
        report = yield
        for name, text in report.sections:
            if name.endswith(report.when or ""):
                self.look(name.lower(), text)
        if report.when == "teardown":
            self._files(item)
        if self.seen:
            told = "; ".join(dict.fromkeys(self.seen))
            self.seen.clear()
            if report.outcome != "failed":
                report.outcome = "failed"
                report.longrepr = f"{item.nodeid}: card numbers were seen: {told}"
        return report

    def _files(self, item: pytest.Item) -> None:
        """Journals and logs that a test left in its folder."""
        folder = getattr(item, "funcargs", {}).get("tmp_path")
        if isinstance(folder, Path):
            for pattern in _FILES:
                for file in folder.rglob(pattern):
                    if file.is_file() and file.stat().st_size <= _FILE_BYTES_MAX:
                        self.look(file.name, file.read_text(errors="replace"))


class _Spans:
    """A span processor that looks at spans as they end."""

    def __init__(self, canary: Canary) -> None:
        self._canary = canary

    def on_start(self, span: object, parent_context: object = None) -> None:
        """Nothing yet."""

    def _on_ending(self, span: object) -> None:
        """Nothing yet."""

    def on_end(self, span: Any) -> None:
        """All that it tells."""
        events: Iterable[Any] = span.events
        told = [each.name for each in events] + [dict(each.attributes or {}) for each in events]
        self._canary.look("a span", span.name, dict(span.attributes or {}), *told)

    def shutdown(self) -> None:
        """Nothing to end."""

    def force_flush(self, timeout_millis: int = 0) -> bool:
        """Nothing is kept."""
        return True


def _wrap(owner: Any, name: str, after: Callable[..., None]) -> None:
    """Have something looked at after each call of a method."""
    original = getattr(owner, name)

    def wrapped(self: Any, *arguments: Any, **named: Any) -> Any:
        result = original(self, *arguments, **named)
        after(self, *arguments, **named)
        return result

    setattr(owner, name, wrapped)
