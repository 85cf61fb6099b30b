"""How a service tells, in the flush of its effects, which processings it touched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import msgspec

from kessai.foundation.events import OutboxRow, outbox_row
from kessai.sdk.processing.api import TOPIC_TOUCHED, ProcessingTouched

_encode = msgspec.json.Encoder().encode


def touched_row(processing_ids: Iterable[str], recorded_at: datetime, *, entry: bool = False) -> OutboxRow:
    """The outbox row of a flush with effects in these processings, each named once; `entry` where they begin here."""
    touched = ProcessingTouched(processing_ids=list(dict.fromkeys(processing_ids)), entry=entry)
    return outbox_row(TOPIC_TOUCHED, [touched], recorded_at)


def touched_events(touched: Mapping[str, bool]) -> list[bytes]:
    """The same for a flush that gathers events already: the processings, and whether they begin with it."""
    begun = [each for each, begins in touched.items() if begins]
    others = [each for each, begins in touched.items() if not begins]
    told = ((begun, True), (others, False))
    return [_encode(ProcessingTouched(processing_ids=ids, entry=entry)) for ids, entry in told if ids]
