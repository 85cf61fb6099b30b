"""What is wrong with a message: a field and a code, never what stood there, since that may be a card's number."""

from __future__ import annotations

from typing import Final

CODES: Final = {
    "message_length": "The message is too short to say what it is, or longer than any can be.",
    "frame_length": "The length before a message is 0 or more than any message has.",
    "frame_cut": "The connection ended within a message.",
    "mti_unknown": "No message of this type is spoken here.",
    "bitmap": "A second bitmap is announced and empty, or one is not there.",
    "field_not_allowed": "A field that this type of message does not have.",
    "field_missing": "A field that this type of message needs is not there.",
    "field_length": "The field is longer or shorter than it may be, or the message ends in it.",
    "trailing_bytes": "There are bytes behind the last field.",
    "field_content": "The field holds what it may not hold.",
    "replacement_not_below_amount": "A partial reversal leaves less than all.",
}
"""Each code of a FormatError."""


class FormatError(ValueError):
    """A message is not right, and where: its field's number (0 is the type, None the whole) and a code of `CODES`."""

    def __init__(self, field: int | None, code: str) -> None:
        assert code in CODES
        super().__init__(code if field is None else f"field {field}: {code}")
        self.field = field
        self.code = code

    def __reduce__(self) -> tuple[type[FormatError], tuple[int | None, str]]:
        return type(self), (self.field, self.code)
