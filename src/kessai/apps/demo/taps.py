"""A card on a phone, tapped (iD決済): `python -m kessai.apps.demo.taps URL`, the API key in KESSAI_API_KEY.

Cards are ordered from the simulated issuer, one is given to a customer whose phone is verified by a text message, and
put on that phone. Terminals of the simulated card network (NETWORK_URL, SMS_URL) are tapped: approved, more than there
is, taken back, and one whose answer is lost on the way. The processor closes its day, the next morning the platform's
own jobs clear it (売上確定) and compare both sides; it ends with the differences, which must be none.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import date, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table

from kessai.apps.demo.client import Client
from kessai.apps.demo.closing import TOKYO
from kessai.apps.demo.diary import PATIENCE_S, PAUSE_S, Diary, expect, shown
from kessai.apps.demo.parties import SmsInbox, Terminals

WIDTH = 118
JIRO, PHONE = "customer:jiro", "+819012345678"
NETWORK = "internal:id_network"
MONEY = 6_000
OPENS, CLEARED = 10, 8
"""Hours in Tokyo: at which the day is played, and by which the next morning's jobs have run."""
APPLE = {"certificates": ["bGVhZg==", "cm9vdA=="], "nonce": "bm9uY2U=", "nonce_signature": "c2lnbmF0dXJl"}
STATES_JA = {
    "CLEARED": "売上確定", "DECLINED": "拒否", "REVERSED": "取消", "APPROVED": "承認", "LATE": "応答遅れ",
}  # fmt: skip
FIGURES_JA = {
    "authorized": "承認", "declined": "拒否", "reversed": "取消", "sales": "売上", "refunds": "返品",
    "reversals": "売上取消", "net": "差引",
}  # fmt: skip


class Taps:
    """The script."""

    def __init__(self, client: Client, terminals: Terminals, inbox: SmsInbox) -> None:
        self.client = client
        self.terminals = terminals
        self.inbox = inbox
        self.diary = Diary(client, title="A card on a phone, tapped · スマートフォンでかざす")
        self.day = date.min
        self.card: dict[str, Any] = {}
        self.device = ""

    def play(self) -> None:
        """All of it, up to the morning after."""
        self._until_hour(OPENS)
        self.day = self._now().date()
        self.get_card()
        self.put_on_phone()
        self.tap()
        self.clear()

    # -- time -----------------------------------------------------------------------------------------------------

    def _now(self) -> datetime:
        return self.diary.now().astimezone(TOKYO)

    def _until_hour(self, hour: int) -> None:
        """Move on to that hour, of the next day when it has been; the network's day moves along."""
        now = self._now()
        to = now.replace(hour=hour, minute=0, second=0, microsecond=0)
        self.diary.advance((to if to > now else to + timedelta(days=1)) - now)
        self.terminals.it_is(self.diary.now())

    # -- a card ---------------------------------------------------------------------------------------------------

    def get_card(self) -> None:
        """Somebody with money gets a card, whose phone is verified."""
        batch = self.client.post("/v1/nfc/issue-batches", {"count": 20})
        free = self.client.get("/v1/nfc/pool")["free"]
        self.diary.tell("cards are ordered, made and taken in · 発行依頼・取込", None, f"{batch['state']}, {free} free")
        self.client.post("/v1/ledger/accounts", {"owner": JIRO, "account_type": "funds"})
        self.client.post("/v1/top-ups", {"customer_id": JIRO, "source": "bank_deposit", "amount_minor": MONEY})
        self.diary.tell("Jiro has money · 入金", MONEY, "CAPTURED 完了")
        asked = {"customer_id": JIRO, "phone_number": PHONE, "authentication": self._authenticated()}
        self.card = self.client.post("/v1/nfc/cards", asked)
        code = self.inbox.code(PHONE)
        self.diary.tell("he asks for a card; a code is sent · カード申込、SMS 認証", None, f"{self.card['state']}")
        self.card = self.client.post(f"/v1/nfc/cards/{self.card['card_id']}/verify", {"code": code})
        expect(self.card["state"] == "ACTIVE", f"the card should be active, it is {self.card['state']}")
        self.diary.tell(
            "the code is right: a card of the pool · プールから割当", None, f"ACTIVE …{self.card['last_four']}"
        )

    def put_on_phone(self) -> None:
        """The phone gets a number of its own from the token service."""
        devices = f"/v1/nfc/cards/{self.card['card_id']}/devices"
        asked = self.client.post(devices, {"authentication": self._authenticated(), "apple": APPLE})
        self.device = asked["device_id"]
        self.client.post(f"{devices}/{self.device}/authenticate", {"authentication": self._authenticated()})
        self.terminals.activate(self.device)
        device = self.client.post(f"{devices}/{self.device}/inquire", {})
        expect(device["state"] == "ACTIVE", f"the phone should be active, it is {device['state']}")
        told = f"{device['state']} …{device['last_four']}"
        self.diary.tell("it is put on a phone, with a number of its own · 端末へ発行", None, told)

    def _authenticated(self) -> dict[str, str]:
        return {"method": "biometric", "authenticated_at": self.diary.now().isoformat()}

    # -- at the terminal ------------------------------------------------------------------------------------------

    def tap(self) -> None:
        """Approved twice, too much once, taken back once; and one answer that never arrives."""
        self._tapped("coffee · 喫茶店", 1_200, "00")
        self._tapped("a bicycle: more than there is · 残高不足", 90_000, "51")
        self._tapped("in an app, with the phone's number · アプリ内決済", 640, "00", device=self.device, entry="in_app")
        wrong = self._tapped("rung up wrongly · 打ち間違い", 800, "00")
        reversal = self.terminals.reverse(wrong["id"])
        expect(reversal["state"] == "reversed", f"it should have been taken back, it is {reversal['state']}")
        self.diary.tell("  and taken back at once · 取消 (0400)", 800, "00")
        self.terminals.lose_answer()
        lost = self._tapped("the answer is lost · 応答が届かない", 1_500, None)
        told = self.terminals.until_reversed(lost["id"])
        self.diary.tell(
            "  the network takes it back by itself · 自動取消 (0420)", 1_500, told["reversals"][0]["response"]
        )

    def _tapped(self, what: str, amount: int, response: str | None, **more: str) -> dict[str, Any]:
        by = more if "device" in more else {"card": self.card["reference"]}
        told = self.terminals.tap(amount, **{**by, **more})
        expect(told["response"] == response, f"{what}: {response} was expected, the terminal shows {told['response']}")
        self.diary.tell(
            f"Jiro taps: {what}", amount, f"{told['response'] or 'no answer'} {told['approval_code'] or ''}"
        )
        return told

    # -- the day --------------------------------------------------------------------------------------------------

    def clear(self) -> None:
        """The processor closes its day; in the morning it is cleared and compared by the platform's jobs."""
        file = self.terminals.close_day(self.day)
        self.diary.tell("the processor closes its day · クリアリングファイル", None, f"{file['count']} lines")
        self._until_hour(CLEARED)
        ends = time.monotonic() + PATIENCE_S
        while not self._compared():
            expect(time.monotonic() < ends, f"the clearing of {self.day} should have been compared")
            time.sleep(PAUSE_S)
        self.diary.tell("the next morning: nfc.clear, nfc.reconcile · 売上確定、照合", None, "CLEARED")

    def _compared(self) -> bool:
        return not self.client.ask("GET", f"/v1/nfc/clearing-days/{self.day}", None, None).refused

    def authorizations(self) -> list[dict[str, Any]]:
        """Ours, oldest first."""
        page = self.client.get(f"/v1/nfc/authorizations?customer_id={JIRO}")
        return page["authorizations"][::-1]

    # -- the proof ------------------------------------------------------------------------------------------------

    def show(self, console: Console) -> bool:
        """What became of each tap, and both sides of the day; True when nothing differs."""
        console.print(self.diary.table)
        found = self.authorizations()
        verdicts = [self._verdict(each) for each in found]
        console.print(_courses(found, verdicts))
        day = self.client.get(f"/v1/nfc/clearing-days/{self.day}")
        findings = self.client.get("/v1/nfc/clearing-findings?state=OPEN")["findings"]
        net = next(each for each in day["totals"] if each["figure"] == "net")["theirs_minor"]
        taken = sum(self._captured(each) for each in found)
        owed = self.diary.balance(NETWORK, "network_payable")
        spent = MONEY - self.diary.balance(JIRO, "funds")
        ours = {
            "payments · 決済": taken,
            "ledger, owed to the network · 台帳、未払金": owed,
            "Jiro has spent · 利用額": spent,
        }
        console.print(_both_sides(day["totals"], ours, net))
        same = day["agrees"] and not findings and {taken, owed, spent} == {net}
        proved = all(each in ("", "CONSISTENT") for each in verdicts) and "CONSISTENT" in verdicts
        differences = len(findings) + sum(each != net for each in ours.values())
        colour = "green" if same and proved else "red"
        sentence = (
            f"{differences} differences between terminals, processor, payments and ledger · 差異 {differences} 件"
        )
        console.print(f"[{colour}]{sentence}[/{colour}]", highlight=False)
        return same and proved

    def _captured(self, authorization: dict[str, Any]) -> int:
        if authorization["payment_id"] is None:
            return 0
        payment = self.diary.payment(authorization["payment_id"])
        return payment["captured_minor"] - payment["refunded_minor"]

    def _verdict(self, authorization: dict[str, Any]) -> str:
        """What the tracer says of it; empty where nobody was asked to pay."""
        if authorization["payment_id"] is None:
            return ""
        ends = time.monotonic() + PATIENCE_S
        while True:
            answer = self.client.ask("GET", f"/v1/tracer/processings/{authorization['processing_id']}", None, None)
            if not answer.refused and answer.body["verdict"] == "CONSISTENT":
                return "CONSISTENT"
            if time.monotonic() > ends:
                return str(answer.body.get("verdict", answer.body.get("code")))
            time.sleep(PAUSE_S)


def _courses(found: list[dict[str, Any]], verdicts: list[str]) -> Table:
    table = Table(title="What became of each · それぞれの結末", title_justify="left")
    for heading in ("authorization · 承認", "use · 利用", "answer"):
        table.add_column(heading)
    table.add_column("amount 金額", justify="right")
    for heading in ("state · 状態", "verdict · 判定"):
        table.add_column(heading)
    for each, verdict in zip(found, verdicts, strict=True):
        state = shown(each["state"], STATES_JA.get(each["state"], ""))
        name = f"…{each['authorization_id'][-12:]}"
        table.add_row(name, each["category"], each["response"], f"¥{each['amount_minor']:,}", state, verdict)
    return table


def _both_sides(totals: list[dict[str, Any]], ours: dict[str, int], net: int) -> Table:
    table = Table(title="The day, theirs and ours · カードネットワークとの照合", title_justify="left")
    table.add_column("figure · 項目")
    for heading in ("theirs · 先方", "ours · 当方"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for each in totals:
        sides = [f"{each[f'{who}_count']} × ¥{each[f'{who}_minor']:,}" for who in ("theirs", "ours")]
        figure = f"{each['figure']} · {FIGURES_JA.get(each['figure'], '')}"
        table.add_row(figure, *sides, "✓" if sides[0] == sides[1] else "✗")
    table.add_section()
    for what, minor in ours.items():
        table.add_row(what, f"¥{net:,}", f"¥{minor:,}", "✓" if minor == net else "✗")
    return table


def main() -> int:
    """Play it; 0 when no side differs from another."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    client = Client(sys.argv[1], os.environ["KESSAI_API_KEY"])
    taps = Taps(client, Terminals(os.environ["NETWORK_URL"]), SmsInbox(os.environ["SMS_URL"]))
    taps.play()
    return 0 if taps.show(console) else 1


if __name__ == "__main__":
    sys.exit(main())
