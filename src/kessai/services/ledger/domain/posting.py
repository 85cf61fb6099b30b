"""Entries on one account: debit, credit, hold, capture, release. Checks come before; nothing here refuses.

Each entry raises the account's version by one, makes one log row and one posting of the effect's record, and moves
lots: a credit makes a lot, a debit consumes lots in the account's order, a hold only promises them.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from kessai.foundation.money import ASSET_EXPONENTS
from kessai.services.ledger.domain.commands import NeedLots
from kessai.services.ledger.domain.page import Page, Posting
from kessai.services.ledger.domain.progress import LegProgress
from kessai.services.ledger.domain.state import NEVER, AccountState, Lot

Taking = list[int]
"""`[lot sequence, amount, held change]`, as in a posting."""


def enter(
    page: Page,
    account: AccountState,
    exchange_hex: str,
    leg: int,
    amount: int,
    held_change: int,
    takings: list[Taking],
) -> Posting:
    """Write one entry: log row, lot logs, new balance. Log-only accounts get a bare row."""
    account_type = account.type
    if account_type.log_only:
        ordinal = len(page.hot_logs)
        page.hot_logs.append((account.hex, ordinal, exchange_hex, leg, amount))
        return [leg, account.account_id, account_type.asset, amount, 0, None, None, ordinal, [], None, None, None]
    if account.landed != page.serial:
        page.touch(account)
    account.version = sequence = account.version + 1
    account.balance = balance = account.balance + amount
    account.held = held = account.held + held_change
    page.logs.append((account.hex, sequence, exchange_hex, leg, amount, held_change, balance, held))
    for taking in takings:
        page.lot_logs.append((account.hex, sequence, *taking))
    return [
        leg, account.account_id, account_type.asset, amount, held_change, balance, held, sequence, takings,
        None, None, None,
    ]  # fmt: skip


def credit(
    page: Page,
    account: AccountState,
    exchange_hex: str,
    leg: int,
    amount: int,
    *,
    expires: int | None = None,
    rate: str | None = None,
) -> Posting:
    """Add value as a new lot."""
    posting = enter(page, account, exchange_hex, leg, amount, 0, [])
    if account.type.has_lots:
        new_lot(page, account, posting, amount, expires, rate)
    return posting


def new_lot(
    page: Page, account: AccountState, posting: Posting, amount: int, expires: int | None, rate: str | None
) -> None:
    """Make a lot of what an entry has just added."""
    until = NEVER if expires is None else expires
    sequence = account.version
    lot = Lot(sequence, amount, amount, 0, until, rate)
    lot.landed = page.serial
    page.new_lots.append((account, lot))
    posting[9] = expires
    posting[10] = rate
    account.keep(lot)


def debit(
    page: Page, account: AccountState, exchange_hex: str, leg: int, amount: int, *, rate: str | None = None
) -> Posting:
    """Consume value, lots in order; with a rate, the realised gain of rate-tracked lots is told."""
    if not account.type.has_lots:
        return enter(page, account, exchange_hex, leg, -amount, 0, [])
    page.touch(account)
    takings, emptied = draw(page, account, amount, holding=False)
    posting = enter(page, account, exchange_hex, leg, -amount, 0, takings)
    if rate is not None and account.type.rate_tracked:
        posting[11] = realised_gain(account, takings, rate)
    if emptied:
        account.drop_empty()
    return posting


def draw(page: Page, account: AccountState, amount: int, *, holding: bool) -> tuple[list[Taking], bool]:
    """Consume or hold free parts of unexpired lots in order; tells also whether one is exhausted by it."""
    takings: list[Taking] = []
    emptied = False
    now = page.now
    for lot in account.lots:
        free = lot.remaining - lot.held
        if not free or lot.expires <= now:
            continue
        take = free if free < amount else amount  # noqa: FURB136  (the hottest line there is)
        if holding:
            lot.held += take
            takings.append([lot.sequence, 0, take])
        else:
            lot.remaining = rest = lot.remaining - take
            emptied = emptied or not rest
            takings.append([lot.sequence, -take, 0])
        if lot.landed != page.serial:
            lot.landed = page.serial
            page.lots[lot] = account
        amount -= take
        if not amount:
            break
    if amount:
        # The check before has seen the balance, so what is missing lies beyond the window.
        raise NeedLots(account.account_id)
    account.drawn += len(takings)
    return takings, emptied


def hold(
    page: Page, account: AccountState, exchange_hex: str, leg: int, amount: int
) -> tuple[Posting | None, list[list[int]]]:
    """Promise value to an exchange; gives the posting and the held lots. Log-only accounts hold nothing."""
    if account.type.log_only:
        return None, [[0, amount]]
    page.touch(account)
    takings: list[Taking] = []
    if account.type.has_lots:
        takings, _ = draw(page, account, amount, holding=True)
    posting = enter(page, account, exchange_hex, leg, 0, amount, takings)
    return posting, [[sequence, held] for sequence, _, held in takings] or [[0, amount]]


def promise(page: Page, account: AccountState, change: int) -> None:
    """Count what a held exchange may bring to an account; negative for what it has brought, or never will."""
    if account.type.log_only or not change:
        return
    page.touch(account)
    page.promised.setdefault(account.account_id, account.incoming)
    account.incoming += change


def capture_hold(
    page: Page,
    account: AccountState,
    exchange_hex: str,
    number: int,
    leg: LegProgress,
    amount: int,
    *,
    release: bool,
    rate: str | None,
) -> Posting | None:
    """Consume `amount` of what the leg holds; with `release`, let go of the rest."""
    if account.type.log_only:
        leg.holds = _less(leg.holds, amount)
        return enter(page, account, exchange_hex, number, -amount, 0, []) if amount else None
    if not amount and not (release and leg.holds):
        return None
    page.touch(account)
    takings: list[Taking] = []
    kept: list[list[int]] = []
    left, let_go = amount, 0
    for sequence, held in leg.holds:
        take = min(held, left)
        left -= take
        rest = held - take
        gone = rest if release else 0
        if rest - gone:
            kept.append([sequence, rest - gone])
        let_go += gone
        if sequence:
            _unhold(page, account, sequence, take, take + gone)
            takings.append([sequence, -take, -take - gone])
        if take:
            leg.taken.append([sequence, take])
    leg.holds = kept
    takings = [taking for taking in takings if taking[1] or taking[2]]
    posting = enter(page, account, exchange_hex, number, -amount, -amount - let_go, takings)
    if rate is not None and account.type.rate_tracked:
        posting[11] = gain = realised_gain(account, takings, rate)
        leg.gain += gain
    account.drop_empty()
    return posting


def _less(holds: list[list[int]], amount: int) -> list[list[int]]:
    left = sum(held for _, held in holds) - amount
    return [[0, left]] if left else []


def _unhold(page: Page, account: AccountState, sequence: int, consumed: int, released: int) -> None:
    lot = account.lot(sequence)
    lot.remaining -= consumed
    lot.held -= released
    if lot.landed != page.serial:
        lot.landed = page.serial
        page.lots[lot] = account


def realised_gain(account: AccountState, takings: list[Taking], rate: str) -> int:
    """Realised gain in minor units of the price asset: quantity × (rate now − rate at acquisition), half-up."""
    price, now = account.type.price_asset, Decimal(rate)
    gain = Decimal(0)
    for sequence, amount, _ in takings:
        if amount and (acquired := account.lot(sequence).rate) is not None:
            gain += Decimal(-amount).scaleb(-ASSET_EXPONENTS[account.type.asset]) * (now - Decimal(acquired))
    return int(gain.scaleb(ASSET_EXPONENTS[price]).quantize(Decimal(1), rounding=ROUND_HALF_UP))
