"""Undoing captured value by a new exchange the other way, and posting expired lots to breakage."""

from __future__ import annotations

from kessai.foundation.errors import Conflict, Invalid, Refused
from kessai.foundation.money import BALANCE_MINOR_MAX
from kessai.services.ledger.api import Exchange, ExchangeRecorded, ExchangeState, account_id_of
from kessai.services.ledger.domain.answers import answer_of_record, legs_of_postings
from kessai.services.ledger.domain.commands import NeedLots, Reverse, Sweep
from kessai.services.ledger.domain.create import Memory, encode, spendable
from kessai.services.ledger.domain.keys import note_key, require_same_content
from kessai.services.ledger.domain.lifecycle import carry_on, chosen_amounts, find, hold_to_rate
from kessai.services.ledger.domain.page import Page, Posting
from kessai.services.ledger.domain.posting import credit, enter
from kessai.services.ledger.domain.progress import Progress
from kessai.services.ledger.domain.refusals import require_not_refused
from kessai.services.ledger.domain.returns import restore, take_back
from kessai.services.ledger.domain.state import AccountState, flush_instant


def reverse(memory: Memory, page: Page, command: Reverse) -> Exchange:
    """Give captured value back: credited lots are taken back, consumed ones return with their own expiry."""
    request = command.request
    if (earlier := _earlier(page, command)) is not None:
        return earlier
    original = find(memory, request.exchange_id)
    if not any(leg.captured for leg in original.legs):
        raise Refused("exchange_not_captured", f"The exchange is {original.state}; there is nothing to reverse.")
    above = Refused("reversal_above_captured", "More than was captured and not reversed yet would be given back.")
    amounts = chosen_amounts(
        original, request.amount_minor, request.legs, left=lambda leg: leg.captured - leg.reversed, above=above
    )
    if not any(amounts):
        raise above
    accounts = [memory.accounts[leg.account_id] for leg in original.legs]
    back = [leg.reversed + each for leg, each in zip(original.legs, amounts, strict=True)]
    if any(each != leg.captured for leg, each in zip(original.legs, back, strict=True)):
        hold_to_rate(original, accounts, back)  # the whole was at its rate when it was captured
    _check(page, original, accounts, amounts)
    carry_on(page, original)
    postings, undone = _give_back(page, original, accounts, amounts, command.exchange_id[4:])
    return _record(page, command, original, postings, undone)


def _earlier(page: Page, command: Reverse) -> Exchange | None:
    if not command.exchange_id.startswith("exc_"):
        raise Invalid("malformed_id", "reversal_id must look like exc_ and 32 hexadecimal digits.", field="reversal_id")
    require_same_content(page, command.asked)
    require_not_refused(page, command)
    if command.stored is not None:
        if command.stored.digest != command.digest:
            raise Conflict("exchange_id_reused", "This exchange id was used with different content.")
        return answer_of_record(command.stored.record, command.stored.flush_id)
    if (born := page.born_exchanges.get(command.exchange_id)) is not None:
        if born[0] != command.digest:
            raise Conflict("exchange_id_reused", "This exchange id was used with different content.")
        return born[1]
    if command.reference_taken or command.request.reference in page.references:
        raise Conflict(
            "reference_reused", "This reference belongs to another exchange.", reference=command.request.reference
        )
    return None


def _check(page: Page, original: Progress, accounts: list[AccountState], amounts: list[int]) -> None:
    pending: dict[AccountState, int] = {}
    returned: dict[AccountState, int] = {}
    for number, (leg, account, amount) in enumerate(zip(original.legs, accounts, amounts, strict=True)):
        if account.landed != page.serial:
            page.consult(account)
        if not amount:
            continue
        if account.closed:
            raise Refused("account_closed", "The account is closed.", leg=number)
        if leg.amount < 0 and not account.type.log_only:
            returned[account] = returned.get(account, 0) + amount
            if account.balance + returned[account] > BALANCE_MINOR_MAX:
                raise Refused("balance_overflow", "The balance would pass what can be recorded.", leg=number)
        if leg.amount > 0:
            pending[account] = pending.get(account, 0) + amount
            if spendable(page, account) < pending[account]:
                raise Refused("insufficient_funds", "What was given is no longer there to be taken back.", leg=number)


def _give_back(
    page: Page, original: Progress, accounts: list[AccountState], amounts: list[int], exchange_hex: str
) -> tuple[list[Posting], list[int]]:
    """Debit what was credited, then give back what was debited; the reversing exchange counts its own legs.

    Gives the postings, and which leg of the original each of them undoes.
    """
    postings: list[Posting] = []
    undone: list[int] = []
    for enter_back, debiting in ((take_back, True), (restore, False)):
        for leg_number, (leg, account, amount) in enumerate(zip(original.legs, accounts, amounts, strict=True)):
            if amount and (leg.amount > 0) is debiting:
                number, rate = len(postings), original.rate
                postings.append(enter_back(page, account, exchange_hex, number, leg, amount, rate=rate))
                undone.append(leg_number)
                leg.reversed += amount
    return postings, undone


def _record(page: Page, command: Reverse, original: Progress, postings: list[Posting], undone: list[int]) -> Exchange:
    request = command.request
    record = encode(
        ExchangeRecorded(
            exchange_id=command.exchange_id,
            action="reversed",
            kind=request.kind,
            state=ExchangeState.CAPTURED,
            caller=command.caller,
            postings=postings,
            reference=request.reference,
            reverses=original.exchange_id,
            undoes=undone,
            rate=original.rate,
            metadata=request.metadata,
            processing_id=command.processing_id,
        )
    )
    _write(page, command.exchange_id, record, command.digest, command.caller, command.processing_id)
    note_key(page, command.asked)
    if request.reference is not None:
        page.references[request.reference] = command.exchange_id[4:]
    answer = _answer(page, command.exchange_id, request.kind, postings, reverses=original.exchange_id,
                     rate=original.rate, reference=request.reference, metadata=request.metadata,
                     processing_id=command.processing_id)  # fmt: skip
    page.born_exchanges[command.exchange_id] = (command.digest, answer)
    return answer


def _write(page: Page, exchange_id: str, record: bytes, digest: bytes, caller: str, processing_id: str | None) -> None:
    page.exchanges.append((exchange_id[4:], len(page.records), record, digest, caller, processing_id))
    page.records.append(record)


def _answer(
    page: Page,
    exchange_id: str,
    kind: str,
    postings: list[Posting],
    *,
    reverses: str | None,
    rate: str | None,
    reference: str | None,
    metadata: dict[str, str],
    processing_id: str | None,
) -> Exchange:
    return Exchange(
        exchange_id=exchange_id,
        kind=kind,
        state=ExchangeState.CAPTURED,
        legs=legs_of_postings(postings),
        recorded_at=flush_instant(page.flush_id),
        reference=reference,
        expires_at=None,
        reverses=reverses,
        rate=rate,
        metadata=metadata,
        processing_id=processing_id,
    )


def sweep(memory: Memory, page: Page, command: Sweep) -> Exchange:
    """Post what sits in an account's expired lots, and is not held, to breakage (失効)."""
    account = memory.accounts[command.account_id]
    page.consult(account)
    if not account.complete and (not account.lots or account.lots[-1].expires <= page.now):
        raise NeedLots(account.account_id)
    expired = [lot for lot in account.lots if lot.expires <= page.now and lot.remaining > lot.held]
    breakage = memory.types.breakage(account.type.asset)
    if not expired or breakage is None:
        raise Conflict("nothing_expired", "No free lot of the account has expired.")
    owner = f"internal:breakage:{account.type.code}"
    target_id = account_id_of(owner, breakage.code)
    target = memory.accounts.get(target_id) or memory.birth(page, target_id, owner, breakage)
    page.touch(account)
    takings: list[list[int]] = []
    for lot in expired:
        free = lot.remaining - lot.held
        lot.remaining = lot.held
        takings.append([lot.sequence, -free, 0])
        if lot.landed != page.serial:
            lot.landed = page.serial
            page.lots[lot] = account
    total = -sum(amount for _, amount, _ in takings)
    exchange_hex = command.exchange_id[4:]
    postings = [
        enter(page, account, exchange_hex, 0, -total, 0, takings),
        credit(page, target, exchange_hex, 1, total),
    ]
    account.drop_empty()
    record = encode(
        ExchangeRecorded(
            exchange_id=command.exchange_id,
            action="created",
            kind="expiry",
            state=ExchangeState.CAPTURED,
            caller=command.caller,
            postings=postings,
        )
    )
    _write(page, command.exchange_id, record, b"", command.caller, None)
    page.expiries.append(record)
    return _answer(page, command.exchange_id, "expiry", postings, reverses=None, rate=None, reference=None, metadata={},
                   processing_id=None)  # fmt: skip
