"""The ledger's pure decisions, without a database: what holds for every input."""

from __future__ import annotations

import copy
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from kessai.foundation.errors import PaymentError
from kessai.foundation.ids import derived_hex
from kessai.services.ledger import api
from kessai.services.ledger.api import CreateExchange, Exchange, Leg, account_id_of
from kessai.services.ledger.domain.book import Book
from kessai.services.ledger.domain.commands import Chain, Create
from kessai.services.ledger.domain.page import Page
from kessai.services.ledger.domain.state import (
    NEVER,
    SLOT_BITS,
    WINDOW_MAX,
    AccountState,
    Lot,
    flush_instant,
    instant,
    micros,
)
from kessai.services.ledger.domain.types import load_account_types

TYPES = load_account_types(None)
START = micros(datetime(2026, 4, 1, tzinfo=UTC))
KINDS = ("sales", "free_points", "settled_sales", "unsettled_sales")
PLACES = [f"{owner}/{kind}" for owner in ("a", "b") for kind in KINDS]
PROPERTY = settings(max_examples=150, derandomize=True, deadline=None, database=None)

Movement = tuple[str, str, int, bool]
MOVEMENTS = st.lists(
    st.tuples(st.sampled_from(["bank/deposit", *PLACES]), st.sampled_from(PLACES), st.integers(1, 50), st.booleans()),
    min_size=1,
    max_size=40,
)


def _leg(place: str, amount: int) -> Leg:
    owner, kind = place.rsplit("/", 1)
    return Leg(amount_minor=amount, asset="JPY", owner=owner, account_type=kind)


def _create(number: int, movement: Movement, chain: Chain | None = None) -> Create:
    source, target, amount, capture = movement
    request = CreateExchange(sources=[_leg(source, amount)], targets=[_leg(target, amount)], capture=capture)
    accounts: list[str] = [account_id_of(*place.rsplit("/", 1)) for place in (source, target)]
    return Create(request, "exc_" + derived_hex("property", str(number)), b"", accounts, "test", None, chain)


def _page(serial: int) -> Page:
    now = START + serial * 1_000_000
    return Page(serial, now << SLOT_BITS, now)


def _pages(movements: list[Movement], size: int) -> tuple[Book, list[Page]]:
    book = Book(TYPES)
    pages: list[Page] = []
    for start in range(0, len(movements), size):
        page = _page(len(pages) + 1)
        book.decide(page, [_create(start + n, each) for n, each in enumerate(movements[start : start + size])])
        pages.append(page)
    return book, pages


@PROPERTY
@given(MOVEMENTS, st.integers(1, 10))
def test_every_record_adds_up_to_zero(movements: list[Movement], size: int) -> None:
    _, pages = _pages(movements, size)
    for record in (record for page in pages for record in page.records):
        told = msgspec.json.decode(record)
        assert sum(posting[3] for posting in told.get("postings", [])) == 0


@PROPERTY
@given(MOVEMENTS, st.integers(1, 10))
def test_lots_and_logs_make_up_the_account(movements: list[Movement], size: int) -> None:
    book, pages = _pages(movements, size)
    logged: dict[str, int] = defaultdict(int)
    for log in (log for page in pages for log in page.logs):
        account, _, _, _, amount, _, balance, *_ = log
        assert isinstance(account, str)
        assert isinstance(amount, int)
        logged[account] += amount
        assert logged[account] == balance
    for account in book.accounts.values():
        if not account.type.log_only:
            assert account.balance == logged[account.hex]
            assert account.balance - account.held >= 0
            open_lots = [lot for lot in account.lots if lot.remaining]
            assert sum(lot.remaining for lot in open_lots) == account.balance
            assert sum(lot.held for lot in open_lots) == account.held


@PROPERTY
@given(MOVEMENTS, st.integers(1, 10), st.integers(1, 10))
def test_division_into_pages_changes_no_balance(movements: list[Movement], one: int, other: int) -> None:
    first, second = (_pages(movements, size)[0] for size in (one, other))
    assert _balances(first) == _balances(second)


@PROPERTY
@given(MOVEMENTS, MOVEMENTS)
def test_refused_chain_changes_nothing(before: list[Movement], chained: list[Movement]) -> None:
    book, _ = _pages(before, 5)
    page = _page(1_000)
    chain = Chain("linked_exchange_failed")
    picture = _picture(book)
    # The last one of the chain cannot be paid by anybody.
    doomed = [*chained, ("a/sales", "b/sales", 10**15, True)]
    book.decide(page, [_create(10_000 + n, each, chain) for n, each in enumerate(doomed)])
    assert all(isinstance(outcome, PaymentError) for outcome in page.outcomes)
    assert _picture(book) == picture
    rows = (page.records, page.logs, page.hot_logs, page.lot_logs, page.exchanges, page.new_lots, page.lots)
    assert not any(rows)
    assert not page.accounts


@PROPERTY
@given(MOVEMENTS, MOVEMENTS, MOVEMENTS)
def test_refused_chain_does_not_disturb_its_neighbours(
    before: list[Movement], chained: list[Movement], after: list[Movement]
) -> None:
    chain = Chain("linked_exchange_failed")
    doomed = [*chained, ("a/sales", "b/sales", 10**15, True)]
    plain = [_create(n, each) for n, each in enumerate(before)]
    later = [_create(20_000 + n, each) for n, each in enumerate(after)]
    broken = [_create(10_000 + n, each, chain) for n, each in enumerate(doomed)]
    alone, disturbed = Book(TYPES), Book(TYPES)
    quiet, noisy = _page(1), _page(1)
    alone.decide(quiet, [*copy.deepcopy(plain), *copy.deepcopy(later)])
    disturbed.decide(noisy, [*plain, *broken, *later])
    assert _balances(alone) == _balances(disturbed)
    assert quiet.records == noisy.records
    told = [outcome for outcome in noisy.outcomes if isinstance(outcome, Exchange)]
    assert told == [outcome for outcome in quiet.outcomes if isinstance(outcome, Exchange)]


def _balances(book: Book) -> dict[str, tuple[int, int]]:
    return {
        each.account_id: (each.balance, each.held)
        for each in book.accounts.values()
        if not each.type.log_only and (each.balance or each.held)
    }


def _picture(book: Book) -> dict[str, Any]:
    return {
        account.account_id: (
            account.balance, account.held, account.version, account.complete,
            [(lot.sequence, lot.remaining, lot.held) for lot in account.lots],
        )
        for account in book.accounts.values()
    }  # fmt: skip


@PROPERTY
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 100)), min_size=1, max_size=5 * WINDOW_MAX))
def test_window_keeps_the_first_lots_in_order(given_lots: list[tuple[int, int]]) -> None:
    points = TYPES.require("free_points")
    account = AccountState(account_id_of("a", "free_points"), "a", points, opened=START)
    lots = [
        Lot(sequence, amount, amount, 0, NEVER if days == 0 else START + days, None)
        for sequence, (days, amount) in enumerate(given_lots, 1)
    ]
    for lot in lots:
        account.keep(lot)
        account.settle()  # as after a page
    expected = sorted(lots, key=lambda lot: (lot.expires, lot.sequence))
    assert len(account.lots) <= 2 * WINDOW_MAX
    assert [lot.sequence for lot in account.lots] == [lot.sequence for lot in expected][: len(account.lots)]
    assert account.complete == (len(account.lots) == len(lots))


@PROPERTY
@given(st.datetimes(datetime(2020, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_instants_survive_their_number(at: datetime) -> None:
    assert instant(micros(at)) == at
    assert flush_instant(micros(at) << SLOT_BITS | 7) == at
    assert micros(at + timedelta(microseconds=1)) == micros(at) + 1


@PROPERTY
@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_account_ids_differ_by_owner_and_by_type(owner: str, other: str, kind: str) -> None:
    assert account_id_of(owner, kind) == account_id_of(owner, kind)
    if owner != other:
        assert account_id_of(owner, kind) != account_id_of(other, kind)
        assert account_id_of(kind, owner) != account_id_of(kind, other)


@PROPERTY
@given(st.integers(1, 10**9), st.integers(1, 10**12), st.integers(-1, 1))
def test_price_within_one_unit_of_the_rate_is_accepted(satoshi: int, rate: int, slack: int) -> None:
    """¥ = BTC × rate, give or take one yen; two yen off is refused."""
    yen = satoshi * rate // 10**8
    for off, fits in ((slack, True), (2, False), (-2, False)):
        if yen + off < 1:
            continue
        book, page = Book(TYPES), _page(1)
        request = CreateExchange(
            sources=[Leg(amount_minor=yen + off, asset="JPY", owner="bank", account_type="deposit")],
            targets=[Leg(amount_minor=satoshi, asset="BTC", owner="bank", account_type="deposit_btc")],
            rate=str(rate),
        )
        if yen + off > 10**16:
            continue
        accounts: list[str] = [account_id_of("bank", "deposit"), account_id_of("bank", "deposit_btc")]
        book.decide(page, [Create(request, "exc_" + "0" * 32, b"", accounts, "test", None)])
        (outcome,) = page.outcomes
        assert isinstance(outcome, Exchange) is fits
        if isinstance(outcome, PaymentError):
            assert outcome.code == "rate_mismatch"


def test_every_verb_documents_codes_that_read_as_codes() -> None:
    for name in dir(api.Ledger):
        spec = getattr(getattr(api.Ledger, name), "__verb__", None)
        if spec is not None:
            assert all(code.islower() and code.replace("_", "").isalnum() for code in spec.errors)
            assert len(set(spec.errors)) == len(spec.errors)
