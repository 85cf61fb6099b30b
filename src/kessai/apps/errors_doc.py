"""docs/errors.md: every stable error code with its status, its meaning, and the verbs whose doors name it.

The meanings are written in errors.toml; a code without one, or a meaning of a code that is nowhere, is found by the
suite.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from kessai.apps.wiring import DOORS
from kessai.foundation import errors
from kessai.foundation.config import load_toml
from kessai.foundation.contract import verbs_of
from kessai.foundation.door import problem
from kessai.foundation.errors import PaymentError
from kessai.services.payment.domain.checks import Busy

FILE = Path("docs/errors.md")
VERBS_SHOWN = 4
"""Past so many the table says how many more there are; contracts/openapi.json has them all."""
FAMILIES: Mapping[str, type[PaymentError]] = {
    family.__name__: family
    for family in (
        errors.Invalid, problem.MethodNotAllowed, problem.BodyTooLarge, problem.UnsupportedMediaType,
        errors.Unauthenticated, errors.Forbidden, errors.NotFound, errors.Conflict, Busy, errors.RequestInProgress,
        errors.KeyReused, errors.Refused, errors.Unavailable, errors.DeadlineExceeded, errors.Unknown,
        problem.InternalError,
    )
}  # fmt: skip
"""In the order in which the page has them."""

_HEAD = """# Error codes

Every refusal is `application/problem+json` (RFC 9457) with `status`, a stable `code`, one sentence in `detail`,
`retryable` and `request_id`; over gRPC the same is in the trailing metadata `kessai-error-bin`. Decide by `code` and
`retryable`, never by the sentence. This page is written by `make contracts`; the codes of a verb, in order of
precedence, are in `contracts/openapi.json` (`x-error-codes`).

- **Retryable**: send the *same* request again under the *same* Idempotency-Key, after a pause that grows. It is done at
  most once, however often it is sent.
- **Not retryable**: sending it again does not help by itself. The refusal of a payment is kept: a repeat under the same
  key gets it again, and moves nothing.
- **The outcome is not known** (504, 500): never assume. Inquire, or repeat under the same key.

A payment that was refused later than its answer (a bank's, a card's) has the code in `refusal_code`; a transfer's or
debit's `failure_code` is explained in [services/bank.md](services/bank.md).
"""


@cache
def meanings() -> dict[str, dict[str, str]]:
    """Families to codes to what they mean."""
    document = load_toml("kessai.apps", "errors.toml")
    return {family: document.convert((family,), dict[str, str]) for family in document.data}


def verbs_by_code() -> dict[str, list[str]]:
    """Codes to the routes whose doors name them, in the doors' order."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for door in DOORS:
        for bound in verbs_of(door):
            for code in bound.spec.errors:
                found[code].append(f"{bound.spec.method} {bound.spec.path}")
    return dict(found)


def errors_text() -> str:
    """The page."""
    named = verbs_by_code()
    parts = [_HEAD]
    for name, family in FAMILIES.items():
        codes = meanings().get(name)
        if not codes:
            continue
        doc = (family.__doc__ or "").split("\n", 1)[0]
        retry = "retryable" if family.retryable else "not retryable"
        parts.append(f"## {name}: {family.http_status}, {retry}\n\n{doc}\n")
        rows = (f"| `{code}` | {text} | {_shown(named.get(code))} |" for code, text in sorted(codes.items()))
        parts.append("\n".join(("| code | means | told by |", "|---|---|---|", *rows)) + "\n")
    return "\n".join(parts)


def _shown(verbs: list[str] | None) -> str:
    """Where a code comes from, briefly."""
    if verbs is None:
        return "any verb, operators' commands or the client library"
    more = len(verbs) - VERBS_SHOWN
    first = " · ".join(f"`{each}`" for each in verbs[:VERBS_SHOWN])
    return f"{first} and {more} more" if more > 0 else first
