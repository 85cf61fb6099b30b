"""Pure decisions: timelines, numbers of companies, who may collect for whom, where a mapping may stand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kessai.foundation.config import ConfigError, TomlDocument, load_toml
from kessai.foundation.errors import PaymentError
from kessai.services.merchant.api import Aspect, Contract, MerchantState
from kessai.services.merchant.domain.companies import check_digit
from kessai.services.merchant.domain.consolidation import collected_by, refuse_parent
from kessai.services.merchant.domain.master import Mapping, Wanted, ended, place
from kessai.services.merchant.domain.rules import read_rules
from kessai.services.merchant.domain.standing import Entry, Standing, standing_of
from kessai.services.merchant.domain.timeline import Stretch, Timeline
from kessai.services.merchant.service.changing import json_of

T0 = datetime(2026, 1, 1, tzinfo=UTC)
HOURS = st.integers(0, 40)


def _at(hours: int) -> datetime:
    return T0 + timedelta(hours=hours)


# -- timelines ----------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(HOURS, st.integers())), HOURS)
def test_what_holds_is_the_latest_that_has_begun_and_of_equals_the_last(
    entries: list[tuple[int, int]], hour: int
) -> None:
    line = Timeline((_at(begins), value) for begins, value in entries)
    begun = [(begins, number, value) for number, (begins, value) in enumerate(entries) if begins <= hour]
    assert line.at(_at(hour)) == (max(begun)[2] if begun else None)


@given(st.lists(st.tuples(HOURS, HOURS, st.integers())))
def test_what_held_at_an_instant_that_is_over_never_changes(steps: list[tuple[int, int, int]]) -> None:
    """Each step lets time pass, and plans something for now or later."""
    now = 0
    entries: list[tuple[datetime, int]] = []
    for passes, ahead, value in steps:
        now += passes
        before = Timeline(entries)
        entries.append((_at(now + ahead), value))
        after = Timeline(entries)
        assert all(before.at(_at(hour)) == after.at(_at(hour)) for hour in range(now))


@given(st.lists(st.tuples(HOURS, st.integers())), HOURS)
def test_stretches_are_the_timeline(entries: list[tuple[int, int]], hour: int) -> None:
    line = Timeline((_at(begins), value) for begins, value in entries)
    instant = Stretch(_at(hour), _at(hour) + timedelta(microseconds=1), None)
    holding = [each.value for each in line.stretches() if each.overlaps(instant)]
    value = line.at(_at(hour))
    assert holding == ([] if value is None else [value])


# -- who collects -------------------------------------------------------------------------------------------------


def _entry(merchant_id: str, version: int, aspect: Aspect, since: datetime, content: object) -> Entry:
    return Entry(
        subject_id=merchant_id,
        version=version,
        change_id="0" * 32,
        aspect=aspect,
        valid_from=since,
        valid_until=None,
        content=json_of(content),
        reason="x",
        changed_by="x",
        approval_id=None,
        approved_by=None,
        digest=b"",
        recorded_at=since,
    )


class _Merchants:
    """Merchants that only have a state, a contract and somebody who collects."""

    def __init__(self, names: str) -> None:
        agreed = Contract(methods=[])
        self.entries = {
            name: [
                _entry(name, 1, Aspect.STATE, T0, MerchantState.ACTIVE),
                _entry(name, 2, Aspect.CONTRACT, T0, agreed),
            ]
            for name in names
        }

    def standing(self, name: str) -> Standing:
        return standing_of(name, self.entries[name])

    def children(self, name: str) -> list[Standing]:
        found = [self.standing(each) for each in self.entries]
        return [each for each in found if collected_by(name, [each])]

    def try_parent(self, child: str, parent: str | None, since: datetime) -> bool:
        """Set it, unless it is refused."""
        if parent is not None:
            refusal = refuse_parent(self.standing(child), self.standing(parent), self.children(child), since)
            if refusal is not None:
                return False
        own = self.entries[child]
        own.append(_entry(child, len(own) + 1, Aspect.PARENT, since, parent))
        return True


NAMES = "abcd"


@given(
    st.lists(
        st.tuples(st.sampled_from(NAMES), st.sampled_from([*NAMES, None]), HOURS).filter(
            lambda each: each[0] != each[1]
        )
    )
)
def test_nobody_ever_collects_for_others_while_somebody_collects_for_it(
    steps: list[tuple[str, str | None, int]],
) -> None:
    merchants = _Merchants(NAMES)
    for child, parent, hour in steps:
        merchants.try_parent(child, parent, _at(hour))
    for hour in range(41):
        parents = {name: merchants.standing(name).parents.at(_at(hour)) for name in NAMES}
        collecting = {each for each in parents.values() if each is not None}
        assert all(parents[each] is None for each in collecting)


@given(st.lists(st.tuples(st.sampled_from(NAMES[1:]), HOURS)))
def test_whoever_has_no_children_may_always_join_who_has_no_parent(steps: list[tuple[str, int]]) -> None:
    merchants = _Merchants(NAMES)
    assert all(merchants.try_parent(child, "a", _at(hour)) for child, hour in steps)


@given(st.lists(st.tuples(HOURS, st.none() | HOURS)), HOURS, st.none() | HOURS)
def test_a_contract_throughout_is_one_at_every_instant(
    agreed: list[tuple[int, int | None]], since: int, until: int | None
) -> None:
    entries = [_entry("a", 1, Aspect.STATE, T0, MerchantState.ACTIVE)]
    for version, (begins, ends) in enumerate(agreed, 2):
        entry = _entry("a", version, Aspect.CONTRACT, _at(begins), Contract(methods=[]))
        entries.append(replace(entry, valid_until=None if ends is None else _at(max(ends, begins + 1))))
    standing = standing_of("a", entries)
    hours = range(since, 50 if until is None else until)
    told = standing.has_contract_throughout(_at(since), None if until is None else _at(until))
    assert told == all(standing.agreed_at(_at(hour)) is not None for hour in hours)


# -- the merchant master ------------------------------------------------------------------------------------------

KEY = ("id", "A1")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("map", "end", "wait")),
            st.sampled_from(("mer:1", "mer:2")),
            st.integers(0, 10),
            st.one_of(st.none(), st.integers(1, 10)),
        )
    )
)
def test_an_id_means_one_merchant_at_most_and_its_past_never_changes(
    steps: list[tuple[str, str, int, int | None]],
) -> None:
    standing: dict[int, Mapping] = {}
    now = 0

    def meant(hour: int) -> list[str]:
        instant = Stretch(_at(hour), _at(hour) + timedelta(microseconds=1), None)
        return [each.merchant_id for each in standing.values() if each.stretch.overlaps(instant)]

    for kind, merchant_id, ahead, lasts in steps:
        past = [meant(hour) for hour in range(now)]
        match kind:
            case "map":
                until = None if lasts is None else _at(now + ahead + lasts)
                wanted = Wanted(KEY, merchant_id, _at(now + ahead), until)
                found = place(wanted, _real(standing), _at(now))
                if isinstance(found, Stretch):
                    number = len(standing) + 1
                    standing[number] = Mapping(KEY, number, found.value, found.since, found.until, None, _at(now))
            case "end":
                for each in ended(_real(standing), _at(now + ahead)):
                    standing[each.sequence] = each
            case _:
                now += ahead
        assert [meant(hour) for hour in range(len(past))] == past
        assert all(len(meant(hour)) <= 1 for hour in range(now + 25))


def _real(standing: dict[int, Mapping]) -> list[Mapping]:
    return [each for each in standing.values() if each.valid_until is None or each.valid_until > each.valid_from]


def test_a_conflict_is_told_before_the_past() -> None:
    there = Mapping(KEY, 1, "mer:1", _at(0), None, None, _at(0))
    found = place(Wanted(KEY, "mer:2", _at(1), None), [there], _at(5))
    assert isinstance(found, PaymentError)
    assert found.code == "master_id_conflict"


# -- numbers and rules --------------------------------------------------------------------------------------------


def test_the_check_digit_of_a_corporate_number() -> None:
    assert check_digit("000012050002") == 7  # 国税庁


@given(st.text("0123456789", min_size=12, max_size=12), st.integers(0, 11), st.integers(1, 8))
def test_one_wrong_digit_is_noticed_unless_it_is_a_nine_for_a_nought(twelve: str, place_of: int, by: int) -> None:
    digit = (int(twelve[place_of]) + by) % 10
    wrong = twelve[:place_of] + str(digit) + twelve[place_of + 1 :]
    same = (digit - int(twelve[place_of])) % 9 == 0
    assert (check_digit(wrong) == check_digit(twelve)) is same


def test_the_platforms_rules_ask_for_two_persons_where_money_moves() -> None:
    rules = read_rules(load_toml("kessai.config", "merchant.toml"))
    assert all(rules.needed_for(each) for each in (Aspect.CONTRACT, Aspect.PARENT, Aspect.BANK_ACCOUNT))
    assert rules.master
    assert rules.needed_for(Aspect.STATE, MerchantState.ACTIVE)
    assert not rules.needed_for(Aspect.STATE, MerchantState.SUSPENDED)
    assert rules.needed_for(Aspect.PROFILE)
    assert rules.needed_for(Aspect.COMPANY)
    assert not rules.needed_for(Aspect.CHILDREN)


def test_a_wrong_rule_is_told_with_its_line() -> None:
    text = "[approval]\ncontract = true\nparent = true\nbank_account = true\nmaster = true\nstates = ['gone']\n"
    with pytest.raises(ConfigError, match=r"rules\.toml, line 6"):
        read_rules(TomlDocument(text, "rules.toml"))
