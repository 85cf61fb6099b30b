"""Entries of a reversal: what a leg consumed goes back to its own lots, what it credited is taken from its own lots.

`taken` of a leg tells both: of a source the lots that it consumed, of a target those that it made (or filled again).
"""

from __future__ import annotations

from kessai.services.ledger.domain.commands import NeedLots
from kessai.services.ledger.domain.page import Page, Posting
from kessai.services.ledger.domain.posting import Taking, draw, enter, new_lot, realised_gain
from kessai.services.ledger.domain.progress import LegProgress
from kessai.services.ledger.domain.state import AccountState, Lot

DAY_US = 86_400_000_000


def restore(
    page: Page,
    account: AccountState,
    exchange_hex: str,
    number: int,
    leg: LegProgress,
    amount: int,
    *,
    rate: str | None = None,
) -> Posting:
    """Give consumed value back to its own lots, the last consumed first; expired ones follow the type's grace rule.

    With the rate at which it was sold, the gain that was realised on it is taken back.
    """
    if not account.type.has_lots:
        return enter(page, account, exchange_hex, number, amount, 0, [])
    page.touch(account)
    takings: list[Taking] = []
    left, afresh, fresh_rate = amount, 0, None
    while left:
        sequence, consumed = leg.taken[-1]
        back = min(consumed, left)
        left -= back
        if back == consumed:
            leg.taken.pop()
        else:
            leg.taken[-1] = [sequence, consumed - back]
        lot = account.lot(sequence)
        if lot.expires <= page.now and account.type.grace_days:
            afresh, fresh_rate = afresh + back, lot.rate
        else:
            if takings and takings[-1][0] == sequence:  # captured in several parts out of one lot
                takings[-1][1] += back
            else:
                takings.append([sequence, back, 0])
            _refill(page, account, lot, back)
    posting = enter(page, account, exchange_hex, number, amount, 0, takings)
    if rate is not None and account.type.rate_tracked:
        kept = realised_gain(account, [[sequence, -consumed, 0] for sequence, consumed in leg.taken], rate)
        posting[11] = kept - leg.gain
        leg.gain = kept
    if afresh:
        new_lot(page, account, posting, afresh, page.now + account.type.grace_days * DAY_US, fresh_rate)
    return posting


def _refill(page: Page, account: AccountState, lot: Lot, amount: int) -> None:
    was_empty = lot.remaining == 0
    lot.remaining += amount
    _touch(page, account, lot)
    if was_empty and lot not in account.lots:
        if account.keep(lot):
            account.side.pop(lot.sequence, None)
        else:
            account.side[lot.sequence] = lot


def _touch(page: Page, account: AccountState, lot: Lot) -> None:
    if lot.landed != page.serial:
        lot.landed = page.serial
        page.lots[lot] = account


def take_back(
    page: Page,
    account: AccountState,
    exchange_hex: str,
    number: int,
    leg: LegProgress,
    amount: int,
    *,
    rate: str | None = None,
) -> Posting:
    """Take credited value back from the lots that the credit made, the last first; the rest from others in order.

    What is held or has expired stays where it is. With a rate, the gain realised on other lots is told.
    """
    if not account.type.has_lots:
        return enter(page, account, exchange_hex, number, -amount, 0, [])
    page.touch(account)
    takings = _take_made(page, account, leg, amount)
    left = amount + sum(taken for _, taken, _ in takings)
    if left:
        rest, _ = draw(page, account, left, holding=False)
        known = {taking[0]: taking for taking in takings}
        for taking in rest:
            if (same := known.get(taking[0])) is None:
                takings.append(taking)
            else:
                same[1] += taking[1]
    posting = enter(page, account, exchange_hex, number, -amount, 0, takings)
    if rate is not None and account.type.rate_tracked:
        posting[11] = realised_gain(account, takings, rate)
    _put_aside_empty(account)
    return posting


def _take_made(page: Page, account: AccountState, leg: LegProgress, amount: int) -> list[Taking]:
    takings: list[Taking] = []
    kept: list[list[int]] = []
    left = amount
    for sequence, made in reversed(leg.taken):
        lot = _made_lot(account, sequence) if left else None
        free = 0 if lot is None or lot.expires <= page.now else lot.remaining - lot.held
        part = min(made, free, left)
        if lot is not None and part:
            lot.remaining -= part
            _touch(page, account, lot)
            takings.append([sequence, -part, 0])
            left -= part
        if made > part:
            kept.append([sequence, made - part])
    leg.taken = kept[::-1]
    return takings


def _made_lot(account: AccountState, sequence: int) -> Lot | None:
    """A lot that a credit has made, while something may be left of it."""
    if account.knows(sequence):
        return account.lot(sequence)
    if account.complete:
        return None
    raise NeedLots(account.account_id)


def _put_aside_empty(account: AccountState) -> None:
    """Out of the window, wherever they stand in it; a later command of the page may refill them."""
    account.side |= {lot.sequence: lot for lot in account.lots if not lot.remaining}
    account.lots = [lot for lot in account.lots if lot.remaining]
