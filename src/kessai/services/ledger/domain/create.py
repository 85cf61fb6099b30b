"""Creating an exchange: resolve its legs, check all of them, then post. Checks are in the documented order."""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

import msgspec

from kessai.foundation.errors import Conflict, Invalid, NotFound, Refused
from kessai.foundation.money import AMOUNT_MINOR_MAX, BALANCE_MINOR_MAX, Rounding, convert
from kessai.services.ledger.api import (
    CreateExchange,
    Exchange,
    ExchangeLeg,
    ExchangeRecorded,
    ExchangeState,
    Freeze,
    Leg,
    account_id_of,
)
from kessai.services.ledger.domain.answers import answer_of_record, legs_of_postings
from kessai.services.ledger.domain.commands import Create, NeedLots
from kessai.services.ledger.domain.keys import note_key, require_same_content
from kessai.services.ledger.domain.page import Page, Posting
from kessai.services.ledger.domain.plain import plain_pair
from kessai.services.ledger.domain.posting import credit, debit, hold, promise
from kessai.services.ledger.domain.progress import LegProgress, Progress
from kessai.services.ledger.domain.refusals import require_not_refused
from kessai.services.ledger.domain.state import AccountState, instant, micros
from kessai.services.ledger.domain.types import AccountType, AccountTypes

HOLD_LIFETIME_US = 7 * 86_400_000_000
"""How long an uncaptured exchange is held when its caller does not say."""
DAY_US = 86_400_000_000
EXPIRY_US_MAX = 36_525 * DAY_US
"""A century: what lies beyond is a mistake, and databases have their own idea of the end of time."""

encode = msgspec.json.Encoder().encode


class Memory(Protocol):
    """What deciding needs of memory."""

    types: AccountTypes
    accounts: dict[str, AccountState]
    exchanges: dict[str, Progress]

    def birth(self, page: Page, account_id: str, owner: str, account_type: AccountType) -> AccountState:
        """Open an account on this page."""
        ...


class Entry:
    """One resolved leg: its account, a signed amount, and what the request said about it."""

    __slots__ = ("account", "amount", "leg")

    def __init__(self, account: AccountState, amount: int, leg: Leg | None) -> None:
        self.account = account
        self.amount = amount
        self.leg = leg


def create(memory: Memory, page: Page, command: Create) -> Exchange:
    """Decide one exchange; raises its error before anything is changed."""
    if (earlier := _earlier(page, command)) is not None:
        return earlier
    request = command.request
    if (pair := plain_pair(memory, command)) is not None:
        return _post_plain(page, command, *pair)
    if not command.exchange_id.startswith("exc_"):
        raise Invalid("malformed_id", "exchange_id must look like exc_ and 32 hexadecimal digits.", field="exchange_id")
    entries = _resolve(memory, page, command)
    _check_accounts(page, entries)
    _settle_amounts(page, entries, len(request.sources))
    entries += _positions(memory, page, command, entries)
    _check_conditions(entries)
    _check_movements(page, entries, len(request.sources))
    if request.capture:
        return _post_captured(page, command, entries)
    return _post_authorized(memory, page, command, entries)


def _earlier(page: Page, command: Create) -> Exchange | None:
    stored = command.stored
    if command.asked is not None:
        require_same_content(page, command.asked)
    if stored is not None or page.refusals:
        require_not_refused(page, command)
    if stored is not None:
        if stored.digest != command.digest:
            raise Conflict("exchange_id_reused", "This exchange id was used with different content.")
        return answer_of_record(stored.record, stored.flush_id)
    if (born := page.born_exchanges.get(command.exchange_id)) is not None:
        if born[0] != command.digest:
            raise Conflict("exchange_id_reused", "This exchange id was used with different content.")
        return born[1]
    if command.reference_taken or command.request.reference in page.references:
        raise Conflict(
            "reference_reused", "This reference belongs to another exchange.", reference=command.request.reference
        )
    return None


def _resolve(memory: Memory, page: Page, command: Create) -> list[Entry]:
    """The account of every leg; a credit may open its account when the type says so, and a debit that overdraws."""
    request, known, types = command.request, memory.accounts, memory.types
    entries: list[Entry] = []
    sources = len(request.sources)
    for number, leg in enumerate((*request.sources, *request.targets)):
        account = known.get(command.accounts[number])
        if type(leg.amount_minor) is not int or not 0 < leg.amount_minor <= AMOUNT_MINOR_MAX:
            raise Invalid("invalid_amount", f"An amount is a whole number from 1 to {AMOUNT_MINOR_MAX}.", leg=number)
        if leg.account_id is None:
            if leg.owner is None or leg.account_type is None:
                raise Invalid(
                    "leg_account_ambiguous", "Name a leg by account_id, or by owner and account_type.", leg=number
                )
            if account is None:
                account_type = types.require(leg.account_type)
                opens = number >= sources or account_type.log_only or leg.balancing or account_type.overdraws
                if account_type.auto_create and opens:
                    account = memory.birth(page, command.accounts[number], leg.owner, account_type)
        elif not leg.account_id.startswith("acc_"):
            raise Invalid("malformed_id", "account_id must look like acc_ and 32 hexadecimal digits.", leg=number)
        elif leg.owner is not None or leg.account_type is not None:
            raise Invalid(
                "leg_account_ambiguous", "Name a leg by account_id, or by owner and account_type.", leg=number
            )
        if account is None:
            raise NotFound("account_not_found", "There is no such account.", leg=number)
        if account.landed != page.serial:
            page.consult(account)
        entries.append(Entry(account, leg.amount_minor if number >= sources else -leg.amount_minor, leg))
    return entries


def _check_accounts(page: Page, entries: list[Entry]) -> None:
    for number, entry in enumerate(entries):
        account, leg = entry.account, entry.leg
        assert leg is not None
        if leg.asset != account.type.asset:
            raise Invalid("wrong_asset", f"The account holds {account.type.asset}, not {leg.asset}.", leg=number)
        if account.closed:
            raise Refused("account_closed", "The account is closed.", leg=number)
        if account.freeze is not Freeze.NONE:
            _check_freeze(account, entry.amount, leg, number)
        if leg.expires_at is not None:
            if not account.type.expires:
                raise Invalid("expiry_not_allowed", f"Lots of {account.type.code} do not expire.", leg=number)
            check_expiry(page, micros(leg.expires_at))


def check_expiry(page: Page, expires: int) -> None:
    """An expiry lies in the future, and not further than a century ahead."""
    if expires <= page.now:
        raise Invalid("expires_in_past", "expires_at must lie in the future.", field="expires_at")
    if expires > page.now + EXPIRY_US_MAX:
        raise Invalid("expires_too_far", "expires_at lies more than a hundred years ahead.", field="expires_at")


def _check_freeze(account: AccountState, amount: int, leg: Leg, number: int) -> None:
    outward = amount < 0 and account.freeze in (Freeze.OUT, Freeze.BOTH)
    inward = amount > 0 and account.freeze in (Freeze.IN, Freeze.BOTH) and not leg.returning
    if outward or inward:
        raise Refused("account_frozen", "The account is frozen in this direction.", leg=number)


def spendable(page: Page, account: AccountState) -> int:
    """What may be debited now; log-only accounts have no limit."""
    if account.type.log_only:
        return BALANCE_MINOR_MAX
    if account.type.expires and not account.complete and (not account.lots or account.lots[-1].expires <= page.now):
        raise NeedLots(account.account_id)
    return account.available(page.now)


def _settle_amounts(page: Page, entries: list[Entry], sources: int) -> None:
    """Fix the amounts of balancing legs and see that each asset's sides are equal (or left to the rate)."""
    if len(entries) == 2:
        source, target = entries
        assert source.leg is not None
        assert target.leg is not None
        if not source.leg.balancing and not target.leg.balancing:
            return
    given: dict[AccountState, int] = {}
    for asset in {entry.account.type.asset for entry in entries}:
        froms = [entry for entry in entries[:sources] if entry.account.type.asset == asset]
        tos = [entry for entry in entries[sources:] if entry.account.type.asset == asset]
        _settle_asset(page, froms, tos, given)
    if not any(entry.amount for entry in entries):
        raise Refused("insufficient_funds", "The sources have nothing to give.")


def _settle_asset(page: Page, froms: list[Entry], tos: list[Entry], given: dict[AccountState, int]) -> None:
    flexible = [entry for entry in tos if entry.leg is not None and entry.leg.balancing]
    if len(flexible) > 1:
        raise Invalid("unbalanced", "Only one target of an asset may be balancing.")
    wanted = sum(entry.amount for entry in tos)
    for entry in froms:
        if entry.leg is not None and entry.leg.balancing:
            there = spendable(page, entry.account) - given.get(entry.account, 0)
            entry.amount = -max(0, min(there, -entry.amount, wanted))
        wanted += entry.amount
        given[entry.account] = given.get(entry.account, 0) - entry.amount
    if wanted > 0 and flexible:
        flexible[0].amount -= wanted
        if flexible[0].amount < 0:
            raise Refused("insufficient_funds", "The sources give less than the fixed targets need.")


def _positions(memory: Memory, page: Page, command: Create, entries: list[Entry]) -> list[Entry]:
    """Check zero sums per asset; an exchange of two assets gets its position legs."""
    sums: dict[str, int] = {}
    for entry in entries:
        asset = entry.account.type.asset
        sums[asset] = sums.get(asset, 0) + entry.amount
    if not any(sums.values()):
        return []
    request = command.request
    if len(sums) == 1 or 0 in sums.values():
        if any(leg.balancing for leg in request.sources) and _could_reach(request):
            raise Refused("insufficient_funds", "The sources together have less than the targets need.")
        raise Invalid("unbalanced", "Sources and targets of an asset must add up to the same amount.")
    if len(sums) > 2:
        raise Invalid("unbalanced", "An exchange is of at most two assets.")
    if request.rate is None:
        raise Invalid("rate_required", "An exchange of two assets needs a rate.")
    check_rate(sums, request.rate)
    pair = "/".join(sorted(sums))
    return [Entry(_position(memory, page, pair, asset), -amount, None) for asset, amount in sorted(sums.items())]


def _could_reach(request: CreateExchange) -> bool:
    """Whether the sources' limits suffice for the targets, so that only balances can be what is missing."""
    limits = sum(leg.amount_minor for leg in request.sources)
    return limits >= sum(leg.amount_minor for leg in request.targets if not leg.balancing)


def check_rate(sums: dict[str, int], rate: str) -> None:
    """What one asset gives for the other must agree with the rate within one minor unit of the price asset."""
    if not Decimal(rate):
        raise Invalid("rate_mismatch", "A rate is above zero.", field="rate")
    price = "JPY" if "JPY" in sums else max(sums)
    (base,) = set(sums) - {price}
    if (sums[base] > 0) == (sums[price] > 0):
        raise Invalid("unbalanced", "One asset must be given for the other.")
    value = convert(abs(sums[base]), asset=base, into=price, rate=Decimal(rate), rounding=Rounding.DOWN)
    if not value - 1 <= abs(sums[price]) <= value + 1:
        raise Invalid("rate_mismatch", f"At this rate {abs(sums[base])} {base} are {value} {price} (minor units).")


def _position(memory: Memory, page: Page, pair: str, asset: str) -> AccountState:
    account_type = memory.types.position(asset)
    owner = f"internal:position:{pair}"
    account_id = account_id_of(owner, account_type.code)
    account = memory.accounts.get(account_id) or memory.birth(page, account_id, owner, account_type)
    if account.landed != page.serial:
        page.consult(account)
    return account


def _check_conditions(entries: list[Entry]) -> None:
    for number, entry in enumerate(entries):
        leg, account = entry.leg, entry.account
        if leg is None or (leg.balance_at_least_minor is None and leg.version_equals is None):
            continue
        if account.type.log_only:
            raise Refused("condition_failed", "A log-only account has no running balance to require.", leg=number)
        if leg.balance_at_least_minor is not None and account.balance < leg.balance_at_least_minor:
            raise Refused("condition_failed", "The balance is below what the leg requires.", leg=number)
        if leg.version_equals is not None and account.version != leg.version_equals:
            raise Refused("condition_failed", "The account's version is not the one the leg requires.", leg=number)


def _check_movements(page: Page, entries: list[Entry], sources: int) -> None:
    """Funds and caps, cumulative where an account stands in several legs."""
    pending: dict[AccountState, int] = {}
    for number, entry in enumerate(entries):
        account, amount = entry.account, entry.amount
        if account.type.log_only or not amount:
            continue
        before = pending.get(account, 0)
        if amount < 0:
            _check_debit(page, account, -amount, before, number)
        else:
            _check_credit(account, amount, before, entry.leg, number)
        pending[account] = before + amount


def _check_debit(page: Page, account: AccountState, amount: int, pending: int, number: int) -> None:
    if spendable(page, account) + pending < amount:
        raise Refused("insufficient_funds", "The account has less than this available.", leg=number)
    cap = account.type.spending_cap_minor
    if cap is not None and amount - pending > cap:
        raise Refused("spending_cap_exceeded", f"At most {cap} may leave the account at once.", leg=number)


def _check_credit(account: AccountState, amount: int, pending: int, leg: Leg | None, number: int) -> None:
    after = account.balance + account.incoming + pending + amount
    cap = account.type.retention_cap_minor
    if cap is not None and after > cap and not (leg is not None and leg.returning):
        what = f"The account may hold at most {cap}" + (", held exchanges to it included." if account.incoming else ".")
        raise Refused("retention_cap_exceeded", what, leg=number)
    if after > BALANCE_MINOR_MAX:
        raise Refused("balance_overflow", "The balance would pass what can be recorded.", leg=number)


def lot_expiry(page: Page, account: AccountState, leg: Leg | None) -> int | None:
    """When a new lot of this account expires, in microseconds."""
    if not account.type.expires:
        return None
    if leg is not None and leg.expires_at is not None:
        return micros(leg.expires_at)
    assert account.type.expires_after_days is not None
    return page.now + account.type.expires_after_days * DAY_US


def _post_captured(page: Page, command: Create, entries: list[Entry]) -> Exchange:
    request, exchange_hex = command.request, command.exchange_id[4:]
    postings: list[Posting] = []
    legs: list[list[object]] = []
    if not all(entry.amount for entry in entries):  # a balancing leg that moved nothing keeps its number
        legs = [[entry.account.account_id, entry.account.type.asset, entry.amount, None] for entry in entries]
    for number, entry in enumerate(entries):
        amount, account = entry.amount, entry.account
        if amount < 0:
            postings.append(debit(page, account, exchange_hex, number, -amount, rate=request.rate))
        elif amount > 0:
            expires = lot_expiry(page, account, entry.leg) if account.type.expires else None
            rate = request.rate if account.type.rate_tracked else None
            postings.append(credit(page, account, exchange_hex, number, amount, expires=expires, rate=rate))
    answers = legs_of_postings(postings, legs)
    return record_birth(page, command, "created", ExchangeState.CAPTURED, postings, legs, None, answers)


def _post_plain(page: Page, command: Create, source: AccountState, target: AccountState) -> Exchange:
    amount, exchange_hex = command.request.sources[0].amount_minor, command.exchange_id[4:]
    postings = [debit(page, source, exchange_hex, 0, amount), credit(page, target, exchange_hex, 1, amount)]
    return record_birth(
        page, command, "created", ExchangeState.CAPTURED, postings, [], None, legs_of_postings(postings)
    )


def _post_authorized(memory: Memory, page: Page, command: Create, entries: list[Entry]) -> Exchange:
    request, exchange_hex = command.request, command.exchange_id[4:]
    expires = page.now + HOLD_LIFETIME_US if request.expires_at is None else micros(request.expires_at)
    check_expiry(page, expires)
    postings: list[Posting] = []
    legs: list[LegProgress] = []
    for number, entry in enumerate(entries):
        held: list[list[int]] = []
        if entry.amount < 0:
            posting, held = hold(page, entry.account, exchange_hex, number, -entry.amount)
            if posting is not None:
                postings.append(posting)
        else:
            promise(page, entry.account, entry.amount)
        until = lot_expiry(page, entry.account, entry.leg) if entry.amount > 0 else None
        legs.append(
            LegProgress(entry.account.account_id, entry.account.type.asset, entry.amount, until, 0, 0, held, [])
        )
    written: list[list[object]] = [[leg.account_id, leg.asset, leg.amount, leg.expires] for leg in legs]
    answers = _authorized_legs(legs, postings)
    answer = record_birth(page, command, "authorized", ExchangeState.AUTHORIZED, postings, written, expires, answers)
    progress = Progress(
        command.exchange_id, request.kind, request.reference, ExchangeState.AUTHORIZED, 1, page.flush_id, expires,
        None, request.rate, request.metadata, command.processing_id, legs, [], command.digest,
    )  # fmt: skip
    page.progress[progress] = 0
    memory.exchanges[command.exchange_id] = progress
    return answer


def _authorized_legs(legs: list[LegProgress], postings: list[Posting]) -> list[ExchangeLeg]:
    balances = {posting[0]: posting[5] for posting in postings}
    return [
        ExchangeLeg(
            leg=number,
            account_id=leg.account_id,
            asset=leg.asset,
            amount_minor=leg.amount,
            captured_minor=0,
            reversed_minor=0,
            balance_after_minor=balances.get(number),  # pyright: ignore[reportArgumentType]  (position 5 is a balance)
            realised_gain_minor=None,
            lots=[],
        )
        for number, leg in enumerate(legs)
    ]


def record_birth(
    page: Page,
    command: Create,
    action: str,
    state: ExchangeState,
    postings: list[Posting],
    legs: list[list[object]],
    expires: int | None,
    answer_legs: list[ExchangeLeg],
) -> Exchange:
    """Write a new exchange's row and record; gives its answer."""
    request, exchange_id = command.request, command.exchange_id
    record = encode(
        ExchangeRecorded(
            exchange_id=exchange_id,
            action=action,
            kind=request.kind,
            state=state,
            caller=command.caller,
            postings=postings,
            legs=legs,
            reference=request.reference,
            expires=expires,
            rate=request.rate,
            metadata=request.metadata,
            processing_id=command.processing_id,
        )
    )
    page.exchanges.append(
        (exchange_id[4:], len(page.records), record, command.digest, command.caller, command.processing_id)
    )
    page.records.append(record)
    if command.asked is not None:
        note_key(page, command.asked)
    if request.reference is not None:
        page.references[request.reference] = exchange_id[4:]
    answer = Exchange(
        exchange_id=exchange_id,
        kind=request.kind,
        state=state,
        legs=answer_legs,
        recorded_at=page.recorded_at,
        reference=request.reference,
        expires_at=None if expires is None else instant(expires),
        reverses=None,
        rate=request.rate,
        metadata=request.metadata,
        processing_id=command.processing_id,
    )
    page.born_exchanges[exchange_id] = (command.digest, answer)
    return answer
