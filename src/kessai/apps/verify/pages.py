"""The pass over all flushes: each page's effects, their seal, and every row and event that they must have made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import asyncpg
import msgspec

from kessai.apps.verify.finding import Projection, Report, Row
from kessai.apps.verify.records import (
    BIRTHS,
    AccountEvent,
    Effect,
    Refusal,
    decode_account_event,
    decode_effect,
    decode_refusal,
    faults_of,
    fresh_amount,
    is_plain,
)
from kessai.apps.verify.seals import Chains
from kessai.foundation.events import encode_events
from kessai.services.ledger.domain.refusals import is_refusal
from kessai.services.ledger.domain.state import SLOT_BITS, instant
from kessai.services.ledger.store.rows import opened_event, page_digest

Part = asyncpg.Record | None

ACCOUNT_LOGS = Projection(
    "every entry is a posting of a record",
    "ledger.account_log",
    ("account_id", "sequence", "exchange_id", "leg", "amount", "held_change", "balance", "held"),
    2,
)
HOT_LOGS = Projection(
    "every entry is a posting of a record",
    "ledger.hot_log",
    ("account_id", "ordinal", "exchange_id", "leg", "amount"),
    2,
)
LOT_LOGS = Projection(
    "every lot's log is a taking of a posting",
    "ledger.lot_log",
    ("account_id", "sequence", "lot_sequence", "amount", "held_change"),
    3,
)
LOTS = Projection(
    "every lot is made by a posting", "ledger.lot", ("account_id", "sequence", "amount", "expires_at", "rate"), 2
)
REFERENCES = Projection(
    "references are those of the records", "ledger.exchange_reference", ("reference", "exchange_id"), 1
)
EXCHANGES = Projection(
    "an exchange's row is its record's",
    "ledger.exchange",
    ("exchange_id", "caller", "processing_id"),
    1,
)
ACTIONS = Projection(
    "an action's row is its record's",
    "ledger.exchange_action",
    ("exchange_id", "action_id", "caller", "processing_id"),
    2,
)
EVENTS = Projection(
    "an account event's row is its record's", "ledger.account_event", ("account_id", "version", "event"), 2
)
SEALED = "every page is what its digest and seal cover"
PUBLISHED = "what was recorded is what was published"
MEANT = "every exchange adds up to zero per asset"


def columns(part: Part, *names: str) -> list[Any]:
    """Rows of a part (tuples of what the database gives), from its columns."""
    return [] if part is None else list(zip(*(part[name] for name in names), strict=True))


class Page:
    """One flush with the rows that came with it, put together again."""

    def __init__(self, report: Report, flush: asyncpg.Record, parts: dict[str, Part]) -> None:
        self.flush_id: int = flush["flush_id"]
        self._report = report
        self._flush = flush
        self._parts = parts
        self.digests: list[bytes] = [] if (births := parts["exchanges"]) is None else births["digests"]
        self.kinds: list[str] = []
        """Which table each effect stands in, in order."""
        self.keys: list[str] = []
        self.records: list[bytes] = []
        self._gather()
        self._unpublished = {
            at for at, record in enumerate(self.records) if self.kinds[at] == "account_event" or is_refusal(record)
        }

    def _gather(self) -> None:
        """Effects by ordinal, from the three tables that they stand in."""
        births, actions, events = (self._parts[name] for name in ("exchanges", "actions", "events"))
        ordinals: list[int] = [] if births is None else births["ordinals"]
        if actions is None and events is None:
            self.records = [] if births is None else births["records"]
            self.keys = [] if births is None else births["exchange_ids"]
            self.kinds = ["exchange"] * len(ordinals)
        else:
            rows: list[tuple[int, str, str, bytes]] = [
                (ordinal, table, "/".join(map(str, key)), record)
                for table, part, names in (
                    ("exchange", births, ("exchange_ids",)),
                    ("exchange_action", actions, ("exchange_ids", "action_ids")),
                    ("account_event", events, ("account_ids", "versions")),
                )
                for ordinal, record, *key in columns(part, "ordinals", "records", *names)
            ]
            rows.sort(key=itemgetter(0))
            ordinals = [row[0] for row in rows]
            self.kinds = [row[1] for row in rows]
            self.keys = [row[2] for row in rows]
            self.records = [row[3] for row in rows]
        if ordinals != list(range(self._flush["effects"])):
            self._misplaced(ordinals)

    def _misplaced(self, ordinals: list[int]) -> None:
        """Which effects are missing, or stand where they should not."""
        effects: int = self._flush["effects"]
        times = Counter(ordinals)
        for kind, key, ordinal in zip(self.kinds, self.keys, ordinals, strict=True):
            if times[ordinal] > 1 or not 0 <= ordinal < effects:
                text = f"flush {self.flush_id} has no place {ordinal} for it"
                self._report.add(SEALED, f"ledger.{kind}", key, text)
        for ordinal in sorted(set(range(min(effects, len(ordinals) + 1_000))) - set(ordinals)):
            self._report.add(SEALED, "ledger.flush", self.flush_id, f"its effect {ordinal} is missing")

    def check_seal(self, chains: Chains, published: Sequence[asyncpg.Record]) -> None:
        """The digest of the effects is the flush's, and the flush continues its writer's chain."""
        digest = page_digest(self.records, self.digests)
        if digest == self._flush["digest"]:
            chains.follow(self._flush)
        elif chains.follow(self._flush):
            self._blame(published)
        else:
            self._report.add(SEALED, "ledger.flush", self.flush_id, "its digest is not that of its effects")

    def _blame(self, published: Sequence[asyncpg.Record]) -> None:
        """The flush's own row is sealed, so its content was changed: find which row by what was published."""
        told = {bytes(event) for row in published for event in _events_of(row["payload"])}
        published_records = [at for at in range(len(self.records)) if at not in self._unpublished]
        altered = [at for at in published_records if told and self.records[at] not in told]
        suspects = altered or [
            at for at, kind in enumerate(self.kinds) if kind != "exchange_action" or at in self._unpublished
        ]
        for kind in sorted({self.kinds[at] for at in suspects}):
            keys = [self.keys[at] for at in suspects if self.kinds[at] == kind]
            text = "its record is not what was sealed" if altered else "the record or digest of one of them was changed"
            self._report.add(SEALED, f"ledger.{kind}", ", ".join(keys[:100]), f"{text} (flush {self.flush_id})")
        if not suspects:
            self._report.add(SEALED, "ledger.flush", self.flush_id, "its effects are not what was sealed")

    def effects(self) -> list[Effect]:
        """Effects on exchanges, in order, with what is wrong with each reported."""
        found: list[Effect] = []
        for at, (kind, record) in enumerate(zip(self.kinds, self.records, strict=True)):
            if at in self._unpublished:
                continue
            try:
                effect = decode_effect(record)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                self._report.add(MEANT, f"ledger.{kind}", self.keys[at], f"its record cannot be read: {error}")
                continue
            found.append(effect)
            if not is_plain(effect):
                for fault in faults_of(effect):
                    self._report.add(MEANT, f"ledger.{kind}", self.keys[at], fault)
        return found

    def check_owners(self, effects: list[Effect]) -> None:
        """Rows of exchanges, actions and account events say what their records say."""
        births = [effect for effect in effects if effect.action in BIRTHS]
        acts: list[Effect | Refusal] = (
            [e for e in effects if e.action not in BIRTHS] if len(births) < len(effects) else []
        )
        refusals = self._refusals()
        acts += [refusal for refusal in refusals if refusal.action_id is not None]
        owners = [*births, *(refusal for refusal in refusals if refusal.action_id is None)]
        self._same(EXCHANGES, [(e.exchange_id, e.caller, e.processing_id) for e in owners],
                   columns(self._parts["exchanges"], "exchange_ids", "callers", "processing_ids"))  # fmt: skip
        if self._parts["actions"] is not None or acts:
            told = [(e.exchange_id, e.action_id, e.caller, e.processing_id) for e in acts]
            rows = columns(self._parts["actions"], "exchange_ids", "action_ids", "callers", "processing_ids")
            self._same(ACTIONS, told, rows)
        if self._parts["events"] is not None:
            told_events = [(e.account_id, e.version, e.event) for e in self._account_events()]
            self._same(EVENTS, told_events, columns(self._parts["events"], "account_ids", "versions", "events"))
        references = [(e.reference, e.exchange_id) for e in births if e.reference is not None]
        if references or self._parts["references"] is not None:
            self._same(REFERENCES, references, columns(self._parts["references"], "references", "exchange_ids"))

    def _refusals(self) -> list[Refusal]:
        found: list[Refusal] = []
        for at in self._unpublished:
            if self.kinds[at] != "account_event":
                try:
                    found.append(decode_refusal(self.records[at]))
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    self._report.add(MEANT, f"ledger.{self.kinds[at]}", self.keys[at], f"it cannot be read: {error}")
        return found

    def _account_events(self) -> list[AccountEvent]:
        found: list[AccountEvent] = []
        for kind, key, record in zip(self.kinds, self.keys, self.records, strict=True):
            if kind == "account_event":
                try:
                    found.append(decode_account_event(record))
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    self._report.add(EVENTS.invariant, EVENTS.table, key, f"its record cannot be read: {error}")
        return found

    def _same(self, projection: Projection, told: list[Any], found: list[Row]) -> None:
        if told != found:
            projection.missed(self._report, projection.compare(self._report, told, found))

    def check_entries(self, effects: list[Effect]) -> list[Row]:
        """Each posting has its row, its lots' logs and its lot, and no row stands alone; gives lots not found."""
        postings = [(effect.exchange_id, posting) for effect in effects for posting in effect.postings]
        parts, report = self._parts, self._report
        logs = [(p[1], p[7], e, p[0], p[3], p[4], p[5], p[6]) for e, p in postings if p[5] is not None]
        found = columns(parts["logs"], "account_ids", "sequences", "exchange_ids", "legs", "amounts", "held_changes",
                        "balances", "helds")  # fmt: skip
        self._entries(ACCOUNT_LOGS, logs, found)
        if len(logs) < len(postings) or parts["hot_logs"] is not None:
            hot = [(p[1], p[7], e, p[0], p[3]) for e, p in postings if p[5] is None]
            found = columns(parts["hot_logs"], "account_ids", "ordinals", "exchange_ids", "legs", "amounts")
            self._entries(HOT_LOGS, hot, found)
        takings = [(p[1], p[7], *taking) for _, p in postings for taking in p[8]]
        found = columns(parts["lot_logs"], "account_ids", "sequences", "lot_sequences", "amounts", "held_changes")
        LOT_LOGS.missed(report, LOT_LOGS.compare(report, takings, found))
        lots = [
            (p[1], p[7], fresh, None if p[9] is None else instant(p[9]), p[10])
            for _, p in postings
            if p[3] > 0 and p[5] is not None and (fresh := fresh_amount(p) if p[8] else p[3])
        ]
        found = columns(parts["lots"], "account_ids", "sequences", "amounts", "expiries", "rates")
        return LOTS.compare(report, lots, found)

    def _entries(self, projection: Projection, told: Sequence[Row], found: list[Row]) -> None:
        missing = projection.compare(self._report, told, found)
        projection.missed(self._report, missing)
        if len(found) > len(told) - len(missing):
            known = {key.split("/")[0] for key in self.keys}
            for exchange_id in sorted({str(row[2]) for row in found} - known):
                text = f"there is no record of it in flush {self.flush_id}, but entries"
                self._report.add(projection.invariant, "ledger.exchange", exchange_id, text)

    def check_published(self, effects: list[Effect], published: list[asyncpg.Record]) -> None:
        """The outbox carries exactly these records, byte for byte; takes what is theirs out of `published`."""
        records = [record for at, record in enumerate(self.records) if at not in self._unpublished]
        expiries: list[bytes] = []
        if len(effects) == len(records):
            sweeps = {key for key, digest in zip(self._births(), self.digests, strict=True) if not digest}
            expiries = [record for effect, record in zip(effects, records, strict=True)
                        if effect.action == "expired" or (sweeps and effect.exchange_id in sweeps)]  # fmt: skip
        for topic, events in (("ledger.exchange", records), ("ledger.expiry", expiries)):
            if events:
                self._check_topic(topic, events, published)
        told = any(row["topic"] == "ledger.account" for row in published)  # flushes older than the topic told of none
        if told and (opened := self._opened()):
            self._check_topic("ledger.account", opened, published)

    def _check_topic(self, topic: str, events: list[bytes], published: list[asyncpg.Record]) -> None:
        report, payload = self._report, encode_events(events)
        rows = [row for row in published if row["topic"] == topic]
        same = [row for row in rows if row["payload"] == payload]
        for row in same or rows[:1]:
            published.remove(row)
        if not rows:
            text = f"{len(events)} events of {topic} were not published"
            report.add(PUBLISHED, "ledger.outbox", f"flush {self.flush_id}", text)
        elif not same:
            text = f"it is not what flush {self.flush_id} recorded"
            report.add(PUBLISHED, "ledger.outbox", rows[0]["outbox_id"], text)
        elif len(same) > 1:
            keys = ", ".join(str(row["outbox_id"]) for row in same)
            report.add(PUBLISHED, "ledger.outbox", keys, f"all of them carry what flush {self.flush_id} recorded")
        for row in same or rows[:1]:
            if row["event_count"] != len(events):
                text = f"it says {row['event_count']} events instead of {len(events)}"
                report.add(PUBLISHED, "ledger.outbox", row["outbox_id"], text)

    def _opened(self) -> list[bytes]:
        at = instant(self.flush_id >> SLOT_BITS)
        return [
            opened_event(each.account_id, each.owner or "", each.account_type or "", at)
            for each in self._account_events()
            if each.event == "opened"
        ]

    def _births(self) -> list[str]:
        births = self._parts["exchanges"]
        return [] if births is None else births["exchange_ids"]


def _events_of(payload: bytes) -> list[msgspec.Raw]:
    try:
        return msgspec.json.decode(payload, type=list[msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return []


def strays(report: Report, name: str, rows: Sequence[asyncpg.Record]) -> None:
    """Rows that name a flush which does not exist (or, of lots, an entry)."""
    belonging = "every row belongs to a flush"
    for row in rows:
        told = f"it names flush {row['flush_id']}, which does not exist"
        if row["flush_id"] is not None:
            report.add(belonging, "ledger.flush", row["flush_id"], "there is no such flush, but rows that name it")
        match name:
            case "exchanges":
                keys = [("exchange", key) for key in row["exchange_ids"]]
            case "actions":
                keys = [("exchange_action", "/".join(each)) for each in columns(row, "exchange_ids", "action_ids")]
            case "events":
                keys = [("account_event", f"{a}/{v}") for a, v in columns(row, "account_ids", "versions")]
            case "logs":
                keys = [("account_log", f"{a}/{s}") for a, s in columns(row, "account_ids", "sequences")]
            case "hot_logs":
                keys = [("hot_log", f"{a}/{o}") for a, o in columns(row, "account_ids", "ordinals")]
            case "lot_logs":
                names = columns(row, "account_ids", "sequences", "lot_sequences")
                keys = [("lot_log", "/".join(map(str, each))) for each in names]
                told = "its entry does not exist"
            case "lots":
                keys = [("lot", f"{a}/{s}") for a, s in columns(row, "account_ids", "sequences")]
                told = "the entry that made it does not exist"
            case _:
                keys = [("exchange_reference", key) for key in row["references"]]
                told = "its exchange does not exist"
        for table, key in keys:
            report.add(belonging, f"ledger.{table}", key, told)


def strays_published(report: Report, rows: Sequence[asyncpg.Record]) -> None:
    """Outbox rows that carry nothing which was recorded at their instant."""
    for row in rows:
        report.add(PUBLISHED, "ledger.outbox", row["outbox_id"], "nothing of the kind was recorded at its instant")
