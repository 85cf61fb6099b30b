"""The parties outside as an onlooker sees them: their own statements, and the control by which they misbehave."""

from __future__ import annotations

import json
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

from kessai.simulators import bank, cardgateway

TIMEOUT_S = 30.0
PAGE_FIRST = 0
PATIENCE_S = 40.0
PAUSE_S = 0.1


class Party:
    """A simulated party at its address."""

    key = ""
    """What its clients show it."""

    def __init__(self, url: str) -> None:
        self._url = url

    def misbehave(self, preset: str, verb: str, **more: Any) -> None:
        """From now on meet requests of a verb with a fault."""
        self._ask("POST", "/control/faults", {"preset": preset, "verb": verb, **more})

    def behave(self) -> None:
        """Forget every fault."""
        self._ask("DELETE", "/control/faults")

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310  (a simulator's address, from our own caller)
            f"{self._url}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            return json.loads(answer.read())


class CardCompany(Party):
    """The card gateway."""

    key = cardgateway.KEY

    def taken(self) -> int:
        """Yen that it took from cards and did not give back, by its own statement."""
        total, first = 0, PAGE_FIRST
        while True:
            page = self._ask("GET", f"/v1/statement?from={first}")
            total += sum(each["captured"] - each["refunded"] for each in page["authorizations"])
            if page["next"] is None:
                return total
            first = page["next"]


class BankCounter(Party):
    """The bank."""

    key = bank.KEY

    def received(self) -> int:
        """Yen that came to the platform's account less what left it, by the bank's own statement."""
        return sum(each["amount"] for each in self._lines())

    def moved_by_files(self) -> int:
        """The same of what came to it in files, or came back."""
        return sum(each["amount"] for each in self._lines() if " file " in f" {each['words']} ")

    def _lines(self) -> Iterator[dict[str, Any]]:
        after = PAGE_FIRST
        while lines := self._ask("GET", f"/v1/statement?after={after}")["lines"]:
            yield from lines
            after = lines[-1]["position"]


class Terminals(Party):
    """The card network: its terminals, its phones and its clearing."""

    def it_is(self, now: datetime) -> None:
        """The network's business time has come to this."""
        self._ask("POST", "/control/clock", {"at": now.isoformat()})

    def activate(self, device_id: str) -> None:
        """The phone takes its number up."""
        self._ask("POST", f"/control/devices/{device_id}/activate")

    def tap(self, amount: int, **more: str) -> dict[str, Any]:
        """A tap, and what the terminal shows."""
        return self._ask("POST", "/control/tap", {"amount": amount, **more})

    def reverse(self, authorization: str) -> dict[str, Any]:
        """What was tapped is taken back."""
        return self._ask("POST", "/control/reversals", {"authorization": authorization})

    def lose_answer(self) -> None:
        """The next answer to a tap does not arrive."""
        self._ask("POST", "/control/wire-faults", {"on": "answer", "do": "drop", "mti": "0110"})

    def until_reversed(self, authorization: str) -> dict[str, Any]:
        """A tap, once the network has taken it back; TimeoutError when it does not."""
        ends = time.monotonic() + PATIENCE_S
        while (told := self._ask("GET", f"/control/authorizations/{authorization}"))["state"] != "reversed":
            if time.monotonic() > ends:
                raise TimeoutError(f"{authorization} should have been reversed, it is {told['state']}")
            time.sleep(PAUSE_S)
        return told

    def close_day(self, day: date) -> dict[str, Any]:
        """The day's clearing file is made."""
        return self._ask("POST", "/control/clearing", {"day": day.isoformat()})


class SmsInbox(Party):
    """The phones' text messages."""

    def code(self, number: str) -> str:
        """The code that came last."""
        inbox = self._ask("GET", f"/control/messages?to={urllib.parse.quote(number)}")["messages"]
        return re.findall(r"\b\d{6}\b", inbox[-1]["text"])[-1]
