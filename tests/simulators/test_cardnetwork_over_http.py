"""The simulated card network over HTTP: cards, devices, terminals, clearing files, totals; and the SMS sender."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from kessai.sdk.iso8583 import passes_luhn
from kessai.simulators.cardnetwork import KEY, CardNetworkSimulator
from kessai.simulators.sms import KEY as SMS_KEY
from kessai.simulators.sms import LOST, UNREACHABLE, SmsSimulator
from tests.simulators.issuer import Issuer, issuer

NOW = datetime(2026, 4, 30, 3, 0, 0, tzinfo=UTC)
DAY = "2026-04-30"
APPLE = {"platform": "apple", "certificates": ["AAAA"], "nonce": "BBBB", "nonce_signature": "CCCC"}
ANDROID = {"platform": "android", "client_wallet_account_id": "AAAA", "stable_hardware_id": "BBBB"}


@pytest.fixture
async def network() -> AsyncIterator[tuple[CardNetworkSimulator, httpx.AsyncClient]]:
    simulator = CardNetworkSimulator(now=lambda: NOW, answer_within_s=20)
    await simulator.start()
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=simulator.url, headers=headers, trust_env=False, timeout=30) as client:
        yield simulator, client
    await simulator.stop()


Network = tuple[CardNetworkSimulator, httpx.AsyncClient]


async def _post(client: httpx.AsyncClient, path: str, body: dict[str, Any] | None = None) -> Any:
    reply = await client.post(path, json=body or {})
    assert reply.status_code == 200, reply.text
    return reply.json()


# -- cards ------------------------------------------------------------------------------------------------------


def request_file(file_id: str, *references: str, count: int | None = None) -> bytes:
    records = [f"HIR{file_id:<32}20260430000001"]
    records += [f"D{line:06d}{each:<32}" for line, each in enumerate(references, 1)]
    records.append(f"T{len(references) if count is None else count:06d}")
    return "".join(f"{each:<80}\n" for each in records).encode()


async def test_cards_are_asked_for_and_issued_by_file(network: Network) -> None:
    _, client = network
    await _post(client, "/control/issue-fates", {"reference": "r2", "refuse": "E1"})
    sent = (await client.put("/v1/issue-requests/f1", content=request_file("f1", "r1", "r2", "r3"))).json()
    assert (sent["state"], sent["lines"], sent["issued"], sent["refused"]) == ("issued", 3, 2, 1)
    assert (await client.get("/v1/issue-requests/f1")).json() == sent
    assert (await client.put("/v1/issue-requests/f1", content=request_file("f1", "r1", "r2", "r3"))).json() == sent
    assert (await client.put("/v1/issue-requests/f1", content=request_file("f1", "r9"))).status_code == 409
    header, *lines, trailer, end = (await client.get("/v1/issued-files/f1")).content.decode("ascii").split("\n")
    assert {len(each) for each in (header, *lines, trailer)} == {128}
    assert end == ""
    assert (header[:3], header[35:43], header[49:81].rstrip()) == ("HII", "20260430", "f1")
    assert trailer.rstrip() == "T000003000002000001"
    assert [(each[7:39].rstrip(), each[39], each[40:56].rstrip(), each[79:83].rstrip()) for each in lines] == [
        ("r1", "0", "c000000000000001", ""),
        ("r2", "1", "", "E1"),
        ("r3", "0", "c000000000000002", ""),
    ]
    pans = [each[56:75].rstrip() for each in lines]
    assert [passes_luhn(each) for each in pans] == [True, False, True]
    assert len(set(pans)) == 3
    assert [each[75:79] for each in lines] == ["3104", "    ", "3104"]


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        (b"", "unreadable", 1),
        (request_file("other", "r1"), "unreadable", 1),
        (request_file("f1", "r1", "r1"), "duplicate_reference", 3),
        (request_file("f1", "r1", count=2), "count_differs", 3),
        (request_file("f1", "r1").replace(b"D000001", b"D000002"), "unreadable", 2),
        (request_file("f1", "r 1"), "unreadable", 2),
        (request_file("f1", "r1")[:-1], "unreadable", 3),
    ],
)
async def test_a_request_that_is_not_right_is_refused(network: Network, content: bytes, code: str, line: int) -> None:
    simulator, client = network
    sent = (await client.put("/v1/issue-requests/f1", content=content)).json()
    assert (sent["state"], sent["code"], sent["line"]) == ("refused", code, line)
    assert (await client.get("/v1/issued-files/f1")).json() == {"id": "f1", "code": "file_not_ready"}
    assert simulator.books.issuing.cards == {}


@pytest.mark.parametrize("spoil", ["bad_pan", "bad_expiry", "twice", "missing", "count", "cut"])
async def test_an_issuers_file_can_be_wrong(network: Network, spoil: str) -> None:
    _, client = network
    await _post(client, "/control/issue-fates", {"spoil": spoil})
    await client.put("/v1/issue-requests/f1", content=request_file("f1", "r1"))
    await client.put("/v1/issue-requests/f2", content=request_file("f2", "r1"))
    spoiled = (await client.get("/v1/issued-files/f1")).content
    right = (await client.get("/v1/issued-files/f2")).content.decode().split("\n")
    lines = spoiled.decode().split("\n")
    wrong = {
        "bad_pan": lambda: passes_luhn(lines[1][56:72]) is False,
        "bad_expiry": lambda: lines[1][75:79] == "3113",
        "twice": lambda: lines[1] == lines[2] and lines[3].startswith("T000002"),
        "missing": lambda: lines[1].startswith("T000000"),
        "count": lambda: lines[2].startswith("T000002"),
        "cut": lambda: len(spoiled) == 129 * 3 // 2,
    }
    assert wrong[spoil]()
    assert passes_luhn(right[1][56:72])
    assert right[2].startswith("T000001")


async def test_a_file_that_is_not_issued_yet_is_waited_for(network: Network) -> None:
    _, client = network
    await _post(client, "/control/issue-fates", {"after_s": 3600})
    sent = (await client.put("/v1/issue-requests/f1", content=request_file("f1", "r1"))).json()
    assert sent["state"] == "received"
    later = {"at": "2026-04-30T13:00:00+09:00"}
    assert (await client.get("/v1/issued-files/f1")).status_code == 404
    assert (await client.get("/v1/issued-files/f1", params=later)).status_code == 200


# -- devices ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wallet", "payload"), [(APPLE, "activation_data"), (ANDROID, "opaque_payment_card")])
async def test_a_device_goes_through_its_life(network: Network, wallet: dict[str, Any], payload: str) -> None:
    simulator, client = network
    (card,) = simulator.books.issuing.issue(1, NOW)
    body = {"card": card.reference, **wallet}
    asked = (await client.put("/v1/devices/d1", json=body)).json()
    assert (asked["state"], asked["device_pan"]) == ("requested", None)
    assert payload in asked["payload"]
    assert (await client.put("/v1/devices/d1", json=body)).json() == asked
    assert (await client.post("/control/devices/d1/activate")).json() == {"id": "d1", "code": "wrong_state"}
    vouched = await _post(client, "/v1/devices/d1/authenticate", {"method": "sms"})
    assert (vouched["state"], vouched["authenticated_by"]) == ("authenticated", "sms")
    active = await _post(client, "/control/devices/d1/activate")
    assert active["state"] == "active"
    assert passes_luhn(active["device_pan"])
    assert active["device_pan"] != simulator.books.issuing.pan_of(card)
    for verb, state in (("suspend", "suspended"), ("resume", "active"), ("delete", "deleted"), ("delete", "deleted")):
        assert (await _post(client, f"/v1/devices/d1/{verb}"))["state"] == state
    assert (await client.post("/v1/devices/d1/resume")).status_code == 409
    events = (await client.get("/v1/device-events", params={"after": 1})).json()["events"]
    assert [each["state"] for each in events] == ["authenticated", "active", "suspended", "active", "deleted"]


async def test_a_device_is_refused_for_what_the_wallet_did_not_give(network: Network) -> None:
    simulator, client = network
    (card,) = simulator.books.issuing.issue(1, NOW)
    for body, status, code in (
        ({"card": "c9", **APPLE}, 404, "card_not_found"),
        ({"card": card.reference, **APPLE, "nonce": ""}, 422, "bad_wallet_data"),
        ({"card": card.reference, **ANDROID, "nonce": "AAAA"}, 422, "bad_wallet_data"),
    ):
        refused = await client.put("/v1/devices/d1", json=body)
        assert (refused.status_code, refused.json()["code"]) == (status, code)
    await client.put("/v1/devices/d1", json={"card": card.reference, **APPLE})
    assert (await client.put("/v1/devices/d1", json={"card": card.reference, **ANDROID})).status_code == 409
    assert (await client.get("/v1/devices/d2")).json() == {"id": "d2", "code": "device_not_found"}


# -- terminals and clearing -------------------------------------------------------------------------------------


@pytest.fixture
async def bank() -> AsyncIterator[Issuer]:
    async with issuer() as it:
        yield it


async def _card(client: httpx.AsyncClient, bank: Issuer) -> str:
    assert await _post(client, "/control/connect", {"port": bank.port}) == {"signed_on": 2}
    return (await _post(client, "/control/cards"))["cards"][0]["card"]


async def _tap(client: httpx.AsyncClient, card: str, amount: int, **words: Any) -> Any:
    return await _post(client, "/control/tap", {"card": card, "amount": amount, **words})


async def _lines(client: httpx.AsyncClient, file_id: str) -> list[str]:
    return (await client.get(f"/v1/clearing-files/{file_id}")).content.decode("ascii").split("\n")[:-1]


def _shown(line: str) -> tuple[str, int, str]:
    return line[7], int(line[24:36]), line[47:53].rstrip()


async def test_a_terminal_is_tapped_on_over_http(network: Network, bank: Issuer) -> None:
    _, client = network
    card = await _card(client, bank)
    told = await _tap(client, card, 1_200, entry="in_app", mcc="4111")
    assert (told["state"], told["approved"], told["response"]) == ("approved", True, "00")
    assert (bank.heard[-1].entry_mode, bank.heard[-1].mcc) == ("810", "4111")
    back = await _post(client, "/control/reversals", {"authorization": told["id"], "amount": 200})
    assert (back["reversed"], back["reversals"][0]["response"]) == (200, "00")
    repeated = await _post(client, "/control/repeats", {"authorization": told["id"]})
    assert repeated == {"response": "00", "same": True}
    assert (await _post(client, "/control/echo")) == {"response": "00"}
    missing = await client.post("/control/tap", json={"card": "c9", "amount": 1})
    assert (missing.status_code, missing.json()["code"]) == (404, "card_not_found")
    records = (await client.post("/v1/records", json={"ids": [told["key"], "none"]})).json()["records"]
    assert [each["id"] for each in records] == [told["id"]]
    assert (await client.get("/control/authorizations")).json()["authorizations"] == records
    assert (await client.get("/control/wire")).json()["unmatched"] == 0


async def test_a_day_is_cleared_with_every_case(network: Network, bank: Issuer) -> None:
    simulator, client = network
    card = await _card(client, bank)
    match, other, twice, omitted, never, part, gone = [await _tap(client, card, 100 * each) for each in range(1, 8)]
    bank.decide = lambda _: "51"
    await _tap(client, card, 5_000)
    bank.decide = lambda _: "00"
    await _post(client, "/control/reversals", {"authorization": part["id"], "amount": 100})
    await _post(client, "/control/reversals", {"authorization": gone["id"]})
    for about, case in ((other, "other_amount"), (twice, "duplicate"), (omitted, "omit"), (never, "never")):
        await _post(client, "/control/clearing-fates", {"about": about["id"], "case": case, "amount": 150})
    extra = [
        {"case": "no_authorization", "card": card, "amount": 999},
        {"case": "late", "authorization": gone["id"]},
        {"case": "refund", "authorization": match["id"]},
    ]
    made = await _post(client, "/control/clearing", {"day": DAY, "lines": extra})
    assert (made["id"], made["count"]) == ("clr-000001", 8)
    header, *lines, trailer = await _lines(client, made["id"])
    assert {len(each) for each in (header, *lines, trailer)} == {160}
    assert header.rstrip() == f"HCL{'clr-000001':<32}20260430000001"
    assert [_shown(each) for each in lines] == [
        ("S", 100, "A1B2C3"),
        ("S", 150, "A1B2C3"),
        ("S", 300, "A1B2C3"),
        ("S", 300, "A1B2C3"),
        ("S", 500, "A1B2C3"),
        ("S", 999, ""),
        ("S", 700, "A1B2C3"),
        ("R", 100, "A1B2C3"),
    ]
    first, last = lines[0], lines[-1]
    assert (first[8:24], first[36:39], first[39:47], first[53:65]) == (card, "392", "20260430", match["rrn"])
    assert (first[65:80].rstrip(), first[80:84], first[84:95]) == (match["merchant"], "5812", "10000000001")
    assert first[95:118] == last[95:118]
    assert first[118:126] == "20260430"
    assert trailer.rstrip() == "T000008" + f"{7:06d}{3_049:015d}" + f"{1:06d}{100:015d}" + f"{0:06d}{0:015d}"
    totals = (await client.get(f"/v1/totals/{DAY}")).json()
    assert (totals["sales"], totals["net"]) == ({"count": 7, "amount": 3_049}, 2_949)
    assert (totals["authorized"]["count"], totals["declined"]["count"]) == (7, 1)
    assert totals["reversed"] == {"count": 2, "amount": 800}
    listed = (await client.get("/v1/clearing-files")).json()["files"]
    assert [(each["id"], each["count"], each["sha256"]) for each in listed] == [(made["id"], 8, made["sha256"])]

    again = {"case": "again", "file": made["id"], "line": 1}
    back = {"case": "reversal", "authorization": twice["id"], "amount": 300}
    second = await _post(client, "/control/clearing", {"day": "2026-05-01", "lines": [again, back]})
    _, *lines, trailer = await _lines(client, second["id"])
    assert [_shown(each) for each in lines] == [("S", 400, "A1B2C3"), ("S", 100, "A1B2C3"), ("V", 300, "A1B2C3")]
    assert lines[1][7:118] == first[7:118]
    third = await _post(client, "/control/clearing", {"day": "2026-05-02"})
    assert third["count"] == 0
    assert simulator.books.find(twice["id"]).cleared == 300


@pytest.mark.parametrize("spoil", ["count", "total", "cut", "bad_line", "resend"])
async def test_a_clearing_file_can_be_wrong(network: Network, bank: Issuer, spoil: str) -> None:
    _, client = network
    card = await _card(client, bank)
    await _tap(client, card, 100)
    first = await _post(client, "/control/clearing")
    await _tap(client, card, 200)
    made = await _post(client, "/control/clearing", {"spoil": spoil})
    lines = await _lines(client, made["id"])
    wrong = {
        "count": lambda: lines[-1].startswith("T000002"),
        "total": lambda: lines[-1][13:28] == f"{201:015d}",
        "cut": lambda: len(lines) < 3,
        "bad_line": lambda: lines[1][24] == "A",
        "resend": lambda: made == first,
    }
    assert wrong[spoil]()


async def test_faults_meet_what_clients_ask(network: Network) -> None:
    simulator, client = network
    await _post(client, "/control/faults", {"preset": "fail_before", "verb": "issue"})
    assert (await client.put("/v1/issue-requests/f1", content=request_file("f1", "r1"))).status_code == 503
    assert simulator.books.issuing.files == {}
    await _post(client, "/control/faults", {"preset": "drop_after", "verb": "issue"})
    with pytest.raises(httpx.TransportError):
        await client.put("/v1/issue-requests/f1", content=request_file("f1", "r1"))
    assert len(simulator.books.issuing.cards) == 1
    await _post(client, "/control/down", {"down": True})
    with pytest.raises(httpx.TransportError):
        await client.get("/v1/clearing-files")
    await client.delete("/control/faults")
    assert (await client.get("/v1/clearing-files", headers={"authorization": "none"})).status_code == 401
    assert [each.verb for each in simulator.requests] == ["issue", "issue"]


# -- SMS --------------------------------------------------------------------------------------------------------


async def test_messages_are_taken_once_and_read_in_the_inbox() -> None:
    simulator = SmsSimulator(now=lambda: NOW)
    await simulator.start()
    headers = {"authorization": f"Bearer {SMS_KEY}"}
    async with httpx.AsyncClient(base_url=simulator.url, headers=headers, trust_env=False) as client:
        body = {"to": "+819012345678", "text": "123456"}
        for _ in range(2):
            assert (await client.put("/v1/messages/m1", json=body)).json() == {"id": "m1", "state": "accepted"}
        assert (await client.put("/v1/messages/m1", json={**body, "text": "x"})).json()["code"] == "id_reused"
        assert (await client.put("/v1/messages/m2", json={**body, "to": "090"})).json()["code"] == "invalid_number"
        assert (await client.put("/v1/messages/m2", json={**body, "to": UNREACHABLE})).json()["code"] == "unreachable"
        assert (await client.put("/v1/messages/m3", json={**body, "to": LOST})).status_code == 200
        assert (await client.get("/v1/messages/m2")).status_code == 404
        inbox = (await client.get("/control/messages", params={"to": "+819012345678"})).json()["messages"]
        assert [(each["id"], each["text"]) for each in inbox] == [("m1", "123456")]
        await client.post("/control/faults", json={"preset": "drop_after", "verb": "send"})
        with pytest.raises(httpx.TransportError):
            await client.put("/v1/messages/m4", json=body)
        assert [each.id for each in simulator.inbox.to()] == ["m1", "m4"]
        await client.delete("/control/messages")
        assert (await client.get("/control/messages")).json() == {"messages": []}
    await simulator.stop()
