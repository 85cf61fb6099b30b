"""Every way in which the ledger says no: the code is the door's, and nothing at all is written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest

from kessai.foundation.db import Database
from kessai.foundation.errors import Conflict, Invalid, NotFound, PaymentError, Refused
from kessai.services.ledger import api
from kessai.services.ledger.api import Freeze

from .book import Book, FakeClock, account_id, exchange_id
from .rows import picture

Step = Callable[[Book], Awaitable[object]]


@dataclass(frozen=True)
class No:
    """One refusal: what was there, what is asked, and what the answer is."""

    story: str
    code: str
    kind: type[PaymentError]
    asked: Step
    given: tuple[Step, ...] = ()


def _funds(amount: int = 1_000) -> tuple[Step, ...]:
    return (lambda b: b.open("cus:1/funds"), lambda b: b.give(f"cus:1/funds {amount}"))


def _held(amount: int = 300, **fields: object) -> tuple[Step, ...]:
    return (
        *_funds(),
        lambda b: b.hold(f"cus:1/funds {amount} > mer:1/unsettled_sales {amount}", name="order", **fields),
    )


def _paid(amount: int = 300) -> tuple[Step, ...]:
    return (*_funds(), lambda b: b.move(f"cus:1/funds {amount} > mer:1/unsettled_sales {amount}", name="order"))


def _later(**step: float) -> Step:
    async def wait(book: Book) -> None:
        book.clock.advance(**step)

    return wait


PAY = "cus:1/funds 300 > mer:1/unsettled_sales 300"
NOBODY = "acc_" + "0" * 32
ODD = "lot_" + "0" * 32

ACCOUNTS = [
    No("an account of an unknown type", "unknown_account_type", Invalid, lambda b: b.open("cus:1/gold")),
    No("an overdraft on a type without one", "overdraft_not_allowed", Invalid,
       lambda b: b.open("cus:1/funds", limit=1)),
    No("an overdraft above the type's own", "overdraft_not_allowed", Invalid,
       lambda b: b.open("cus:1/credit", limit=500_001)),
    No("a closed account opened again", "account_closed", Refused, lambda b: b.open("cus:1/funds"),
       (lambda b: b.open("cus:1/funds"), lambda b: b.close("cus:1/funds"))),
    No("an account that nobody opened", "account_not_found", NotFound, lambda b: b.account("cus:9/funds")),
    No("freezing an unknown account", "account_not_found", NotFound, lambda b: b.freeze("cus:9/funds", Freeze.IN)),
    No("freezing a closed account", "account_closed", Refused, lambda b: b.freeze("cus:1/funds", Freeze.IN),
       (lambda b: b.open("cus:1/funds"), lambda b: b.close("cus:1/funds"))),
    No("closing an unknown account", "account_not_found", NotFound, lambda b: b.close("cus:9/funds")),
    No("closing an account with a balance", "account_not_empty", Refused, lambda b: b.close("cus:1/funds"), _funds()),
    No("closing an account with a hold on all of its balance", "account_not_empty", Refused,
       lambda b: b.close("cus:1/funds"), _held(1_000)),
    No("closing an account that owes", "account_not_empty", Refused, lambda b: b.close("cus:1/credit"),
       (lambda b: b.open("cus:1/credit", limit=500), lambda b: b.move("cus:1/credit 300 > mer:1/unsettled_sales 300"))),
    No("updating an unknown account", "account_not_found", NotFound, lambda b: b.update("cus:9/funds", metadata={})),
    No("updating a closed account", "account_closed", Refused, lambda b: b.update("cus:1/funds", metadata={"a": "b"}),
       (lambda b: b.open("cus:1/funds"), lambda b: b.close("cus:1/funds"))),
    No("raising an overdraft above the type's own", "overdraft_not_allowed", Invalid,
       lambda b: b.update("cus:1/credit", overdraft_limit_minor=500_001), (lambda b: b.open("cus:1/credit"),)),
]  # fmt: skip

LEGS = [
    No("an account by its own id, unknown", "account_not_found", NotFound,
       lambda b: b.move(f"{NOBODY} 300 > mer:1/unsettled_sales 300")),
    No("a source that nobody opened", "account_not_found", NotFound, lambda b: b.move(PAY)),
    No("a target that is not opened by itself", "account_not_found", NotFound, lambda b: b.give("cus:9/funds 300")),
    No("an unknown type in a leg", "unknown_account_type", Invalid,
       lambda b: b.move("cus:1/gold 300 > mer:1/unsettled_sales 300"), _funds()),
    No("an id with another prefix", "malformed_id", Invalid,
       lambda b: b.ledger.create_exchange(_request(b, account_id="exc_" + "0" * 32)), _funds()),
    No("an exchange id with another prefix", "malformed_id", Invalid,
       lambda b: b.ledger.create_exchange(_renamed(b.request(PAY), "act_" + "0" * 32)), _funds()),
    No("a leg with id and owner", "leg_account_ambiguous", Invalid,
       lambda b: b.ledger.create_exchange(
           _request(b, account_id=account_id("cus:1/funds"), owner="cus:1", account_type="funds")), _funds()),
    No("a leg with neither id nor owner", "leg_account_ambiguous", Invalid,
       lambda b: b.ledger.create_exchange(_request(b)), _funds()),
    No("a leg with an owner and no type", "leg_account_ambiguous", Invalid,
       lambda b: b.ledger.create_exchange(_request(b, owner="cus:1")), _funds()),
    No("a source in another asset than its account", "wrong_asset", Invalid,
       lambda b: b.move("cus:1/funds 300 BTC > mer:1/unsettled_sales 300"), _funds()),
    No("a target in another asset than its account", "wrong_asset", Invalid,
       lambda b: b.move("cus:1/funds 300 > mer:1/unsettled_sales 300 USD"), _funds()),
    No("a debit of a closed account", "account_closed", Refused, lambda b: b.move(PAY),
       (lambda b: b.open("cus:1/funds"), lambda b: b.close("cus:1/funds"))),
    No("a credit of a closed account", "account_closed", Refused, lambda b: b.give("cus:1/funds 1"),
       (lambda b: b.open("cus:1/funds"), lambda b: b.close("cus:1/funds"))),
    No("even a returning credit of a closed account", "account_closed", Refused,
       lambda b: b.give("cus:1/funds 1 returning"),
       (lambda b: b.open("cus:1/funds"), lambda b: b.close("cus:1/funds"))),
    No("a debit of an account frozen out", "account_frozen", Refused, lambda b: b.move(PAY),
       (*_funds(), lambda b: b.freeze("cus:1/funds", Freeze.OUT))),
    No("a debit of an account frozen both ways", "account_frozen", Refused, lambda b: b.move(PAY),
       (*_funds(), lambda b: b.freeze("cus:1/funds", Freeze.BOTH))),
    No("a hold on an account frozen out", "account_frozen", Refused, lambda b: b.hold(PAY),
       (*_funds(), lambda b: b.freeze("cus:1/funds", Freeze.OUT))),
    No("a voluntary credit of an account frozen in", "account_frozen", Refused, lambda b: b.give("cus:1/funds 1"),
       (*_funds(), lambda b: b.freeze("cus:1/funds", Freeze.IN))),
    No("a voluntary credit of an account frozen both ways", "account_frozen", Refused,
       lambda b: b.give("cus:1/funds 1"), (*_funds(), lambda b: b.freeze("cus:1/funds", Freeze.BOTH))),
    No("a debit of a frozen log-only account", "account_frozen", Refused,
       lambda b: b.move("mer:1/unsettled_sales 100 > mer:1/settled_sales 100"),
       (*_paid(), lambda b: b.freeze("mer:1/unsettled_sales", Freeze.OUT))),
    No("targets above sources", "unbalanced", Invalid,
       lambda b: b.move("cus:1/funds 300 > mer:1/unsettled_sales 301"), _funds()),
    No("sources above targets", "unbalanced", Invalid,
       lambda b: b.move("cus:1/funds 300 > mer:1/unsettled_sales 299"), _funds()),
    No("balancing sources whose limits never reach the targets", "unbalanced", Invalid,
       lambda b: b.move("cus:1/funds <=200 > mer:1/unsettled_sales 300"), _funds()),
    No("two balancing targets of one asset", "unbalanced", Invalid,
       lambda b: b.move("cus:1/funds 300 > mer:1/unsettled_sales <=300 + mer:2/unsettled_sales <=300"), _funds()),
    No("two assets without a rate", "rate_required", Invalid,
       lambda b: b.move("cus:1/trading_funds 10000 > cus:1/btc 100000"),
       (lambda b: b.open("cus:1/trading_funds", "cus:1/btc"), lambda b: b.give("cus:1/trading_funds 10000"))),
    No("amounts that are not at the rate", "rate_mismatch", Invalid,
       lambda b: b.move("cus:1/trading_funds 10002 > cus:1/btc 100000", rate="10000000"),
       (lambda b: b.open("cus:1/trading_funds", "cus:1/btc"), lambda b: b.give("cus:1/trading_funds 20000"))),
    No("a balance below the condition", "condition_failed", Refused,
       lambda b: b.move("cus:1/funds 300 balance>=1001 > mer:1/unsettled_sales 300"), _funds()),
    No("another version than the condition's", "condition_failed", Refused,
       lambda b: b.move("cus:1/funds 300 version=999 > mer:1/unsettled_sales 300"), _funds()),
    No("a condition on the target", "condition_failed", Refused,
       lambda b: b.give("cus:1/funds 1 balance>=1001"), _funds()),
    No("a condition on a log-only account", "condition_failed", PaymentError,
       lambda b: b.move("bank/deposit 1 balance>=0 > cus:1/funds 1"), _funds()),
    No("a debit above what is there", "insufficient_funds", Refused,
       lambda b: b.move("cus:1/funds 1001 > mer:1/unsettled_sales 1001"), _funds()),
    No("a hold above what is there", "insufficient_funds", Refused,
       lambda b: b.hold("cus:1/funds 1001 > mer:1/unsettled_sales 1001"), _funds()),
    No("a debit above what is not held", "insufficient_funds", Refused,
       lambda b: b.move("cus:1/funds 701 > mer:1/unsettled_sales 701"), _held()),
    No("a debit below the overdraft's limit", "insufficient_funds", Refused,
       lambda b: b.move("cus:1/credit 501 > mer:1/unsettled_sales 501"),
       (lambda b: b.open("cus:1/credit", limit=500),)),
    No("two debits of one account in one exchange, together above it", "insufficient_funds", Refused,
       lambda b: b.move("cus:1/funds 600 + cus:1/funds 600 > mer:1/unsettled_sales 1200"), _funds()),
    No("a debit of points that have expired", "insufficient_funds", Refused,
       lambda b: b.move("cus:1/free_points 1 > mer:1/unsettled_sales 1"),
       (lambda b: b.give("cus:1/free_points 100 expires=10d"), _later(days=10))),
    No("balancing sources that do not hold enough together", "insufficient_funds", Refused,
       lambda b: b.move("cus:1/free_points <=300 + cus:1/funds <=5000 > mer:1/unsettled_sales 1200"),
       (*_funds(), lambda b: b.give("cus:1/free_points 100"))),
    No("a credit over the retention cap", "retention_cap_exceeded", Refused,
       lambda b: b.give("cus:1/funds 1"), _funds(1_000_000)),
    No("a credit that jumps the retention cap", "retention_cap_exceeded", Refused,
       lambda b: b.give("cus:1/funds 1000001"), (lambda b: b.open("cus:1/funds"),)),
    No("a hold for a target over its retention cap", "retention_cap_exceeded", Refused,
       lambda b: b.hold("cus:2/funds 300 > cus:1/funds 300"),
       (*_funds(1_000_000), lambda b: b.open("cus:2/funds"), lambda b: b.give("cus:2/funds 300"))),
    No("a hold that would expire before it begins", "expires_in_past", Invalid,
       lambda b: b.hold(PAY, expires_at=b.clock.now() - timedelta(seconds=1)), _funds()),
    No("a lot that would be born expired", "expires_in_past", Invalid,
       lambda b: b.give("cus:1/free_points 1 expires=-1d")),
]  # fmt: skip

EXCHANGES = [
    No("an unknown exchange looked up", "exchange_not_found", NotFound, lambda b: b.exchange("nothing")),
    No("an unknown reference looked up", "exchange_not_found", NotFound,
       lambda b: b.ledger.get_exchange_by_reference(api.GetExchangeByReference(reference="nothing"))),
    No("an unknown exchange captured", "exchange_not_found", NotFound, lambda b: b.capture("nothing")),
    No("an unknown exchange voided", "exchange_not_found", NotFound, lambda b: b.void("nothing")),
    No("an unknown exchange reversed", "exchange_not_found", NotFound, lambda b: b.reverse("nothing")),
    No("captured twice", "exchange_not_authorized", Refused, lambda b: b.capture("order"),
       (*_held(), lambda b: b.capture("order"))),
    No("captured although it was captured at once", "exchange_not_authorized", Refused,
       lambda b: b.capture("order"), _paid()),
    No("captured after void", "exchange_not_authorized", Refused, lambda b: b.capture("order"),
       (*_held(), lambda b: b.void("order"))),
    No("captured above what was authorized", "capture_above_authorized", Refused,
       lambda b: b.capture("order", 301), _held()),
    No("captured above what an earlier part left", "capture_above_authorized", Refused,
       lambda b: b.capture("order", 201), (*_held(), lambda b: b.capture("order", 100, final=False))),
    No("a leg captured above its part", "capture_above_authorized", Refused,
       lambda b: b.capture("order", legs={0: 301, 1: 301}), _held()),
    No("a leg captured that is not there", "unknown_leg", Invalid, lambda b: b.capture("order", legs={7: 1}), _held()),
    No("sides captured differently", "unbalanced", Invalid, lambda b: b.capture("order", legs={0: 2, 1: 1}), _held()),
    No("captured after its time", "hold_expired", Refused, lambda b: b.capture("order"), (*_held(), _later(days=8))),
    No("captured a second after its time", "hold_expired", Refused, lambda b: b.capture("order"),
       (*_held(), _later(days=7, seconds=1))),
    No("voided after capture", "exchange_not_authorized", Refused, lambda b: b.void("order"),
       (*_held(), lambda b: b.capture("order"))),
    No("voided twice", "exchange_not_authorized", Refused, lambda b: b.void("order"),
       (*_held(), lambda b: b.void("order"))),
    No("reversed before capture", "exchange_not_captured", Refused, lambda b: b.reverse("order"), _held()),
    No("reversed after void", "exchange_not_captured", Refused, lambda b: b.reverse("order"),
       (*_held(), lambda b: b.void("order"))),
    No("reversed above what was captured", "reversal_above_captured", Refused, lambda b: b.reverse("order", 301),
       _paid()),
    No("reversed above what an earlier reversal left", "reversal_above_captured", Refused,
       lambda b: b.reverse("order", 201), (*_paid(), lambda b: b.reverse("order", 100))),
    No("reversed when nothing is left", "reversal_above_captured", Refused, lambda b: b.reverse("order"),
       (*_paid(), lambda b: b.reverse("order"))),
    No("reversed above a partial capture", "reversal_above_captured", Refused, lambda b: b.reverse("order", 201),
       (*_held(), lambda b: b.capture("order", 200))),
    No("a leg reversed that is not there", "unknown_leg", Invalid, lambda b: b.reverse("order", legs={7: 1}), _paid()),
    No("sides reversed differently", "unbalanced", Invalid, lambda b: b.reverse("order", legs={0: 2, 1: 1}), _paid()),
    No("reversed when the payee has spent it", "insufficient_funds", Refused, lambda b: b.reverse("gift"),
       (*_funds(), lambda b: b.open("cus:2/funds"), lambda b: b.move("cus:1/funds 300 > cus:2/funds 300", name="gift"),
        lambda b: b.move("cus:2/funds 1 > mer:1/unsettled_sales 1"))),
    No("reversed into a closed account", "account_closed", Refused, lambda b: b.reverse("all"),
       (*_funds(), lambda b: b.move("cus:1/funds 1000 > mer:1/unsettled_sales 1000", name="all"),
        lambda b: b.close("cus:1/funds"))),
]  # fmt: skip

UNDECODED = [
    *(No(f"{amount} created in process", "invalid_amount", Invalid,
         lambda b, amount=amount: b.move(f"cus:1/funds {amount} > mer:1/unsettled_sales {amount}"), _funds())
      for amount in (0, -1, 10**16 + 1, 2**63, 2**64)),
    *(No(f"{amount} captured in process", "invalid_amount", Invalid,
         lambda b, amount=amount: b.capture("order", amount), _held()) for amount in (0, -1)),
    *(No(f"{amount} captured of a leg in process", "invalid_amount", Invalid,
         lambda b, amount=amount: b.capture("order", legs={0: amount, 1: amount}), _held()) for amount in (0, -1)),
    *(No(f"{amount} reversed in process", "invalid_amount", Invalid,
         lambda b, amount=amount: b.reverse("order", amount), _paid()) for amount in (0, -1)),
    *(No(f"{amount} reversed of a leg in process", "invalid_amount", Invalid,
         lambda b, amount=amount: b.reverse("order", legs={0: amount, 1: amount}), _paid()) for amount in (0, -1)),
]  # fmt: skip
"""What decoding would have stopped at the door, asked by a caller in the same process."""

MALFORMED = [
    No("a capture's action id with another prefix", "malformed_id", Invalid,
       lambda b: b.ledger.capture_exchange(api.CaptureExchange(exchange_id=exchange_id("order"), action_id=ODD)),
       _held()),
    No("a void's action id with another prefix", "malformed_id", Invalid,
       lambda b: b.ledger.void_exchange(api.VoidExchange(exchange_id=exchange_id("order"), action_id=ODD)), _held()),
    No("a reversal's id with another prefix", "malformed_id", Invalid,
       lambda b: b.ledger.reverse_exchange(api.ReverseExchange(exchange_id=exchange_id("order"), reversal_id=ODD)),
       _paid()),
]  # fmt: skip

REUSED = [
    No("an exchange id with another amount", "exchange_id_reused", Conflict,
       lambda b: b.move("cus:1/funds 301 > mer:1/unsettled_sales 301", name="order"), _paid()),
    No("an exchange id with another target", "exchange_id_reused", Conflict,
       lambda b: b.move("cus:1/funds 300 > mer:2/unsettled_sales 300", name="order"), _paid()),
    No("an exchange id held instead of captured", "exchange_id_reused", Conflict,
       lambda b: b.hold(PAY, name="order"), _paid()),
    No("an exchange id with other metadata", "exchange_id_reused", Conflict,
       lambda b: b.move(PAY, name="order", metadata={"note": "other"}), _paid()),
    No("the id of an exchange for its reversal", "exchange_id_reused", Conflict,
       lambda b: b.reverse("order", reversal="order"), _paid()),
    No("a reversal's id with another amount", "exchange_id_reused", Conflict,
       lambda b: b.reverse("order", 101, reversal="back"),
       (*_paid(), lambda b: b.reverse("order", 100, reversal="back"))),
    No("an action id with another amount", "action_id_reused", Conflict,
       lambda b: b.capture("order", 101, final=False, action="first"),
       (*_held(), lambda b: b.capture("order", 100, final=False, action="first"))),
    No("a capture's action id for a void", "action_id_reused", Conflict, lambda b: b.void("order", action="first"),
       (*_held(), lambda b: b.capture("order", 100, final=False, action="first"))),
    No("a reference that another exchange has", "reference_reused", Conflict,
       lambda b: b.move(PAY, reference="R-1"), (*_funds(), lambda b: b.move(PAY, reference="R-1"))),
    No("a reversal with a reference that is taken", "reference_reused", Conflict,
       lambda b: b.reverse("order", reference="R-1"), (*_paid(), lambda b: b.move(PAY, reference="R-1"))),
]  # fmt: skip

QUERIES = [
    No("logs of an unknown account", "account_not_found", NotFound, lambda b: b.logs("cus:9/funds")),
    No("lots of an unknown account", "account_not_found", NotFound, lambda b: b.lots("cus:9/funds")),
    No("a snapshot of an unknown account", "account_not_found", NotFound, lambda b: b.snapshot("cus:9/funds")),
    No("a snapshot of the future", "as_of_in_future", Invalid,
       lambda b: b.snapshot("cus:1/funds", b.clock.now() + timedelta(seconds=1)), _funds()),
    No("logs from a cursor that nobody gave", "bad_cursor", Invalid,
       lambda b: b.ledger.list_account_logs(
           api.ListAccountLogs(account_id=account_id("cus:1/funds"), cursor="!nonsense!")), _funds()),
    No("lots from a cursor that nobody gave", "bad_cursor", Invalid,
       lambda b: b.ledger.list_lots(api.ListLots(account_id=account_id("cus:1/funds"), cursor="!nonsense!")), _funds()),
]  # fmt: skip

ALL = [*ACCOUNTS, *LEGS, *EXCHANGES, *UNDECODED, *MALFORMED, *REUSED, *QUERIES]


@pytest.mark.parametrize("no", ALL, ids=lambda no: no.story.replace(" ", "-"))
async def test_refusal_has_its_code_and_writes_nothing(book: Book, database: Database, no: No) -> None:
    for step in no.given:
        await step(book)
    before = await picture(database)

    with pytest.raises(no.kind) as refusal:
        await no.asked(book)

    assert refusal.value.code == no.code
    assert not refusal.value.retryable
    assert refusal.value.message.endswith(".")
    assert await picture(database) == before


async def test_first_code_in_the_doors_order_wins_over_all_legs(book: Book, clock: FakeClock) -> None:
    await book.open("cus:1/funds", "cus:2/funds", "cus:3/funds")
    await book.freeze("cus:1/funds", Freeze.BOTH)
    await book.close("cus:2/funds")
    with pytest.raises(Refused) as refusal:
        await book.move("cus:2/funds 5000000 > cus:1/funds 5000000")
    assert refusal.value.code == "account_closed"
    with pytest.raises(Refused) as refusal:
        await book.move("cus:1/funds 5000000 > cus:3/funds 5000000")
    assert refusal.value.code == "account_frozen"
    with pytest.raises(Refused) as refusal:
        await book.move("cus:3/funds 5000000 balance>=1 > mer:1/unsettled_sales 5000000")
    assert refusal.value.code == "condition_failed"


async def test_refused_exchange_opens_no_account(book: Book) -> None:
    await book.open("cus:1/funds")
    with pytest.raises(Refused) as refusal:
        await book.move("cus:1/funds 1 > mer:new/unsettled_sales 1")
    assert refusal.value.code == "insufficient_funds"
    assert (await book.ledger.list_accounts(api.ListAccounts(owner="mer:new"))).accounts == []


async def test_reused_action_id_of_a_void_with_a_capture_is_refused(book: Book) -> None:
    await book.open("cus:1/funds")
    await book.give("cus:1/funds 500")
    await book.hold(PAY, name="order")
    await book.void("order", action="first")
    with pytest.raises(Conflict) as refusal:
        await book.capture("order", action="first")
    assert refusal.value.code == "action_id_reused"


async def test_refused_exchange_may_be_tried_again_under_its_id(book: Book) -> None:
    await book.open("cus:1/funds")
    with pytest.raises(Refused) as refusal:
        await book.move(PAY, name="order")
    assert refusal.value.code == "insufficient_funds"
    await book.give("cus:1/funds 300")
    await book.move(PAY, name="order")
    await book.shows("cus:1/funds", balance=0)


def _request(book: Book, **leg: object) -> api.CreateExchange:
    """A payment whose source names its account in an odd way."""
    source = api.Leg(amount_minor=300, asset="JPY", **leg)  # pyright: ignore[reportArgumentType]
    return api.CreateExchange(sources=[source], targets=[book.leg("mer:1/unsettled_sales 300")])


def _renamed(request: api.CreateExchange, exchange: str) -> api.CreateExchange:
    return api.CreateExchange(sources=request.sources, targets=request.targets, exchange_id=exchange)
