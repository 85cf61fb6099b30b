"""What happens to a held exchange: captured whole or in parts, voided, expired."""

from __future__ import annotations

from collections.abc import Callable

from kessai.foundation.errors import Conflict, Invalid, NotFound, PaymentError, Refused
from kessai.foundation.money import AMOUNT_MINOR_MAX, BALANCE_MINOR_MAX
from kessai.services.ledger.api import Exchange, ExchangeRecorded, ExchangeState, LegAmount
from kessai.services.ledger.domain.answers import answer_of_action, answer_of_progress
from kessai.services.ledger.domain.commands import Capture, Release, Stored
from kessai.services.ledger.domain.create import Memory, check_rate, encode
from kessai.services.ledger.domain.keys import note_key, require_same_content
from kessai.services.ledger.domain.page import Page, Posting
from kessai.services.ledger.domain.posting import capture_hold, credit, promise
from kessai.services.ledger.domain.progress import Done, LegProgress, Progress
from kessai.services.ledger.domain.refusals import require_not_refused
from kessai.services.ledger.domain.state import AccountState


def find(memory: Memory, exchange_id: str) -> Progress:
    """The exchange; raises NotFound."""
    if (progress := memory.exchanges.get(exchange_id)) is None or progress.refused:
        raise NotFound("exchange_not_found", "There is no such exchange.", exchange_id=exchange_id)
    return progress


def check_action(page: Page, command: Capture | Release) -> None:
    """An action has an id of its own kind, and was not refused for good."""
    if not command.action_id.startswith("act_"):
        raise Invalid("malformed_id", "action_id must look like act_ and 32 hexadecimal digits.", field="action_id")
    require_same_content(page, command.asked)
    require_not_refused(page, command)


def earlier_action(
    page: Page, progress: Progress, action_id: str, digest: bytes, stored: Stored | None
) -> Exchange | None:
    """The answer already given under this action id, if any; raises `action_id_reused` for other content."""
    for done in progress.actions:
        if done.action_id == action_id:
            if done.digest != digest:
                raise Conflict("action_id_reused", "This action id was used with different content.")
            if stored is None:  # done on this very page
                return page.action_answers[progress.exchange_id, action_id]
            return answer_of_action(progress, stored.record, stored.flush_id)
    return None


def capture(memory: Memory, page: Page, command: Capture) -> Exchange:
    """Capture all, an amount, or named amounts of what an exchange holds."""
    request = command.request
    check_action(page, command)
    progress = find(memory, request.exchange_id)
    if (earlier := earlier_action(page, progress, command.action_id, command.digest, command.stored)) is not None:
        return earlier
    _require_authorized(progress)
    if progress.expires is not None and progress.expires <= page.now:
        raise Refused("hold_expired", "The exchange was not captured in time.")
    amounts = chosen_amounts(
        progress,
        request.amount_minor,
        request.legs,
        left=lambda leg: abs(leg.amount) - leg.captured,
        above=Refused("capture_above_authorized", "More than is still held would be captured."),
    )
    done_with = request.final or all(
        abs(leg.amount) - leg.captured == amount for leg, amount in zip(progress.legs, amounts, strict=True)
    )
    accounts = _accounts(memory, progress)
    hold_to_rate(progress, accounts, [leg.captured + each for leg, each in zip(progress.legs, amounts, strict=True)])
    _require_open(progress, accounts, amounts)
    carry_on(page, progress)
    postings = _move(page, progress, accounts, amounts, release=done_with)
    if done_with:
        progress.state = ExchangeState.CAPTURED
    return record_action(page, progress, command, "captured", postings)


def _require_authorized(progress: Progress) -> None:
    if progress.state is not ExchangeState.AUTHORIZED:
        raise Refused(
            "exchange_not_authorized", f"The exchange is {progress.state}, not AUTHORIZED.", state=str(progress.state)
        )


def chosen_amounts(
    progress: Progress,
    amount: int | None,
    named: list[LegAmount],
    *,
    left: Callable[[LegProgress], int],
    above: PaymentError,
) -> list[int]:
    """Unsigned amounts a leg: all that is left, an amount over the legs in order, or the named ones, balanced."""
    if not all(_is_amount(each) for each in (1 if amount is None else amount, *(leg.amount_minor for leg in named))):
        raise Invalid("invalid_amount", f"An amount is a whole number from 1 to {AMOUNT_MINOR_MAX}.")
    lefts = [left(leg) for leg in progress.legs]
    if named:
        amounts = _named_amounts(progress, named, lefts, above)
    elif amount is None:
        return lefts
    else:
        amounts = _spread(progress, amount, lefts, above)
    sums: dict[str, int] = {}
    for leg, chosen in zip(progress.legs, amounts, strict=True):
        sums[leg.asset] = sums.get(leg.asset, 0) + (chosen if leg.amount > 0 else -chosen)
    if any(sums.values()):
        raise Invalid("unbalanced", "The amounts of both sides must be equal for each asset.")
    return amounts


def _is_amount(amount: int) -> bool:
    return type(amount) is int and 0 < amount <= AMOUNT_MINOR_MAX


def hold_to_rate(progress: Progress, accounts: list[AccountState], amounts: list[int]) -> None:
    """Parts of an exchange of two assets, added up so far, must agree with its rate like the whole."""
    if progress.rate is None:
        return
    sums: dict[str, int] = {}
    for leg, account, amount in zip(progress.legs, accounts, amounts, strict=True):
        if not account.type.position:
            sums[leg.asset] = sums.get(leg.asset, 0) + (amount if leg.amount > 0 else -amount)
    if len(sums) > 1 and any(sums.values()):
        check_rate(sums, progress.rate)


def _named_amounts(progress: Progress, named: list[LegAmount], lefts: list[int], above: PaymentError) -> list[int]:
    amounts = [0] * len(progress.legs)
    for each in named:
        if not 0 <= each.leg < len(amounts):
            raise Invalid("unknown_leg", f"The exchange has no leg {each.leg}.", leg=each.leg)
        amounts[each.leg] += each.amount_minor
    if any(chosen > rest for chosen, rest in zip(amounts, lefts, strict=True)):
        raise above
    return amounts


def _spread(progress: Progress, amount: int, lefts: list[int], above: PaymentError) -> list[int]:
    if len({leg.asset for leg in progress.legs}) > 1:
        raise Invalid("unbalanced", "Name the amounts of the legs of an exchange of two assets.")
    amounts: list[int] = []
    rest = {True: amount, False: amount}
    for leg, most in zip(progress.legs, lefts, strict=True):
        side = leg.amount < 0
        take = min(most, rest[side])
        rest[side] -= take
        amounts.append(take)
    if any(rest.values()):
        raise above
    return amounts


def _accounts(memory: Memory, progress: Progress) -> list[AccountState]:
    return [memory.accounts[leg.account_id] for leg in progress.legs]


def _require_open(progress: Progress, accounts: list[AccountState], amounts: list[int]) -> None:
    gained: dict[AccountState, int] = {}
    for number, (leg, account, amount) in enumerate(zip(progress.legs, accounts, amounts, strict=True)):
        if account.closed and amount:
            raise Refused("account_closed", "The account is closed.", leg=number)
        if leg.amount > 0 and not account.type.log_only:
            gained[account] = gained.get(account, 0) + amount
            if account.balance + gained[account] > BALANCE_MINOR_MAX:
                raise Refused("balance_overflow", "The balance would pass what can be recorded.", leg=number)


def _move(
    page: Page, progress: Progress, accounts: list[AccountState], amounts: list[int], *, release: bool
) -> list[Posting]:
    postings: list[Posting | None] = []
    for number, (leg, account, amount) in enumerate(zip(progress.legs, accounts, amounts, strict=True)):
        if account.landed != page.serial:
            page.consult(account)
        if leg.amount < 0:
            postings.append(
                capture_hold(page, account, progress.hex, number, leg, amount, release=release, rate=progress.rate)
            )
        else:
            promise(page, account, leg.captured - leg.amount if release else -amount)
            if amount:
                rate = progress.rate if account.type.rate_tracked else None
                postings.append(credit(page, account, progress.hex, number, amount, expires=leg.expires, rate=rate))
                if not account.type.log_only:
                    leg.taken.append([account.version, amount])
        leg.captured += amount
    return [posting for posting in postings if posting is not None]


def release(memory: Memory, page: Page, command: Release) -> Exchange:
    """Let go of what an exchange still holds: by its caller's wish (void) or because its time is over (expiry)."""
    check_action(page, command)
    progress = find(memory, command.exchange_id)
    if (earlier := earlier_action(page, progress, command.action_id, command.digest, command.stored)) is not None:
        return earlier
    _require_authorized(progress)
    if command.expiry and (progress.expires is None or progress.expires > page.now):
        raise Conflict("hold_not_expired", "The exchange may still be captured.")
    carry_on(page, progress)
    postings = _move(page, progress, _accounts(memory, progress), [0] * len(progress.legs), release=True)
    if any(leg.captured for leg in progress.legs):
        progress.state = ExchangeState.CAPTURED
    else:
        progress.state = ExchangeState.EXPIRED if command.expiry else ExchangeState.VOIDED
    return record_action(page, progress, command, "expired" if command.expiry else "voided", postings)


def record_action(
    page: Page,
    progress: Progress,
    command: Capture | Release,
    action: str,
    postings: list[Posting],
) -> Exchange:
    """Write an action's row and record; gives the exchange as it stands."""
    progress.actions.append(Done(command.action_id, command.digest))
    note_key(page, command.asked)
    processing_id = command.processing_id or progress.processing_id
    record = encode(
        ExchangeRecorded(
            exchange_id=progress.exchange_id,
            action=action,
            kind=progress.kind,
            state=progress.state,
            caller=command.caller,
            postings=postings,
            legs=[[leg.captured, leg.reversed] for leg in progress.legs],
            action_id=command.action_id,
            content=command.digest.hex(),
            processing_id=processing_id,
        )
    )
    page.actions.append((progress.hex, command.action_id[4:], len(page.records), record, command.caller, processing_id))
    page.records.append(record)
    if action == "expired":
        page.expiries.append(record)
    answer = answer_of_progress(progress, postings, page.flush_id)
    page.action_answers[progress.exchange_id, command.action_id] = answer
    return answer


def carry_on(page: Page, progress: Progress) -> None:
    """Mark an exchange as carried further on this page, before anything of it is changed."""
    page.progress.setdefault(progress, progress.version)
    progress.version += 1
