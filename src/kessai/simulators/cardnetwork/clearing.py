"""Clearing files and daily totals. docs/services/cardnetwork_simulator.md has the layout."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from typing import Any

import msgspec

from kessai.simulators.cardnetwork.records import (
    Authorization,
    Card,
    Cleared,
    ClearingFate,
    ClearingLine,
    ClearingSpoil,
    Declined,
    Detail,
    DetailKind,
    Entry,
    day_of,
)

RECORD_BYTES = 160
FATES_MAX = 10_000
_UNAUTHORIZED = 9_000_000_000
"""Where the acquirer references of sales that nobody authorized begin."""


class ClearingDesk:
    """What is cleared, day by day."""

    def __init__(
        self,
        write: Callable[[Entry], None],
        authorizations: Mapping[str, Authorization],
        cards: Mapping[str, Card],
    ) -> None:
        self.files: dict[str, Cleared] = {}
        """By id, in order of their sequence."""
        self._write = write
        self._authorizations = authorizations
        self._cards = cards
        self._fates: list[ClearingFate] = []
        self._extra = 0

    def foresee(self, fate: ClearingFate) -> None:
        """What is to become of the next authorizations that match; raises ValueError when there are too many."""
        if len(self._fates) >= FATES_MAX:
            raise ValueError("too many fates")
        self._fates.append(fate)

    # -- making a file ------------------------------------------------------------------------------------------

    def close(self, day: date, lines: Iterable[ClearingLine] = (), spoil: ClearingSpoil | None = None) -> Cleared:
        """A day's file; raises Declined for a line that cannot be, and then makes none."""
        if spoil == "resend":
            if not self.files:
                raise Declined("file_not_found", 404)
            return next(reversed(self.files.values()))
        fates, never = list(self._fates), list[str]()
        details = [each for found in self._due(day) for each in _fated(found, fates, never)]
        for line in lines:
            details.append(self._asked(line, day, details))
        sequence = len(self.files) + 1
        file_id = f"clr-{sequence:06d}"
        self._fates = fates
        self._write(Cleared(id=file_id, on=day, sequence=sequence, details=details, never=never, spoil=spoil))
        return self.files[file_id]

    def _due(self, day: date) -> Iterator[Authorization]:
        for each in self._authorizations.values():
            stands = each.state in ("approved", "advised") and each.stands > 0 and each.processing != "balance"
            if stands and not each.filed and not each.never and day_of(each.at) <= day:
                yield each

    def _asked(self, line: ClearingLine, day: date, before: list[Detail]) -> Detail:
        match line.case:
            case "no_authorization":
                return self._unauthorized(line, day)
            case "again":
                return self._again(line)
            case "late":
                authorization = self._found(line.authorization)
                return _detail(authorization, "S", line.amount or authorization.amount)
            case "refund":
                authorization = self._found(line.authorization)
                left = authorization.cleared - authorization.refunded
                left += sum(_moved(each)[0] for each in before if each.authorization == authorization.id)
                return _detail(authorization, "R", line.amount or left)
            case "reversal":
                authorization = self._found(line.authorization)
                cleared = authorization.cleared
                cleared += sum(_moved(each)[0] for each in before if each.authorization == authorization.id)
                if cleared <= 0:
                    raise Declined("not_cleared")
                return _detail(authorization, "V", line.amount or cleared)

    def _unauthorized(self, line: ClearingLine, day: date) -> Detail:
        if line.card not in self._cards or line.amount is None:
            raise Declined("card_not_found", 404)
        self._extra += 1
        number = _UNAUTHORIZED + self._extra
        return Detail(
            kind="S",
            card=line.card,
            amount=line.amount,
            currency="392",
            authorized_on=day,
            approval_code="",
            rrn=f"X{self._extra:011d}",
            merchant="SHOP00000000001",
            mcc="5812",
            acquirer="10000000001",
            reference=f"7410000000001{number:010d}",
        )

    def _again(self, line: ClearingLine) -> Detail:
        file = self.files.get(line.file)
        if file is None or not 0 < line.line <= len(file.details):
            raise Declined("line_not_found", 404)
        return file.details[line.line - 1]

    def _found(self, authorization_id: str) -> Authorization:
        if authorization_id not in self._authorizations:
            raise Declined("authorization_not_found", 404)
        return self._authorizations[authorization_id]

    # -- what the client may know -------------------------------------------------------------------------------

    def file(self, file_id: str) -> bytes:
        """A file; Declined `file_not_found`."""
        if file_id not in self.files:
            raise Declined("file_not_found", 404)
        return _written(self.files[file_id])

    def listed(self, after: int) -> list[dict[str, Any]]:
        """The files beyond a sequence."""
        return [shown(each) for each in self.files.values() if each.sequence > after]

    def totals(self, day: date) -> dict[str, Any]:
        """A day's totals, by these books."""
        asked = [each for each in self._authorizations.values() if each.processing == "purchase"]
        on_day = [each for each in asked if day_of(each.at) == day]
        files = [each for each in self.files.values() if each.on == day]
        details = [each for file in files for each in file.details]
        taken_back = [
            reversal.amount
            for each in asked
            for reversal in each.reversals
            if each.approved and reversal.response == "00" and reversal.answered_at is not None
            if day_of(reversal.answered_at) == day
        ]
        sums = {kind: [each.amount for each in details if each.kind == kind] for kind in ("S", "R", "V")}
        return {
            "date": day,
            "closed": bool(files),
            "file_id": files[-1].id if files else None,
            "authorized": _sum(each.amount for each in on_day if each.approved),
            "declined": _sum(each.amount for each in on_day if each.state == "declined"),
            "reversed": _sum(taken_back),
            "sales": _sum(sums["S"]),
            "refunds": _sum(sums["R"]),
            "reversals": _sum(sums["V"]),
            "net": sum(sums["S"]) - sum(sums["R"]) - sum(sums["V"]),
        }

    def apply(self, entry: Cleared) -> None:
        """Take a step that was written."""
        self.files[entry.id] = entry
        self._extra = max([self._extra, *(int(each.rrn[1:]) for each in entry.details if not each.authorization)])
        for each in entry.details:
            if authorization := self._authorizations.get(each.authorization):
                cleared, refunded = _moved(each)
                authorization.cleared += cleared
                authorization.refunded += refunded
                authorization.filed = True
        for authorization_id in entry.never:
            self._authorizations[authorization_id].never = True


def shown(file: Cleared) -> dict[str, Any]:
    """A file as it is listed."""
    sha256 = hashlib.sha256(_written(file)).hexdigest()
    return {"id": file.id, "date": file.on, "sequence": file.sequence, "count": len(file.details), "sha256": sha256}


def _sum(amounts: Iterable[int]) -> dict[str, int]:
    found = list(amounts)
    return {"count": len(found), "amount": sum(found)}


def _moved(detail: Detail) -> tuple[int, int]:
    """What a line does to what an authorization was cleared and refunded with."""
    match detail.kind:
        case "S":
            return detail.amount, 0
        case "R":
            return 0, detail.amount
        case "V":
            return -detail.amount, 0


def _fated(authorization: Authorization, fates: list[ClearingFate], never: list[str]) -> list[Detail]:
    """The lines of an authorization in its file."""
    line = _detail(authorization, "R" if authorization.processing == "refund" else "S", authorization.stands)
    fate = _taken(authorization, fates)
    match fate.case if fate else "match":
        case "match":
            return [line]
        case "other_amount":
            assert fate is not None
            return [msgspec.structs.replace(line, amount=fate.amount or line.amount)]
        case "omit":
            return []
        case "never":
            never.append(authorization.id)
            return []
        case "duplicate":
            return [line, line]
        case "wrong_card":
            return [msgspec.structs.replace(line, card="c999999999999999")]
        case "wrong_approval_code":
            return [msgspec.structs.replace(line, approval_code="WRONG0")]
        case "wrong_currency":
            return [msgspec.structs.replace(line, currency="840")]


def _taken(authorization: Authorization, fates: list[ClearingFate]) -> ClearingFate | None:
    for index, fate in enumerate(fates):
        if fate.about in (None, authorization.id):
            if fate.times == 1:
                del fates[index]
            elif fate.times > 1:
                fates[index] = msgspec.structs.replace(fate, times=fate.times - 1)
            return fate
    return None


def _detail(authorization: Authorization, kind: DetailKind, amount: int) -> Detail:
    return Detail(
        kind=kind,
        card=authorization.card,
        amount=amount,
        currency=authorization.currency,
        authorized_on=day_of(authorization.at),
        approval_code=authorization.approval_code or "",
        rrn=authorization.rrn,
        merchant=authorization.merchant,
        mcc=authorization.mcc,
        acquirer=authorization.acquirer,
        reference=f"74{authorization.acquirer:0>11}{int(authorization.id[1:]):010d}",
        authorization=authorization.id,
    )


def _written(file: Cleared) -> bytes:
    """A file's bytes, spoiled where it is to be."""
    records = [f"HCL{file.id:<32}{file.on:%Y%m%d}{file.sequence:06d}"]
    records += [_record(line, each, file.on) for line, each in enumerate(file.details, 1)]
    if file.spoil == "bad_line" and file.details:
        records[-1] = records[-1][:24] + "A" + records[-1][25:]
    records.append(_trailer(file))
    content = "".join(f"{each:<{RECORD_BYTES}}\n" for each in records).encode("ascii")
    return content[: len(content) // 2] if file.spoil == "cut" else content


def _record(line: int, detail: Detail, on: date) -> str:
    return (
        f"D{line:06d}{detail.kind}{detail.card:<16}{detail.amount:012d}{detail.currency}{detail.authorized_on:%Y%m%d}"
        f"{detail.approval_code:<6}{detail.rrn:<12}{detail.merchant:<15}{detail.mcc}{detail.acquirer:0>11}"
        f"{detail.reference}{on:%Y%m%d}"
    )


def _trailer(file: Cleared) -> str:
    count = len(file.details) + (file.spoil == "count")
    words = [f"T{count:06d}"]
    for kind in ("S", "R", "V"):
        amounts = [each.amount for each in file.details if each.kind == kind]
        total = sum(amounts) + (kind == "S" and file.spoil == "total")
        words.append(f"{len(amounts):06d}{total:015d}")
    return "".join(words)
