"""The bank's verbs, and the errors of each in order of precedence: one Protocol a desk, joined in one."""

from __future__ import annotations

from typing import Protocol

from kessai.foundation.contract import verb
from kessai.sdk.processing.api import EffectsPage, ListEffects
from kessai.services.bank.api.accounts import (
    BankAccount,
    BankAccounts,
    CheckHolder,
    GetBankAccount,
    HolderChecked,
    ListBankAccounts,
    RegisterBankAccount,
    RemoveBankAccount,
    ThawBankAccount,
)
from kessai.services.bank.api.files import (
    ApproveFile,
    BankFile,
    BankFiles,
    FileLines,
    FilePayees,
    GetFile,
    GetLineHistory,
    LineHistory,
    ListFileLines,
    ListFiles,
    ListPayees,
    ListUnmatched,
    RejectFile,
    UnmatchedResults,
)
from kessai.services.bank.api.instructions import (
    AbortInstruction,
    DebitIn,
    GetInstruction,
    GetInstructionHistory,
    InquireInstruction,
    Instruction,
    InstructionHistory,
    InstructionPage,
    ListInstructions,
    RecallInstruction,
    TransferOut,
)
from kessai.services.bank.api.statements import (
    GetStatementDay,
    ListStatementDays,
    StatementDay,
    StatementDays,
)


class Instructions(Protocol):
    """Bank accounts, transfers and debits."""

    @verb("POST /v1/bank/accounts", scope="bank:write", moves_value=True, status=201,
          errors=("holder_name_not_writable", "no_such_bank", "no_such_branch", "idempotency_key_reused",
                  "bank_account_registered", "bank_unavailable",
                  "no_such_bank_account", "holder_name_mismatch", "debits_not_possible",
                  "mandate_outcome_unknown"))  # fmt: skip
    async def register_account(self, request: RegisterBankAccount, /) -> BankAccount:
        """Register a customer's or merchant's bank account after the bank has confirmed its holder's name."""
        ...

    @verb("GET /v1/bank/accounts/{account_id}", scope="bank:read", errors=("bank_account_not_found",))
    async def get_account(self, request: GetBankAccount, /) -> BankAccount:
        """A registered bank account."""
        ...

    @verb("POST /v1/bank/accounts/{account_id}/holder", scope="internal", public=False,
          errors=("bank_account_not_found",))  # fmt: skip
    async def check_holder(self, request: CheckHolder, /) -> HolderChecked:
        """Whether a bank account's holder bears one of some names: for services that keep no account's name."""
        ...

    @verb("GET /v1/bank/accounts", scope="bank:read")
    async def list_accounts(self, request: ListBankAccounts, /) -> BankAccounts:
        """An owner's bank accounts, newest first."""
        ...

    @verb("POST /v1/bank/accounts/{account_id}/remove", scope="bank:write", errors=("bank_account_not_found",))
    async def remove_account(self, request: RemoveBankAccount, /) -> BankAccount:
        """Remove a bank account: no new instruction names it; what is under way goes on."""
        ...

    @verb("POST /v1/bank/accounts/{account_id}/thaw", scope="bank:write", errors=("bank_account_not_found",))
    async def thaw_account(self, request: ThawBankAccount, /) -> BankAccount:
        """Let new instructions name an account again after too many had failed; its count begins anew."""
        ...

    @verb("POST /v1/bank/transfers", scope="bank:write", moves_value=True, status=201,
          errors=("idempotency_key_reused", "bank_account_not_found", "bank_account_removed", "bank_account_frozen",
                  "not_a_business_day"))  # fmt: skip
    async def transfer(self, request: TransferOut, /) -> Instruction:
        """Send money to a bank account (振込); answers once it is journalled, the bank's answer is an event."""
        ...

    @verb("POST /v1/bank/debits", scope="bank:write", moves_value=True, status=201,
          errors=("idempotency_key_reused", "bank_account_not_found", "bank_account_removed", "bank_account_frozen",
                  "debits_not_agreed", "not_a_business_day"))  # fmt: skip
    async def debit(self, request: DebitIn, /) -> Instruction:
        """Take money from a bank account (口座振替); answers once it is journalled, the bank's answer is an event."""
        ...

    @verb("POST /v1/bank/instructions/{instruction_id}/abort", scope="bank:write",
          errors=("idempotency_key_reused", "bank_account_not_found"))  # fmt: skip
    async def abort(self, request: AbortInstruction, /) -> Instruction:
        """Make sure that what was not journalled never will be: FAILED with `aborted`; else how far it has come."""
        ...

    @verb("GET /v1/bank/instructions/{instruction_id}", scope="bank:read", errors=("instruction_not_found",))
    async def get_instruction(self, request: GetInstruction, /) -> Instruction:
        """A transfer or debit as it is known here."""
        ...

    @verb("POST /v1/bank/instructions/{instruction_id}/inquire", scope="bank:write",
          errors=("instruction_not_found", "bank_unavailable"))  # fmt: skip
    async def inquire(self, request: InquireInstruction, /) -> Instruction:
        """Ask the bank about a transfer or debit now, and give what is known afterwards."""
        ...

    @verb("POST /v1/bank/instructions/{instruction_id}/recall", scope="bank:write",
          errors=("instruction_not_found", "instruction_not_sent", "recall_not_possible"))  # fmt: skip
    async def recall(self, request: RecallInstruction, /) -> Instruction:
        """Call a transfer by file back (組戻依頼): one that waits FAILED at once, of another the bank decides."""
        ...

    @verb("GET /v1/bank/instructions/{instruction_id}/history", scope="bank:read", errors=("instruction_not_found",))
    async def get_history(self, request: GetInstructionHistory, /) -> InstructionHistory:
        """Every step of a transfer or debit, with its time."""
        ...

    @verb("POST /v1/bank/effects", scope="bank:read", batch=True)
    async def list_effects(self, request: ListEffects, /) -> EffectsPage:
        """The transfers and debits of some processings, as their callers should know them."""
        ...

    @verb("GET /v1/bank/instructions", scope="bank:read", errors=("bad_cursor",))
    async def list_instructions(self, request: ListInstructions, /) -> InstructionPage:
        """An owner's transfers and debits, newest first."""
        ...


class Files(Protocol):
    """Files to the bank."""

    @verb("GET /v1/bank/files", scope="bank:read", errors=("bad_cursor",))
    async def list_files(self, request: ListFiles, /) -> BankFiles:
        """Files to the bank, the newest first."""
        ...

    @verb("GET /v1/bank/files/{file_id}", scope="bank:read", errors=("file_not_found",))
    async def get_file(self, request: GetFile, /) -> BankFile:
        """A file with its approvals and steps."""
        ...

    @verb("GET /v1/bank/files/{file_id}/lines", scope="bank:read", errors=("file_not_found",))
    async def list_file_lines(self, request: ListFileLines, /) -> FileLines:
        """A file's lines in their order."""
        ...

    @verb("GET /v1/bank/files/{file_id}/payees", scope="bank:approve", errors=("file_not_found",))
    async def list_payees(self, request: ListPayees, /) -> FilePayees:
        """Whom a file pays or debits, read from the very bytes that are approved: for approvers alone."""
        ...

    @verb("GET /v1/bank/files/{file_id}/lines/{line}/history", scope="bank:read", errors=("file_line_not_found",))
    async def get_line_history(self, request: GetLineHistory, /) -> LineHistory:
        """Every step of a line, with its time."""
        ...

    @verb("POST /v1/bank/files/{file_id}/approve", scope="bank:approve",
          errors=("file_not_found", "approver_not_a_key", "approver_is_maker", "other_file_content",
                  "approver_not_independent", "file_not_approvable", "file_too_late"))  # fmt: skip
    async def approve_file(self, request: ApproveFile, /) -> BankFile:
        """Approve a file (承認); it is sent once as many keys of different persons as it needs have."""
        ...

    @verb("POST /v1/bank/files/{file_id}/reject", scope="bank:approve",
          errors=("file_not_found", "file_not_rejectable"))  # fmt: skip
    async def reject_file(self, request: RejectFile, /) -> BankFile:
        """Reject a file that was not sent; its instructions wait for the next one."""
        ...

    @verb("GET /v1/bank/unmatched-results", scope="bank:read")
    async def list_unmatched(self, request: ListUnmatched, /) -> UnmatchedResults:
        """What the bank told of files that fits none of our lines, or contradicts it; nothing was changed by it."""
        ...


class Statements(Protocol):
    """The statement of our own account."""

    @verb("GET /v1/bank/statements", scope="bank:read")
    async def list_statement_days(self, request: ListStatementDays, /) -> StatementDays:
        """Days of our account that were imported, the newest first."""
        ...

    @verb("GET /v1/bank/statements/{day}", scope="bank:read", errors=("statement_day_not_found",))
    async def get_statement_day(self, request: GetStatementDay, /) -> StatementDay:
        """A day of our account beside our own rows, with what differs."""
        ...


class Bank(Instructions, Files, Statements, Protocol):
    """銀行接続: bank accounts, transfers, debits, the files they go with, and our own account."""
