"""ISO 8583 between a card network's processor and a prepaid issuer.

    from kessai.sdk import iso8583

    message = iso8583.decode(data)                  # Message, or a FormatError that names field and code
    data = iso8583.encode(message)                  # the same bytes again
    answer = message.answer("00", approval_code="A1B2C3")
    iso8583.refuse(data)                            # the answer 30 to what cannot be read, if there is one
    async for data in iso8583.frames(reader):       # messages of a connection, behind two bytes of length
        ...
    writer.write(iso8583.frame(data))

Every field is checked both ways; what was written is read again as it was, and what can be read is written again byte
for byte. Nothing but FormatError is raised, whatever the bytes are. A card's number is a `Pan`, which shows its last
four digits alone unless it is asked for its `digits`. Nothing here knows of a service. The fields:
docs/tutorials/iso8583.md.
"""

from kessai.sdk.iso8583.codec import decode, encode, refuse
from kessai.sdk.iso8583.framing import LENGTH_BYTES, Unframer, frame, frames
from kessai.sdk.iso8583.layout import FIELDS, MESSAGE_BYTES_MAX, PROFILES, Field, Profile
from kessai.sdk.iso8583.message import (
    ANSWERS,
    REVERSALS,
    Message,
    Mti,
    Network,
    Original,
    Processing,
    Response,
    instant_of,
    name_and_location,
    transmitted_at,
)
from kessai.sdk.iso8583.numbers import Pan, check_digit, mask, passes_luhn
from kessai.sdk.iso8583.refusals import CODES, FormatError

__all__ = [
    "ANSWERS",
    "CODES",
    "FIELDS",
    "LENGTH_BYTES",
    "MESSAGE_BYTES_MAX",
    "PROFILES",
    "REVERSALS",
    "Field",
    "FormatError",
    "Message",
    "Mti",
    "Network",
    "Original",
    "Pan",
    "Processing",
    "Profile",
    "Response",
    "Unframer",
    "check_digit",
    "decode",
    "encode",
    "frame",
    "frames",
    "instant_of",
    "mask",
    "name_and_location",
    "passes_luhn",
    "refuse",
    "transmitted_at",
]
