"""Whether a transaction is proved (突合), and why one does not settle yet. Pure.

The tracer's verdict counts only if it is CONSISTENT and was given after the transaction's event was written: an earlier
one is about an earlier revision of the processing, of which the tracer has just not heard yet. One that was given
within a margin after it counts once that margin has passed and the processing still stands so: by then the tracer has
heard.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from kessai.services.tracer.api import ProcessingVerdict, Verdict

PENDING = "not_proved:PENDING"
NOT_IN_BOOKS = "not_in_books"
Booked = Mapping[tuple[str, str], Counter[int]]
"""By payment and owner: signed amounts that stand in the books, each as often as it stands there."""


def not_proved(verdict: ProcessingVerdict | None, told_at: datetime, *, now: datetime, margin: timedelta) -> str | None:
    """Why the tracer's verdict does not prove a transaction; None: it does. All instants are real time.

    `told_at` is taken a moment before its commit, by another clock: until `margin` has passed since, a verdict from
    within it may still be one on the revision before.
    """
    if verdict is None:
        return PENDING
    if verdict.verdict is not Verdict.CONSISTENT:
        return f"not_proved:{verdict.verdict.value}"
    if verdict.decided_at is None or verdict.decided_at < told_at:
        return PENDING
    return PENDING if max(verdict.decided_at, now) < told_at + margin else None


class BooksProof:
    """Takes what is booked, one by one: an amount that is booked once proves one transaction."""

    def __init__(self, booked: Booked) -> None:
        self._left = {key: Counter(amounts) for key, amounts in booked.items()}

    def not_booked(self, payment_id: str, owner_id: str, signed_minor: int) -> str | None:
        """Why the books do not prove a transaction; None: they do."""
        left = self._left.get((payment_id, owner_id))
        if left is None or not left[signed_minor]:
            return NOT_IN_BOOKS
        left[signed_minor] -= 1
        return None


def booked_of(lines: Iterable[tuple[str, str, int]]) -> dict[tuple[str, str], Counter[int]]:
    """Lines of payment, owner and signed amount, gathered."""
    found: dict[tuple[str, str], Counter[int]] = {}
    for payment_id, owner_id, signed_minor in lines:
        found.setdefault((payment_id, owner_id), Counter())[signed_minor] += 1
    return found
