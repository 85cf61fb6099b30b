"""nfc: cards from their batches to their devices, authorizations from their messages to the payments that bear them.

Cards are what their steps make them; steps and authorizations are as they were published; what the network was told is
read again from the answer's own bytes. What an authorization holds or took is its payment's, and nothing moves to or
from what the network is owed but for an authorization.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import asyncpg

from kessai.apps.verify.checks import BROKEN_MAX, Check, run_check
from kessai.apps.verify.finding import Report
from kessai.apps.verify.nfc_clearing import check_clearing
from kessai.apps.verify.payments import GRACE, ROWS_AT_ONCE
from kessai.foundation.db import Connection, Queries, load_queries
from kessai.foundation.ids import derived_hex
from kessai.foundation.vault import Vault, VaultSealBroken
from kessai.sdk import iso8583
from kessai.sdk.iso8583 import FormatError, Message, Mti, Pan
from kessai.services.nfc.domain.authorization import approval_code_of, authorization_id_of
from kessai.services.nfc.domain.clearing import forced_id_of, missed_id_of
from kessai.services.nfc.domain.devices import last_day_of
from kessai.services.nfc.domain.rules import micros
from kessai.services.nfc.domain.terms import PhoneTerms
from kessai.services.nfc.store.phones import open_phone, phone_marks
from kessai.services.nfc.store.vault import marks_of, open_pan

BATCH = "a batch is what its steps, cards and wrong lines make it"
NUMBER = "a card number is one token, and the number of one card or device"
CARD = "a card is what its steps make it"
PHONE = "a phone's verification is what its card's steps say"
TOLD = "what the network was told is what the answer's bytes say"
SEALED = "what is sealed is what its row says"
USED = "what a card has paid is the sum of its authorizations"
CARDS = (
    Check("broken_batches", BATCH),
    Check("stray_batch_rows", BATCH),
    Check("broken_sequences", BATCH),
    Check("broken_vault", NUMBER),
    Check("broken_pool", "a card of the pool is given away once"),
    Check("broken_cards", CARD),
    Check("stray_card_rows", "whatever is of a card is of one that exists"),
    Check("broken_customer_cards", "a customer has one card that is not closed"),
    Check("broken_card_events", "every step of a card is published"),
    Check("broken_devices", "a device is what its card's steps make it"),
)
AUTHORIZATIONS = (
    Check("strange_authorizations", "an authorization can be as it is"),
    Check("unpublished_authorizations", "every change of an authorization is published"),
    Check("authorizations_of_nobody", "an authorization is its number's card's"),
    Check("broken_reversals", "of an authorization stands what its reversals leave"),
    Check("broken_usages", USED),
)
BORNE = "an authorization is what its payment makes it"
ONLY = "what the card network is owed moves for its authorizations alone"
PAYMENTS = (
    Check("payments_without_authorization", ONLY),
    Check("broken_refused_payments", BORNE),
)
HEARD = (Check("authorizations_against_payments", BORNE), Check("broken_refunds", BORNE))
"""These are given the business time up to which nfc has heard of everything."""
WORKED = "what is still to be done for an authorization is done"
_AUTHORIZATION = "nfc.id_authorization"


async def check_nfc(
    connection: Connection, phones: PhoneTerms, report: Report, now: datetime, *, tables: set[str]
) -> None:
    """Report every row of nfc that does not follow from what it was made from; `now` is business time."""
    cards = load_queries("kessai.apps.verify", file="sql/nfc.sql")
    authorizations = load_queries("kessai.apps.verify", file="sql/nfc_authorizations.sql")
    for check in CARDS:
        await run_check(connection, cards, check, report, schema="nfc", types={})
    await _check_terms(connection, cards, phones, report)
    for check in AUTHORIZATIONS:
        await run_check(connection, authorizations, check, report, schema="nfc", types={})
    await _check_answers(connection, authorizations, report)
    await check_clearing(connection, report)
    await _tell(connection, authorizations, Check("work_left", WORKED), report, datetime.now(UTC) - GRACE)
    if "payment.payment" in tables:
        for check in HEARD:
            await _tell(connection, authorizations, check, report, now - GRACE)
        for check in PAYMENTS:
            schema = "payment" if check.invariant == ONLY else "nfc"
            await run_check(connection, authorizations, check, report, schema=schema, types={})
        if "ledger.flush" in tables:
            outside = Check("exchanges_outside", ONLY)
            await run_check(connection, authorizations, outside, report, schema="ledger", types={})


async def _tell(connection: Connection, sql: Queries, check: Check, report: Report, *than: object) -> None:
    for row in await connection.fetch(sql[check.query], BROKEN_MAX, *than):
        report.add(check.invariant, f"nfc.{row['relation']}", row["key"], row["sentence"])


async def _check_terms(connection: Connection, sql: Queries, phones: PhoneTerms, report: Report) -> None:
    """What is limited by the configuration, and what was asked of the issuer."""
    await _tell(connection, sql, Check("broken_phones", PHONE), report, phones.attempts_max, phones.sends_max)
    await _tell(connection, sql, Check("broken_quotas", PHONE), report, phones.sends_a_day_max)
    for row in await connection.fetch(sql["terms_of_batches"]):
        if row["digest"] != bytes.fromhex(derived_hex("nfc.request_cards", str(row["count"]))):
            report.add(BATCH, "nfc.issue_batch", f"isb_{row['batch_id'].hex}", "another count was asked for")


# -- answers ------------------------------------------------------------------------------------------------------


async def _check_answers(connection: Connection, sql: Queries, report: Report) -> None:
    async for row in connection.cursor(sql["answers"], prefetch=ROWS_AT_ONCE):
        for text in _answer_faults(row):
            report.add(TOLD, _AUTHORIZATION, f"ath_{row['authorization_id'].hex}", text)
    async for row in connection.cursor(sql["reversals"], prefetch=ROWS_AT_ONCE):
        key = f"ath_{row['authorization_id'].hex}/{row['reversal_id'].hex}"
        for text in _reversal_faults(row):
            report.add(TOLD, "nfc.id_reversal", key, text)
    async for row in connection.cursor(sql["instants_of_cards"], prefetch=ROWS_AT_ONCE):
        if (text := _instants_fault(row["recent"], row["instants"] or [])) is not None:
            report.add(USED, "nfc.card_usage", f"vpc_{row['card_id'].hex}", text)


def _answer_faults(row: asyncpg.Record) -> Iterator[str]:
    digits = row["authorization_id"].hex
    if digits not in _ids_of(row["message_key"], row["kind"]):
        yield "its id is not that of its message's key"
    if row["kind"] == "clearing":
        return
    if row["answer"] is None:
        if row["state"] in ("APPROVED", "DECLINED", "CLEARED", "EXPIRED") or row["approval_code"] is not None:
            yield f"it is {row['state']}, and no answer is kept"
        return
    told = _read(row["answer"])
    if told is None or told.mti not in (Mti.AUTHORIZATION_ANSWER, Mti.ADVICE_ANSWER):
        yield "its answer cannot be read"
        return
    if (told.mti is Mti.ADVICE_ANSWER) is not (row["kind"] == "advice"):
        yield f"it is a {row['kind']}, its answer a {told.mti.value}"
    columns = ("stan", "transmitted", "rrn", "processing_code", "terminal", "currency", "response", "approval_code")
    for name in columns:
        if (there := getattr(told, name)) != (row[name] or None):
            yield f"its {name} is {row[name]}, its answer says {there}"
    if (told.amount or 0) != row["amount_minor"]:
        yield f"it is over {row['amount_minor']}, its answer over {told.amount}"
    if (told.acquirer or "").zfill(11) != row["acquirer"].zfill(11):
        yield "its answer went to another acquirer"
    if row["response"] == "00" and row["kind"] != "advice" and row["approval_code"] != approval_code_of(digits):
        yield "its approval code is not its own"


def _ids_of(key: str, kind: str) -> tuple[str, ...]:
    """What an authorization may be called by its key: of a message, or of the sale or the lapsed hold that it bears."""
    if kind != "clearing":
        return (authorization_id_of(key),)
    name = key.removeprefix("clr-")
    return forced_id_of(name), missed_id_of(name)


def _reversal_faults(row: asyncpg.Record) -> Iterator[str]:
    told = _read(row["answer"])
    if told is None:
        yield "its answer cannot be read"
        return
    if told.response != row["response"]:
        yield f"it was answered {told.response}, it says {row['response']}"
    if row["reversal_id"].hex != derived_hex("nfc", "reversal", told.key):
        yield "its id is not that of the message that was answered"
    if told.mti is not iso8583.ANSWERS.get(Mti(row["mti"])):
        yield f"it is a {row['mti']}, and was answered by a {told.mti.value}"


def _read(answer: bytes) -> Message | None:
    try:
        return iso8583.decode(answer)
    except FormatError:
        return None


def _instants_fault(recent: bytes, instants: Sequence[datetime]) -> str | None:
    if len(recent) % 8:
        return "its last payments cannot be read"
    kept = struct.unpack(f">{len(recent) // 8}q", recent)
    there = [micros(each) for each in instants]
    if len(set(kept)) > len(set(there)) or not set(kept) <= set(there):
        return "it tells of payments that there were not"
    if there and not kept:
        return "it tells of no payment, and there were some"
    return None if not there or max(there) == max(kept) else "it does not tell of the last payment"


# -- what is sealed -----------------------------------------------------------------------------------------------


async def verify_sealed(connection: Connection, vault: Vault, report: Report) -> None:
    """Report every sealed number that is not what its row says; nothing where there are no cards."""
    shared = load_queries("kessai.apps.verify", file="sql/shared.sql")
    if "nfc.pan_vault" not in {row["name"] for row in await connection.fetch(shared["tables"])}:
        return
    sql = load_queries("kessai.apps.verify", file="sql/nfc.sql")
    async for row in connection.cursor(sql["vault"], prefetch=ROWS_AT_ONCE):
        if (text := _number_fault(row, vault)) is not None:
            report.add(SEALED, "nfc.pan_vault", row["token"], text)
    async for row in connection.cursor(sql["phones"], prefetch=ROWS_AT_ONCE):
        if (text := _phone_fault(row, vault)) is not None:
            report.add(SEALED, "nfc.phone_check", f"vpc_{row['card_id'].hex}", text)


def _number_fault(row: asyncpg.Record, vault: Vault) -> str | None:
    try:
        digits, _, expiry = open_pan(vault, row["token"], row["sealed"]).partition(" ")
        pan, expires_on = Pan(digits), last_day_of(expiry)
    except (VaultSealBroken, ValueError):
        return "it cannot be opened: it was sealed for another row, or under a key that is not here"
    if row["fingerprint"] not in marks_of(vault, pan):
        return "it is found by another number's mark"
    if (pan.last4, expires_on) != (row["last_four"], row["expires_on"]):
        return "its last four digits or its expiry are not those of what it is the number of"
    return None


def _phone_fault(row: asyncpg.Record, vault: Vault) -> str | None:
    try:
        number = open_phone(vault, row["card_id"].hex, row["sealed"])
    except VaultSealBroken:
        return "it cannot be opened: it was sealed for another row, or under a key that is not here"
    if row["fingerprint"] not in phone_marks(vault, number) or number[-4:] != row["last_four"]:
        return "its number is not what is told of it"
    return None
