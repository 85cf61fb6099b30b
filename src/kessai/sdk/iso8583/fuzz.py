"""Try the reader with a great many damaged messages: `python -m kessai.sdk.iso8583.fuzz --messages 1000000`.

Each must be read or refused with a FormatError. One that is read must be written again byte for byte and show no card
number; an answer 30 must be one that can be read. Ends with 1 and shows the first message that breaks a rule.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.progress import track

from kessai.sdk.iso8583.codec import decode, encode, refuse
from kessai.sdk.iso8583.message import Message
from kessai.sdk.iso8583.mutations import stream
from kessai.sdk.iso8583.refusals import FormatError

MESSAGES = 1_000_000


def main(words: Sequence[str] | None = None) -> int:
    """0 when every message did as it must."""
    parser = argparse.ArgumentParser(prog="python -m kessai.sdk.iso8583.fuzz", description=__doc__)
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(words)
    console = Console()
    rounds = track(range(options.messages), "messages", console=console, update_period=0.5)
    heard: Counter[str] = Counter()
    wrong = tried(rounds, options.seed, heard)
    for name, count in heard.most_common():
        console.print(f"{count:>9,} {name}")
    if wrong is not None:
        console.print(f"[red]{wrong[0]}[/red]: {wrong[1].hex()}")
    return int(wrong is not None)


def tried(rounds: Iterable[int], seed: int, heard: Counter[str]) -> tuple[str, bytes] | None:
    """Try as many messages as there are rounds; what broke a rule, and which, or None. Counts what came of each."""
    following = stream(seed)
    for _ in rounds:
        data = following()
        try:
            heard[judged(data)] += 1
        except Exception as error:  # noqa: BLE001 (this is what is looked for)
            return f"{type(error).__name__}: {error}", data
    return None


def judged(data: bytes) -> str:
    """What came of one message: `read`, or the code that it was refused with; raises anything when a rule is broken."""
    try:
        message = decode(data)
    except FormatError as refused:
        _require_told(data)
        return refused.code
    _require_same(message, data)
    return "read"


def _require_same(message: Message, data: bytes) -> None:
    if encode(message) != data:
        raise AssertionError("written again it is another message")
    if message.pan is not None and message.pan.digits in repr(message):
        raise AssertionError("it shows its card number")


def _require_told(data: bytes) -> None:
    answer = refuse(data)
    if answer is not None:
        decode(answer)


if __name__ == "__main__":
    sys.exit(main())
