"""`kessai verify` over what was done outside: the bank's and the card gateway's rows, payments, the parties' books."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from kessai.apps.outside import folder_of
from kessai.apps.verify import command, verify
from kessai.apps.verify.bank import compare_bank
from kessai.apps.verify.finding import Finding, Report
from kessai.foundation.config import Settings
from kessai.foundation.db import Database
from kessai.foundation.ids import bare
from tests.conftest import ISOLATION
from tests.faults.matrix.brittle import Brittle
from tests.faults.matrix.cases import Case
from tests.faults.matrix.lane import Lane, opened
from tests.faults.matrix.play import play
from tests.faults.matrix.scene import Scene
from tests.faults.matrix.stories import BY_BANK, BY_CARD, STORIES
from tests.faults.matrix.troubles import TROUBLES

REFUSED = tuple(
    Case(story=STORIES[name], call=STORIES[name].calls[0], trouble=TROUBLES["refuse"])
    for name in ("charge_sold_and_refunded", "charge_canceled", "top_up_by_bank", "withdrawal")
)
RETURNED = Case(story=STORIES["withdrawal"], call="transfer", trouble=TROUBLES["comes_back"])
KEPT_CARD = Case(story=STORIES["charge_canceled"], call="void", trouble=TROUBLES["refuse"])
HELD = Case(story=STORIES["charge_captured_in_parts"], call="capture", trouble=TROUBLES["refuse"])


@dataclass
class Proven:
    """A lane in which everything was done outside that can be, and its own place."""

    lane: Lane
    settings: Settings

    async def findings(self) -> list[Finding]:
        """What a verification finds, the books of who is outside included."""
        dsn, report = self.lane.database.dsn, Report()
        report.findings += await verify(dsn, self.settings)
        await command.verify_parties(dsn, self.settings, report)
        return report.findings

    @asynccontextmanager
    async def edited(self, table: str, statement: str) -> AsyncGenerator[str]:
        """Gives the digits of the row that a statement edits; everything is as it was afterwards."""
        connection = await asyncpg.connect(self.lane.database.dsn)
        try:
            await connection.execute(f"CREATE TABLE saved AS TABLE {table}")
            rows = await connection.fetch(statement)
            assert len(rows) == 1, statement
            yield rows[0][0].hex
            await connection.execute(f"DELETE FROM {table}; INSERT INTO {table} SELECT * FROM saved; DROP TABLE saved")
        finally:
            await connection.close()


@pytest.fixture
async def proven(database: Database, tmp_path: Path) -> AsyncIterator[Proven]:
    """Cards and bank accounts used in every way, some of it refused."""
    settings = Settings(data=str(tmp_path), database_url=database.dsn)
    async with AsyncExitStack() as ending:
        brittle = Brittle(database.dsn, isolation=ISOLATION)
        ending.push_async_callback(brittle.close)
        lane = await ending.enter_async_context(opened(brittle, books=folder_of(settings)))
        cases = [*(Case(story=story) for story in (*BY_CARD, *BY_BANK)), *REFUSED, RETURNED, KEPT_CARD, HELD]
        for case in cases:
            assert (await play(lane, case)).faults == []
        yield Proven(lane, settings)


async def test_nothing_is_found_when_both_sides_did_the_same(proven: Proven) -> None:
    assert await proven.findings() == []


def _row(table: str, key: str, where: str) -> str:
    return f"ctid = (SELECT ctid FROM {table} WHERE {where} ORDER BY {key} LIMIT 1) RETURNING {key}"


EDITS: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "bank.instruction": (
        "instruction_id",
        [
            ("amount_minor = amount_minor + 1", "state = 'DONE'"),
            ("amount_minor = amount_minor + 1", "state = 'FAILED'"),
            ("state = 'DONE', failure_code = NULL", "state = 'FAILED'"),
            ("state = 'SENT'", "state = 'DONE'"),
            ("state = 'ACCEPTED', version = 0", "state = 'DONE'"),
            ("version = version + 1", "true"),
            ("failure_code = 'no_mandate'", "state = 'FAILED'"),
            ("owner_id = 'cus:somebody'", "true"),
            ("account_id = gen_random_uuid()", "true"),
            ("updated_at = updated_at + interval '1 s'", "true"),
            ("processing_id = 'prc_other'", "state = 'DONE'"),
        ],
    ),
    "bank.instruction_step": (
        "instruction_id",
        [
            ("state = 'UNKNOWN'", "state = 'DONE'"),
            ("sequence = sequence + 1", "state = 'FAILED'"),
            ("recorded_at = recorded_at + interval '1 s'", "state = 'FAILED'"),
            ("failure_code = 'no_mandate'", "state = 'FAILED'"),
        ],
    ),
    "cardgateway.card_authorization": (
        "authorization_id",
        [
            ("captured_minor = captured_minor - 1", "captured_minor > refunded_minor"),
            ("refunded_minor = refunded_minor + 1", "captured_minor > refunded_minor"),
            ("amount_minor = amount_minor + 1", "state = 'CAPTURED'"),
            ("state = 'VOIDED'", "state = 'CAPTURED'"),
            ("state = 'AUTHORIZED'", "state = 'VOIDED'"),
            ("state = 'REFUSED'", "state = 'AUTHORIZED'"),
            ("state = 'CAPTURED'", "state = 'REFUSED'"),
            ("busy_with = gen_random_uuid()", "true"),
            ("customer_id = 'cus:somebody'", "true"),
            ("card_id = gen_random_uuid()", "true"),
            ("processing_id = 'prc_other'", "true"),
        ],
    ),
    "cardgateway.card_operation": (
        "authorization_id",
        [
            ("amount_minor = amount_minor + 1", "kind = 'capture'"),
            ("amount_minor = amount_minor + 1", "kind = 'refund'"),
            ("amount_minor = amount_minor + 1", "kind = 'authorize'"),
            ("state = 'REFUSED', refusal_code = 'limit_exceeded'", "kind = 'void' AND state = 'DONE'"),
            ("state = 'PENDING', settled_at = NULL", "kind = 'refund'"),
            ("settled_at = NULL", "kind = 'refund'"),
            ("refusal_code = 'limit_exceeded'", "state = 'DONE'"),
            ("kind = 'void'", "kind = 'refund'"),
        ],
    ),
}


DELETED = {
    "bank.instruction": "state = 'DONE'",
    "bank.instruction_step": "state = 'DONE'",
    "cardgateway.card_authorization": "state = 'CAPTURED'",
    "cardgateway.card_operation": "kind = 'capture'",
}


@pytest.mark.parametrize("table", EDITS)
async def test_an_edited_row_is_found_and_named(proven: Proven, table: str) -> None:
    key, edits = EDITS[table]
    for change, where in edits:
        async with proven.edited(table, f"UPDATE {table} SET {change} WHERE {_row(table, key, where)}") as digits:
            found = await proven.findings()
            assert any(digits in each.key for each in found), (change, where, found)
    assert await proven.findings() == []


@pytest.mark.parametrize("table", EDITS)
async def test_a_deleted_row_is_found_and_named(proven: Proven, table: str) -> None:
    key, where = EDITS[table][0], DELETED[table]
    async with proven.edited(table, f"DELETE FROM {table} WHERE {_row(table, key, where)}") as digits:
        found = await proven.findings()
        assert any(digits in each.key for each in found), found


async def test_a_yen_that_both_of_our_sides_tell_otherwise_is_found_in_the_books(proven: Proven) -> None:
    connection = await asyncpg.connect(proven.lane.database.dsn)
    taken = (
        "SELECT authorization_id FROM cardgateway.card_authorization WHERE captured_minor = 700 AND refunded_minor = 0"
    )
    found = await connection.fetchval(taken + " LIMIT 1")
    for statement in (
        "UPDATE cardgateway.card_operation SET amount_minor = 699 WHERE authorization_id = $1 AND kind = 'capture'",
        "UPDATE cardgateway.card_authorization SET captured_minor = captured_minor - 1 WHERE authorization_id = $1",
    ):
        await connection.execute(statement, found)
    await connection.close()
    told = {(each.invariant, each.sentence) for each in await proven.findings()}
    assert ("the card gateway's books agree with ours", "capture: 699 here, 700 there") in told
    assert any(invariant == "a payment equals what was done outside for it" for invariant, _ in told)


async def test_what_was_done_outside_for_no_payment_is_found(proven: Proven) -> None:
    connection = await asyncpg.connect(proven.lane.database.dsn)
    gone = "SELECT payment_id FROM payment.payment WHERE state = 'CAPTURED' AND kind = ANY ($1::text[]) LIMIT 1"
    ids = [await connection.fetchval(gone, kinds) for kinds in (["charge"], ["top_up"], ["withdrawal"])]
    await connection.execute("DELETE FROM payment.payment WHERE payment_id = ANY ($1::uuid[])", ids)
    await connection.close()
    charge, top_up, withdrawal = (each.hex for each in ids)
    found = {each.key for each in await proven.findings() if each.invariant.startswith("nothing is done outside")}
    assert found == {f"cau_{charge}", f"bdb_{top_up}", f"btr_{withdrawal}"}


async def test_what_only_the_bank_knows_is_found(proven: Proven) -> None:
    books = proven.lane.bank.books
    done = next(each for each in books.orders.values() if each.kind == "debit" and each.state == "done")
    books.take("transfer", "btr_" + "1" * 32, done.account, 77, None)
    found = {each.key: each.sentence for each in await proven.findings()}
    assert found == {"btr_" + "1" * 32: "unknown here, transfer of 77 there"}


async def test_a_statement_that_its_orders_do_not_explain_is_found(proven: Proven) -> None:
    books, report = proven.lane.bank.books, Report()
    done = next(each for each in books.orders.values() if each.kind == "debit" and each.state == "done")
    books.book(done.id, 1, "debit", done.at)  # a line too many
    compare_bank([], books, (), report)
    (finding,) = report.findings
    assert (finding.key, finding.sentence.endswith(f"the statement says {done.amount + 1}")) == (done.id, True)


async def test_a_payment_that_the_banks_answer_left_behind_is_found(proven: Proven) -> None:
    scene_payment = await _waiting_top_up(proven.lane)
    connection = await asyncpg.connect(proven.lane.database.dsn)
    await connection.execute(
        "UPDATE bank.instruction SET updated_at = '2020-01-01Z' WHERE instruction_id = $1", bare(scene_payment)
    )
    await connection.close()
    sentences = [each.sentence for each in await proven.findings() if each.key == scene_payment]
    assert sentences == ["it is REQUIRES_ACTION, though the bank told DONE"]


async def _waiting_top_up(lane: Lane) -> str:
    """A top-up whose debit is done, of which nobody has told the payment."""
    scene, story = Scene(lane), STORIES["top_up_by_bank"]
    await scene.give("customer", "funds", 0)
    await scene.have_bank_account()
    await story.steps[0].act(scene)
    bank = await lane.living("bank")
    async with asyncio.timeout(10):
        while not any(each.id == f"bdb_{bare(scene.payment_id)}" for each in lane.bank.books.feed):
            await bank.collect()
            await asyncio.sleep(0.01)
    await bank.collect()
    return scene.payment_id


async def test_the_command_fetches_the_books_and_names_the_row(
    proven: Proven, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--database-url", proven.lane.database.dsn, "--data", str(proven.settings.data), "--json"]
    assert await asyncio.to_thread(command.main, arguments) == 0
    books = proven.lane.cards.books
    taken = next(each for each in books.authorizations.values() if each.captured > each.refunded)
    await asyncio.sleep(0.01)
    books.refund(taken.id, "cop_" + "1" * 32, 1)
    capsys.readouterr()
    await asyncio.sleep(0.01)
    assert await asyncio.to_thread(command.main, arguments) == 1
    (finding,) = json.loads(capsys.readouterr().out.splitlines()[-1])["findings"]
    assert (finding["key"], finding["sentence"]) == ("cop_" + "1" * 32, "refund: unknown here, 1 there")
