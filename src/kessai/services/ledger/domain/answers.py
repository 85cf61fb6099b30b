"""Answers: an exchange as its callers see it, from postings, from a stored record, or from its progress."""

from __future__ import annotations

from typing import cast

import msgspec

from kessai.services.ledger.api import Exchange, ExchangeLeg, ExchangeRecorded, ExchangeState, LotTaking
from kessai.services.ledger.domain.page import Posting
from kessai.services.ledger.domain.progress import LegProgress, Progress
from kessai.services.ledger.domain.refusals import decode_refusal, is_refusal
from kessai.services.ledger.domain.state import flush_instant, instant

_Posting = tuple[
    int, str, str, int, int, int | None, int | None, int, list[list[int]], int | None, str | None, int | None
]

_Leg = tuple[str, str, int, int | None]

decode_record = msgspec.json.Decoder(ExchangeRecorded).decode


def legs_of_postings(postings: list[Posting], legs: list[list[object]] | None = None) -> list[ExchangeLeg]:
    """The legs of an exchange that was captured at once; `legs` tells of all when some moved nothing."""
    if not legs:
        return [_leg_of_posting(posting) for posting in postings]
    told = {posting[0]: posting for posting in postings}
    return [
        _leg_of_posting(told[number]) if number in told else _held_leg(number, cast("_Leg", leg), None)
        for number, leg in enumerate(legs)
    ]


def _leg_of_posting(posting: Posting) -> ExchangeLeg:
    number, account_id, asset, amount, _, balance, _, _, takings, _, _, gain = cast("_Posting", posting)
    return ExchangeLeg(
        leg=number,
        account_id=account_id,
        asset=asset,
        amount_minor=amount,
        captured_minor=amount if amount > 0 else -amount,
        reversed_minor=0,
        balance_after_minor=balance,
        realised_gain_minor=gain,
        lots=lot_takings(account_id, takings),
    )


def lot_takings(account_id: str, takings: list[list[int]]) -> list[LotTaking]:
    """Consumed and returned lots; mere holds are left out."""
    if not takings:
        return []
    prefix = f"lot_{account_id[4:]}_"
    return [LotTaking(lot_id=f"{prefix}{sequence}", amount_minor=amount) for sequence, amount, _ in takings if amount]


def answer_of_record(record: bytes, flush_id: int) -> Exchange:
    """The answer that was given when this record was written."""
    told = decode_record(record)
    legs = legs_of_postings(told.postings, told.legs) if told.state is ExchangeState.CAPTURED else _held_legs(told)
    return Exchange(
        exchange_id=told.exchange_id,
        kind=told.kind,
        state=told.state,
        legs=legs,
        recorded_at=flush_instant(flush_id),
        reference=told.reference,
        expires_at=None if told.expires is None else instant(told.expires),
        reverses=told.reverses,
        rate=told.rate,
        metadata=told.metadata,
        processing_id=told.processing_id,
    )


def _held_legs(told: ExchangeRecorded) -> list[ExchangeLeg]:
    balances = {posting[0]: posting[5] for posting in told.postings}
    legs = cast("list[_Leg]", told.legs)
    return [_held_leg(number, leg, cast("int | None", balances.get(number))) for number, leg in enumerate(legs)]


def _held_leg(number: int, leg: _Leg, balance: int | None) -> ExchangeLeg:
    account_id, asset, amount, _ = leg
    return ExchangeLeg(
        leg=number,
        account_id=account_id,
        asset=asset,
        amount_minor=amount,
        captured_minor=0,
        reversed_minor=0,
        balance_after_minor=balance,
        realised_gain_minor=None,
        lots=[],
    )


def progress_of_record(record: bytes, digest: bytes, flush_id: int) -> Progress:
    """Progress of an exchange right after its birth, for one that has no row of its own yet."""
    if is_refusal(record):
        return _refused(record, digest, flush_id)
    told = decode_record(record)
    postings = {posting[0]: posting for posting in told.postings}
    legs = [_captured_leg(posting) for posting in told.postings]
    if told.legs:
        legs = [
            _captured_leg(postings[number]) if number in postings else LegProgress(*cast("_Leg", leg), 0, 0, [], [])
            for number, leg in enumerate(told.legs)
        ]
    expires = told.expires
    return Progress(
        told.exchange_id, told.kind, told.reference, told.state, 0, flush_id, expires, told.reverses, told.rate,
        told.metadata, told.processing_id, legs, [], digest,
    )  # fmt: skip


def _refused(record: bytes, digest: bytes, flush_id: int) -> Progress:
    told = decode_refusal(record)
    return Progress(
        told.exchange_id, "refusal", None, ExchangeState.VOIDED, 0, flush_id, None, None, None, {}, told.processing_id,
        [], [], digest, refused=True,
    )  # fmt: skip


def _captured_leg(posting: list[object]) -> LegProgress:
    number, account_id, asset, amount, _, balance, _, sequence, takings, expires, _, gain = cast("_Posting", posting)
    del number
    taken = moved_lots(amount, takings, None if balance is None else sequence)
    return LegProgress(account_id, asset, amount, expires, abs(amount), 0, [], taken, gain or 0)


def moved_lots(amount: int, takings: list[list[int]], sequence: int | None) -> list[list[int]]:
    """`[lot sequence, amount]` that an entry consumed, or else filled again and made; `sequence` is the entry's own."""
    moved = [[lot, abs(part)] for lot, part, _ in takings if part]
    fresh = amount - sum(part for _, part in moved)
    if fresh > 0 and sequence is not None:
        moved.append([sequence, fresh])
    return moved


def answer_of_progress(progress: Progress, postings: list[Posting], flush_id: int) -> Exchange:
    """An exchange as it stands after an action, with the balances and lots that the action's postings tell."""
    by_leg = {cast("int", posting[0]): posting for posting in postings}
    return Exchange(
        exchange_id=progress.exchange_id,
        kind=progress.kind,
        state=progress.state,
        legs=[_leg_of_progress(number, leg, by_leg.get(number)) for number, leg in enumerate(progress.legs)],
        recorded_at=flush_instant(flush_id),
        reference=progress.reference,
        expires_at=None if progress.expires is None else instant(progress.expires),
        reverses=progress.reverses,
        rate=progress.rate,
        metadata=progress.metadata,
        processing_id=progress.processing_id,
    )


def _leg_of_progress(number: int, leg: LegProgress, posting: Posting | None) -> ExchangeLeg:
    return ExchangeLeg(
        leg=number,
        account_id=leg.account_id,
        asset=leg.asset,
        amount_minor=leg.amount,
        captured_minor=leg.captured,
        reversed_minor=leg.reversed,
        balance_after_minor=None if posting is None else cast("int | None", posting[5]),
        realised_gain_minor=None if posting is None else cast("int | None", posting[11]),
        lots=[] if posting is None else lot_takings(leg.account_id, cast("list[list[int]]", posting[8])),
    )


def answer_of_action(progress: Progress, record: bytes, flush_id: int) -> Exchange:
    """The answer that was given to an action when its record was written."""
    told = decode_record(record)
    legs = [
        LegProgress(
            leg.account_id, leg.asset, leg.amount, leg.expires, cast("int", captured), cast("int", back), [], []
        )
        for leg, (captured, back) in zip(progress.legs, told.legs, strict=True)
    ]
    then = Progress(
        progress.exchange_id, progress.kind, progress.reference, told.state, 0, progress.recorded, progress.expires,
        progress.reverses, progress.rate, progress.metadata, progress.processing_id, legs, [], b"",
    )  # fmt: skip
    return answer_of_progress(then, told.postings, flush_id)
