"""Batches of the bank service; each calls what the verbs call."""

from __future__ import annotations

import structlog

from kessai.services.bank.service import BankService

log = structlog.get_logger(__name__)


async def collect_results(bank: BankService) -> int:
    """Read what the bank says has become of instructions; gives how many entries were new."""
    return await bank.collect()


async def repair_instructions(bank: BankService) -> int:
    """Ask the bank about what has stood too long without an end; gives how many instructions moved on."""
    return await bank.repair()


async def reseal_accounts(bank: BankService) -> int:
    """After a new vault key: seal what is under old ones anew; gives how many accounts that were."""
    return await bank.reseal_accounts()


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
