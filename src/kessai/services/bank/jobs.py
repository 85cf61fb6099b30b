"""Batches of the bank service; each calls what the verbs call."""

from __future__ import annotations

import structlog

from kessai.sdk.jobs import DatedJob
from kessai.services.bank.service import BankService
from kessai.services.bank.workflows import run_results, run_send, run_statement
from kessai.services.bank.workflows.idle import first_to_hear, first_to_send, first_to_state

log = structlog.get_logger(__name__)


async def collect_results(bank: BankService) -> int:
    """Read what the bank says has become of instructions; gives how many entries were new."""
    return await bank.collect()


async def repair_instructions(bank: BankService) -> int:
    """Ask the bank about what has stood too long without an end; gives how many instructions moved on."""
    return await bank.repair()


async def reseal_accounts(bank: BankService) -> int:
    """After a new vault key: seal what is under old ones anew; gives how many accounts and files that were."""
    return await bank.reseal_accounts() + await bank.reseal_files()


async def reconcile_statement(bank: BankService) -> int:
    """Compare our instructions with the bank's statement; gives how many differ, each of which is logged."""
    differences = await bank.reconcile()
    for each in differences:
        log.error(
            "bank_statement_differs",
            instruction_id=each.instruction_id,
            side=each.side,
            ours_minor=each.ours_minor,
            theirs_minor=each.theirs_minor,
        )
    return len(differences)


BANK_JOBS: tuple[DatedJob, ...] = (
    DatedJob(
        name="bank.statement",
        summary="import our account's statement of the day before, and compare our own rows with it",
        definition=run_statement,
        at="07:00",
        days_back=1,
        first_busy=first_to_state,
    ),
    DatedJob(
        name="bank.results",
        summary="read what the bank tells of files, line by line",
        definition=run_results,
        at="14:00",
        business_days=True,
        first_busy=first_to_hear,
    ),
    DatedJob(
        name="bank.send",
        summary="make the files of the days that are cut off, and send what is approved",
        definition=run_send,
        at="15:05",
        business_days=True,
        first_busy=first_to_send,
    ),
)
"""The jobs with a run per business date; at one instant they fall due in this order."""
