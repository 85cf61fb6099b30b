"""Claims: made of what is negative, offset, paid back at once or by debit; and their files with the statements."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import msgspec
import pypdf
import pytest

from kessai.apps.verify.checks import run_check
from kessai.apps.verify.finding import Report
from kessai.apps.verify.settlement import MOVED, MOVED_OUTSIDE, SUMS
from kessai.foundation.call import Call, enter_call, leave_call
from kessai.foundation.db import Connection, Database, load_queries
from kessai.foundation.errors import PaymentError
from kessai.sdk.processing.api import ListEffects, Outcome
from kessai.sdk.processing.participant import NOTHING, report_on
from kessai.services.bank.api import FailureCode, InstructionState
from kessai.services.merchant.api import Bearer
from kessai.services.settlement import store
from kessai.services.settlement.api.claims import (
    ClaimStanding,
    ClaimStepKind,
    GetClaim,
    RecordRepayment,
    RepaymentState,
    RepaymentWay,
)
from kessai.services.settlement.api.statements import (
    GetClaimInvoice,
    GetStatement,
    ListStatementVersions,
    StatementFile,
    StatementForm,
)
from kessai.services.settlement.domain.claims import ClaimPart
from kessai.services.settlement.effects import DEPENDENCIES, SettlementEffects
from kessai.services.settlement.store import claims
from kessai.services.settlement.store.payouts import Known
from kessai.services.settlement.workflows.cycle import make_cycles
from kessai.services.settlement.workflows.idle import first_to_state
from kessai.services.settlement.workflows.offsetting import end_parts
from kessai.services.settlement.workflows.stating import state_cycles
from tests.payment.world import key
from tests.settlement.cycle_world import World, opened

OCTOBER_END, NOVEMBER_END = date(2025, 10, 31), date(2025, 11, 30)
OCTOBER_PAYS = date(2025, 11, 26)


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    """The real ledger and payment service on a fresh database."""
    async with opened(database) as running:
        yield running


async def owing(world: World, amount: int = 2_000) -> str:
    """A payee that owes after October; gives the claim."""
    world.agree("mer:x")
    await world.sell(date(2025, 10, 10), "mer:x", -amount)
    await world.settle(OCTOBER_END)
    (claim,) = await world.claims("mer:x")
    return claim.claim_id


async def test_a_claim_is_paid_back_in_parts_and_settled(world: World) -> None:
    claim_id = await owing(world)
    first = await world.desk.record_repayment(RecordRepayment(claim_id=claim_id, amount_minor=500))
    assert (first.state, first.claim.owed_minor) == (RepaymentState.DONE, 1_500)
    await world.desk.record_repayment(RecordRepayment(claim_id=claim_id, amount_minor=1_500))
    history = await world.desk.get_claim(GetClaim(claim_id=claim_id))
    assert (history.claim.state, history.claim.collected_minor) == (ClaimStanding.SETTLED, 2_000)
    kinds = [(each.kind, each.amount_minor) for each in history.steps]
    assert kinds == [(ClaimStepKind.MADE, 2_000), (ClaimStepKind.COLLECTED, 500), (ClaimStepKind.COLLECTED, 1_500)]
    assert await world.balance("mer:x", "settled_claims") == 0
    await world.require_every_yen(["mer:x"], ["mer:x"])


async def test_the_same_repayment_twice_collects_once(world: World) -> None:
    claim_id = await owing(world)
    asked = RecordRepayment(claim_id=claim_id, amount_minor=2_000)
    with key("repay once"):
        await world.desk.record_repayment(asked)
    with key("repay once"):
        answer = await world.desk.record_repayment(asked)
    assert (answer.state, answer.claim.collected_minor) == (RepaymentState.DONE, 2_000)
    assert await world.balance("mer:x", "settled_claims") == 0


async def test_no_more_is_paid_back_than_is_owed(world: World) -> None:
    claim_id = await owing(world)
    with pytest.raises(PaymentError) as refused:
        await world.desk.record_repayment(RecordRepayment(claim_id=claim_id, amount_minor=2_001))
    assert refused.value.code == "repayment_above_claim"
    with pytest.raises(PaymentError) as missing:
        await world.desk.record_repayment(RecordRepayment(claim_id="clm_" + "0" * 32, amount_minor=1))
    assert missing.value.code == "claim_not_found"
    assert await world.balance("mer:x", "settled_claims") == -2_000


async def test_a_debit_speaks_for_its_part_until_the_bank_has_answered(world: World) -> None:
    claim_id = await owing(world)
    bare = RecordRepayment(claim_id=claim_id, amount_minor=1_200, source=RepaymentWay.DEBIT)
    with pytest.raises(PaymentError) as unnamed:
        await world.desk.record_repayment(bare)
    assert unnamed.value.code == "instrument_required"
    account = world.bank.account_of("mer:x")
    asked = RecordRepayment(claim_id=claim_id, amount_minor=1_200, source=RepaymentWay.DEBIT, bank_account_id=account)
    answer = await world.desk.record_repayment(asked)
    assert (answer.state, answer.claim.pending_minor, answer.claim.owed_minor) == (RepaymentState.ASKED, 1_200, 2_000)
    await world.sell(date(2025, 11, 5), "mer:x", 5_000)
    await world.settle(NOVEMBER_END)
    (claim,) = await world.claims("mer:x")
    assert (claim.offset_minor, claim.pending_minor) == (800, 1_200)
    await world.bank_says(InstructionState.DONE)
    (claim,) = await world.claims("mer:x")
    assert (claim.state, claim.collected_minor, claim.pending_minor) == (ClaimStanding.SETTLED, 1_200, 0)
    await world.require_every_yen(["mer:x"], ["mer:x"])


async def test_a_debit_that_fails_leaves_the_claim_as_it_was(world: World) -> None:
    claim_id = await owing(world)
    account = world.bank.account_of("mer:x")
    asked = RecordRepayment(claim_id=claim_id, amount_minor=2_000, source=RepaymentWay.DEBIT, bank_account_id=account)
    await world.desk.record_repayment(asked)
    await world.bank_says(InstructionState.FAILED, FailureCode.INSUFFICIENT_FUNDS)
    (claim,) = await world.claims("mer:x")
    assert (claim.state, claim.owed_minor, claim.pending_minor) == (ClaimStanding.OPEN, 2_000, 0)
    assert await world.balance("mer:x", "settled_claims") == -2_000


async def test_the_oldest_claim_is_offset_first(world: World) -> None:
    await owing(world, 2_000)
    await world.sell(date(2025, 11, 5), "mer:x", -1_000)
    await world.settle(NOVEMBER_END)
    await world.sell(date(2025, 12, 5), "mer:x", 2_300)
    await world.settle(date(2025, 12, 31))
    first, second = await world.claims("mer:x")
    assert (first.state, second.offset_minor, second.owed_minor) == (ClaimStanding.SETTLED, 300, 700)
    assert (await world.payouts("mer:x"))[-1].claim_minor == 700
    await world.require_every_yen(["mer:x"], ["mer:x"])


async def test_parts_that_two_end_at_the_same_moment_are_counted_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim_id = await owing(world)
    account = world.bank.account_of("mer:x")
    for _ in range(3):
        asked = RecordRepayment(claim_id=claim_id, amount_minor=500, source=RepaymentWay.DEBIT, bank_account_id=account)
        await world.desk.record_repayment(asked)
    rows = await world.database.fetch(None, "SELECT payment_id FROM settlement.claim_part ORDER BY payment_id")
    first, second, _ = [Known(row["payment_id"], "CAPTURED", None, "", 500, 0) for row in rows]
    read, now, others = claims.parts_asked, world.clock.now(), [first]

    async def read_and_be_late(connection: Connection, payment_ids: list[str]) -> list[ClaimPart]:
        found = await read(connection, payment_ids)
        if others:
            theirs = [others.pop()]
            await world.database.transaction(store.ROLE, lambda other: end_parts(other, theirs, now))
        return found

    monkeypatch.setattr(claims, "parts_asked", read_and_be_late)
    await world.database.transaction(store.ROLE, lambda connection: end_parts(connection, [first, second], now))
    (claim,) = await world.claims("mer:x")
    assert (claim.collected_minor, claim.pending_minor) == (1_000, 500)


# -- the tracer -------------------------------------------------------------------------------------------------------


async def told(world: World) -> dict[str, Outcome]:
    """What settlement, as a participant, reports of the processings of repayments, either side's."""
    query = """
    SELECT processing_id FROM payment.payment WHERE kind = 'claim_repayment'
    UNION SELECT processing_id FROM settlement.movement WHERE kind = 'claim_repayment'
    """
    ids = [row["processing_id"] for row in await world.database.fetch(None, query)]
    own = await SettlementEffects(world.database).own_view(ids)
    page = await world.payments.list_effects(ListEffects(processing_ids=ids, caller="settlement"))
    theirs = {each.processing_id: each for each in page.processings}
    return {one: report_on(one, 1, own.get(one, NOTHING), {DEPENDENCIES[0]: theirs}).outcome for one in ids}


async def found_by_verify(world: World) -> list[str]:
    """What `kessai verify` says of what settlement moved."""
    report = Report()

    async def check(connection: Connection) -> None:
        sql = load_queries("kessai.apps.verify", file="sql/settlement.sql")
        for each in MOVED:
            await run_check(connection, sql, each, report, schema="settlement", types={})
        for each in MOVED_OUTSIDE:
            await run_check(connection, sql, each, report, schema="payment", types={})

    await world.database.transaction(None, check)
    return [str(each) for each in report.findings]


async def test_a_repayment_is_in_its_processing_on_both_sides(world: World) -> None:
    claim_id = await owing(world)
    token = enter_call(Call(processing_id="prc_of_the_caller"))
    await world.desk.record_repayment(RecordRepayment(claim_id=claim_id, amount_minor=500))
    leave_call(token)
    assert await told(world) == {"prc_of_the_caller": Outcome.MATCHED}
    await world.desk.record_repayment(RecordRepayment(claim_id=claim_id, amount_minor=1_500))
    assert [*(await told(world)).values()] == [Outcome.MATCHED] * 2
    assert await found_by_verify(world) == []
    await world.database.fetch(None, "UPDATE settlement.movement SET amount_minor = 501 WHERE amount_minor = 500")
    assert len(await found_by_verify(world)) == 1


@pytest.mark.parametrize("state", [InstructionState.DONE, InstructionState.FAILED])
async def test_a_debit_is_in_flight_for_the_tracer_until_the_bank_has_answered(
    world: World, state: InstructionState
) -> None:
    claim_id = await owing(world)
    account = world.bank.account_of("mer:x")
    asked = RecordRepayment(claim_id=claim_id, amount_minor=500, source=RepaymentWay.DEBIT, bank_account_id=account)
    await world.desk.record_repayment(asked)
    assert [*(await told(world)).values()] == [Outcome.IN_FLIGHT]
    assert await found_by_verify(world) == []
    await world.bank_says(state, FailureCode.INSUFFICIENT_FUNDS if state is InstructionState.FAILED else None)
    assert [*(await told(world)).values()] == [Outcome.MATCHED]
    assert await found_by_verify(world) == []


# -- files ------------------------------------------------------------------------------------------------------------

_FEE = """
INSERT INTO settlement.fee (owner_id, fee_id, kind, unit, origin_id, method, base_minor, amount_minor, tax_minor,
    tax_rate_bps, schedule, payment_id, state, business_date, recorded_at)
VALUES ('mer:x', $1, 'fee', 'transaction', $1, 'code', 1000, $2, 0, $3, '{}', $4, 'ISSUED', $5, $6)
"""
_TRANSACTION = """
INSERT INTO settlement.transaction_data (owner_id, transaction_id, kind, from_id, to_id, amount_minor, method,
    payment_id, processing_id, occurred_at, business_date, recorded_at, told_at, state, merchant_id, payee_id,
    settles_on)
VALUES ('mer:x', $1, 'fee', 'mer:x', 'platform', $2, 'code', $3, 'prc', $5, $4, $5, $5, 'RECONCILED', 'mer:x', 'mer:x',
    $4)
"""


async def charged(world: World, number: int, amount: int, rate_bps: int) -> None:
    """A fee that settled on 10 October."""
    at, day = datetime(2025, 10, 10, tzinfo=UTC), date(2025, 10, 10)
    fee_id, payment_id = UUID(int=number), f"mfe_{number:032x}"
    await world.database.fetch(None, _FEE, fee_id, amount, rate_bps, payment_id, day, at)
    await world.database.fetch(None, _TRANSACTION, fee_id, amount, payment_id, day, at)


async def statement(world: World, form: StatementForm) -> StatementFile:
    """October's, of mer:x, after a run of the job that issues it."""
    await world.run(state_cycles, OCTOBER_END)
    (payout,) = await world.payouts("mer:x")
    return await world.desk.get_statement(GetStatement(payee_id="mer:x", cycle_id=payout.cycle_id, format=form))


async def sold_october(world: World) -> None:
    """A month with three fees of 10 % and one that is exempt."""
    world.agree(
        "mer:x",
        transfer_fee_minor=250,
        transfer_fee_borne_by=Bearer.MERCHANT,
        registration_number="T1234567890123",
        name="喫茶 =さくら",
    )
    await world.sell(date(2025, 10, 10), "mer:x", 10_000, fee=65)
    for number, (amount, rate) in enumerate([(5, 1_000), (5, 1_000), (5, 1_000), (50, 0)], start=1):
        await charged(world, number, amount, rate)
    await world.settle(OCTOBER_END)


async def test_a_statement_has_the_fields_of_a_qualified_invoice(world: World) -> None:
    await sold_october(world)
    file = await statement(world, StatementForm.JSON)
    told: dict[str, Any] = json.loads(file.content)
    assert told["issuer"]["registration_number"].startswith("T")
    assert told["recipient"]["registration_number"] == "T1234567890123"
    assert told["taxes"] == [
        {"rate_bps": 1_000, "gross_minor": 265, "base_minor": 241, "tax_minor": 24},
        {"rate_bps": 0, "gross_minor": 50, "base_minor": 50, "tax_minor": 0},
    ]
    figures = ("sales_minor", "fees_minor", "net_minor", "transfer_fee_minor", "amount_minor")
    assert [told[each] for each in figures] == [10_000, 65, 9_935, 250, 9_685]
    assert [line["day"] for line in told["lines"]] == ["2025-10-10"]


async def test_a_statement_is_issued_once_and_kept(world: World) -> None:
    await sold_october(world)
    first = await statement(world, StatementForm.JSON)
    await world.pay(OCTOBER_PAYS)
    await world.bank_says(InstructionState.DONE)
    assert await statement(world, StatementForm.JSON) == first
    await world.database.fetch(None, "UPDATE settlement.daily_summary SET sales_minor = 1, net_minor = 1 - fees_minor")
    (payout,) = await world.payouts("mer:x")
    kept = GetStatement(payee_id="mer:x", cycle_id=payout.cycle_id, version=1)
    assert await world.desk.get_statement(kept) == first
    with pytest.raises(PaymentError) as refusal:
        await world.desk.get_statement(msgspec.structs.replace(kept, version=2))
    assert refusal.value.code == "statement_not_found"


async def test_what_a_merchant_is_shown_does_not_depend_on_who_asks_first(world: World) -> None:
    await sold_october(world)
    (payout,) = await world.payouts("mer:x")
    asked = GetStatement(payee_id="mer:x", cycle_id=payout.cycle_id)
    versions = ListStatementVersions(payee_id="mer:x", cycle_id=payout.cycle_id)
    as_text = msgspec.structs.replace(asked, format=StatementForm.CSV)
    shown = await world.desk.get_statement(asked)
    assert (shown.version, "未発行" in (await world.desk.get_statement(as_text)).content) == (0, True)
    assert (await world.desk.list_statement_versions(versions)).versions == []
    assert (await world.run(state_cycles, OCTOBER_END, dry_run=True)).done == 1
    assert (await world.desk.get_statement(asked)).version == 0
    assert (await world.run(state_cycles, OCTOBER_END)).done == 1
    first = await world.desk.get_statement(asked)
    assert first.version == 1
    await world.pay(OCTOBER_PAYS)
    await world.bank_says(InstructionState.FAILED, FailureCode.ACCOUNT_CLOSED)
    assert await world.desk.get_statement(asked) == first
    assert [(await world.run(state_cycles, OCTOBER_END)).done for _ in range(2)] == [1, 0]
    assert (await world.desk.get_statement(asked)).version == 2


async def test_a_statement_that_was_issued_is_not_looked_at_again_until_something_changes(world: World) -> None:
    deps = world.engine.deps
    until = date(2025, 12, 31)
    assert await first_to_state(deps, OCTOBER_END, until) is None
    await sold_october(world)
    assert await first_to_state(deps, OCTOBER_END, until) == OCTOBER_END
    await world.run(state_cycles, OCTOBER_END)
    assert await first_to_state(deps, OCTOBER_END, until) is None
    await world.pay(OCTOBER_PAYS)
    assert await first_to_state(deps, OCTOBER_PAYS, until) == OCTOBER_PAYS
    assert (await world.run(state_cycles, OCTOBER_PAYS)).done == 0
    assert await first_to_state(deps, OCTOBER_PAYS, until) is None


async def test_a_statement_that_was_changed_after_it_was_issued_is_found(world: World) -> None:
    await sold_october(world)
    await statement(world, StatementForm.JSON)
    report, sql = Report(), load_queries("kessai.apps.verify", file="sql/settlement.sql")
    check = next(each for each in SUMS if each.query == "broken_statements")

    async def look(connection: Connection) -> None:
        await run_check(connection, sql, check, report, schema="settlement", types={})

    await world.database.transaction(None, look)
    assert report.findings == []
    changed = "UPDATE settlement.issued_statement SET contents = convert_to(replace(convert_from(contents, 'UTF8'),"
    await world.database.fetch(None, changed + " '9685', '9686'), 'UTF8')")
    await world.database.transaction(None, look)
    assert [each.invariant for each in report.findings] == ["a statement stays as it was issued"]


async def test_a_payout_that_failed_is_told_by_a_corrected_version(world: World) -> None:
    await sold_october(world)
    first = await statement(world, StatementForm.JSON)
    await world.pay(OCTOBER_PAYS)
    await world.bank_says(InstructionState.FAILED, FailureCode.ACCOUNT_CLOSED)
    second, again = await statement(world, StatementForm.JSON), await statement(world, StatementForm.PDF)
    told: dict[str, Any] = json.loads(second.content)
    assert (first.version, second.version, again.version, told["corrects"]) == (1, 2, 2, 1)
    assert (told["transfer_fee_minor"], told["amount_minor"], told["payout_state"]) == (0, 0, "FAILED")
    assert told["taxes"][0] == {"rate_bps": 1_000, "gross_minor": 15, "base_minor": 14, "tax_minor": 1}
    (payout,) = await world.payouts("mer:x")
    of = ListStatementVersions(payee_id="mer:x", cycle_id=payout.cycle_id)
    assert [each.version for each in (await world.desk.list_statement_versions(of)).versions] == [1, 2]
    kept = GetStatement(payee_id="mer:x", cycle_id=payout.cycle_id, version=1)
    assert (await world.desk.get_statement(kept)).sha256 == first.sha256


async def test_a_cycle_that_is_not_cleared_has_a_statement_that_is_not_issued(world: World) -> None:
    world.agree("mer:x")
    await world.sell(date(2025, 10, 10), "mer:x", 10_000)
    await world.close(OCTOBER_END)
    await world.run(make_cycles, OCTOBER_END)
    file = await statement(world, StatementForm.CSV)
    assert (file.version, "未発行" in file.content) == (0, True)
    assert (await statement(world, StatementForm.CSV)).version == 0
    await world.settle(OCTOBER_END)
    assert (await statement(world, StatementForm.CSV)).version == 1


async def test_fees_that_were_given_back_are_told_as_a_return_invoice(world: World) -> None:
    await sold_october(world)
    await world.database.fetch(
        None,
        "UPDATE settlement.transaction_data SET kind = 'fee_refund', from_id = 'platform', to_id = 'mer:x',"
        " settles_on = '2025-10-12' WHERE transaction_id = $1",
        UUID(int=2),
    )
    told: dict[str, Any] = json.loads((await statement(world, StatementForm.JSON)).content)
    assert told["taxes"][0] == {"rate_bps": 1_000, "gross_minor": 260, "base_minor": 237, "tax_minor": 23}
    assert told["returns"] == [
        {
            "rate_bps": 1_000,
            "gross_minor": 5,
            "base_minor": 5,
            "tax_minor": 0,
            "returned_from": "2025-10-12",
            "returned_until": "2025-10-12",
            "charged_from": "2025-10-10",
            "charged_until": "2025-10-10",
        }
    ]
    rows = list(csv.reader(io.StringIO((await statement(world, StatementForm.CSV)).content)))
    assert ["10%", "5", "5", "0", "2025-10-12", "2025-10-10"] in rows
    pdf = base64.b64decode((await statement(world, StatementForm.PDF)).content)
    assert "2025-10-12" in "".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf)).pages)


async def test_a_statement_as_csv_is_read_again_and_holds_no_formula(world: World) -> None:
    await sold_october(world)
    file = await statement(world, StatementForm.CSV)
    rows = list(csv.reader(io.StringIO(file.content.removeprefix("\ufeff"))))
    told = {row[0]: row[1] for row in rows if len(row) == 2}
    assert (told["宛先"], told["お振込額"], told["お振込日"]) == ("喫茶 =さくら", "9685", "2025-11-28")
    assert ["10%", "265", "241", "24"] in rows
    assert not any(cell.startswith(("=", "@")) for row in rows for cell in row)


async def test_a_statement_as_pdf_says_the_same_and_is_the_same_each_time(world: World) -> None:
    await sold_october(world)
    first, again = await statement(world, StatementForm.PDF), await statement(world, StatementForm.PDF)
    assert first.sha256 == again.sha256
    reader = pypdf.PdfReader(io.BytesIO(base64.b64decode(first.content)))
    text = "".join(page.extract_text() for page in reader.pages)
    assert all(each in text for each in ("T1234567890123", "9,685", "265", "2025-10-10"))
    assert first.file_name == "statement_mer_x_2025-10-31.pdf"


async def test_the_invoice_of_a_claim_says_what_is_owed_until_when(world: World) -> None:
    claim_id = await owing(world)
    await world.desk.record_repayment(RecordRepayment(claim_id=claim_id, amount_minor=500))
    file = await world.desk.get_claim_invoice(GetClaimInvoice(claim_id=claim_id, format=StatementForm.JSON))
    told: dict[str, Any] = json.loads(file.content)
    assert (told["amount_minor"], told["collected_minor"], told["owed_minor"]) == (2_000, 500, 1_500)
    assert told["due_on"] == "2025-12-01"
    pdf = await world.desk.get_claim_invoice(GetClaimInvoice(claim_id=claim_id))
    assert pypdf.PdfReader(io.BytesIO(base64.b64decode(pdf.content))).pages
    missing = GetStatement(payee_id="mer:x", cycle_id="cyc_" + "0" * 32)
    with pytest.raises(PaymentError) as unknown:
        await world.desk.get_statement(missing)
    assert unknown.value.code == "sales_summary_not_found"


@pytest.mark.parametrize("name", ["＝1+1", "\r=1"])
async def test_a_name_that_a_spreadsheet_would_work_out_is_a_text(world: World, name: str) -> None:
    world.agree("mer:x", name=name)
    await world.sell(date(2025, 10, 10), "mer:x", 10_000)
    await world.settle(OCTOBER_END)
    file = await statement(world, StatementForm.CSV)
    rows = list(csv.reader(io.StringIO(file.content.removeprefix("\ufeff"), newline="")))
    assert [row[1] for row in rows if row[:1] == ["宛先"]] == [f"'{name}"]
