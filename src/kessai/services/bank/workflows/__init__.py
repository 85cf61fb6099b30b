"""The bank service's sagas: instructions and mandates online, files and what the bank tells of them, dated jobs."""

from kessai.services.bank.workflows.deps import Deps
from kessai.services.bank.workflows.hearing import collect_files
from kessai.services.bank.workflows.instructing import (
    Noted,
    Order,
    Overtaken,
    Registration,
    instruct,
    load,
    opened,
    prevent,
    register,
    settle,
    unconfirmed,
    write_steps,
)
from kessai.services.bank.workflows.making import ENCODING
from kessai.services.bank.workflows.running import run_results, run_send
from kessai.services.bank.workflows.sending import (
    FileOrder,
    RecallOrder,
    discard,
    recall_id,
    recall_line,
    send_file,
)
from kessai.services.bank.workflows.stating import run_statement

__all__ = [
    "ENCODING",
    "Deps",
    "FileOrder",
    "Noted",
    "Order",
    "Overtaken",
    "RecallOrder",
    "Registration",
    "collect_files",
    "discard",
    "instruct",
    "load",
    "opened",
    "prevent",
    "recall_id",
    "recall_line",
    "register",
    "run_results",
    "run_send",
    "run_statement",
    "send_file",
    "settle",
    "unconfirmed",
    "write_steps",
]
