"""What is refused, and where."""

from __future__ import annotations

CODES: dict[str, str] = {
    "truncated": "The file ends inside a record, or before one that has to follow.",
    "after_end": "Something follows the end record.",
    "unexpected_record": "A record of another type has to stand here.",
    "short_record": "A line break stands inside the 120 bytes of a record.",
    "mixed_newlines": "Records end with CR LF all together or none of them.",
    "no_lines": "A file has one data record at least.",
    "not_digits": "A digit has to stand here.",
    "not_spaces": "A space has to stand here.",
    "not_zeros": "A zero has to stand here.",
    "character_not_allowed": "The character is none of the format's.",
    "not_left_justified": "A text begins at its field's first byte.",
    "name_missing": "The name may not be blank.",
    "too_long": "The text needs more bytes than its field has.",
    "wrong_length": "A code has exactly as many digits as its field.",
    "out_of_range": "The number does not fit its field.",
    "value_not_allowed": "The digit or letter has no meaning here.",
    "amount_zero": "An amount is one yen at least.",
    "invalid_day": "There is no such day in the calendar.",
    "not_a_business_day": "Banks are closed on that day.",
    "edi_and_customer_codes": "EDI information stands in the place of the customer codes.",
    "edi_not_allowed": "A debit carries no EDI information.",
    "result_not_allowed": "A transfer file carries no results.",
    "result_missing": "Either each data record has a result, or none has.",
    "count_differs": "The trailer counts other data records than there are.",
    "total_differs": "The trailer's total is not the sum of the amounts.",
    "too_many_lines": "A file has 999,999 data records at most.",
    "total_too_large": "The total has twelve digits at most.",
}
"""Every code of a ZenginError, with what it says. Codes are stable."""


class ZenginError(ValueError):
    """A file, or what is to be written into one, is refused.

    `line` is the record's number in the file (the header is 1), `position` the byte in it (the first is 1). Of a text
    that stands in no file yet (`kana`), `line` is 0 and `position` the character. `code` is one of CODES.
    """

    def __init__(self, line: int, position: int, code: str, message: str | None = None) -> None:
        self.line = line
        self.position = position
        self.code = code
        self.message = message or CODES[code]
        super().__init__(line, position, code, self.message)

    def __str__(self) -> str:
        return f"line {self.line}, position {self.position}: {self.message} ({self.code})"
