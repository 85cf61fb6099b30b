"""A merchant with everything that ever held or will hold of it, and what that answers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import msgspec

from kessai.foundation.calendar import ONE_DAY
from kessai.foundation.clock import TOKYO
from kessai.foundation.ids import derived_hex
from kessai.services.merchant.api import (
    Aspect,
    Contract,
    MerchantProfile,
    MerchantRecord,
    MerchantState,
    NoTerms,
    SettlementTerms,
    Terms,
    TermsQuestion,
)
from kessai.services.merchant.domain.cycles import closes
from kessai.services.merchant.domain.schedules import Schedule, contract_of
from kessai.services.merchant.domain.timeline import Timeline, before

LAST_INSTANT = timedelta(microseconds=1)
"""Between the end of a day and the beginning of the next."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One change, as it is stored."""

    subject_id: str
    version: int
    change_id: str
    aspect: Aspect
    valid_from: datetime
    valid_until: datetime | None
    content: str
    reason: str
    changed_by: str
    approval_id: str | None
    approved_by: str | None
    digest: bytes
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Agreed:
    """One version of a contract."""

    version: int
    contract: Contract
    schedules: dict[str, Schedule]
    valid_until: datetime | None


@dataclass(frozen=True, slots=True)
class Standing:
    """What held, holds and will hold of a merchant; `version` counts its changes."""

    merchant_id: str
    version: int
    created_at: datetime
    updated_at: datetime
    state: MerchantState
    """As it is now: a state is never changed ahead of time."""
    profiles: Timeline[MerchantProfile]
    states: Timeline[MerchantState]
    contracts: Timeline[Agreed]
    parents: Timeline[str | None]
    bank_accounts: Timeline[str | None]
    contract_id: str
    """The same for all versions of its contract."""

    @property
    def latest_profile(self) -> MerchantProfile:
        """As it was changed last."""
        return self.profiles.stretches()[-1].value

    def agreed_at(self, instant: datetime) -> Agreed | None:
        """The version of the contract that is valid at an instant."""
        agreed = self.contracts.at(instant)
        return agreed if agreed is not None and before(instant, agreed.valid_until) else None

    def has_contract_since(self, instant: datetime) -> bool:
        """Whether a contract is valid at an instant or later."""
        return any(before(instant, each.valid_until) for each in self.contracts.since(instant))

    def has_contract_throughout(self, since: datetime, until: datetime | None) -> bool:
        """Whether a contract is valid at every instant from `since` on, before `until` (None: for ever)."""
        at: datetime | None = since
        for stretch in self.contracts.stretches():
            if at is not None and stretch.since <= at and before(at, stretch.until):
                ends = [each for each in (stretch.until, stretch.value.valid_until) if each is not None]
                at = max(at, min(ends)) if ends else None
        return at is None or (until is not None and until <= at)

    def payee_at(self, instant: datetime) -> str:
        """Who is paid for it."""
        return self.parents.at(instant) or self.merchant_id


def standing_of(merchant_id: str, entries: Sequence[Entry]) -> Standing:
    """A merchant from its changes, by version."""
    states = [(each.valid_from, MerchantState(_text(each.content))) for each in entries if each.aspect is Aspect.STATE]
    return Standing(
        merchant_id=merchant_id,
        version=entries[-1].version,
        created_at=entries[0].recorded_at,
        updated_at=entries[-1].recorded_at,
        state=states[-1][1],
        profiles=Timeline(
            (each.valid_from, msgspec.json.decode(each.content, type=MerchantProfile))
            for each in _of(entries, Aspect.PROFILE)
        ),
        states=Timeline(states),
        contracts=Timeline((each.valid_from, _agreed(each)) for each in _of(entries, Aspect.CONTRACT)),
        parents=Timeline((each.valid_from, _text(each.content)) for each in _of(entries, Aspect.PARENT)),
        bank_accounts=Timeline((each.valid_from, _text(each.content)) for each in _of(entries, Aspect.BANK_ACCOUNT)),
        contract_id=f"mct_{derived_hex('merchant.contract', merchant_id)}",
    )


def _of(entries: Iterable[Entry], aspect: Aspect) -> Iterable[Entry]:
    return (each for each in entries if each.aspect is aspect)


def _text(content: str) -> str | None:
    return msgspec.json.decode(content, type=str | None)


def _agreed(entry: Entry) -> Agreed:
    contract, schedules = contract_of(entry.content)
    return Agreed(entry.version, contract, schedules, entry.valid_until)


# -- what it answers ----------------------------------------------------------------------------------------------


def terms_of(question: TermsQuestion, standing: Standing | None) -> Terms:
    """The terms of whoever is meant by a question; None: nobody known."""
    at = question.at
    state = None if standing is None else standing.states.at(at)
    if standing is None or state is None:
        return _unknown(question.owner_id)
    agreed = standing.agreed_at(at)
    schedule = None if agreed is None else agreed.schedules.get(question.method)
    reason: NoTerms | None = None
    if state is not MerchantState.ACTIVE:
        reason = NoTerms.MERCHANT_NOT_ACTIVE
    elif agreed is None:
        reason = NoTerms.NO_CONTRACT
    elif schedule is None:
        reason = NoTerms.METHOD_NOT_ACCEPTED
    return Terms(
        owner_id=question.owner_id,
        merchant_id=standing.merchant_id,
        payee_id=standing.payee_at(at),
        state=state,
        fee=None if schedule is None else schedule.at(at),
        reason=reason,
        contract_id=None if agreed is None else standing.contract_id,
        contract_version=None if agreed is None else agreed.version,
    )


def _unknown(owner_id: str) -> Terms:
    return Terms(
        owner_id=owner_id,
        merchant_id=None,
        payee_id=None,
        state=None,
        fee=None,
        reason=NoTerms.MERCHANT_UNKNOWN,
        contract_id=None,
        contract_version=None,
    )


def end_of(day: date) -> datetime:
    """The last instant of a day in Tokyo."""
    return datetime.combine(day + ONE_DAY, time(), TOKYO) - LAST_INSTANT


def settlement_terms_of(standing: Standing, on: date, registered: Mapping[str, str | None]) -> SettlementTerms | None:
    """How it is paid as of a day's end; None while it never had a contract. The last one's rules outlive it.

    `registered`: each company's registration number then.
    """
    at = end_of(on)
    agreed, state, profile = standing.contracts.at(at), standing.states.at(at), standing.profiles.at(at)
    if agreed is None or state is None or profile is None:
        return None
    rules = agreed.contract.settlement
    return SettlementTerms(
        merchant_id=standing.merchant_id,
        name=profile.name,
        state=state,
        cycle=rules.cycle,
        cycle_day=rules.cycle_day,
        payout=rules.payout,
        holiday=rules.holiday,
        minimum_minor=rules.minimum_minor,
        below_minimum=rules.below_minimum,
        transfer_fee_minor=rules.transfer_fee_minor,
        transfer_fee_borne_by=rules.transfer_fee_borne_by,
        instruct_days_before=rules.instruct_days_before,
        bank_account_id=standing.bank_accounts.at(at),
        registration_number=registered.get(profile.company_id),
        closes=closes(rules.cycle, rules.cycle_day, on),
        contract_id=standing.contract_id,
        contract_version=agreed.version,
        payee_id=standing.payee_at(at),
        as_of=at,
    )


def record_of(standing: Standing, at: datetime) -> MerchantRecord | None:
    """A merchant as of an instant; None before it was registered."""
    profile, state, agreed = standing.profiles.at(at), standing.states.at(at), standing.agreed_at(at)
    if profile is None or state is None:
        return None
    return MerchantRecord(
        merchant_id=standing.merchant_id,
        profile=profile,
        state=state,
        parent_id=standing.parents.at(at),
        bank_account_id=standing.bank_accounts.at(at),
        contract=None if agreed is None else agreed.contract,
        contract_id=None if agreed is None else standing.contract_id,
        contract_version=None if agreed is None else agreed.version,
        contract_valid_until=None if agreed is None else agreed.valid_until,
        as_of=at,
        version=standing.version,
        created_at=standing.created_at,
        updated_at=standing.updated_at,
    )
