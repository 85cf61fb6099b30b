"""Chart and posting rules as data: what is shipped is whole, and what is wrong is refused with file and line."""

from __future__ import annotations

from datetime import date
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kessai.foundation.config import ConfigError
from kessai.services.books.domain.chart import load_chart
from kessai.services.books.domain.rules import TaxCode, load_posting_rules
from kessai.services.ledger.domain.types import load_account_types
from kessai.services.payment.domain.kinds import load_kinds
from tests.books.town import config

TYPES = {each.code: each.asset for each in load_account_types()}


def shipped(name: str) -> str:
    """A file of the platform's own configuration."""
    return resources.files("kessai.config").joinpath(name).read_text(encoding="utf-8")


CHART = """\
[[version]]
number = 1
valid_from = 2020-01-01
  [version.accounts.1000]
  name = "Deposits"
  name_ja = "預金"
  section = "asset"
  control = true
  [version.accounts.1100]
  name = "Bank"
  name_ja = "普通預金"
  section = "asset"
  [version.accounts.2000]
  name = "Funds"
  name_ja = "預り金"
  section = "liability"
  control = true
  [version.accounts.2100]
  name = "Tax"
  name_ja = "仮受消費税"
  section = "liability"
"""
RULES = """\
[[version]]
number = 1
valid_from = 2020-01-01
  [version.tax.out10]
  name_ja = "課税売上"
  direction = "output"
  rate_bps = 1_000
  account = "2100"
  [version.legs]
  deposit = { account = "1000" }
  funds = { account = "2000" }
  [version.bank]
  debit_in = { deposit = "1100", clearing = "2100" }
  [version.rules.top_up]
  name_ja = "入金"
  takes = ["deposit", "funds"]
  lines = [{ account = "1100", side = "debit", of = "funds" }, { account = "2100", side = "credit", of = "funds" }]
"""

WRONG_RULES: dict[str, tuple[str, str, int, str]] = {
    "unknown key": (
        'name_ja = "入金"',
        'name_ja = "入金"\n  names = 1',
        16,
        "version.0.rules.top_up.names: unknown key",
    ),
    "unknown table": ("[version.bank]", "[version.banks]", 12, "banks: unknown key"),
    "unknown top table": ("[[version]]\n", "[rules]\n[[version]]\n", 1, "rules: unknown key"),
    "unknown account": ('account = "1000"', 'account = "1999"', 10, "there is no account 1999"),
    "unknown account type": ("funds = {", "fund = {", 11, "there is no account type fund"),
    "takes an unknown type": ('takes = ["deposit",', 'takes = ["deposits",', 16, "there is no account type deposits"),
    "takes what nothing books": ('takes = ["deposit",', 'takes = ["deposit", "sales",', 16, "does not balance"),
    "takes a type twice": ('takes = ["deposit",', 'takes = ["deposit", "funds",', 16, "funds is named twice"),
    "a line that does not balance": ('side = "credit"', 'side = "debit"', 17, "does not balance"),
    "a line without its other side": (
        ', { account = "2100", side = "credit", of = "funds" }',
        "",
        17,
        "does not balance",
    ),
    "a line of a type it does not take": ('of = "funds" }]', 'of = "sales" }]', 17, "sales is not among"),
    "a line on a control account": ('account = "1100", side', 'account = "1000", side', 17, "is a control account"),
    "a control account twice": (
        'funds = { account = "2000" }',
        'funds = { account = "1000" }',
        11,
        "of deposit already",
    ),
    "a control account at the bank": ('deposit = "1100"', 'deposit = "1000"', 13, "is a control account"),
    "a leg on an account of something else": (
        'funds = { account = "2000" }',
        'funds = { account = "1100" }',
        13,
        "is a control account",
    ),
    "an unknown tax code": (
        'funds = { account = "2000" }',
        'funds = { account = "2000", tax = "x" }',
        11,
        "there is no [version.tax.x]",
    ),
    "a rate above the whole": ("rate_bps = 1_000", "rate_bps = 20_000", 7, "rate_bps"),
    "a direction of the bank that is none": ("debit_in =", "debit_out =", 13, "unknown key"),
    "own legs that it does not take": (
        "  lines = [",
        '  legs = { sales = { account = "2000" } }\n  lines = [',
        17,
        "version.0.rules.top_up.legs.sales",
    ),
    "a version that is not numbered": ("number = 1", "number = 2", 2, "must be 1"),
    "an end of the last version": ("number = 1", "number = 1\nvalid_until = 2030-01-01", 3, "has no end"),
    "before the chart": ("valid_from = 2020-01-01", "valid_from = 2019-12-31", 3, "before the chart"),
}


@pytest.mark.parametrize("what", WRONG_RULES)
def test_a_wrong_rule_is_refused_with_its_line(what: str) -> None:
    old, new, line, reason = WRONG_RULES[what]
    assert RULES.count(old) == 1
    with pytest.raises(ConfigError) as refusal:
        config(CHART, RULES.replace(old, new))
    assert str(refusal.value).startswith(f"rules.toml, line {line}: "), str(refusal.value)
    assert reason in str(refusal.value)


WRONG_CHARTS: dict[str, tuple[str, str, int, str]] = {
    "unknown key": (
        'section = "liability"\n  control',
        'sections = "liability"\n  control',
        16,
        "sections: unknown key",
    ),
    "unknown section": ('section = "liability"\n  control', 'section = "debt"\n  control', 16, "section"),
    "a control account that is none": (
        'section = "liability"\n  control = true',
        'section = "liability"',
        11,
        "2000 is no control account in version 1 of the chart",
    ),
    "a contra account of nothing": ('name = "Bank"', 'name = "Bank"\n  contra_to = "9"', 11, "no other account 9"),
    "a code that is none": ("[version.accounts.1100]", '[version.accounts."1 100"]', 9, "a code is"),
}
VERSION_TWO = CHART.replace("number = 1", "number = 2")
RULES_TWO = RULES.replace("number = 1", "number = 2")


@pytest.mark.parametrize("what", WRONG_CHARTS)
def test_a_wrong_chart_is_refused_with_its_line(what: str) -> None:
    old, new, line, reason = WRONG_CHARTS[what]
    assert CHART.count(old) == 1
    with pytest.raises(ConfigError) as refusal:
        config(CHART.replace(old, new), RULES)
    assert reason in str(refusal.value)
    file = "rules" if "none" in what and "control" in what else "chart"  # what is wrong between two files
    assert str(refusal.value).startswith(f"{file}.toml, line {line}: "), str(refusal.value)


VERSIONS = {
    "the same day": ("2020-01-01", None, "overlaps version 1"),
    "an earlier day": ("2019-06-01", None, "overlaps version 1"),
    "overlapping": ("2026-10-01", "2026-10-01", "overlaps version 2"),
    "with a gap": ("2026-10-01", "2026-09-29", "leaves a gap before version 2"),
}


@pytest.mark.parametrize("what", VERSIONS)
def test_versions_neither_overlap_nor_leave_gaps(what: str) -> None:
    starts, ends, reason = VERSIONS[what]
    one = RULES if ends is None else RULES.replace("number = 1", f"number = 1\nvalid_until = {ends}")
    two = RULES_TWO.replace("2020-01-01", starts)
    with pytest.raises(ConfigError, match=reason) as refusal:
        config(CHART, one + two)
    assert "rules.toml, line " in str(refusal.value)
    chart_one = CHART if ends is None else CHART.replace("number = 1", f"number = 1\nvalid_until = {ends}")
    with pytest.raises(ConfigError, match=reason):
        config(chart_one + VERSION_TWO.replace("2020-01-01", starts), RULES)


def test_a_version_holds_from_its_day_until_the_next_ones() -> None:
    two = RULES_TWO.replace("2020-01-01", "2026-10-01").replace(
        "rate_bps = 1_000", 'rate_bps = 1_000\n  rounding = "half_up"'
    )
    rules = config(CHART, RULES.replace("number = 1", "number = 1\nvalid_until = 2026-09-30") + two).rules
    found = {day: rules.on(day) for day in (date(2019, 12, 31), date(2026, 9, 30), date(2026, 10, 1))}
    assert {day: each and each.tax["out10"].rounding for day, each in found.items()} == {
        date(2019, 12, 31): None,
        date(2026, 9, 30): "down",
        date(2026, 10, 1): "half_up",
    }


def test_rules_are_checked_against_every_version_of_the_chart_that_holds_meanwhile() -> None:
    without = VERSION_TWO.replace("2020-01-01", "2026-10-01").replace("accounts.1000", "accounts.1001")
    with pytest.raises(ConfigError, match="no account 1000 in version 2 of the chart"):
        config(CHART + without, RULES)


def test_an_account_keeps_its_section_and_what_is_booked_on_it() -> None:
    later = VERSION_TWO.replace("2020-01-01", "2026-10-01")
    lines = CHART.count("\n")
    moved = later.replace('name_ja = "普通預金"\n  section = "asset"', 'name_ja = "普通預金"\n  section = "expense"')
    with pytest.raises(ConfigError, match=rf"^chart\.toml, line {lines + 12}: .*was asset in version 1"):
        config(CHART + moved, RULES)
    opened = later.replace('section = "liability"\n  control = true', 'section = "liability"')
    with pytest.raises(ConfigError, match=rf"^chart\.toml, line {lines + 13}: .*was a control account in version 1"):
        config(CHART + opened, RULES)


def test_tax_on_what_is_not_yen_is_refused_with_its_line() -> None:
    text = RULES.replace('deposit = { account = "1000" }', 'deposit_btc = { account = "1000", tax = "out10" }')
    text = text.replace('takes = ["deposit", "funds"]', 'takes = ["deposit_btc", "funds"]')
    with pytest.raises(ConfigError, match=r"^rules\.toml, line 10: .*deposit_btc is kept in BTC"):
        config(CHART, text)
    own = RULES.replace("  lines = [", '  legs = { btc = { account = "2000", tax = "out10" } }\n  lines = [')
    own = own.replace('takes = ["deposit", "funds"]', 'takes = ["deposit", "funds", "btc"]')
    with pytest.raises(ConfigError, match=r"^rules\.toml, line 17: .*btc is kept in BTC"):
        config(CHART, own)


def test_a_new_rate_under_an_old_code_is_refused_with_its_line() -> None:
    second = RULES_TWO.replace("2020-01-01", "2026-10-01")
    assert config(CHART, RULES + second).rules.latest.number == 2
    lines = RULES.count("\n")
    with pytest.raises(ConfigError, match=rf"^rules\.toml, line {lines + 7}: .*another rate or direction in version 1"):
        config(CHART, RULES + second.replace("1_000", "1_200"))


def test_a_tax_account_stays_in_the_chart_for_what_is_given_back() -> None:
    later = VERSION_TWO.replace("2020-01-01", "2026-10-01") + VERSION_TWO.replace("number = 2", "number = 3").replace(
        "2020-01-01", "2027-01-01"
    ).replace("accounts.2100", "accounts.2101")
    second = RULES_TWO.replace("2020-01-01", "2027-01-01").replace('"2100"', '"2101"')
    with pytest.raises(ConfigError, match=r"^rules\.toml, line 8: .*no account 2100 in version 3 .* given back"):
        config(CHART + later, RULES + second)


def test_every_account_type_is_booked_and_every_payment_kind_has_its_rule() -> None:
    rules = load_posting_rules(load_chart(), TYPES).latest
    assert set(rules.control.values()) == TYPES.keys()
    kinds = load_kinds()
    expected = {each.name for each in kinds} | {"expiry", "transfer"}
    expected |= {f"{each.name}_{step}" for each in kinds if each.parks for step in ("paid_on", "taken_back")}
    expected |= {
        f"{each.name}_surplus" for each in kinds if any(part.surplus_account_types for part in each.sources.values())
    }
    assert expected - rules.rules.keys() == set()


def test_every_rule_takes_all_that_its_payment_kind_may_move() -> None:
    rules = load_posting_rules(load_chart(), TYPES).latest.rules
    for kind in load_kinds():
        moved = {*kind.payer_account_types, kind.payee_account_type, *kind.payee_account_types}
        for source in kind.sources.values():
            moved.add(source.account_type or kind.payer_account_types[0])
            if source.along is not None:
                moved |= {source.along.from_account_type, source.along.to_account_type}
        if kind.along is not None:
            moved |= {kind.along.from_account_type, kind.along.to_account_type}
        if kind.fee is not None:
            moved.add(kind.fee.account_type)
        assert moved - rules[kind.name].legs.keys() == set(), kind.name


@given(st.integers(-(10**16), 10**16), st.integers(1, 10_000), st.sampled_from(["down", "half_up"]))
def test_tax_and_net_are_the_whole_and_turn_with_its_sign(amount: int, rate_bps: int, rounding: str) -> None:
    tax = TaxCode(name_ja="税", direction="output", rate_bps=rate_bps, account="1", rounding=rounding)  # pyright: ignore
    part = tax.included_in(amount)
    assert tax.included_in(-amount) == -part
    assert abs(part) <= abs(amount)
    exact = abs(amount) * rate_bps / (10_000 + rate_bps)
    assert abs(abs(part) - exact) <= max(1, exact * 1e-9)


def test_the_shipped_files_are_what_the_platform_reads() -> None:
    assert config(shipped("chart_of_accounts.toml"), shipped("posting_rules.toml")).rules.latest.number == 1
