"""The nfc service's dated jobs (バッチ): cards in advance, the day's clearing, and what keeps both sides alike."""

from __future__ import annotations

from kessai.sdk.jobs import DatedJob
from kessai.services.nfc.workflows.cards import run_devices, run_import, run_issue, run_reseal
from kessai.services.nfc.workflows.clear import run_clear
from kessai.services.nfc.workflows.idle import (
    first_to_clear,
    first_to_expire,
    first_to_hear_devices,
    first_to_import,
    first_to_issue,
    first_to_reconcile,
    first_to_repair,
    last_day,
)
from kessai.services.nfc.workflows.reconcile import run_reconcile
from kessai.services.nfc.workflows.repair import run_expire, run_repair

NFC_JOBS: tuple[DatedJob, ...] = (
    DatedJob(
        name="nfc.issue",
        summary="Ask the issuer for cards where the pool runs low (発行依頼).",
        definition=run_issue,
        at="02:00",
        first_busy=first_to_issue,
    ),
    DatedJob(
        name="nfc.reseal",
        summary="Seal card and phone numbers anew that lie under an old key of the vault.",
        definition=run_reseal,
        at="04:00",
        first_busy=last_day,
    ),
    DatedJob(
        name="nfc.import",
        summary="Take the issuer's files into the pool (取込).",
        definition=run_import,
        at="05:00",
        first_busy=first_to_import,
    ),
    DatedJob(
        name="nfc.devices",
        summary="Go on with what the token service has not confirmed, and take over what changed there.",
        definition=run_devices,
        at="05:15",
        first_busy=first_to_hear_devices,
    ),
    DatedJob(
        name="nfc.expire",
        summary="Mark authorizations that no clearing file claimed in time.",
        definition=run_expire,
        at="05:30",
        first_busy=first_to_expire,
    ),
    DatedJob(
        name="nfc.clear",
        summary="Take the processor's clearing files; capture, charge and give back line by line (売上確定).",
        definition=run_clear,
        at="06:00",
        days_back=1,
        first_busy=first_to_clear,
    ),
    DatedJob(
        name="nfc.reconcile",
        summary="Compare a day's authorizations and totals with the processor's (照合).",
        definition=run_reconcile,
        at="07:00",
        days_back=1,
        first_busy=first_to_reconcile,
    ),
    DatedJob(
        name="nfc.repair",
        summary="Bring to an end what was left open, and let go of what the processor does not have (修復).",
        definition=run_repair,
        at="07:30",
        first_busy=first_to_repair,
    ),
)
"""The jobs with a run per business date; at one instant they fall due in this order."""
